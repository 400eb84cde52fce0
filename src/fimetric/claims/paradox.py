"""Are foreign data more likely than the model's own?

Criterion: the claim HOLDS where the likelihood, or the loss that stands for it, has an AUROC whose
interval is below 1/2 on at least one foreign set; IN PART where that is so of none of them but of
own images made simpler (blurred, or one colour each); else it does not. One black image is shown
beside and decides nothing.
"""

from pathlib import Path

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.paradox import draw_paradox
from fimetric.claims.study import Study
from fimetric.fisher.paradox import BLACK, Paradox, likelihood_paradox


def paradox(study: Study, folder: Path) -> Finding | None:
    """Measure the likelihood of foreign images and of own ones made simpler; None for no images."""
    if not study.own.quantised:
        return None
    own, *foreign = study.sets.values()
    named = {samples.name: samples for samples in foreign}
    found = likelihood_paradox(
        study.objective, own, named, study.batch_size, study.seed, study.progress
    )
    kind = study.objective.kind
    likelihood = kind.startswith("likelihood")
    unit = "bits per dimension" if likelihood else "loss per dimension / ln 2"
    draw_paradox(folder / "paradox.png", found, list(named), kind, unit)
    likelier = _likelier(found)
    mine = [name for name in likelier if name in named]
    return Finding(
        claim="paradox",
        title="Foreign data are more likely than the model's own",
        verdict=judge(found, list(named)),
        because=(
            f"More likely than {study.own.name} (AUROC of the {kind} below 1/2): "
            f"{_listed(found, mine)}; of its own images made simpler: "
            f"{_listed(found, [n for n in likelier if n not in named])}. Rank correlation of loss "
            f"and total variation over own images, as they are and simpler: "
            f"{found.rank_correlation:.2f}."
        ),
        numbers={f"AUROC {name}": e.value for name, e in found.auroc.items()},
        tables=[_table(found, unit)],
        pictures=[
            Picture("paradox.png", "The loss of each set, and against the detail in its images.")
        ],
    )


def judge(found: Paradox, foreign: list[str]) -> Verdict:
    """Return the verdict of the criterion above."""
    likelier = _likelier(found)
    if set(likelier) & set(foreign):
        return "holds"
    return "holds in part" if likelier else "does not hold"


def _likelier(found: Paradox) -> list[str]:
    return [name for name, e in found.auroc.items() if e.high < 0.5 and name != BLACK]


def _listed(found: Paradox, names: list[str]) -> str:
    return ", ".join(f"{name} {found.auroc[name].value:.3f}" for name in names) or "none"


def _table(found: Paradox, unit: str) -> Table:
    rows = [
        [
            name,
            str(len(bits)),
            f"{bits.mean():.3f}",
            f"{found.variation[name].mean():.1f}",
            str(found.auroc[name]) if name in found.auroc else "-",
        ]
        for name, bits in found.bits.items()
    ]
    heads = ["set", "n", f"mean {unit}", "mean total variation", "AUROC of the loss [95%]"]
    return Table("Likelihood of each set", heads, rows)
