"""Colours of a graph with float16, which is too coarse and too narrow for powers of two.

Below 6e-5 a number of this format loses bits, so that ratios of gradients are no powers any more.
What is left is whether a gradient is zero. Bit by bit of the samples' numbers, the losses are
backpropagated with weight 1 for the samples that have the bit, then for the others: what belongs to
one sample is not zero in the halves that hold it, and zero in all others. Any two samples differ in
some bit, so what collects gradients of several is found in both halves of it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.probes import CPU

NOTHING = -1  # the entry is zero, or not finite
SEVERAL = -2  # it collects gradients of several samples

Gradients = Sequence[Tensor | None]


def samples_by_halves(
    backward: Callable[[Tensor], Gradients], ones: Gradients, samples: int
) -> list[Tensor | None]:
    """Return the sample of each entry of some gradients, NOTHING or SEVERAL.

    Arguments:
        backward: which samples have weight 1, (N,) bool -> gradients, None where none arrives.
        ones: the gradients where all samples have weight 1.
        samples: the number of samples N > 1.
    """
    number, found = torch.arange(samples, device=CPU), [_Entries(one) for one in ones]
    for bit in range((samples - 1).bit_length()):
        half = (number >> bit) % 2 == 1
        for entries, a, b in zip(found, backward(half), backward(~half), strict=True):
            entries.append_bit(bit, a, b)
    return [entries.samples() for entries in found]


class _Entries:
    """Collects the bits of the samples that the entries of one tensor belong to."""

    def __init__(self, one: Tensor | None) -> None:
        self.one, self.bits = one, 0
        self.number = self.seen = self.mixed = torch.zeros((), dtype=torch.long, device=CPU)

    def append_bit(self, bit: int, a: Tensor | None, b: Tensor | None) -> None:
        """Take the gradients of the samples that have a bit, and of those that have not."""
        if a is not None and b is not None:
            with_it, without = (a != 0).long(), (b != 0).long()
            self.number = self.number + (with_it << bit)
            self.seen = self.seen + (with_it | without)
            self.mixed = self.mixed | (with_it & without)
            self.bits = bit + 1

    def samples(self) -> Tensor | None:
        """Return the sample of each entry, NOTHING or SEVERAL."""
        if self.one is None:
            return None
        # An entry that is zero in some bits only is one in which samples had cancelled.
        several = (self.mixed > 0) | ((self.seen > 0) & (self.seen < self.bits))
        found = torch.where(self.seen > 0, self.number, NOTHING).masked_fill_(several, SEVERAL)
        return found.masked_fill_(~self.one.isfinite(), NOTHING)
