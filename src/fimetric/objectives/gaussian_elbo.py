"""The bound of a library's variational autoencoder, whose decoder is the mean of a Gaussian."""

from typing import Any

import torch
from torch import Tensor, nn

from fimetric.arguments import whole
from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.data.spec import Spec
from fimetric.objectives.base import Losses, Objective
from fimetric.objectives.densities import divergence, fine, gaussian, posterior_parts
from fimetric.objectives.one_pass import Shared


class GaussianELBO(Objective):
    """Creates the negative evidence lower bound of a library's autoencoder of pictures.

        l(x) = |x - decode(z)|^2 / 2 + D log(2 pi) / 2 + KL(q(z | x), N(0, 1)),   z = mu + s eps

    in nats, for pictures brought from [0, 1] to [-1, 1]: the decoder's output is the mean of a
    Gaussian of unit variance there, and the noise eps is fixed. Its ``parts`` are ``rate``, the
    divergence, and ``distortion``, the rest on average over the draws, which add up to the loss;
    and ``entropy``, H[q(z | x)].

    Arguments:
        vae: ``encode(x).latent_dist`` has ``mean`` and ``logvar`` (N, ...), and
            ``decode(z).sample`` is (N, ...), as of diffusers' AutoencoderKL.
        draws: noise draws, each a view.
        seed: of the noise.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2014, arXiv 1312.6114)
    """

    kind = "likelihood bound"
    shape: tuple[int | None, ...] | None = None
    """Shape (C, H, W) of the pictures, where it is known."""

    def __init__(self, vae: nn.Module, draws: int = 1, seed: int = 0) -> None:
        super().__init__(self.forward, vae, seed)
        whole("draws", draws)
        self.draws = draws

    @property
    def spec(self) -> Spec:
        """Images in [0, 1]."""
        return Spec("floats", self.shape, low=0.0, high=1.0)

    def views(self) -> dict[str, Losses]:
        """Return one view per draw."""
        return {f"draw={k}": self._view(f"draw={k}") for k in range(self.draws)}

    def _view(self, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            posterior = self._posterior(batch)
            rate = divergence(fine(posterior.mean), fine(posterior.logvar))
            return self._distortion(name, batch, posterior) + rate

        return losses

    def _posterior(self, batch: Input) -> Any:
        return self.module.encode(2 * data_of(batch) - 1).latent_dist  # type: ignore[operator]

    def _distortion(self, view: str, batch: Input, posterior: Any) -> Tensor:
        """Return -log p(x|z) (N,) at the draw of a view."""
        x = 2 * data_of(batch) - 1
        noise = self._noise(view, posterior.mean.shape[1:], x, "normal")
        z = posterior.mean + (0.5 * posterior.logvar).exp() * noise
        return gaussian(fine(x), fine(self.module.decode(z).sample))  # type: ignore[operator]

    def shared(self) -> list[Shared]:
        """Return the method whose results both the losses and the parts are made of."""
        return [(self.module, "decode")]

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        posterior = self._posterior(batch)
        mean, logvar = fine(posterior.mean), fine(posterior.logvar)
        distortions = [self._distortion(view, batch, posterior) for view in self.views()]
        return {
            "rate": divergence(mean, logvar),
            "distortion": torch.stack(distortions).mean(0),
            "entropy": posterior_parts(mean, 0.5 * logvar)["entropy"],
        }

    def settings(self) -> dict[str, Any]:
        """Return the number of draws."""
        return {"draws": self.draws}
