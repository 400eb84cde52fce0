"""Out-of-distribution detection with likelihood-based deep generative models.

A sample is described by the squared norms of the gradient of its own loss, one per layer; a small
density of that vector and a conformal calibration make it a decision.

    data -> objective -> gradients -> Features -> density -> calibration -> decisions
"""

from fimetric import (
    calibration,
    data,
    detectors,
    fisher,
    metrics,
    models,
    objectives,
    statistics,
    training,
)
from fimetric import families as _families  # noqa: F401  (fills in the families of models)
from fimetric.detection import Detector
from fimetric.extraction import extract
from fimetric.features import Features
from fimetric.gradients import GradientNorms

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "Features",
    "GradientNorms",
    "calibration",
    "data",
    "detectors",
    "extract",
    "fisher",
    "metrics",
    "models",
    "objectives",
    "statistics",
    "training",
]
