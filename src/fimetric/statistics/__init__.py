"""Published statistics other than our gradient norms, one file each: model and data -> Features.

base               what every statistic keeps
complexity         code lengths of general-purpose compressors
dose               the parts of a likelihood or of its bound
ensemble           the losses of several models
members            several objectives as one
tokens             the losses of a text's tokens: perplexity, Min-K%, Min-K%++, entropy, quantiles
zlib_ratio         the loss of a text over the length of its zlib code
likelihood_ratio   the loss of a text, less that of a background model
hidden_states      the mean last hidden state of a text, and its density under a background
regret             what a posterior of the sample's own would gain
latents            whether a flow's latents look like noise
whitened           the gradient in a diagonal Fisher metric, and its distance from the mean
diffusion          what the statistics of a diffusion model share
multiscale_losses  losses at several timesteps
msma               norms of the score at several noise levels
diffpath           rate of change and curvature along the path to noise
scoped             the score's norm over the curvature
reconstruction     how well a noisy sample is restored
autoencoder        errors of an autoencoder of a sound's spectrogram
loudness           the energy of a sound, whatever any model thinks
values             the columns of a row of a table, without a model
outlier_scores     outlier detectors of PyOD on these columns
needs              what the statistics need of a model beyond its losses, and how they say so
"""

from fimetric.statistics.autoencoder import AutoencoderError
from fimetric.statistics.base import Statistic
from fimetric.statistics.complexity import CodeLengths
from fimetric.statistics.diffpath import DiffPath
from fimetric.statistics.dose import DoseStatistics
from fimetric.statistics.ensemble import EnsembleLosses
from fimetric.statistics.hidden_states import HiddenStates, shuffled
from fimetric.statistics.latents import SITN, LatentFit
from fimetric.statistics.likelihood_ratio import LikelihoodRatio
from fimetric.statistics.loudness import Loudness
from fimetric.statistics.msma import MSMA
from fimetric.statistics.multiscale_losses import MultiscaleLosses
from fimetric.statistics.outlier_scores import OutlierScores
from fimetric.statistics.reconstruction import Reconstruction
from fimetric.statistics.regret import LikelihoodRegret
from fimetric.statistics.scoped import SCOPED
from fimetric.statistics.tokens import TokenStatistics
from fimetric.statistics.values import RowValues
from fimetric.statistics.whitened import WhitenedGradient
from fimetric.statistics.zlib_ratio import ZlibRatio

__all__ = [
    "MSMA",
    "SCOPED",
    "SITN",
    "AutoencoderError",
    "CodeLengths",
    "DiffPath",
    "DoseStatistics",
    "EnsembleLosses",
    "HiddenStates",
    "LatentFit",
    "LikelihoodRatio",
    "LikelihoodRegret",
    "Loudness",
    "MultiscaleLosses",
    "OutlierScores",
    "Reconstruction",
    "RowValues",
    "Statistic",
    "TokenStatistics",
    "WhitenedGradient",
    "ZlibRatio",
    "shuffled",
]
