"""Pictures of the likelihood paradox."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fimetric.claims.pictures.looks import look
from fimetric.fisher.paradox import Paradox
from fimetric.report.pictures import histograms, save

MARKERS = "osD^vPX*<>"


def draw_paradox(path: Path, found: Paradox, foreign: list[str], kind: str, unit: str) -> None:
    """Draw histograms of the loss, and the loss against the detail in the images.

    Arguments:
        path: of the picture.
        found: what was measured.
        foreign: names of the foreign sets; the other sets are own images made simpler.
        kind: what the loss is.
        unit: of the loss.
    """
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    grid = figure.subplots(2, 2)
    simpler = [name for name in found.auroc if name not in foreign]
    _panel(grid[0, 0], found, foreign, f"{kind.capitalize()} of foreign sets", unit)
    _panel(grid[0, 1], found, simpler, f"{kind.capitalize()} of own images made simpler", unit)
    _detail(grid[1, 0], found, foreign, unit)
    _detail(grid[1, 1], found, simpler, unit)
    save(figure, path)


def _panel(axes: Axes, found: Paradox, names: list[str], title: str, unit: str) -> None:
    groups = {f"{found.own} (in-distribution)": found.bits[found.own]}
    groups |= {f"{n} (AUROC {found.auroc[n].value:.2f})": found.bits[n] for n in names}
    histograms(axes, groups)
    axes.set(title=title, xlabel=f"{unit} (left = more likely), far tails clipped")


def _detail(axes: Axes, found: Paradox, names: list[str], unit: str) -> None:
    for k, name in enumerate([found.own, *names]):
        axes.scatter(
            found.variation[name] + 0.05,  # so that one colour, of variation 0, is on the scale
            found.bits[name],
            s=5,
            alpha=0.4,
            color=look(k, name)[0],
            marker=MARKERS[k % len(MARKERS)],
            label=name,
        )
    axes.set(
        title="Loss against detail",
        xlabel="total variation (mean |difference| of neighbours, levels of 255; + 0.05)",
        ylabel=unit,
        xscale="log",
    )
    axes.xaxis.set_minor_formatter(NullFormatter())  # within a decade they would overlap
    axes.legend(fontsize=8, markerscale=2)
