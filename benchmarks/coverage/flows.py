"""Normalising flows: all of zuko, and the families of normflows."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from case import Batch, Case, Model, squares
from torch import Tensor, nn

D = 3  # dimension of the data
SMALL = {"transforms": 2, "hidden_features": (8,)}

ZUKO: dict[str, dict[str, Any]] = {
    "BPF": {**SMALL, "degree": 4},
    "CNF": {"hidden_features": (4,), "freqs": 1, "atol": 1e-2, "rtol": 1e-2},
    "GF": {"transforms": 2, "components": 3},
    "GMM": {"components": 3},
    "MAF": SMALL,
    "NAF": {**SMALL, "signal": 4},
    "NCSF": {**SMALL, "bins": 4},
    "NICE": SMALL,
    "NSF": {**SMALL, "bins": 4},
    "RealNVP": SMALL,
    "SOSPF": SMALL,
    "UNAF": {**SMALL, "signal": 4},
}
LEFT_OUT = {
    "CNF at its default tolerances": "the solver chooses its steps by the whole batch, so the loss "
    "of a sample depends on the others (by 7e-5); at the coarse tolerance here all take the same"
}
CONDITIONAL = ["GF", "GMM", "MAF", "NSF", "RealNVP"]
MIXTURES = ["diagonal", "spherical", "tied"]


def zuko_flow(name: str, context: int = 0, **options: Any) -> Model:
    import zuko

    module = getattr(zuko.flows, name)(D, context, **options)

    def draw(n: int) -> Batch:
        return {"x": torch.randn(n, D), "c": torch.randn(n, context)}

    def losses(batch: Batch) -> Tensor:
        return -module(batch["c"] if context else None).log_prob(batch["x"])

    return Model(module, draw, losses)


def _zuko() -> list[Case]:
    made = {name: (name, 0, options) for name, options in ZUKO.items()}
    for name in CONDITIONAL:
        options = {**ZUKO[name], **({"hidden_features": (8,)} if name in ("GF", "GMM") else {})}
        made[f"{name}, conditional"] = (name, 2, options)
    for kind in MIXTURES:
        options = {"tied": True} if kind == "tied" else {"covariance_type": kind}
        made[f"GMM, {kind}"] = ("GMM", 0, {"components": 3, **options})
    return [
        Case("zuko", row, lambda n=name, c=context, o=options: zuko_flow(n, c, **o))
        for row, (name, context, options) in made.items()
    ]


def _flow(layers: list[nn.Module], shape: tuple[int, ...] = (D,), base: Any = None) -> Model:
    import normflows as nf

    module = nf.NormalizingFlow(base or nf.distributions.DiagGaussian(shape), layers).eval()

    def draw(n: int) -> Batch:
        return {"x": torch.randn(n, *shape)}

    module.log_prob(draw(8)["x"])  # activation norms are set from the first data
    _trained(module)
    return Model(module, draw, lambda b: -module.log_prob(b["x"]))


def _trained(module: nn.Module) -> None:
    """Move away from layers that start as zero, where most gradients would be zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def glow(split: str, use_lu: bool = True) -> Model:
    import normflows as nf

    q0 = [nf.distributions.DiagGaussian((8, 2, 2)), nf.distributions.DiagGaussian((2, 4, 4))]
    block = {"split_mode": split, "scale": True, "use_lu": use_lu}
    flows = [
        [*(nf.flows.GlowBlock(channels, 8, **block) for _ in range(2)), nf.flows.Squeeze()]
        for channels in (8, 4)
    ]
    module = nf.MultiscaleFlow(q0, flows, [nf.flows.Merge()])

    def draw(n: int) -> Batch:
        return {"x": torch.rand(n, 1, 8, 8)}

    module.log_prob(draw(8)["x"], None)
    _trained(module)
    return Model(module.eval(), draw, lambda b: -module.log_prob(b["x"], None))


def real_nvp() -> Model:
    import normflows as nf

    layers: list[nn.Module] = []
    for _ in range(2):
        layers.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([1, 8, 2])))
        layers += [nf.flows.Permute(2, mode="swap"), nf.flows.ActNorm((2,))]
    return _flow(layers, (2,))


