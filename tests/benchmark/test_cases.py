"""How held-out samples are shared out."""

import numpy as np
import pytest

from fimetric.benchmark.cases import split

IDS = [f"gtsrb/{i % 3}/{i % 40:05d}_{i:05d}.ppm" for i in range(400)]
ALIKE = r"\d+/\d+(?=_)"


def test_parts_are_disjoint_of_the_sizes_asked_for_and_seeded():
    parts = split(IDS, None, (100, 100, 150), seed=0)
    assert [len(part) for part in parts] == [100, 100, 150]
    assert len(set(np.concatenate(parts))) == 350
    again = split(IDS, None, (100, 100, 150), seed=0)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


def test_samples_that_are_alike_stay_in_one_part():
    fit, calibrate, test = split(IDS, ALIKE, (100, 100, 150), seed=0)
    kinds = [{IDS[i].rsplit("_")[0] for i in part} for part in (fit, calibrate, test)]
    assert not kinds[0] & kinds[1] and not kinds[0] & kinds[2] and not kinds[1] & kinds[2]
    assert 85 <= len(fit) <= 100 and 85 <= len(calibrate) <= 110 and len(test) == 150
    assert len(set(np.concatenate([fit, calibrate, test]))) == len(fit) + len(calibrate) + 150


def test_a_pattern_that_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"alike = 'sign' does not occur in 'gtsrb/0/00000"):
        split(IDS, "sign", (100, 100, 150), seed=0)
    with pytest.raises(ValueError, match="1 kinds of 'gtsrb' are too few"):
        split(IDS, "gtsrb", (100, 100, 150), seed=0)
