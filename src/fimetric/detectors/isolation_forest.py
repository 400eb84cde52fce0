"""How few random cuts set a row apart from the fitting rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.standardised import StandardisedDensity
from fimetric.typing import Array


class IsolationForest(StandardisedDensity):
    r"""Creates the isolation score of random trees on the standardised columns.

    .. math:: s(z) = 2^{-E[h(z)] / c(\psi)}, \qquad c(m) = 2 H_{m-1} - 2 (m - 1) / m

    h is the depth at which a tree of :math:`\psi` rows isolates z, plus c(m) for a leaf of m rows.
    Scores come in steps, and all rows beyond the fitting rows' range share them.

    Arguments:
        trees: how many.
        seed: of the cuts.

    References:
        Isolation Forest (Liu, Ting and Zhou, 2008), IEEE International Conference on Data Mining
    """

    name = "isolation-forest"

    # T trees of up to M nodes; a leaf's children are the leaf itself
    feature_: NDArray[np.int64]  # (T, M) column to cut
    threshold_: Array  # (T, M) at and below it is left
    left_: NDArray[np.int64]  # (T, M)
    right_: NDArray[np.int64]  # (T, M)
    depth_: Array  # (T, M) h of a leaf
    scale_: float  # c of the rows of a tree

    def __init__(self, trees: int = 100, seed: int = 0) -> None:
        self.trees, self.seed = trees, seed

    def _learn(self, z: Array) -> None:
        from sklearn.ensemble import IsolationForest as Grower

        grown = Grower(n_estimators=self.trees, random_state=self.seed).fit(z)
        shape = self.trees, max(tree.tree_.node_count for tree in grown.estimators_)
        self.feature_, self.threshold_ = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
        self.left_, self.right_ = (np.tile(np.arange(shape[1]), (self.trees, 1)) for _ in range(2))
        self.depth_ = np.zeros(shape)
        for t, columns in enumerate(grown.estimators_features_):
            self._keep(t, grown.estimators_[t].tree_, columns)
        self.scale_ = float(expected_depth(np.array([grown.max_samples_]))[0])

    def _keep(self, t: int, tree: Any, columns: NDArray[np.int64]) -> None:
        """Copy one tree; parents come before their children in it."""
        self.depth_[t, : tree.node_count] = expected_depth(tree.n_node_samples)
        level = np.zeros(tree.node_count)
        for node in range(tree.node_count):
            left, right = tree.children_left[node], tree.children_right[node]
            if left >= 0:
                self.feature_[t, node] = columns[tree.feature[node]]
                self.threshold_[t, node] = tree.threshold[node]
                self.left_[t, node], self.right_[t, node] = left, right
                level[[left, right]] = level[node] + 1
        self.depth_[t, : tree.node_count] += level

    def _judge(self, z: Array) -> Array:
        z = z.astype(np.float32)  # in which the thresholds were found
        trees, rows = np.arange(self.trees), np.arange(len(z))[:, None]
        node = np.zeros((len(z), self.trees), dtype=np.int64)
        while True:
            low = z[rows, self.feature_[trees, node]] <= self.threshold_[trees, node]
            new = np.where(low, self.left_[trees, node], self.right_[trees, node])
            if (new == node).all():
                return np.exp2(-self.depth_[trees, node].mean(1) / self.scale_)
            node = new


def expected_depth(m: NDArray[np.int64]) -> Array:
    """Return c: the mean depth at which m rows are told apart by random cuts."""
    c = np.zeros(len(m))
    c[m == 2] = 1.0
    many = m > 2
    n = m[many].astype(np.float64)
    c[many] = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return c