def masked_affine() -> Model:
    import normflows as nf

    mask = torch.tensor([1.0, 0.0, 1.0])
    nets = [nf.nets.MLP([D, 8, D]) for _ in range(4)]
    return _flow(
        [
            nf.flows.MaskedAffineFlow(mask, nets[0], nets[1]),
            nf.flows.MaskedAffineFlow(1 - mask, nets[2], nets[3]),
        ]
    )


def autoregressive() -> Model:
    import normflows as nf

    return _flow([nf.flows.MaskedAffineAutoregressive(D, 8), nf.flows.LULinearPermute(D)])


def spline(name: str, **options: Any) -> Model:
    import normflows as nf

    kinds = getattr(nf.flows, name)
    layers = [kinds(D, 1, 8, num_bins=4, **options), nf.flows.LULinearPermute(D)]
    return _flow([*layers, kinds(D, 1, 8, num_bins=4, **options)])


def simple(name: str) -> Model:
    """A flow without a formula for its inverse, read in the direction of sampling."""
    import normflows as nf

    module = nn.Sequential(*(getattr(nf.flows, name)((D,)) for _ in range(2)))
    _trained(module)

    def losses(batch: Batch) -> Tensor:
        z, total = batch["x"], torch.zeros(())
        for flow in module:
            z, log_det = flow(z)
            total = total + log_det
        return squares(z) - total

    return Model(module, lambda n: {"x": torch.randn(n, D)}, losses)


def linear() -> Model:
    import normflows as nf

    return _flow([nf.flows.InvertibleAffine(D), nf.flows.InvertibleAffine(D, use_lu=False)])


def gaussian_mixture_base() -> Model:
    import normflows as nf

    return _flow([nf.flows.LULinearPermute(D)], base=nf.distributions.GaussianMixture(2, D))


def residual(dimension: int, training: bool = False, **options: Any) -> Model:
    """Residual flow. Its trace estimate takes noise, which every sample is given alike here."""
    import normflows as nf

    nets = [nf.nets.LipschitzMLP([dimension, 8, dimension]) for _ in range(2)]
    layers = [nf.flows.Residual(net, n_power_series=3, **options) for net in nets]
    model = _flow(layers, (dimension,))
    model.module.train(training)
    noise = torch.randn(1, dimension)

    def losses(batch: Batch) -> Tensor:
        np.random.seed(0)  # the number of terms is drawn from it
        same = mock.patch("torch.randn_like", lambda x: noise.to(x).expand_as(x))
        with same:
            return model.losses(batch)

    return model._replace(losses=losses)


NORMFLOWS: dict[str, Callable[[], Model]] = {
    "Glow": lambda: glow("channel"),
    "Glow, checkerboard": lambda: glow("checkerboard"),
    "Glow, no LU": lambda: glow("channel", use_lu=False),
    "RealNVP": real_nvp,
    "masked affine": masked_affine,
    "masked autoregressive": autoregressive,
    "neural spline, coupled": lambda: spline("CoupledRationalQuadraticSpline"),
    "neural spline, autoregressive": lambda: spline("AutoregressiveRationalQuadraticSpline"),
    "neural spline, circular": lambda: spline(
        "CircularCoupledRationalQuadraticSpline", ind_circ=[0]
    ),
    "planar": lambda: simple("Planar"),
    "radial": lambda: simple("Radial"),
    "invertible affine": linear,
    "Gaussian mixture base": gaussian_mixture_base,
    "residual, brute force": lambda: residual(2, reduce_memory=False),
    "residual, exact trace": lambda: residual(D, reduce_memory=False, exact_trace=True),
    "residual, trace estimate": lambda: residual(D, reduce_memory=False),
    "residual, training, Neumann": lambda: residual(D, training=True, reduce_memory=False),
    "residual, training, low memory": lambda: residual(D, training=True),
}


def cases() -> list[Case]:
    return [*_zuko(), *(Case("normflows", name, make) for name, make in NORMFLOWS.items())]
