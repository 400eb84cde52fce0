from fimetric.benchmark.page.seeds import by_seed
from fimetric.benchmark.results import Comparison


def comparison(other, auroc, seed, method="m", distance="far", size=1, how="random", own="a"):
    model = f"{own}-vae-{seed}"
    return Comparison(
        model, "vae", seed, own, other, distance, method, size, how, auroc, 0.0, 1.0, 10, 20
    )


def test_far_pairs_are_averaged_for_each_seed_in_turn():
    found = [
        comparison("x", 0.5, 1),
        comparison("y", 0.7, 1),
        comparison("x", 0.9, 0),
        comparison("y", 0.4, 0, distance="near"),
        comparison("y", 0.3, 0, how="consecutive"),
        comparison("x", 1.0, 0, size=5),
        comparison("x", 0.25, 1, size=5),
        comparison("x", 0.125, 0, method="other"),
    ]
    lines = list(by_seed(found, ("m", "other")))
    assert "| a vae | 1 | 0.900 / 0.600 | 0.125 / – |" in lines
    assert "| a vae | 5 | 1.000 / 0.250 | – / – |" in lines
    assert sum(line.startswith("| a vae") for line in lines) == 2


def test_models_of_one_seed_have_no_section():
    assert not list(by_seed([comparison("x", 0.5, 0), comparison("x", 0.5, 1, own="b")], ("m",)))
    assert not list(by_seed([comparison("x", 0.5, 0), comparison("x", 0.5, 1)], ("other",)))
