from types import SimpleNamespace

from fimetric.benchmark.comparing import Paired
from fimetric.benchmark.page import averages
from fimetric.benchmark.page.headline import headline
from fimetric.benchmark.results import Comparison
from fimetric.metrics import Estimate


def comparison(method, other, auroc):
    return Comparison("a-vae", "vae", 0, "a", other, "far", method, 1, "random", auroc, 0, 1, 9, 9)


def found(areas, differences):
    """Return what ``headline`` reads of a benchmark: method -> areas on b and c, and tests."""
    comparisons = [
        comparison(m, other, area) for m, each in areas.items() for other, area in each.items()
    ]
    return SimpleNamespace(
        comparisons=comparisons,
        paired=lambda method, against, size: differences.get(against, []),
    )


def row(areas, differences):
    made = found(areas, differences)
    (line,) = (x for x in headline(made, averages(made.comparisons)) if x.startswith("| vae"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def difference(value, low, high):
    return [Paired("vae", Estimate(value, low, high), 2)]


def test_the_best_rival_is_one_that_was_tried_on_all_pairs():
    areas = {
        "fimetric": {"b": 0.8, "c": 0.6},
        "likelihood": {"b": 0.5, "c": 0.3},
        "waic": {"b": 0.99},  # on the easier pair alone
        "dose-svm": {"b": 0.7, "c": 0.5},
        "full-gaussian": {"b": 0.9, "c": 0.9},  # ours
    }
    cells = row(
        areas, {"likelihood": difference(0.3, 0.2, 0.4), "dose-svm": difference(0.1, -0.1, 0.3)}
    )
    assert cells == [
        "vae",
        "1",
        "0.400 (**+0.300 [+0.200, +0.400]**)",
        "-",
        "-",
        "dose-svm: 0.600 (+0.100 [-0.100, +0.300])",
        "0.700",
    ]


def test_a_loss_is_as_clear_as_a_win_and_a_tie_at_the_ceiling_is_told():
    areas = {"fimetric": {"b": 0.996}, "likelihood": {"b": 0.999}, "typicality": {"b": 0.5}}
    cells = row(areas, {"likelihood": difference(-0.003, -0.01, 0.01), "typicality": []})
    assert cells[2] == "0.999 (**-0.003 [-0.010, +0.010]**)"
    assert cells[3] == "0.500 (on fewer samples)"
    cells = row({**areas, "fimetric": {"b": 0.7}}, {"likelihood": difference(-0.3, -0.4, -0.2)})
    assert cells[2] == "0.999 (**-0.300 [-0.400, -0.200]**)"
