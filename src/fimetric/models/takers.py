"""Which families take samples of a kind, said where one of another kind is asked for."""

from fimetric.data import Clips, Samples, Texts
from fimetric.models.family import FAMILIES, SAMPLES, Family


def refuse_misfits(row: Family, samples: Samples) -> None:
    """Refuse samples that are not of the kind that a family takes.

    Raises:
        TypeError: for samples of another kind, naming the families that take them, and for clips of
            several lengths.
    """
    if isinstance(samples, Clips) and row.samples == "sounds":
        _refuse_lengths(row.kind, samples)
    held, kinds = _held(samples)
    texts = isinstance(samples, Texts)
    sides = 1 if texts or isinstance(samples, Clips) else len(samples.shape)
    if texts == (row.samples == "texts") and sides == len(SAMPLES[row.samples]):
        return
    takers = [kind for kind, each in FAMILIES.items() if each.samples in kinds]
    advice = (
        f"such data are taken by {', '.join(takers)}" if takers else "no family takes such data"
    )
    raise TypeError(
        f"{row.kind} is a model of {row.samples} ({', '.join(SAMPLES[row.samples])}), and "
        f"{samples.name} holds {held}; give {row.samples}; {advice}"
    )


def _held(samples: Samples) -> tuple[str, tuple[str, ...]]:
    """Return in words what samples are, and the kinds of ``SAMPLES`` that they can be."""
    if isinstance(samples, Texts):
        return "texts", ("texts",)
    if isinstance(samples, Clips):
        return "sounds", ("sounds",)
    if len(samples.shape) == 3:
        return f"pictures of shape {samples.shape}", ("images",)
    if len(samples.shape) == 1:
        number = samples.shape[0]
        if samples.columns is not None:
            return f"rows of {number} columns", ("tables",)
        return f"rows of {number} numbers", ("tables", "sounds")
    return f"samples of shape {samples.shape}", ()


def _refuse_lengths(kind: str, clips: Clips) -> None:
    shortest, longest = min(clips.lengths), max(clips.lengths)
    if shortest < longest:
        raise TypeError(
            f"{kind} takes clips of one length, and those of {clips.name} have {shortest} to "
            f"{longest} values ({shortest / clips.rate:.3g} to {longest / clips.rate:.3g} "
            f"seconds); cut them to one length, such as {shortest} values"
        )
