"""Whether products of float32 keep their bits, by whichever flags that was asked for."""

from contextlib import contextmanager

import pytest
import torch

from fimetric.gradients import GradientNorms
from fimetric.gradients.precision import exact_products, full_precision

CUDA, CUDNN = torch.backends.cuda.matmul, torch.backends.cudnn


def flags():
    return [flag.fp32_precision for flag in (CUDA, CUDNN.conv, CUDNN.rnn)]


@contextmanager
def asked(flag, value):
    before = flag.fp32_precision
    flag.fp32_precision = value
    try:
        yield
    finally:
        flag.fp32_precision = before


@pytest.fixture
def kept():
    before = flags()
    yield
    torch.set_float32_matmul_precision("highest")
    CUDA.fp32_precision, CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = before


def test_products_are_exact_unless_something_else_is_asked_for():
    assert exact_products()
    with asked(CUDA, "ieee"):
        assert exact_products()


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.usefixtures("kept")
def test_the_older_flags_are_seen(precision):
    torch.set_float32_matmul_precision(precision)
    assert not exact_products()


@pytest.mark.usefixtures("kept")
def test_the_oldest_flag_is_seen():
    CUDA.allow_tf32 = True
    assert not exact_products()
    CUDA.allow_tf32 = False
    assert exact_products()


@pytest.mark.parametrize("flag", [CUDA, torch.backends], ids=["products", "everything"])
def test_the_newer_flags_do_not_make_a_call_fail(flag):
    """Once they are set, the older ones raise when they are read."""
    module = torch.nn.Linear(30, 20)
    losses = module(torch.randn(3, 4, 30)).square().sum((1, 2))
    norms = GradientNorms(module)
    expected = norms(losses, retain_graph=True)
    with asked(CUDA, "none"), asked(flag, "tf32"):
        assert not exact_products()
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
        torch.testing.assert_close(norms(losses), expected)


@pytest.mark.parametrize("before", ["tf32", "ieee"])
@pytest.mark.usefixtures("kept")
def test_full_precision_lasts_for_a_while(before):
    CUDA.fp32_precision = CUDNN.conv.fp32_precision = before
    found = flags()
    with full_precision():
        assert flags() == ["ieee"] * 3
    assert flags() == found
