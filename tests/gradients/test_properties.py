"""Random networks against the loop that runs every sample alone.

FIMETRIC_EXAMPLES=2000 draws as many networks per test, and other ones each time.
"""

import os
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_attributes import FAMILIES
from random_case import FLOOR, Case
from random_networks import BEGINNINGS, programs
from random_program import Program

from fimetric.gradients import GradientNorms, kinds, plans
from fimetric.gradients.reference import gradients_one_by_one, squared_gradient_norms

MANY = int(os.environ.get("FIMETRIC_EXAMPLES", "0"))


def examples(few):
    return settings(
        max_examples=MANY or few,
        derandomize=not MANY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def _plans_are_right_by_themselves(monkeypatch):
    """A plan that is reused is compared with autograd now and then, which would mend it here."""
    for name in ("CHECKED_USES", "CERTAIN_USES"):
        monkeypatch.setattr(kinds, name, frozenset())


def check_in_many_batches(program, strided=False):
    """In new batches, of another size, on the other branch, and after a training step."""
    case, N = Case(program, strided=strided), program.samples
    norms = GradientNorms(case.named.items())
    for number, samples, switch in [(0, N, False), (1, N, False), (2, N + 1, False), (3, N, True)]:
        case.check(norms, program.batch(number, samples), switch)
    case.train()
    case.check(norms, program.batch(4))


@examples(50)
@given(programs(), st.booleans())
def test_equals_the_loop(program, strided):
    check_in_many_batches(program, strided)


RICH = ("convolution", "transposed_convolution", "elementwise", "einsum")


@pytest.mark.parametrize("operation", BEGINNINGS)
def test_every_operation_equals_the_loop(operation):
    @examples(12 if operation in RICH else 2)
    @given(programs(first=operation, longest=2))
    def check(program):
        check_in_many_batches(program)

    check()


@examples(40)
@given(programs())
def test_gram_and_contributions(program):
    case = Case(program)
    norms = GradientNorms(case.named.items())
    for number in range(2):
        batch = program.batch(number)
        case.check(norms, batch)
        expected = gradients_one_by_one(case.grouped(batch), case.trained)
        bound = GradientNorms(case.named.items()).measure(case.grouped(batch)).bound
        largest = max(float(g.abs().max()) for g in expected if g is not None) ** 2
        gram, found = norms.gram(case.grouped(batch)), norms.contributions(case.grouped(batch))
        for j, (name, contribution) in enumerate(found):
            assert name == norms.names[j]
            zero = torch.zeros(program.samples, *case.named[name].shape, dtype=torch.float64)
            want = (zero if expected[j] is None else expected[j]).reshape(program.samples, -1)
            got = contribution.dense().reshape(want.shape)
            squares = want.square().sum(1) + bound[:, j] / 1e-18 + FLOOR * largest / 1e-18
            assert ((got - want).square().sum(1) <= 1e-18 * squares).all(), name
            scale = squares.sqrt()
            assert ((gram[j] - want @ want.T).abs() <= 1e-8 * torch.outer(scale, scale)).all(), name


@st.composite
def pairs(draw):
    """Two programs, the second with the first one's parameters and perhaps more."""
    first = draw(programs(longest=4))
    return first, draw(programs(first.parameters, longest=4))


@examples(40)
@given(pairs())
def test_a_plan_is_for_one_program(pair):
    """Two programs in alternation on one object."""
    named = pair[1].make_parameters()
    cases = [Case(program, named) for program in pair]
    norms = GradientNorms(named.items())
    for number, (which, more) in enumerate([(0, 0), (1, 0), (0, 0), (1, 1), (0, 1), (1, 0)]):
        program = pair[which]
        cases[which].check(norms, program.batch(number, program.samples + more))


@st.composite
def alike(draw, family):
    """Programs that differ in one expression of a family."""
    K = draw(st.sampled_from([3, 4]))
    N = draw(st.sampled_from([K, K, K, 2, 5]))
    shapes = {"a": (K, K), "b": (K, K), "c": (K, K, 3), "v": (K,), "w": (K, K)}
    parameters = {name: (shape, "normal") for name, shape in shapes.items()}
    before = draw(st.sampled_from(["h = F.linear(x, w).tanh()", "h = x", "h = w @ x + v"]))
    after = ["h = (h * v[0]).square()", "return h.flatten(1).sum(1)"]
    seed = draw(st.integers(0, 99))
    chosen = draw(st.permutations(family)) + draw(st.lists(st.sampled_from(family), max_size=2))
    return [
        Program(
            (f"K = {K}", before, f"h = {e}", *after),
            parameters,
            (K, K),
            False,
            N,
            1,
            "normal",
            seed,
        )
        for e in chosen
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0])
def test_a_plan_is_for_one_attribute(family):
    """Another stride, axis, order, length or branch must never be read by the old plan."""

    @examples(3)
    @given(alike(family))
    def check(sequence):
        named = sequence[0].make_parameters()
        norms = GradientNorms(named.items())
        for number, program in enumerate(sequence):
            Case(program, named).check(norms, program.batch(number))

    check()


