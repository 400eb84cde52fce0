"""Whether a method gives the right norms: a wrong table is given no time."""

import importlib.util
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import Case
from benchmarks.speed.peers import Maker, WrongTableError
from fimetric.gradients.reference import squared_gradient_norms

RTOL = {
    torch.float64: 1e-4,
    torch.float32: 1e-2,
}  # of squared norms; some models are coarser inside
NOISE = {torch.float64: 1e-20, torch.float32: 1e-12}  # of a sample's largest: zeros by structure
NEEDS = {
    "Opacus hooks": "opacus",
    "Opacus ghost norms": "opacus",
    "Opacus ghost clipping": "opacus",
    "BackPACK": "backpack",
}
Oracle = Callable[[Case, nn.Module, Tensor], Tensor]


def norms_by_the_loop(case: Case, module: nn.Module, x: Tensor) -> Tensor:
    return squared_gradient_norms(case.losses(module), x.split(1), list(module.parameters()))


def fault(
    name: str, make: Maker, case: Case, device: str = "cpu", oracle: Oracle = norms_by_the_loop
) -> str:
    """Return why a method cannot be counted on a case, or nothing where it is right.

    Its table of two samples is compared with the loop's in float64, or, since some libraries
    compute in float32 alone, in that.
    """
    package = NEEDS.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"not installed: {package}"
    found = _fault(make, case, device, torch.float64, oracle)
    if found.startswith("refuses"):
        return _fault(make, case, device, torch.float32, oracle)
    return found


def _fault(make: Maker, case: Case, device: str, dtype: torch.dtype, oracle: Oracle) -> str:
    module, x = case.build(2, device, dtype)
    names = [name for name, _ in module.named_parameters()]
    expected = oracle(case, module, x)
    try:
        found = make(case, module).table(x)
    except WrongTableError as error:
        return f"wrong: {error}"
    except Exception as error:  # whatever a library says, it goes into the table
        return refusal(error)
    return difference(found, expected, names)


def difference(found: Tensor, expected: Tensor, names: list[str]) -> str:
    """Return by how much, and where, two tables (N, J) differ at most, or nothing."""
    if found.shape != expected.shape:
        return f"wrong: a table {tuple(found.shape)}, not {tuple(expected.shape)}"
    dtype = expected.dtype
    off = (found - expected).abs()
    allowed = RTOL[dtype] * expected + NOISE[dtype] * expected.amax(1, keepdim=True)
    excess = (off / allowed).nan_to_num(float("inf")).amax(0)
    if excess.max() <= 1:
        return ""
    j = int(excess.argmax())
    return f"wrong by {float((off / expected)[:, j].max()):.2g} of the norm² on {names[j]}"


def refusal(error: Exception) -> str:
    text = " ".join(str(error).replace("\\n", " ").split()) or type(error).__name__
    text = re.sub(r"^\[\w+\(['\"]", "", text)  # a list of errors, turned into text
    return f"refuses: {text if len(text) <= 110 else text[:107] + '...'}"
