"""One training loop for every reference model: recipes, the loop, checkpoints to resume from."""

from fimetric.training.loop import History, train
from fimetric.training.recipes import Recipe

__all__ = ["History", "Recipe", "train"]
