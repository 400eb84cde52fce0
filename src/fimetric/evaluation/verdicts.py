"""What a table of results says in plain words, the losses of the method among them."""

from collections.abc import Sequence

from fimetric.detectors import DEFAULT
from fimetric.report.tables import Row

RIVAL, LIKELIHOOD = "typicality", "likelihood"


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return one sentence per finding: the likelihood paradox, and the default against typicality.

    A difference is called clear where the 95% intervals of the two AUROCs do not overlap.
    """
    pairs = dict.fromkeys((row.ood, row.group_size) for row in rows)
    found = []
    for ood, size in pairs:
        by_name = {row.detector: row.auroc for row in rows if row[:2] == (ood, size)}
        where = f"{ood}, groups of {size}"
        if LIKELIHOOD in by_name and by_name[LIKELIHOOD].value < 0.5:
            found.append(
                f"{where}: the likelihood, or the loss that stands for it, ranks OOD data as MORE "
                f"likely than in-distribution data (AUROC {by_name[LIKELIHOOD]})."
            )
        if DEFAULT in by_name and RIVAL in by_name:
            ours, rival = by_name[DEFAULT], by_name[RIVAL]
            apart = ours.low > rival.high or rival.low > ours.high
            verb = "beats" if ours.value > rival.value else "LOSES to"
            verb = "equals" if ours.value == rival.value else verb
            found.append(
                f"{where}: the default ({DEFAULT}) {verb} typicality "
                f"({ours} against {rival}{', clear' if apart else ', within the intervals'})."
            )
    return found
