"""The most surprising of several tests."""

from fimetric.detectors.combined_tests import CombinedTests
from fimetric.typing import Array


class SmallestPValue(CombinedTests):
    r"""Creates :math:`s = -\min_k \log p_k` of the empirical p-values of ``CombinedTests``.

    One test that fails is enough, however many are passed. It is the largest of the columns' ranks
    among the fitting rows. All rows beyond them in some column score the same, and of many columns
    one usually is: it is for tables of few.

    Arguments:
        columns, two_sided, typicality: as of ``CombinedTests``.

    References:
        The Methods of Statistics (Tippett, 1931), Williams and Norgate
        Of goodness of fit in latent space: The Signal in the Noise (Bomatter, Geary and Gouk,
        2026), arXiv:2605.22496
    """

    name = "smallest-p-value"

    def _combine(self, log_p: Array) -> Array:
        return -log_p.min(1)
