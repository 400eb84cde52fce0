"""The coarsest level: what the layer-wise norms are an approximation of."""

from typing import Any

from fimetric.fisher.metrics.base import FisherMetric
from fimetric.fisher.metrics.blocks import Block, LayerNorms, Scaled
from fimetric.fisher.metrics.reference import Layer, References
from fimetric.gradients import GradientNorms


class ScaledIdentity(FisherMetric):
    """Creates the metric of F_j = c_j I per tensor, c_j the mean square of an entry's gradient.

    Its columns are the layer-wise norms, each in units of its mean.

    Arguments:
        seed: not used; for the likeness to other levels.

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams and Falck, 2024, arXiv 2403.01485)
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def settings(self) -> dict[str, Any]:
        """Return nothing: there is nothing to set."""
        return {}

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> LayerNorms:
        blocks: dict[str, Block] = {
            name: Scaled(layer.scale) for name, layer in layers.items() if layer.live
        }
        return LayerNorms(norms, layers, blocks, prefix)
