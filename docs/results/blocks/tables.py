"""What is measured of own samples and of the outliers made of them; kept in runs/blocks."""

from dataclasses import replace
from typing import Any

import numpy as np
from hidden import HIDDEN, hidden_states
from outliers import outliers

from fimetric.benchmark.cases import Case
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.stream import run
from fimetric.features.table import Features
from fimetric.fingerprint.model import model_fingerprint
from fimetric.store.files import safe_name
from models import ROOT, objective_of, own_parts

RUNS = ROOT / "runs" / "blocks"
FIT, HELD = "fit", "held"
Tables = dict[str, Features]  # set -> its norms, losses, parts, and entries of hidden states


def measured(case: Case) -> Tables:
    """Return the tables of a model: its own two parts, and a table for each recipe."""
    objective = objective_of(case)
    fit, held = own_parts(case)
    sets = {FIT: fit, HELD: held} | outliers(case, objective, held)
    mark = model_fingerprint(objective.module)[:8]  # a model trained anew is measured anew
    folder = RUNS / f"{case.name}-{mark}"
    extractor, found = Extractor(objective, parts="costly"), {}
    for name, samples in sets.items():
        place = folder / safe_name(name)
        table = run(extractor, samples, 50, place, progress=False)
        hidden = hidden_states(objective, samples, place.with_suffix(".hidden.npy"))
        found[name] = _with_hidden(table, hidden)
    return found


def _with_hidden(table: Features, hidden: Any) -> Features:
    names = tuple(f"{HIDDEN}{j}" for j in range(hidden.shape[1]))
    parts = np.concatenate([table.parts, hidden], 1)
    return replace(table, parts=parts, part_names=(*table.part_names, *names))
