"""The engine in a process that was forked from one that has used it."""

import os
import select

import pytest
import torch

from fimetric.gradients import GradientNorms

SECONDS = 20.0  # a child that hangs would hang for ever


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_computes_what_its_parent_does():
    weight = torch.nn.Parameter(torch.randn(3))
    x = torch.randn(4, 3)

    def table():  # hypot has no rule, so it is called, on another thread
        return GradientNorms([("weight", weight)])(torch.hypot(x, weight).sum(1))

    expected, (reader, writer) = table(), os.pipe()
    child = os.fork()
    if child == 0:  # whatever happens, pytest must not run on in here
        try:
            os.write(writer, table().numpy().tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    answered = bool(select.select([reader], [], [], SECONDS)[0])
    if not answered:
        os.kill(child, 9)
    os.waitpid(child, 0)
    assert answered, "the child hangs"
    assert os.read(reader, 1 << 12) == expected.numpy().tobytes()
    os.close(reader)
