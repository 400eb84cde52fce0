"""Products: where the samples lie in the output they lie in one factor, and are summed over."""

from fimetric.gradients.axes.base import Found, Rule, Shared, Use, broadcast, repeated

CONTRACTED = Shared.CONTRACTED


def _product(use: Use, factor: int, batch: int) -> Found:
    """Factor 0 or 1 of A (*batch, R, K) B (*batch, K, P), whose product is (*batch, R, P)."""
    if use.dim < batch or use.dim == batch + factor:
        fits = len(use.shape) == len(use.output) and use.shape[use.dim] == use.output[use.dim]
        return use.layout if fits else None
    return CONTRACTED


def mm(use: Use) -> Found:
    """A (R, K) B (K, P)."""
    return _product(use, use.input, 0)


def bmm(use: Use) -> Found:
    """A (B, R, K) B (B, K, P)."""
    return _product(use, use.input, 1)


def addmm(use: Use) -> Found:
    """C + A B."""
    return repeated(use) if use.input == 0 else _product(use, use.input - 1, 0)


def baddbmm(use: Use) -> Found:
    """C + A B, for each of a batch."""
    return repeated(use) if use.input == 0 else _product(use, use.input - 1, 1)


def mv(use: Use) -> Found:
    """A (R, K) b (K)."""
    return use.layout if use.input == 0 else CONTRACTED


def grouped_mm(use: Use) -> Found:
    """A (R, K), whose rows meet a matrix each of B (E, K, P)."""
    if len(use.output) != 2 or use.dim != 0:
        return None
    return use.layout if use.input == 0 and len(use.shape) == 2 else CONTRACTED


def convolution(use: Use) -> Found:
    """x (N, I, *size), weight, bias."""
    if use.dim != 0:
        return None
    return use.layout if use.input == 0 else CONTRACTED


def attention(use: Use) -> Found:
    """Query, key, value (*batch, T, E), and a mask that may be repeated."""
    if use.dim >= len(use.output) - 2:
        return None
    found = broadcast(use)
    return found if not isinstance(found, Shared) or use.input == 3 else None


def bilinear(use: Use) -> Found:
    """Rows (R, I), weight (O, I, K), rows (R, K)."""
    if use.dim != 0 or tuple(use.node._saved_sumdim) != (2, 3):
        return None
    return CONTRACTED if use.input == 1 else use.layout


def distances(use: Use) -> Found:
    """Rows (*batch, P, D) and (*batch, M, D), whose distances are (*batch, P, M)."""
    size, own = len(use.output), len(use.output) - 2 + use.input
    if use.dim == 2 * size - 3 - own:  # the rows of the other side
        return CONTRACTED
    dim = len(use.shape) - 2 if use.dim == own else use.dim - size + len(use.shape)
    if dim >= 0 and use.shape[dim] == use.output[use.dim]:
        return use.at(dim)
    return CONTRACTED if use.output[use.dim] > 1 else None


def recurrent(use: Use) -> Found:
    """Steps (T, N, I), four tensors of weights, states (N, H)."""
    if 1 <= use.input <= 4:
        return CONTRACTED
    return use.at(len(use.shape) - 2) if use.dim == len(use.output) - 2 else None


def solve_triangular(use: Use) -> Found:
    """A (*batch, n, n), B (*batch, n, k)."""
    size = len(use.output)
    if use.dim < size - 2:
        return broadcast(use)
    columns = use.dim == size - 1 and use.node._saved_left
    if not columns and (use.dim != size - 2 or use.node._saved_left):
        return None
    return broadcast(use) if use.input == 1 else CONTRACTED


def of_matrices(use: Use) -> Found:
    """Functions of the matrices in the last two axes."""
    fits = use.shape[: use.dim + 1] == use.output[: use.dim + 1]
    return use.layout if fits and use.dim < len(use.shape) - 2 else None


PRODUCTS: dict[str, Rule] = {
    "Addmm": addmm,
    "Baddbmm": baddbmm,
    "Bmm": bmm,
    "Cdist": distances,
    "Convolution": convolution,
    "EuclideanDist": distances,
    "GroupedMm": grouped_mm,
    "LinalgMatrixExp": of_matrices,
    "LinalgSolveTriangular": solve_triangular,
    "MkldnnRnnLayer": recurrent,
    "Mm": mm,
    "Mv": mv,
    "ScaledDotProductCudnnAttention": attention,
    "ScaledDotProductEfficientAttention": attention,
    "ScaledDotProductFlashAttention": attention,
    "ScaledDotProductFlashAttentionForCpu": attention,
    "Trilinear": bilinear,
    "Tril": of_matrices,
    "Triu": of_matrices,
}
