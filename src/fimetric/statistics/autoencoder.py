"""How badly an autoencoder of spectrograms restores a sound: the usual detector of odd sounds."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.arguments import seed_of, whole
from fimetric.data import Samples
from fimetric.data.batch import Input
from fimetric.fingerprint.model import model_fingerprint
from fimetric.gradients.machine import one_thread
from fimetric.models.log_mel import LogMel
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import clips_of

STACKED = 5  # frames
WIDTH, DEPTH, BOTTLENECK = 128, 4, 8
BATCH, LR = 512, 1e-3
READ = 256  # clips at a time
RIDGE = 1e-6  # of the mean variance of the errors, for those that never vary


class AutoencoderError(Statistic):
    r"""Creates the errors of an autoencoder of log-mel frames that is trained on reference clips.

    Five frames that follow one another make a vector v; dense layers, four of 128 units to either
    side of 8, with batch normalisation, restore it as r(v). Over all vectors of a clip

    .. math:: \text{error} = \text{mean} |v - r(v)|^2 / D, \qquad
              \text{mahalanobis} = \text{mean} (v - r(v))^T \Sigma^{-1} (v - r(v))

    with :math:`\Sigma` the covariance of the errors of the reference, one domain. The objective's
    model plays no part but for its losses, which stand beside.

    Of the published baseline the architecture, Adam and batches of 512 are kept. Its spectrograms
    are of 16,000 values a second and 128 bands; these are of ``LogMel``, and it is trained for 100
    epochs. Vectors are shifted and scaled as a whole, which leaves the order of errors as it is.

    Arguments:
        objective: any of sounds.
        reference: in-distribution clips of one length, some hundreds.
        rate: values a second, of clips in memory, which do not say it.
        epochs: passes over the reference: 20 take half a minute for 1,500 clips of 32 frames.
        seed: of weights and order.

    Raises:
        ValueError: for clips of fewer than five frames, or fewer than two vectors in all.
        TypeError: for clips of several lengths.
        ImportError: without transformers, which has the mel filters.

    References:
        Description and Discussion on DCASE2020 Challenge Task2: Unsupervised Anomalous Sound
        Detection for Machine Condition Monitoring (Koizumi et al., 2020, arXiv 2006.05822)

        First-Shot Anomaly Detection for Machine Condition Monitoring: A Domain Generalization
        Baseline (Harada, Niizumi, Ohishi, Takeuchi and Yasuda, 2023, arXiv 2303.00455)
    """

    name = "autoencoder"

    def __init__(
        self,
        objective: Objective,
        reference: Samples,
        rate: int = 8000,
        epochs: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__(objective)
        whole("epochs", epochs)
        self.epochs, self.seed = epochs, seed_of(seed)
        self._front = LogMel(getattr(reference, "rate", rate))
        self._autoencoder: nn.Module = nn.Identity()
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            self._fit(reference)

    @property
    def names(self) -> list[str]:
        """``error`` and ``mahalanobis``."""
        return ["error", "mahalanobis"]

    def settings(self) -> dict[str, Any]:
        """Return rate, epochs, seed, and a hash of what was learned."""
        learned = model_fingerprint(self._autoencoder)
        return {
            "rate": self._front.rate,
            "epochs": self.epochs,
            "seed": self.seed,
            "learned": learned,
        }

    def measure(self, x: Input) -> Tensor:
        """Return the errors (N, 2) of clips x (N, T), in float64.

        Raises:
            ValueError: for what are no clips, or clips of fewer than five frames.
        """
        clips = clips_of(self.objective, x).float().cpu()
        vectors = (self._stacked(clips) - self._shift) / self._scale
        errors = (vectors - self._restored(vectors.flatten(0, 1)).view_as(vectors)).double()
        whitened = errors @ self._whitening
        return torch.stack([errors.square().mean((1, 2)), whitened.square().sum(2).mean(1)], 1)

    def _stacked(self, clips: Tensor) -> Tensor:
        """Return the vectors (N, frames - 4, 5 * bands) of clips (N, T).

        Raises:
            ValueError: for clips of fewer than five frames.
        """
        frames = self._front(clips)[:, 0].mT  # (N, frames, bands)
        if frames.shape[1] < STACKED:
            raise ValueError(
                f"clips of {clips.shape[1]} values have {frames.shape[1]} frames, and {STACKED} "
                "are stacked; take longer clips"
            )
        return frames.unfold(1, STACKED, 1).transpose(2, 3).flatten(2)

    def _fit(self, reference: Samples) -> None:
        """Train the autoencoder, and learn the covariance of its errors.

        Raises:
            ValueError: for fewer than two vectors.
        """
        parts = torch.arange(len(reference)).split(READ)
        v = torch.cat([self._stacked(reference.tensor(i)).flatten(0, 1) for i in parts])
        if len(v) < 2:
            raise ValueError(f"the reference has {len(v)} vector of {STACKED} frames; give more")
        deviation, self._shift = torch.std_mean(v)
        self._scale = deviation if deviation > 0 else torch.ones(())
        v = (v - self._shift) / self._scale
        self._autoencoder = _dense(v.shape[1])
        _train(self._autoencoder, v, self.epochs)
        errors = (v - self._restored(v)).double()
        covariance = torch.atleast_2d(torch.cov(errors.T, correction=0))
        ridge = RIDGE * covariance.diagonal().mean().clamp_min(torch.finfo(v.dtype).tiny)
        lower = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance)))
        self._whitening = torch.linalg.inv(lower).T  # |e W|^2 = e^T covariance^-1 e

    @torch.no_grad()
    def _restored(self, vectors: Tensor) -> Tensor:
        return self._autoencoder(vectors)


def _dense(size: int) -> nn.Sequential:
    """Return an untrained autoencoder of vectors of so many numbers."""
    sizes = [size, *[WIDTH] * DEPTH, BOTTLENECK, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, size))


@torch.enable_grad()
def _train(autoencoder: nn.Module, vectors: Tensor, epochs: int) -> None:
    """Fit an autoencoder to vectors (n, D), and leave it in evaluation mode."""
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=LR)
    autoencoder.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(vectors)).split(BATCH):
            if len(rows) < 2:  # of one vector no batch has a deviation
                continue
            v = vectors[rows]
            loss = (autoencoder(v) - v).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    autoencoder.eval().requires_grad_(False)
