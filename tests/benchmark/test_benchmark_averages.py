import numpy as np
import pytest

from fimetric.benchmark.page import ALL, averages
from fimetric.benchmark.page.averages import Setting
from fimetric.benchmark.results import Comparison


def comparison(family, own, other, auroc, seed=0, method="m", distance="far", size=1, how="random"):
    model = f"{own}-{family}-{seed}"
    return Comparison(
        model, family, seed, own, other, distance, method, size, how, auroc, 0.0, 1.0, 10, 20
    )


FAR = Setting("far", 1, "random", "m")


def test_seeds_are_averaged_within_a_pair_then_pairs_then_families_of_equal_weight():
    found = averages(
        [
            comparison("vae", "a", "b", 0.5),
            comparison("vae", "a", "b", 0.7, seed=1),  # the pair: 0.6
            comparison("vae", "b", "a", 0.8),
            comparison("vae", "a", "c", 1.0),
            comparison("glow", "a", "b", 0.4),
        ]
    )
    vae, glow, both = found
    assert [a.family for a in found] == ["vae", "glow", ALL]
    assert vae.setting == FAR
    assert vae.mean == pytest.approx(0.8)
    assert (vae.lower, vae.upper) == pytest.approx((0.7, 0.9))  # numpy's of 0.6, 0.8, 1.0
    assert (vae.worst, vae.worst_pair, vae.pairs) == (pytest.approx(0.6), ("a", "b"), 3)
    assert vae.where == "a → b"
    assert (glow.mean, glow.lower, glow.upper, glow.worst, glow.pairs) == (0.4, 0.4, 0.4, 0.4, 1)
    assert both.mean == pytest.approx((0.8 + 0.4) / 2)
    assert (both.worst, both.worst_family, both.pairs) == (0.4, "glow", 4)
    assert both.where == "glow, a → b"


def test_quartiles_are_numpys_where_all_families_have_as_many_pairs():
    values = {"vae": [0.9, 0.3, 0.55], "glow": [0.6, 0.7, 0.99]}
    found = averages(
        [
            comparison(family, "a", str(k), value)
            for family, some in values.items()
            for k, value in enumerate(some)
        ]
    )
    for average in found:
        mine = values.get(average.family, [*values["vae"], *values["glow"]])
        expected = np.quantile(mine, (0.25, 0.75))
        assert (average.lower, average.upper) == pytest.approx(expected)


def test_quartiles_over_all_families_do_not_follow_the_family_with_more_pairs():
    many = [comparison("vae", "a", str(k), 0.9) for k in range(30)]
    few = [comparison("glow", "a", str(k), 0.5) for k in range(2)]
    both = averages([*many, *few])[-1]
    assert both.family == ALL
    assert both.mean == pytest.approx(0.7)
    assert both.lower == pytest.approx(0.5)
    assert both.upper == pytest.approx(0.9)


def test_settings_are_apart_and_all_needs_the_method_in_every_family():
    found = averages(
        [
            comparison("vae", "a", "b", 0.9, method="only", size=5),
            comparison("vae", "a", "b", 0.8),
            comparison("vae", "a", "b", 0.7, size=5),
            comparison("vae", "a", "b", 0.6, size=5, how="consecutive"),
            comparison("vae", "a", "a, pale", 0.5, distance="near"),
            comparison("glow", "a", "b", 0.4),
            comparison("glow", "a", "b", 0.3, size=5),
        ]
    )
    assert [(a.family, *a.setting, a.mean) for a in found] == [
        ("vae", "far", 1, "random", "m", 0.8),
        ("vae", "far", 5, "random", "only", 0.9),
        ("vae", "far", 5, "random", "m", 0.7),
        ("vae", "far", 5, "consecutive", "m", 0.6),
        ("vae", "near", 1, "random", "m", 0.5),
        ("glow", "far", 1, "random", "m", 0.4),
        ("glow", "far", 5, "random", "m", 0.3),
        (ALL, "far", 1, "random", "m", pytest.approx(0.6)),
        (ALL, "far", 5, "random", "m", pytest.approx(0.5)),
    ]
    assert found[4].where == "a → pale"


def test_a_comparison_given_twice_is_refused():
    once = comparison("vae", "a", "b", 0.5)
    with pytest.raises(ValueError, match="given twice"):
        averages([once, once])


def test_no_comparisons_have_no_averages():
    assert averages([]) == []
