"""Whether the benchmark itself leaks: false alarms on own data, beside what chance gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fimetric.benchmark.comparing import LEVEL, Found
from fimetric.benchmark.page.headline import DEFAULT
from fimetric.benchmark.page.markdown import NONE, text
from fimetric.calibration import false_alarms
from fimetric.judging.judge import ALPHA

LEAST = round(1 / ALPHA) - 1  # calibration groups: with fewer no p-value is as low as the level


@dataclass(frozen=True)
class Alarms:
    """False alarms of the default on own test groups of one model, formed at random.

    ``alarms`` is -1 where the calibration groups are too few for the level.
    """

    model: str
    group_size: int
    calibrated: int
    tested: int
    alarms: int

    @property
    def expected(self) -> tuple[int, int]:
        """Between which numbers exchangeable data give, with probability ``LEVEL``."""
        return false_alarms(self.calibrated, self.tested, ALPHA, LEVEL)


def alarms_of(found: Found, calibration: Mapping[str, int]) -> list[Alarms]:
    """Return the false alarms of the default on every model and group size.

    Arguments:
        found: what the benchmark found.
        calibration: model -> own samples that it is calibrated on.
    """
    return [
        Alarms(model, size, calibration[model] // size, len(scored.scores["test"]), scored.alarms)
        for (model, method, size, arrangement), scored in sorted(found.scored.items())
        if (method, arrangement) == (DEFAULT, "random")
    ]


def leaks(alarms: Sequence[Alarms]) -> Iterator[str]:
    """Yield the lines of a section: a row for each model and group size."""
    if not alarms:
        return
    yield "## False alarms\n"
    yield (
        f"Of {DEFAULT} at level {ALPHA} on own test groups, formed at random. Expected: between "
        f"which numbers exchangeable data give, calibration and test groups drawn alike, with "
        f"probability {LEVEL}.\n"
    )
    yield "| model | B | calibration groups | test groups | false alarms | expected |"
    yield "|---|---:|---:|---:|---:|---:|"
    for each in alarms:
        low, high = each.expected
        cells = [str(each.alarms), f"{low} to {high}"] if each.alarms >= 0 else [NONE, NONE]
        counts = f"{each.group_size} | {each.calibrated} | {each.tested}"
        yield f"| {text(each.model)} | {counts} | {' | '.join(cells)} |"
    yield ""
    if any(each.alarms < 0 for each in alarms):
        yield (
            f"{NONE}: the calibration groups are too few. Level {ALPHA} takes {LEAST} of them: "
            "raise held_out, or give a larger reference.\n"
        )


def in_short(alarms: Sequence[Alarms]) -> list[str]:
    """Return a sentence on the single samples of all models; none where none could be counted."""
    single = [each for each in alarms if each.group_size == 1 and each.alarms >= 0]
    if not single:
        return []
    total, tested = sum(each.alarms for each in single), sum(each.tested for each in single)
    rates = [each.alarms / each.tested for each in single]
    within = sum(low <= each.alarms <= high for each in single for low, high in [each.expected])
    return [
        f"False alarms of {DEFAULT} at level {ALPHA} on own test samples: {total} of {tested} "
        f"({total / tested:.3f}); by model from {min(rates):.3f} to {max(rates):.3f}, on {within} "
        f"of {len(single)} models as many as exchangeable data give with probability {LEVEL}."
    ]
