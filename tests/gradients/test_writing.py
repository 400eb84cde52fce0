"""Where in-place operations on views have written."""

import pytest
import torch

from fimetric.gradients.writing import places, shows_places, written


def into(shape, write, value):
    """Write into views of a tensor, and return the operation."""
    out = torch.zeros(shape, dtype=value.dtype)
    write(out, value)
    return out.grad_fn


def rows(out, value):
    out[1:3].copy_(value)


def at_indices(out, value):
    out[1:][torch.tensor([2, 0])] = value


def transposed(out, value):
    out.T[:2].copy_(value)


def multiplied(out, value):
    out[1:3].mul_(value)


def doubled(out, value):
    out[1:3].add_(value, alpha=2)


def value_of(*shape, kind=torch.float32):
    return torch.randn(shape, dtype=kind, requires_grad=True)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.complex64])
def test_places_of_copies(kind):
    places_ = torch.arange(20).view(4, 5)
    expected = {rows: places_[1:3], at_indices: places_[1:][[2, 0]], transposed: places_.T[:2]}
    for write, where in expected.items():
        node = into((4, 5), write, value_of(*where.shape, kind=kind))
        assert shows_places(node)
        assert torch.equal(places(node, 1), where)


@pytest.mark.parametrize("write", [multiplied, doubled])
def test_no_place_where_a_number_is_more_or_less_than_copied(write):
    assert places(into((4, 5), write, value_of(2, 5)), 1) is None


def test_a_sum_of_two_places_is_no_third():
    """The numbers of the first and the fourth add up to that of the ninth."""
    value = torch.tensor(1.0, requires_grad=True)
    node = into((9,), lambda out, v: out[:4:3].fill_(v), value)
    assert float(written(node)[0]) == 3.0
    assert places(node, 1) is None


def test_other_places_show_in_the_numbers():
    nodes = [
        into((4, 5), lambda out, v, k=k: out[k : k + 2].copy_(v), value_of(2, 5)) for k in (0, 1)
    ]
    first, other = (written(node)[0] for node in nodes)
    assert not torch.equal(first, other)
    assert torch.equal(first, written(nodes[0])[0])


def test_few_bits_show_no_places():
    assert not shows_places(into((4, 5), rows, value_of(2, 5, kind=torch.bfloat16)))
    assert not shows_places(into((1 << 11, 1 << 11), rows, value_of(2, 1 << 11)))


def test_nothing_written():
    node = into((4, 5), lambda out, v: out[1:1].copy_(v), value_of(0, 5))
    assert places(node, 1).shape == (0, 5)
