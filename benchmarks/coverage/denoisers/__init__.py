"""Tiny denoisers of diffusers: UNets, then transformers in the order of the table.

unets    with their options
a_to_g .. q_to_z  transformers by name
special  transformers called in ways of their own
shared   options and inputs of several transformers
"""

from case import Case
from diffusion import denoiser

from denoisers.a_to_g import A_TO_G
from denoisers.h_to_k import H_TO_K
from denoisers.l_to_p import L_TO_P
from denoisers.q_to_z import Q_TO_Z
from denoisers.special import SPECIAL
from denoisers.unets import UNETS

_PACKED = "packs all its tokens into one sequence of special inputs; no tiny call of it was written"

# Classes with UNet, Transformer or DiT in their names that the run leaves out, and why.
LEFT_OUT = {
    "AnyFlowFARTransformer3DModel": "its attention over chunks needs a cache made by its pipeline",
    "Cosmos3OmniTransformer": _PACKED,
    "HunyuanDiT2DMultiControlNetModel": "a list of HunyuanDiT2DControlNetModel, which is there",
    "JoyImageEditPlusTransformer3DModel": _PACKED,
    "Kandinsky3UNet": "its widths are tied to four levels of fixed kinds; none was found to run",
    "Kandinsky6SRTransformer3DModel": "its FlexAttention has no backward pass on a CPU",
    "LongCatAudioDiTVae": "an autoencoder, no denoiser",
    "MiniMaxH3Transformer3DModel": _PACKED,
    "RFD4ProteinaTransformer": "its twenty kinds of features of proteins come from its pipeline",
    "SanaWMLTX2RefinerTransformer3DModel": "its rotations come from its pipeline",
    "SanaWMTransformer3DModel": "its camera conditions come from its pipeline",
    "WanAnimate2Transformer3DModel": "needs a cache made by its pipeline",
}


def cases() -> list[Case]:
    made = {**UNETS, **A_TO_G, **H_TO_K, **L_TO_P, **Q_TO_Z, **SPECIAL}
    return [
        Case("diffusers", name, lambda n=name, w=what: denoiser(n, w))
        for name, what in made.items()
    ]
