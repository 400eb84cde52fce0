"""Effective ranks against loops over pairs, against dense Fisher matrices, and in closed form."""

import numpy as np
import pytest
import torch
from known import linear_gaussian
from torch import nn

from fimetric import extract
from fimetric.fisher.rank import effective_rank
from fimetric.objectives import Objective


def quiet(objective, data, **settings):
    return effective_rank(objective, data, progress=False, **settings)


def gradients_are_the_data(width):
    """With loss <x, theta> the gradient of a sample is the sample itself."""
    model = nn.Module()
    model.theta = nn.Parameter(torch.zeros(width, dtype=torch.float64))
    return Objective(lambda x: x @ model.theta, model)


def gaussian(spectrum, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, len(spectrum), generator=generator, dtype=torch.float64)
    return z * torch.tensor(spectrum, dtype=torch.float64).sqrt()


def small_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return Objective(lambda x: (model(x) - 1).square().sum(1), model)


def dense_gradients(objective, x):
    """One backward pass per sample: name -> (N, numel)."""
    parameters = list(objective.module.parameters())
    rows = [torch.autograd.grad(objective(x[i : i + 1]).sum(), parameters) for i in range(len(x))]
    return [torch.stack([row[j].flatten() for row in rows]).numpy() for j in range(len(parameters))]


@pytest.mark.parametrize("batch_size", [11, 4, 5])  # one batch; one of three; one of one
def test_it_is_the_mean_over_pairs_by_a_loop(batch_size):
    objective = small_network()
    x = torch.randn(11, 4, dtype=torch.float64)
    found = quiet(objective, x, batch_size=batch_size)
    for rank, g in zip(found, dense_gradients(objective, x), strict=True):
        norms = [v @ v for v in g]
        every = [norms[i] * norms[k] for i in range(11) for k in range(11) if i != k]
        starts = range(0, 11, batch_size)
        parts = [g[start : start + batch_size] for start in starts]
        pairs = [(a @ b) ** 2 for p in parts for i, a in enumerate(p) for b in p[i + 1 :]]
        assert rank == pytest.approx(np.mean(every) / np.mean(pairs), rel=1e-10)


def test_it_agrees_with_the_dense_matrix_of_the_same_samples():
    objective, N = small_network(), 60
    x = torch.randn(N, 4, dtype=torch.float64)
    found = quiet(objective, x, batch_size=N)
    for rank, g in zip(found, dense_gradients(objective, x), strict=True):
        F = g.T @ g / N  # holds the pairs of a sample with itself
        norms = (g**2).sum(1)
        squared_trace = (np.trace(F) ** 2 * N - np.mean(norms**2)) / (N - 1)
        trace_of_square = (np.trace(F @ F) * N - np.mean(norms**2)) / (N - 1)
        assert rank == pytest.approx(squared_trace / trace_of_square, rel=1e-10)


def test_it_is_close_to_a_fisher_matrix_that_is_known():
    objective, draw, F = linear_gaussian()
    found = quiet(objective, draw(3000), batch_size=100)
    for rank, block in zip(found, (F[:6, :6], F[6:, 6:]), strict=True):
        assert rank == pytest.approx(np.trace(block) ** 2 / np.trace(block @ block), rel=0.1)


@pytest.mark.parametrize("spectrum", [[1.0] * 40, [1.0, 0.5, 0.25, 0.0], [3.0, 1e-6]])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e10])
def test_gaussian_gradients_have_the_rank_of_their_spectrum(spectrum, scale):
    spectrum = scale**2 * np.array(spectrum)
    x = gaussian(spectrum.tolist(), 2000)
    found = quiet(gradients_are_the_data(len(spectrum)), x, batch_size=200)
    assert found == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum(), rel=0.06)


def test_gradients_on_a_line_have_rank_one():
    line = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x = torch.ones(40, 1, dtype=torch.float64) * line
    x[::2] *= -1
    assert quiet(gradients_are_the_data(3), x, batch_size=40) == pytest.approx(1, rel=1e-12)


def test_no_gradient_and_orthogonal_gradients_have_no_rank():
    assert np.isnan(quiet(gradients_are_the_data(3), torch.zeros(4, 3, dtype=torch.float64)))
    assert np.isnan(quiet(gradients_are_the_data(3), torch.eye(3, dtype=torch.float64)))


class Views(Objective):
    """Two views of which one has two noise draws."""

    def views(self):
        one = self.function
        return {
            "a/draw=0": one,
            "a/draw=1": lambda x: one(x.abs()),
            "b/draw=0": lambda x: one(x**3),
        }


def test_columns_are_those_of_extract_and_draws_are_averaged():
    plain = small_network()
    objective = Views(plain.function, plain.module)
    x = torch.randn(8, 4, dtype=torch.float64)
    found = quiet(objective, x)
    assert len(found) == len(extract(objective, x, progress=False).names) == 8
    a, b = (quiet(plain, x) + quiet(plain, x.abs())) / 2, quiet(plain, x**3)
    np.testing.assert_allclose(found, [*a, *b], rtol=1e-12)


def test_what_has_no_pair_is_refused():
    x = torch.ones(1, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="1 sample makes no pair"):
        quiet(gradients_are_the_data(3), x)
    with pytest.raises(ValueError, match="batch_size is 1"):
        quiet(gradients_are_the_data(3), x, batch_size=1)


def test_an_infinite_gradient_is_named():
    model = nn.Linear(1, 1, bias=False).double()
    objective = Objective(lambda x: (model(x) * 1e70)[:, 0], model)
    x = torch.ones(5, 1, dtype=torch.float64)
    x[3] = 1e10  # the loss is finite, and so is |g|^2, but not its square
    with pytest.raises(ValueError, match="sample number 3 is not finite in layer 'weight'"):
        quiet(objective, x, batch_size=2)