@examples(8)
@given(
    programs(longest=3),
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=4, max_size=8),
)
def test_plans_are_bounded_in_number(program, steps):
    case = Case(program)
    norms = GradientNorms(case.named.items())
    with mock.patch.object(plans, "PLANS", 2):
        for number, (samples, switch) in enumerate(steps):
            case.check(norms, program.batch(number, samples), switch)
            assert len(norms._engine.plans) <= 2


def cancelling(N, positions, channels, closeness, seed):
    """Inputs (N, T, I) alike at all positions but for ``closeness``, and signs that add up to 0."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(N, 1, channels, generator=generator)
    own = torch.randn(N, positions, channels, generator=generator)
    signs = torch.ones(positions)
    signs[1::2] = -1
    return shared + closeness * own, signs


def assert_precise(losses, x, weight, closeness):
    """Compare float32 with the loop in float64, on the same numbers.

    What is left of the terms is ``closeness`` of their size, so float32 itself keeps about
    eps / closeness: some 1e-3 at 1e-4.
    """
    table = GradientNorms([("weight", weight)])(losses(x, weight))
    wide = weight.detach().double().requires_grad_()
    batches = x.double().split(1)
    expected = squared_gradient_norms(lambda x: losses(x, wide), batches, [wide])
    torch.testing.assert_close(table.double(), expected, rtol=max(1e-3, 5e-7 / closeness), atol=0)


CLOSENESS = st.sampled_from([1.0, 1e-2, 1e-3, 1e-4])


@examples(25)
@given(
    st.sampled_from([1, 3]),
    st.sampled_from([2, 4, 16, 64]),
    st.sampled_from([(8, 8), (64, 64), (96, 32), (160, 160)]),
    CLOSENESS,
    st.integers(0, 99),
)
def test_cancelling_rows_of_a_linear_layer_in_float32(N, T, sides, closeness, seed):
    """In the Gram form (few positions) and the direct one."""
    O, I = sides
    x, signs = cancelling(N, T, I, closeness, seed)
    terms = signs[:, None] * torch.randn(O)

    def losses(x, weight):
        return (F.linear(x, weight) * terms.to(x)).sum((1, 2))

    assert_precise(losses, x, torch.randn(O, I).requires_grad_(), closeness)


@examples(25)
@given(
    st.sampled_from([1, 3]),
    st.sampled_from([(2, 3), (4, 4), (8, 6)]),
    st.sampled_from([(4, 4), (24, 32), (48, 48)]),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    CLOSENESS,
    st.integers(0, 99),
)
def test_cancelling_pixels_of_a_convolution_in_float32(
    N, size, channels, kernel, transposed, closeness, seed
):
    """Circular, so that every kernel offset sees all pixels cancel."""
    (O, I), k = channels, min(kernel, *size)
    x, signs = cancelling(N, size[0] * size[1], I, closeness, seed)
    x = x.transpose(1, 2).unflatten(2, size)
    terms = signs.view(size) * torch.randn(O, 1, 1)

    def losses(x, weight):
        if transposed:
            y = F.conv_transpose2d(x, weight.transpose(0, 1))[..., : size[0], : size[1]]
        else:
            y = F.conv2d(F.pad(x, (0, k - 1, 0, k - 1), mode="circular"), weight)
        return (y * terms.to(x)).sum((1, 2, 3))

    assert_precise(losses, x, torch.randn(O, I, k, k).requires_grad_(), closeness)
