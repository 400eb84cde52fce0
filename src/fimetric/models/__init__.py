"""Reference models, one file each, and the folder format in which they are kept.

family         what a model is, and what the program knows of a kind of them
folder         models by name; a model as a folder
bounds         whether a description is one that weights can fill
devices        where models go
takers         which families take samples of a kind
discretised    distributions over the levels of a pixel, of which likelihoods are made
glow_steps     the layers of a Glow
unet           the network of the models of noisy images
ddpm           noise, loss, bound and sampling of models by denoising diffusion
log_mel        log-mel spectrograms of sounds
diffusion      a UNet that predicts the noise in a noisy image
flow_matching  a UNet that predicts the velocity from data to noise
glow           a normalising flow of invertible 1x1 convolutions and affine couplings
nsf            a neural spline flow of tables
pixelcnn       an autoregressive model of images, pixel by pixel
spectrogram    a UNet that predicts the noise in the noisy spectrogram of a sound
transformer    a causal language model of texts
vae            a convolutional variational autoencoder
vocabulary     byte-level byte-pair encoding, learned from texts
wavenet        an autoregressive model of sound, value by value
"""

from fimetric.models.diffusion import Diffusion, DiffusionConfig
from fimetric.models.family import FAMILIES, Family, Model
from fimetric.models.flow_matching import RectifiedFlow, RectifiedFlowConfig
from fimetric.models.folder import build, build_for, kind_of, load, save
from fimetric.models.glow import Glow, GlowConfig
from fimetric.models.nsf import NSF, NSFConfig
from fimetric.models.pixelcnn import PixelCNN, PixelCNNConfig
from fimetric.models.spectrogram import Spectrogram, SpectrogramConfig
from fimetric.models.transformer import Transformer, TransformerConfig
from fimetric.models.vae import VAE, VAEConfig
from fimetric.models.wavenet import WaveNet, WaveNetConfig

__all__ = [
    "FAMILIES",
    "NSF",
    "VAE",
    "Diffusion",
    "DiffusionConfig",
    "Family",
    "Glow",
    "GlowConfig",
    "Model",
    "NSFConfig",
    "PixelCNN",
    "PixelCNNConfig",
    "RectifiedFlow",
    "RectifiedFlowConfig",
    "Spectrogram",
    "SpectrogramConfig",
    "Transformer",
    "TransformerConfig",
    "VAEConfig",
    "WaveNet",
    "WaveNetConfig",
    "build",
    "build_for",
    "kind_of",
    "load",
    "save",
]
