"""The number of false alarms of exchangeable data, against counting all orders."""

from fractions import Fraction
from math import comb

import pytest

from fimetric.calibration import false_alarms


def shares(n, m, k):
    """Return the probability of each number of alarms among m, of all orders of n + m scores."""
    return [
        Fraction(comb(j + k - 1, j) * comb(m - j + n - k, m - j), comb(n + m, m))
        for j in range(m + 1)
    ]


@pytest.mark.parametrize(
    ("n", "m", "alpha"), [(19, 20, 0.05), (39, 7, 0.1), (9, 30, 0.3), (199, 200, 0.05), (9, 1, 0.1)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
def test_it_is_the_law_of_all_orders(n, m, alpha, confidence):
    law = shares(n, m, round(alpha * (n + 1)))
    assert sum(law) == 1
    least, most = false_alarms(n, m, alpha, confidence)
    rest = Fraction((1 - confidence) / 2)
    assert sum(law[:least]) < rest <= sum(law[: least + 1])
    assert sum(law[:most]) < 1 - rest <= sum(law[: most + 1])


def test_a_level_that_a_product_rounds_down():
    assert int(0.29 * 100) == 28  # exact arithmetic says 29
    assert false_alarms(99, 1, 0.29, 0.5) == false_alarms(99, 1, 0.2900001, 0.5)
    assert false_alarms(99, 400, 0.29, 0.9) != false_alarms(99, 400, 0.2899, 0.9)


def test_too_few_to_alarm_at_all():
    assert false_alarms(10, 50, 0.05, 0.999) == (0, 0)
    assert false_alarms(19, 0, 0.05, 0.999) == (0, 0)
