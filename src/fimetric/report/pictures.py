"""Pictures of likelihoods, scores and decisions. Okabe and Ito's colour-blind safe colours."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fimetric.metrics import auroc
from fimetric.report.shrinking import shrink
from fimetric.store.files import whole_file

Scores = NDArray[np.float64]
ID_COLOUR = "#000000"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
STYLES = ("-", "--", "-.", ":")
WIDE = 100.0  # from the smallest to the largest number; beyond, a linear axis hides the small


def likelihood_histograms(
    path: Path,
    in_distribution: tuple[str, Scores],
    ood: Mapping[str, Scores],
    model: str,
    kind: str = "likelihood",
) -> None:
    """Draw histograms of the loss, in bits per dimension.

    Arguments:
        path: of the picture.
        in_distribution: name and losses of the in-distribution set.
        ood: name -> losses.
        model: name of the model.
        kind: ``likelihood``, or what the loss is instead.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    _likelihoods(figure.subplots(), in_distribution, ood, model, kind)
    save(figure, path)


def score_histograms(
    path: Path,
    scores: Mapping[str, Mapping[str, Scores]],
    in_distribution: str,
    group_size: int = 1,
) -> None:
    """Draw one panel per detector with the histograms of all sets' scores.

    Arguments:
        path: of the picture.
        scores: detector -> set -> scores.
        in_distribution: name of the in-distribution set.
        group_size: samples to a score.
    """
    figure, panels = _panels(len(scores))
    figure.suptitle(f"Scores of {_what(group_size)}, {in_distribution} is in-distribution")
    for axes, (detector, sets) in zip(panels, scores.items(), strict=True):
        _scores(axes, detector, sets, in_distribution)
        axes.set_ylabel(f"share of {'samples' if group_size == 1 else 'groups'}")
    save(figure, path)


def roc_curves(
    path: Path,
    scores: Mapping[str, Mapping[str, Scores]],
    in_distribution: str,
    group_size: int = 1,
) -> None:
    """Draw one panel per detector with the ROC curves of all out-of-distribution sets."""
    figure, panels = _panels(len(scores))
    figure.suptitle(f"Out-of-distribution {_what(group_size)} against {in_distribution}")
    for axes, (detector, sets) in zip(panels, scores.items(), strict=True):
        _roc(axes, detector, sets, in_distribution)
    save(figure, path)


def overview(
    path: Path,
    bits: Mapping[str, Scores],
    scores: Mapping[str, Mapping[str, Scores]],
    in_distribution: str,
    model: str,
) -> None:
    """Draw likelihoods, scores and ROC curves in one picture.

    Arguments:
        path: of the picture.
        bits: set -> bits per dimension.
        scores: detector -> set -> scores; a column each.
        in_distribution: name of the in-distribution set.
        model: name of the model.
    """
    figure = Figure(figsize=(4.2 * len(scores), 10), layout="constrained")
    grid = figure.add_gridspec(3, len(scores))
    ood = {name: values for name, values in bits.items() if name != in_distribution}
    axes = figure.add_subplot(grid[0, :])
    _likelihoods(axes, (in_distribution, bits[in_distribution]), ood, model)
    for k, (detector, sets) in enumerate(scores.items()):
        _scores(figure.add_subplot(grid[1, k]), detector, sets, in_distribution)
        _roc(figure.add_subplot(grid[2, k]), detector, sets, in_distribution)
    save(figure, path)


