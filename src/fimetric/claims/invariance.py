"""A change of representation of the data changes the likelihood and not the gradient norms.

Criterion. On samples of the in-distribution data, in float64, with y = T(x) materialised and the
loss computed from y alone: it holds where for every T that suits the data the norms of all layers
agree to 1e-8, the likelihood changes by log |det dT/dx| (checked against the Jacobian) and T^-1
gives x back to 1e-12, and where the control, a T with a parameter that is trained along, fails.
Else it does not hold.
"""

import math
from pathlib import Path

import torch

from fimetric.claims.finding import Finding, Picture, Table
from fimetric.claims.pictures.invariance import change_histogram
from fimetric.claims.study import Study
from fimetric.data import Samples
from fimetric.fisher.invariance import InvarianceReport, invariance_reports
from fimetric.fisher.jacobians import MOST
from fimetric.fisher.representations import (
    HSV,
    ChannelAffine,
    Logit,
    Permutation,
    Representation,
    TrainableAffine,
    YCbCr,
    dequantised,
)
from fimetric.objectives import CausalLM
from fimetric.typing import Array

TITLE = "A change of representation moves the likelihood and leaves the gradient norms as they are"
SAMPLES = 32
SHOWN = 500  # images in the histogram
CHUNK = 50


def invariance(study: Study, folder: Path) -> Finding | None:
    """Compare losses and norms before and after each change of representation.

    Arguments:
        study: what is measured; of its data the in-distribution ones.
        folder: where the picture goes.

    Returns:
        The finding; None for a language model, whose data are no real numbers.
    """
    if isinstance(study.objective, CausalLM):
        return None
    own = study.sets[study.own.name]
    x = own.tensor(range(min(SAMPLES, len(own))))
    maps = [*suitable(own), TrainableAffine(own.shape[0])]
    *reports, control = invariance_reports(study.objective, x, maps, SAMPLES, study.seed)
    holds = all(report.holds for report in reports) and not control.holds
    return Finding(
        claim="invariance",
        title=TITLE,
        verdict="holds" if holds else "does not hold",
        because=_because(reports, control),
        numbers=_numbers(reports, control),
        tables=[_table([*reports, control])],
        pictures=_picture(own, folder, study.seed),
        notes=_notes(reports, control),
    )


def suitable(samples: Samples) -> list[Representation]:
    """Return the changes of representation that make sense for such data."""
    channels = samples.shape[0]
    scales = [(-1.0) ** c * (1.5 + 0.5 * c) for c in range(channels)]
    found: list[Representation] = [ChannelAffine(scales, 0.25)]
    if math.prod(samples.shape) <= MOST:  # what is larger has no Jacobian to check it by
        found.append(Permutation())
    if _between_0_and_1(samples):
        found.append(Logit())
        if _colour(samples):
            found += [YCbCr(), HSV()]
    return found


def _between_0_and_1(samples: Samples) -> bool:
    values = samples.values
    return samples.quantised or bool(values.min() >= 0 and values.max() <= 1)


def _colour(samples: Samples) -> bool:
    return len(samples.shape) == 3 and samples.shape[0] == 3


def _because(reports: list[InvarianceReport], control: InvarianceReport) -> str:
    bad = [report.why for report in reports if not report.holds]
    if bad:
        return " ".join(bad)
    largest = max(report.worst[1] for report in reports)
    said = (
        f"Under {len(reports)} changes of representation no norm of any layer moves by more than "
        f"{largest:.1e} of its size"
    )
    if control.holds:
        return f"{said}; but neither does the control, so the measurement sees nothing."
    return f"{said}; the control fails, as it must. {control.why}"


def _numbers(reports: list[InvarianceReport], control: InvarianceReport) -> dict[str, float]:
    found = {}
    for report in [*reports, control]:
        name = report.transform
        found[f"{name}: largest relative change of a norm"] = report.worst[1]
        found[f"{name}: mean change in bits per dimension"] = float(report.bits_change.mean())
        found[f"{name}: singular pixels"] = float(report.singular)
    return found


def _table(reports: list[InvarianceReport]) -> Table:
    headings = [
        "representation",
        "invariant",
        "largest relative change of a norm",
        "layer",
        "code length changes by (bits/dim)",
        "error of that (nats)",
        "log-determinant against jacrev (nats)",
        "round trip",
        "pixels left as singular",
    ]
    rows = [_row(report) for report in reports]
    return Table("Changes of representation; the last is the control", headings, rows)


def _row(report: InvarianceReport) -> list[str]:
    return [
        report.transform,
        "yes" if report.holds else "NO",
        f"{report.worst[1]:.1e}",
        report.worst[0],
        f"{report.bits_change.min():.3f} to {report.bits_change.max():.3f}",
        f"{report.likelihood_error:.1e}",
        f"{report.log_det_error:.1e}",
        f"{report.round_trip:.1e}",
        f"{report.singular} of {report.pixels}",
    ]


def _notes(reports: list[InvarianceReport], control: InvarianceReport) -> list[str]:
    noisy = "dequantised" if control.dequantised else "continuous as they are"
    notes = [
        f"{len(control.bits_change)} samples, {noisy}; the model's weights in float64.",
        "Pixels where RGB to HSV is singular, max - min < 1/256, are left as they are.",
    ]
    if control.kind != "likelihood":
        notes.append(
            f"The {control.kind} is no likelihood. That its gradients do not move holds because "
            "its noise is drawn for x; noise added to T(x) would make another loss."
        )
    return notes if any(report.singular for report in reports) else [notes[0], *notes[2:]]


def _picture(own: Samples, folder: Path, seed: int) -> list[Picture]:
    if not _between_0_and_1(own):
        return []
    transform: Representation = HSV() if _colour(own) else Logit()
    shown = own.select(range(min(SHOWN, len(own))))
    bits = _changes(shown, transform, seed)
    change_histogram(folder / "change.png", bits, transform.name, own.name)
    return [
        Picture(
            "change.png",
            f"How many bits per dimension {transform.name} adds to the code length of "
            f"{len(shown)} images of {own.name}: from {bits.min():.2f} to {bits.max():.2f}. Of the "
            "gradient it changes nothing.",
        )
    ]


def _changes(samples: Samples, transform: Representation, seed: int) -> Array:
    """Return log |det dT/dx| of dequantised samples in bits per dimension, (N,)."""
    generator, found = torch.Generator().manual_seed(seed), []
    for a in range(0, len(samples), CHUNK):
        x = samples.tensor(range(a, min(a + CHUNK, len(samples))))
        x = dequantised(x, 256, generator) if samples.quantised else x.double()
        found.append(transform(x).log_det)
    return torch.cat(found).numpy() / (math.prod(samples.shape) * math.log(2))
