"""What is differentiated: a batch -> one loss per sample. One file per family.

base        what is differentiated: a batch -> one loss per sample
denoising   denoising losses of diffusion models
densities   what likelihoods and their bounds consist of: prior, determinant, rate, distortion
flow_matching regression losses of flow matching
gaussian_elbo the bound of a library's variational autoencoder
language    likelihoods of causal language models
likelihood  likelihoods of explicit densities, and the bound of variational autoencoders
limits      what a language model can take: ids, lengths, no foresight
noising     what the losses of diffusion and of flow matching share
one_pass    what one forward pass gave, for whoever asks again with the same samples
positions   what the positions of a sample cost: the worst fifth, quantiles, entropies
pretrained  models that others trained, opened where they lie
reading     data as an objective takes them
seq2seq     likelihoods of sequence-to-sequence language models
logits      the logits of a language model, however it takes token ids and whatever it returns
masked      pseudo-likelihoods of masked language models
standard    the objective that each reference model is scored with
steadiness  models that change in their own forward pass
takes       what a model itself tells of the samples that it takes: tokens, sequences
texts       texts as a causal model reads them
textual     what the likelihoods of language models have in common: strings, or token ids
tokenizer   strings as token ids, by the tokenizer of a model
transparent losses that autograd can look into: nothing compiled, no reentrant checkpoint
untold      arguments that nothing that is written would tell
"""

from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.flow_matching import FlowMatching
from fimetric.objectives.gaussian_elbo import GaussianELBO
from fimetric.objectives.language import CausalLM
from fimetric.objectives.likelihood import NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.masked import MaskedLM
from fimetric.objectives.pretrained import from_pretrained
from fimetric.objectives.seq2seq import Seq2SeqLM
from fimetric.objectives.standard import several_timesteps, standard_objective

__all__ = [
    "CausalLM",
    "Denoising",
    "FlowMatching",
    "GaussianELBO",
    "MaskedLM",
    "NegativeELBO",
    "NegativeLogLikelihood",
    "Objective",
    "Seq2SeqLM",
    "from_pretrained",
    "several_timesteps",
    "standard_objective",
]
