"""What is extracted from a model and its sets: one folder of ``Features`` for each table and set.

A table is keyed by what it is made from: its name, the objective and model, the seed, the groups,
the references it learns from, the data, and the version of this module. So nothing is extracted
twice, and nothing old is taken for new.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.config import Grid
from fimetric.benchmark.kinds import REFERENCES, TABLES, Source
from fimetric.benchmark.own import Trained
from fimetric.benchmark.places import model_folder
from fimetric.data import Samples
from fimetric.data.clips import Clips
from fimetric.data.texts import Texts
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.parts import finished
from fimetric.extraction.stream import Extraction, run
from fimetric.features.groups import disjoint
from fimetric.features.table import Features
from fimetric.fingerprint.digest import update
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.models import Model, load
from fimetric.models.family import FAMILIES
from fimetric.objectives import Objective, from_pretrained, standard_objective
from fimetric.store.files import safe_name

VERSION = 2  # of the tables; a change of what one of them holds extracts all anew
Tables = dict[str, Features]  # set -> its table


@dataclass(frozen=True)
class Wanted:
    """A table of all sets of a model; groups of joint gradients where ``group_size`` is above 1."""

    case: Case
    table: str
    group_size: int = 1
    arrangement: str = "random"

    @property
    def name(self) -> str:
        """Name for folders and messages."""
        joint = f"-joint-{self.group_size}-{self.arrangement}" if self.group_size > 1 else ""
        return f"{self.table}{joint}"


def extract(wanted: Wanted, folder: Path, sets: Sets | None = None) -> Tables:
    """Return a table of all sets of a model, extracting what is not there yet.

    Arguments:
        wanted: which.
        folder: of the run.
        sets: those of the case, where they are loaded already.
    """
    sets = sets or Sets(wanted.case)
    source = source_of(wanted.case, sets, folder, TABLES[wanted.table].background)
    # one that learns from references first is made only where something is missing
    extractor = None if TABLES[wanted.table].learns else _extractor(wanted, source)
    made_from = _made_from(wanted, source, extractor)
    tables = {}
    for name, samples in _samples(wanted, sets):
        place = folder / "tables" / wanted.case.name / wanted.name
        place /= f"{safe_name(name)}-{_key(made_from, samples)}"
        found = finished(place)
        if found is not None:
            tables[name] = found
            continue
        if extractor is None or not TABLES[wanted.table].learns:
            # what one learns from its first batch must not hang on which tables were there
            extractor = _extractor(wanted, source)
        tables[name] = run(extractor, samples, wanted.case.grid.batch_size, place, progress=False)
    return tables


def count(wanted: Wanted) -> int:
    """Return about how many samples a table has, without loading them."""
    grid = wanted.case.grid
    n = grid.costly_samples if TABLES[wanted.table].costly else grid.samples
    if not TABLES[wanted.table].costly:
        return grid.held_out // 2 + n * (1 + len(wanted.case.sets))
    return n * (3 + len(wanted.case.sets.keys() - set(wanted.case.looks)))


def table_key(tables: Tables) -> str:
    """Return a hash of all that tables hold."""
    digest = hashlib.sha256()
    for name, table in sorted(tables.items()):
        what = name, table.names, table.part_names, table.ids, table.objective
        digest.update(" ".join(map(str, what)).encode())
        for numbers in (table.values, table.losses, table.parts, table.bounds):
            digest.update(numbers.tobytes())
        digest.update(table.dimensions.tobytes() + table.numels.tobytes())
    return digest.hexdigest()


def _samples(wanted: Wanted, sets: Sets) -> Iterator[tuple[str, Samples]]:
    """Yield each set as it is to be extracted: fewer where that is costly, groups side by side."""
    grid = wanted.case.grid
    costly = TABLES[wanted.table].costly
    for name, samples in sets.all().items():
        if costly and name in wanted.case.looks:
            continue
        n = min(grid.costly_samples, len(samples)) if costly else len(samples)
        if wanted.group_size == 1:
            yield name, samples.select(range(n)) if n < len(samples) else samples
        else:
            seed = grid.seed if wanted.arrangement == "random" else None
            yield name, samples.select(disjoint(n, wanted.group_size, seed).ravel().tolist())


def _extractor(wanted: Wanted, source: Source) -> Extraction:
    if wanted.group_size > 1:
        return Extractor(source.objective, wanted.group_size)
    return TABLES[wanted.table].extractor(source)


def _opened(how: Trained, grid: Grid) -> Objective:
    """Return the objective of a model that lies somewhere, opened as the grid says."""
    options = {"device": grid.device, **how.options}
    return from_pretrained(how.model or "", seed=grid.seed, **options)


def source_of(case: Case, sets: Sets, folder: Path, background: bool) -> Source:
    """Return what tables of a model are made from, with its background where that is needed."""
    seed = case.grid.seed
    beside = background_of(case) if background else None
    model, objectives = _models(case, folder)
    own, training = lambda: sets.parts["fit"], lambda: sets.train
    return Source(model, objectives, own, seed, training, beside)


def background_of(case: Case) -> Objective | None:
    """Return the background model, opened, where the grid names one."""
    place = case.trained.background
    seed, device = case.grid.seed, case.grid.device
    return None if place is None else from_pretrained(place, seed=seed, device=device)


def _models(case: Case, folder: Path) -> tuple[Model | None, tuple[Objective, ...]]:
    """Return a model, where it is of a family, and the objectives of all members of its kind."""
    how, grid = case.trained, case.grid
    if how.kind not in FAMILIES:
        return None, (_opened(how, grid),)
    models = [load(model_folder(member, folder)).to(grid.device) for member in case.members]
    if how.options:
        return models[0], (_opened(how, grid),)
    return models[0], tuple(standard_objective(model, seed=grid.seed) for model in models)


def _made_from(wanted: Wanted, source: Source, extractor: Extraction | None) -> str:
    """Return, as a hash, what a table is made from beside the samples of its rows.

    Without an extractor, which would have to learn first, the number of references tells it.
    """
    table = TABLES[wanted.table]
    members = source.objectives if table.members else source.objectives[:1]
    what = [VERSION, wanted.table, wanted.group_size, wanted.arrangement, source.seed]
    if table.background and source.background is not None:
        members = (*members, source.background)
    what += [(o.describe(), watched_fingerprint(o)) for o in members]
    what.append(REFERENCES if extractor is None else extractor.words())
    digest = hashlib.sha256(json.dumps(what).encode())
    for part, samples in (("reference", source.reference), ("training", source.training)):
        if table.learns in (part, "both"):
            _add(digest, samples())
    return digest.hexdigest()


def _key(made_from: str, samples: Samples) -> str:
    digest = hashlib.sha256(made_from.encode())
    _add(digest, samples)
    digest.update("\n".join(samples.ids).encode())
    return digest.hexdigest()[:12]


def _add(digest: "hashlib._Hash", samples: Samples) -> None:
    """Add samples of any kind to a hash."""
    if not isinstance(samples, Texts | Clips):
        update(digest, samples.values)
        return
    for i in range(len(samples)):  # one at a time: clips are decoded
        for sample in samples.raw([i]):
            if isinstance(sample, str):
                digest.update(f"{sample}\0".encode("utf-8", "surrogatepass"))
            else:
                update(digest, sample)
