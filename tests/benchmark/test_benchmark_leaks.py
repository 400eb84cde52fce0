"""False alarms on own data stand beside what exchangeable data give."""

from types import SimpleNamespace

import numpy as np
import pytest

from fimetric.benchmark.page.leaks import LEAST, Alarms, alarms_of, in_short, leaks
from fimetric.calibration import Calibration

ONE = Alarms("own-vae", 1, 40, 60, 3)


def rows(alarms):
    return [line.strip("| ").split(" | ") for line in leaks(alarms) if line.startswith("| own")]


def test_the_counts_are_of_groups_formed_at_random_by_the_default():
    def scored(n, alarms):
        return SimpleNamespace(scores={"test": np.zeros(n)}, alarms=alarms)

    found = SimpleNamespace(
        scored={
            ("own-vae", "fimetric", 1, "random"): scored(60, 3),
            ("own-vae", "fimetric", 5, "random"): scored(12, -1),
            ("own-vae", "fimetric", 5, "consecutive"): scored(12, 2),
            ("own-vae", "likelihood", 1, "random"): scored(60, 9),
        }
    )
    assert alarms_of(found, {"own-vae": 43}) == [
        Alarms("own-vae", 1, 43, 60, 3),
        Alarms("own-vae", 5, 8, 12, -1),
    ]


def test_what_exchangeable_data_give_is_what_they_gave():
    (row,) = rows([ONE])
    assert row[:5] == ["own-vae", "1", "40", "60", "3"]
    low, high = map(int, row[5].split(" to "))
    random = np.random.default_rng(0)
    own, tested = random.random((20_000, 40)), random.random((20_000, 60))
    # the second largest of 40: p-values above it are at most (1 + 1) / 41
    counts = (tested > np.sort(own, axis=1)[:, -2:-1]).sum(1)
    inside = ((counts >= low) & (counts <= high)).mean()
    assert 0.95 <= inside < 0.98 and (counts < low).mean() < 0.025


def test_a_dash_is_explained_below_the_table():
    few = Alarms("own-vae", 5, 8, 12, -1)
    (row,) = rows([few])
    assert row[3:] == ["12", "–", "–"]
    last = list(leaks([few]))[-1]
    assert last.startswith("–: ") and f"takes {LEAST} of them" in last and "held_out" in last
    assert "–: " not in "\n".join(leaks([ONE]))
    assert not list(leaks([])) and not in_short([few])


def test_so_many_calibration_groups_it_takes():
    enough, short = (Calibration(np.arange(n, dtype=float)) for n in (LEAST, LEAST - 1))
    assert enough.p_value(np.array([99.0])) <= 0.05 < short.p_value(np.array([99.0]))


def test_in_short_counts_single_samples_and_models_within():
    (line,) = in_short([ONE, Alarms("own-glow", 1, 40, 60, 30), Alarms("own-vae", 5, 40, 60, 9)])
    assert "33 of 120 (0.275); by model from 0.050 to 0.500, on 1 of 2 models" in line


@pytest.mark.parametrize("name", ["own|vae", "<b>own"])
def test_weird_names_are_shown_as_they_are(name):
    (line,) = (x for x in leaks([Alarms(name, 1, 40, 60, 3)]) if x.endswith(" |") and "60" in x)
    assert line.replace("\\|", "").count("|") == 7 and "<b>" not in line
