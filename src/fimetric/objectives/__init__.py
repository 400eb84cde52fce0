"""What is differentiated: a batch -> one loss per sample. One file per family.

base        what is differentiated: a batch -> one loss per sample
denoising   denoising losses of diffusion models
flow_matching regression losses of flow matching
language    likelihoods of language models
likelihood  likelihoods of explicit densities, and the bound of variational autoencoders
limits      what a language model can take: ids, lengths, no foresight
noising     what the losses of diffusion and of flow matching share
pretrained  models that others trained, opened where they lie
logits      the logits of a language model, however it takes token ids and whatever it returns
standard    the objective that each reference model is scored with
steadiness  models that change in their own forward pass
takes       what a model itself tells of the samples that it takes: tokens, sequences
texts       texts as a causal model reads them
transparent losses that autograd can look into: nothing compiled, no reentrant checkpoint
"""

from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.flow_matching import FlowMatching
from fimetric.objectives.language import CausalLM
from fimetric.objectives.likelihood import GaussianELBO, NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.pretrained import from_pretrained
from fimetric.objectives.standard import several_timesteps, standard_objective

__all__ = [
    "CausalLM",
    "Denoising",
    "FlowMatching",
    "GaussianELBO",
    "NegativeELBO",
    "NegativeLogLikelihood",
    "Objective",
    "from_pretrained",
    "several_timesteps",
    "standard_objective",
]
