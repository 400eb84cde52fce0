"""What is differentiated: a batch -> one loss per sample. One file per family."""

from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.language import CausalLM
from fimetric.objectives.likelihood import NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.standard import several_timesteps, standard_objective

__all__ = [
    "CausalLM",
    "Denoising",
    "NegativeELBO",
    "NegativeLogLikelihood",
    "Objective",
    "several_timesteps",
    "standard_objective",
]
