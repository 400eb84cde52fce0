"""Scores of outlier detectors of PyOD, which see rows of tables and no model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimetric.arguments import seed_of
from fimetric.data import Samples
from fimetric.data.batch import Input
from fimetric.libraries import library
from fimetric.objectives.base import Objective
from fimetric.statistics.values import RowValues

DETECTORS = {  # name -> class of pyod.models.<name>
    "ecod": "ECOD",
    "copod": "COPOD",
    "iforest": "IForest",
    "knn": "KNN",
    "lof": "LOF",
    "ocsvm": "OCSVM",
    "deep_svdd": "DeepSVDD",
}
JOINT = ("ecod", "copod")  # they rank all rows they are given together with the training rows


class OutlierScores(RowValues):
    """Creates the score of an outlier detector with PyOD's default settings, one column.

    It is fitted on standardised training rows when it is made; the model plays no part. It is high
    where a row is anomalous: the density ``Column`` takes it as it is. ECOD and COPOD rank the rows
    that they score along with the training rows; they get one row at a time here, so that a score
    depends on its row alone. PyOD is not among fimetric's dependencies.

    Arguments:
        objective: holds the model; its losses stand beside the score.
        train: own rows (n, D).
        detector: a name in ``DETECTORS``.
        seed: of the detectors that draw random numbers.

    Raises:
        ImportError: without PyOD.
        ValueError: for an unknown detector, or samples that are no rows of numbers.

    References:
        PyOD: A Python Toolbox for Scalable Outlier Detection (Zhao, Nasrullah and Li, 2019,
        arXiv:1901.01588)
        ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions (Li,
        Zhao, Hu, Botta, Ionescu and Chen, 2022, arXiv:2201.00382)
        COPOD: Copula-Based Outlier Detection (Li, Zhao, Botta, Ionescu and Hu, 2020,
        arXiv:2009.09463)
        Isolation Forest (Liu, Ting and Zhou, 2008), IEEE International Conference on Data Mining
        Efficient Algorithms for Mining Outliers from Large Data Sets (Ramaswamy, Rastogi and Shim,
        2000), SIGMOD
        LOF: Identifying Density-Based Local Outliers (Breunig, Kriegel, Ng and Sander, 2000),
        SIGMOD
        Estimating the Support of a High-Dimensional Distribution (Scholkopf, Platt, Shawe-Taylor,
        Smola and Williamson, 2001), Neural Computation 13(7)
        Deep One-Class Classification (Ruff et al., 2018), ICML
    """

    name = "outlier-scores"

    def __init__(
        self, objective: Objective, train: Samples, detector: str = "ecod", seed: int = 0
    ) -> None:
        super().__init__(objective, train)
        if detector not in DETECTORS:
            raise ValueError(f"no detector {detector!r}; there are {', '.join(DETECTORS)}")
        self.detector, self.seed = detector, seed_of(seed)
        with _seeded(self.seed):
            self._fitted = _made(detector, self.seed, train.shape[0])
            self._fitted.fit(self.standardised(train.tensor()).numpy())

    @property
    def names(self) -> list[str]:
        """The name of the detector."""
        return [self.detector]

    def settings(self) -> dict[str, Any]:
        """Return detector, its version and seed, and a hash of the training rows."""
        version = library("pyod", "pyod").__version__
        own = {"detector": self.detector, "pyod": version, "seed": self.seed}
        return {**own, **super().settings()}

    def measure(self, x: Input) -> Tensor:
        """Return the scores (N, 1) of rows x (N, D), in float64."""
        rows = super().measure(x).numpy()
        parts = rows[:, None] if self.detector in JOINT else [rows]
        scores = [np.asarray(self._fitted.decision_function(part), np.float64) for part in parts]
        return torch.from_numpy(np.concatenate(scores))[:, None]


def _made(detector: str, seed: int, columns: int) -> Any:
    """Return a new detector.

    Raises:
        ImportError: without PyOD.
    """
    module = library(f"pyod.models.{detector}", "pyod")
    settings = {
        "iforest": {"random_state": seed},
        "deep_svdd": {"n_features": columns, "random_state": seed, "verbose": 0},
    }
    return getattr(module, DETECTORS[detector])(**settings.get(detector, {}))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Have torch's and numpy's global generators begin at a seed, and put them back afterwards."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
