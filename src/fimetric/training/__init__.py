"""One training loop for every reference model, in runs that can be killed and go on.

loop        train: the steps, validations, and what is kept of them
run         what changes while training
data        what is fitted on, and what is held out
recipes     settings, by the kind of model
checkpoint  a run in a folder
seeds       the numbers that everything random is drawn from
"""

from fimetric.training.loop import History, train
from fimetric.training.recipes import Recipe

__all__ = ["History", "Recipe", "train"]
