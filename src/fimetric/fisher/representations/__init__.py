"""Invertible changes of representation of data, with their log-determinants.

    y = T(x),      p_y(y) = p_x(T^-1(y)) / |det dT/dx|,      x = T^-1(y)

log p changes by log |det dT/dx|. Where no trained parameter occurs in T, the gradient of log p with
respect to the model's parameters does not change at all; ``fimetric.fisher.invariance`` measures
that.

base            what every change of representation is: a map, its log-determinant, its inverse
colour          colour spaces, pixel by pixel
dequantisation  discrete data made continuous, for which alone a change of variables is defined
permutation     dimensions in another order
scalings        maps of each value by itself: affine ones and the logit
"""

from fimetric.fisher.representations.base import Changed, Representation
from fimetric.fisher.representations.colour import HSV, YCbCr
from fimetric.fisher.representations.dequantisation import dequantised
from fimetric.fisher.representations.permutation import Permutation
from fimetric.fisher.representations.scalings import ChannelAffine, Logit, TrainableAffine

__all__ = [
    "HSV",
    "Changed",
    "ChannelAffine",
    "Logit",
    "Permutation",
    "Representation",
    "TrainableAffine",
    "YCbCr",
    "dequantised",
]
