"""What is measured of own samples and of the outliers made of them; kept in runs/blocks."""

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
Tables = dict[str, Features]  # set -> its norms, losses and parts


def measured(case: Case) -> Tables:
    """Return the tables of a model: its own two parts, and a table for each recipe."""
    objective = objective_of(case)
    fit, held = own_parts(case)
    sets = {FIT: fit, HELD: held} | outliers(case, objective, held)
    mark = model_fingerprint(objective.module)[:8]  # a model trained anew is measured anew
    folder = RUNS / f"{case.name}-{mark}"
    extractor = Extractor(objective, parts="costly")
    return {
        name: run(extractor, samples, 50, folder / safe_name(name), progress=False)
        for name, samples in sets.items()
    }
