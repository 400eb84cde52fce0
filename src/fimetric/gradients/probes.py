"""The probes by which colours are read: weights of the losses, and what of the answers can be read.

A weight is a power of two, drawn anew for every probe, and a probe goes back for one half of the
samples and then for the other.
"""

import math

import torch
from torch import Tensor

from fimetric.gradients.checkpoints import forget

CODES = 16  # exponents -7 .. 8
LOWEST = -7
CPU = torch.device("cpu")  # where probes are drawn, whatever the default device is


def probe_bytes(device: torch.device) -> int:
    """Return how many bytes of gradients are looked at together: all probes go back for each lot.

    A few times as much is held with what is made of them.
    """
    if device.type != "cuda":
        return 1 << 29
    free, _ = torch.cuda.mem_get_info(device)
    return max(1 << 29, free // 16)


def probe_count(losses: Tensor) -> int:
    """Digits to tell N samples apart and one probe more; two where sums have no fixed order."""
    digits = max(1, math.ceil(math.log(len(losses), CODES) - 1e-9))
    return digits + (1 if losses.device.type == "cpu" else 2)


def probe_exponents(samples: int, probes: int) -> Tensor:
    """Draw the exponents of all probes, (N, probes): rows differ, in the digit probes by design.

    Sample n's index is written in digits of base 16. Each digit goes through a random permutation
    of the exponents; the probes beyond the digits are independent random assignments, which the
    coincidence that fools one probe does not fool.
    """
    generator = torch.Generator(CPU).manual_seed(samples)
    columns = []
    index, place = torch.arange(samples, device=CPU), 1
    for _ in range(probes):
        if place < samples:
            digit = index.div(place, rounding_mode="floor") % CODES
            columns.append(_shuffled(CODES, generator)[digit])
            place *= CODES
        else:
            extra = math.ceil(samples / CODES)
            codes = torch.cat([_shuffled(CODES, generator) for _ in range(extra)])
            columns.append(codes[:samples])
    return torch.stack(columns, 1) + LOWEST


def half_of(samples: int, probe: int) -> Tensor:
    """Draw half of the samples, (N,) bool."""
    generator = torch.Generator(CPU).manual_seed(1000 + probe)
    return _shuffled(samples, generator) < samples // 2


def _shuffled(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator, device=CPU)


def joined(a: Tensor, b: Tensor) -> Tensor:
    """Join the gradients of two halves of the samples; NaN where both have some.

    A sample with a gradient 10^7 times another's hides it in every sum, and a sum of both would
    look like its own. Once the large one's weight is zero, the small one shows.
    """
    both = (a != 0) & (b != 0)
    return (a + b).masked_fill_(both, torch.nan)


def weighted_gradients(
    losses: Tensor, edges: list, exponents: Tensor, chosen: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    """Return the gradients for losses times powers of two, those not chosen times zero."""
    weights = torch.ldexp(torch.ones(len(losses), device=CPU), exponents).to(losses)
    weights = weights if chosen is None else weights * chosen.to(losses.device)
    found = torch.autograd.grad(losses, edges, weights, retain_graph=True, allow_unused=True)
    forget(edge.node for edge in edges)
    return found


def readable(g: Tensor, smallest: float) -> Tensor:
    """Return where an entry is large enough to be read, and not too large."""
    size, limits = real(g).abs(), torch.finfo(g.dtype)
    # What came before was perhaps smaller.
    return (size >= max(limits.tiny, smallest) * 2.0**20) & (size <= limits.max * 2.0**-9)


def real(g: Tensor) -> Tensor:
    """Return a real tensor whose entries are known where those of ``g`` are."""
    if not g.is_complex():
        return g
    return torch.where(g.real.abs() >= g.imag.abs(), g.real, g.imag)


def smallest_number(kinds: set[torch.dtype]) -> float:
    """Return from where on numbers have all their bits, after what they have been through.

    A number that was denormal in float32 does not look it once it is cast to float64.
    """
    coarse = kinds & {torch.float32, torch.bfloat16, torch.complex64}
    return torch.finfo(torch.float32).tiny if coarse else 0.0
