"""Features, scores and p-values are those of before, in the same bits on the same processor."""

import numpy as np
import pytest

from golden.values import differences, kept, made, processor


@pytest.fixture(scope="module")
def numbers():
    return made()


def test_the_same_numbers_on_any_processor(numbers):
    assert differences(numbers, kept()[0], bits=False) == []


def test_the_same_bits_on_the_processor_that_made_them(numbers):
    golden, where = kept()
    if processor() != where:
        pytest.skip(f"the numbers were made on another processor: {where}, not {processor()}")
    assert differences(numbers, golden, bits=True) == []


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("glow/values", 1e-2),
        ("vae/losses", 1e2),
        ("language/scores/foreign", 1),
        ("closure/p/own", 0.1),
        ("diffusion/scores/own", 1),
    ],
)
def test_a_number_beyond_rounding_is_seen(numbers, name, by):
    other = {**numbers, name: numbers[name] + by}
    assert differences(other, numbers, bits=False) == [name]


def test_a_last_bit_is_seen_only_where_bits_are_asked_for(numbers):
    other = {**numbers, "glow/values": np.nextafter(numbers["glow/values"], np.inf)}
    assert differences(other, numbers, bits=True) == ["glow/values"]
    assert differences(other, numbers, bits=False) == []
