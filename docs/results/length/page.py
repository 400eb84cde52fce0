"""Write docs/results/length.md and its picture."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fimetric.report.pictures import COLOURS, save
from fimetric.store.files import whole_file
from judging import DENSITIES, DRAWS, WAYS, WINDOWS, Alarms

HERE = Path(__file__).parent
OURS, DEFAULT = WAYS[-1], DENSITIES[0]


def write(found: Sequence[Alarms], again: Sequence[Alarms], said: Mapping[str, str]) -> None:
    """Write the page and the picture.

    Arguments:
        found: of all sets, densities, ways and lengths.
        again: the same of further draws of the parts.
        said: of each set, what its model and its parts are.
    """
    draw(found, HERE / "alarms.png")
    with whole_file(HERE.with_suffix(".md")) as place:
        head = HERE.with_suffix(".head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *_page(found, again, said)]) + "\n", encoding="utf-8")


def _page(
    found: Sequence[Alarms], again: Sequence[Alarms], said: Mapping[str, str]
) -> Iterator[str]:
    yield "\n## Result\n"
    ours = [each for each in found if (each.density, each.way) == (DEFAULT, OURS)]
    inside = sum(each.inside for each in ours)
    yield f"Of the default, {inside} of {len(ours)} shares lie inside their band.\n"
    yield "![False alarms by length](length/alarms.png)\n"
    for data, words in said.items():
        yield f"### {data}\n\n{words}\n"
        yield from _table([each for each in found if each.data == data])
        yield from _again([each for each in again if each.data == data])


def _table(found: Sequence[Alarms]) -> Iterator[str]:
    heads = [f"{T}" for T in WINDOWS]
    yield f"| density | length | {' | '.join(heads)} |"
    yield "|---|---|" + "---|" * len(heads)
    for density in DENSITIES:
        for way in WAYS:
            row = [each for each in found if (each.density, each.way) == (density, way)]
            cells = [
                f"{each.share:.3f}" if each.inside else f"**{each.share:.3f}**" for each in row
            ]
            yield f"| {density} | {way} | {' | '.join(cells)} |"
    row = [each for each in found if (each.density, each.way) == (DEFAULT, OURS)]
    band = [f"{each.low:.3f} to {each.high:.3f}" for each in row]
    yield f"| | band, with bins | {' | '.join(band)} |"
    for name in row[0].foreign:
        shares = " | ".join(f"{each.foreign[name]:.2f}" for each in row)
        yield f"| {DEFAULT} | {OURS}: alarms on {name} | {shares} |"
    yield "\nBold: outside of its own band.\n"


def _again(found: Sequence[Alarms]) -> Iterator[str]:
    """Yield the means over further draws, by which a bias is told that one draw does not show."""
    yield f"Means over {DRAWS} further draws of the three parts, and draws inside of the band:\n"
    yield f"| density | length | {' | '.join(map(str, WINDOWS))} |"
    yield "|---|---|" + "---|" * len(WINDOWS)
    for density in DENSITIES:
        for way in WAYS:
            cells = []
            for T in WINDOWS:
                wanted = (density, way, T)
                own = [e for e in found if (e.density, e.way, e.length) == wanted]
                mean = sum(each.share for each in own) / len(own)
                cells.append(f"{mean:.3f}, {sum(each.inside for each in own)}")
            yield f"| {density} | {way} | {' | '.join(cells)} |"
    yield ""


def draw(found: Sequence[Alarms], path: Path) -> None:
    """Draw the false alarms of the default by length, a panel a data set."""
    sets = list(dict.fromkeys(each.data for each in found))
    figure = Figure(figsize=(5 * len(sets), 4), layout="constrained")
    for axes, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for colour, way in zip(COLOURS, WAYS, strict=False):
            wanted = (data, DEFAULT, way)
            row = [each for each in found if (each.data, each.density, each.way) == wanted]
            shares = [each.share for each in row]
            axes.plot(WINDOWS, shares, "o-", color=colour, label=way, linewidth=1.2)
        low, high = [each.low for each in row], [each.high for each in row]
        axes.fill_between(
            WINDOWS, low, high, color="#999999", alpha=0.3, label="99% band, with bins"
        )
        axes.axhline(0.05, color="#000000", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(WINDOWS, [str(T) for T in WINDOWS])
        axes.set(
            title=f"{data}, {DEFAULT}",
            xlabel="tokens",
            ylabel="false alarms at .05",
            ylim=(0, None),
        )
        axes.legend(fontsize=8)
    save(figure, path)
