"""Outliers made of own samples: half of the recipes break them, half make them too likely."""

from collections.abc import Sequence
from typing import Any

import rows
import sounds
import texts
from torch import Generator

from fimetric.benchmark.cases import Case
from fimetric.benchmark.variants import OUTLIERS, make
from fimetric.data import Samples, Texts
from fimetric.data.clips import Clips


def outliers(case: Case, objective: Any, samples: Samples) -> dict[str, Any]:
    """Return recipe -> the outliers that it makes of some samples, one of each."""
    if isinstance(samples, Texts):
        return _of_texts(objective, samples)
    if samples.pictures:
        return {name: make(name, samples) for name in OUTLIERS}
    x, recipes = samples.tensor(), {**rows.BROKEN, **rows.LIKELY}
    if isinstance(samples, Clips):
        recipes = {
            name: lambda x, g, recipe=recipe: sounds.make(recipe, x, g)
            for name, recipe in {**sounds.BROKEN, **sounds.LIKELY}.items()
        }
    made = {name: recipe(x, _generator()) for name, recipe in recipes.items()}
    return {name: Samples(values, samples.ids, name) for name, values in made.items()}


def _of_texts(objective: Any, samples: Texts) -> dict[str, Sequence[dict[str, Any]]]:
    ids = texts.ids_of(objective, samples.texts)
    recipes = {**texts.BROKEN, **texts.LIKELY}
    made = {name: recipe(objective, ids, _generator()) for name, recipe in recipes.items()}
    return {name: rows_of(each, samples.ids) for name, each in made.items()}


def rows_of(ids: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return token ids (N, T) as samples."""
    return [{"input_ids": row, "id": name} for row, name in zip(ids, names, strict=True)]


def _generator() -> Generator:
    return Generator().manual_seed(0)