def sample_grid(path: Path, images: NDArray[np.float32], title: str, columns: int = 10) -> None:
    """Draw images (n, C, H, W) in [0, 1], each on the grey scale or in colour from 0 to 1."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * 0.8, rows * 0.8 + 0.4), layout="constrained")
    figure.suptitle(title)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, image in zip(panels, images, strict=False):
        picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        # pixels as they are: smoothed ones say no more and are three times the bytes
        axes.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    save(figure, path, palette=False)


def save(figure: Figure, path: Path, palette: bool = True) -> None:
    """Write a figure, whole or not at all, and a PNG small.

    Arguments:
        figure: what is drawn.
        path: of the picture; its ending is the format.
        palette: whether 256 colours will do: for lines and areas, not for photographs.
    """
    kind = path.suffix.removeprefix(".").lower() or "png"
    with whole_file(path) as place:
        figure.savefig(place, dpi=110, format=kind)
        if kind == "png":
            shrink(place, palette)


def _what(group_size: int) -> str:
    return "single samples" if group_size == 1 else f"groups of {group_size}"


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for axes in panels[count:]:
        axes.axis("off")
    return figure, panels[:count]


def _likelihoods(
    axes: Axes,
    in_distribution: tuple[str, Scores],
    ood: Mapping[str, Scores],
    model: str,
    kind: str = "likelihood",
) -> None:
    name, own = in_distribution
    groups = {f"{name} (in-distribution)": own} | {
        f"{other} ({kind} AUROC {auroc(own, values):.2f})": values for other, values in ood.items()
    }
    histograms(axes, groups)
    bits = kind.startswith("likelihood")
    unit = "bits per dimension (left = more likely)" if bits else f"{kind} per dimension"
    axes.set(title=f"{kind.capitalize()} under {model}", xlabel=f"{unit}, far tails clipped")


def _scores(axes: Axes, detector: str, sets: Mapping[str, Scores], in_distribution: str) -> None:
    first = {f"{in_distribution} (in)": sets[in_distribution]}
    histograms(axes, first | {n: v for n, v in sets.items() if n != in_distribution})
    axes.set(title=detector, xlabel="score, clipped (right = more anomalous)")


def histograms(axes: Axes, groups: Mapping[str, Scores]) -> None:
    """Draw histograms of several sets over one range; what lies beyond counts at its ends.

    Numbers above zero that span more than a factor of ``WIDE`` are drawn over their logarithm.
    """
    finite = [values[np.isfinite(values)] for values in groups.values()]
    low = min((np.quantile(values, 0.005) for values in finite if len(values)), default=0.0)
    high = max((np.quantile(values, 0.98) for values in finite if len(values)), default=1.0)
    high = max(high, low + 1e-6 * max(abs(low), 1.0))  # all alike: a bar of some width
    wide = low > 0 and high > WIDE * low
    bins = [float(edge) for edge in (np.geomspace if wide else np.linspace)(low, high, 60)]
    for k, (name, values) in enumerate(groups.items()):
        colour = ID_COLOUR if k == 0 else COLOURS[(k - 1) % len(COLOURS)]
        clipped = np.clip(np.nan_to_num(values, nan=np.inf, posinf=np.inf), bins[0], bins[-1])
        shares = np.histogram(clipped, bins)[0] / max(len(values), 1)
        style = STYLES[k % len(STYLES)]
        axes.stairs(shares, bins, color=colour, alpha=0.25, fill=True)
        axes.stairs(shares, bins, color=colour, linestyle=style, label=name)
    axes.set_ylabel("share of samples")
    if wide:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=6)
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))
    axes.legend(fontsize=8)


def _roc(axes: Axes, detector: str, sets: Mapping[str, Scores], in_distribution: str) -> None:
    own = sets[in_distribution]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for k, (name, values) in enumerate((n, v) for n, v in sets.items() if n != in_distribution):
        thresholds = np.unique(np.concatenate([own, values]))[::-1]
        false = 1 - np.searchsorted(np.sort(own), thresholds, side="left") / len(own)
        true = 1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
        axes.plot(
            [0.0, *false],  # above the highest score, which may be infinite, there is nothing
            [0.0, *true],
            color=COLOURS[k % len(COLOURS)],
            linestyle=STYLES[(k + 1) % len(STYLES)],
            label=f"{name} {auroc(own, values):.3f}",
        )
    axes.set(title=f"{detector}: ROC", xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(title="AUROC", fontsize=8, loc="lower right")
