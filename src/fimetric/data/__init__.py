"""Named data sets and anything of one's own, all through one door."""

from fimetric.data.batch import Batch, to_device
from fimetric.data.batches import batches, length
from fimetric.data.samples import Samples
from fimetric.data.sources import load
from fimetric.data.spec import Spec

__all__ = ["Batch", "Samples", "Spec", "batches", "length", "load", "to_device"]
