"""The operations of random networks: each returns an expression of ``h`` and moves the state on."""

import math
import string
from collections.abc import Callable

from random_program import VOCABULARY, Sketch, State

Operation = Callable[[Sketch], str]
OPERATIONS: list[tuple[Callable[[State], bool], Operation, bool]] = []


def operation(when: Callable[[State], bool], keeps: bool = False) -> Callable:
    """Register an operation, where it applies, and whether it keeps the shape."""

    def register(function: Operation) -> Operation:
        OPERATIONS.append((when, function, keeps))
        return function

    return register


def last_is_free(s: State) -> bool:
    return s.rank >= 2 and s.dim != s.rank - 1


def rows_first(*ranks: int) -> Callable[[State], bool]:
    return lambda s: s.dim == 0 and s.rank in ranks


def free(s: State) -> bool:
    return s.rank >= 2


def small(s: State) -> bool:
    return s.rank >= 2 and s.count <= 48


# Products


@operation(last_is_free)
def linear(b: Sketch) -> str:
    I, O = b.state.sizes[-1], b.size()
    b.state = b.state.resized(-1, O)
    bias = f", {b.parameter(O)}" if b.seldom(1) else ""
    return f"F.linear(h, {b.parameter(O, I)}{bias})"


@operation(last_is_free, keeps=True)
def square_linear(b: Sketch) -> str:
    I = b.state.sizes[-1]
    bias = f", {b.parameter(I)}" if b.seldom(1) else ""
    return f"F.linear(h, {b.parameter(I, I)}{bias})"


@operation(last_is_free)
def product_from_the_right(b: Sketch) -> str:
    I, O = b.state.sizes[-1], b.size()
    b.state = b.state.resized(-1, O)
    return f"h @ {b.parameter(I, O)}"


@operation(lambda s: s.rank >= 2 and s.dim != s.rank - 2)
def product_from_the_left(b: Sketch) -> str:
    I, O = b.state.sizes[-2], b.size()
    b.state = b.state.resized(-2, O)
    return f"{b.parameter(O, I)} @ h"


@operation(last_is_free)
def product_with_a_vector(b: Sketch) -> str:
    I = b.state.sizes[-1]
    b.state = b.state.without(-1)
    return f"h @ {b.parameter(I)}"


@operation(free)
def einsum(b: Sketch) -> str:
    """Contract one axis; perhaps another is shared with the weight. Axes come out in any order."""
    s = b.state
    contracted = b.pick(s.axes)
    shared = [k for k in s.axes if k != contracted]
    shared = [b.pick(shared)] if shared and b.seldom(1) else []
    names, O = string.ascii_lowercase[: s.rank], b.size()
    weight = [*(names[k] for k in shared), names[contracted], "z"]
    shape = [*(s.sizes[k] for k in shared), s.sizes[contracted], O]
    out = b.pick(
        [f"{names.replace(names[contracted], 'z')}", f"z{names}".replace(names[contracted], "")]
    )
    size = {**dict(zip(names, s.sizes, strict=True)), "z": O}
    b.state = s.arranged([size[name] for name in out])
    return f'torch.einsum("{names},{"".join(weight)}->{out}", h, {b.parameter(*shape)})'


@operation(lambda s: s.rank == 3 and s.dim != 2)
def batched_product(b: Sketch) -> str:
    """A weight for each entry of the axis that is neither samples nor features."""
    s = b.state
    other = 1 - s.dim
    weight = b.parameter(s.sizes[other], s.sizes[2], s.sizes[2])
    return (
        f"torch.bmm(h, {weight})"
        if other == 0
        else f"torch.bmm(h.transpose(0, 1), {weight}).transpose(0, 1)"
    )


@operation(last_is_free, keeps=True)
def bilinear(b: Sketch) -> str:
    F = b.state.sizes[-1]
    bias = f", {b.parameter(F)}" if b.seldom(1) else ""
    return f"F.bilinear(h, h.sin().contiguous(), {b.parameter(F, F, F)}{bias})"


@operation(last_is_free)
def distances(b: Sketch) -> str:
    D, M = b.state.sizes[-1], b.size()
    b.state = b.state.resized(-1, M)
    return f"torch.cdist(h, {b.parameter(M, D)}, p={b.pick([1.0, 2.0, 3.0])})"


@operation(lambda s: s.rank == 2 and s.dim == 0, keeps=True)
def addmm(b: Sketch) -> str:
    F = b.state.sizes[1]
    return f"torch.addmm({b.parameter(F)}, h, {b.parameter(F, F)}, beta=0.5, alpha=-2.0)"


# Convolutions


def _kernel(b: Sketch, sizes: tuple[int, ...]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Draw kernel, stride, padding and dilation that leave at least one position."""
    kernel, stride, padding, dilation = [], [], [], []
    for size in sizes:
        pad = b.pick([0, 0, 1])
        k = b.pick([k for k in (1, 2, 3) if k <= size + 2 * pad])
        dilation.append(b.pick([d for d in (1, 2) if d * (k - 1) < size + 2 * pad]))
        kernel.append(k)
        padding.append(pad)
        stride.append(b.pick([1, 1, 2]))
    return kernel, stride, padding, dilation


@operation(rows_first(3, 4, 5))
def convolution(b: Sketch) -> str:
    s = b.state
    C, sizes = s.sizes[1], s.sizes[2:]
    kernel, stride, padding, dilation = _kernel(b, sizes)
    groups = b.pick([g for g in (1, 1, 2, 3) if C % g == 0])
    O = groups * b.pick([1, 2])
    positions = [
        (n + 2 * p - d * (k - 1) - 1) // t + 1
        for n, k, t, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]
    b.state = s.arranged([0, O, *positions])
    x, padded = "h", f"padding={tuple(padding)}"
    if any(padding) and all(p <= n for p, n in zip(padding, sizes, strict=True)) and b.seldom(1):
        margins = tuple(m for p in reversed(padding) for m in (p, p))
        x, padded = f'F.pad(h, {margins}, mode="circular")', "padding=0"
    bias = b.parameter(O) if b.seldom(1) else "None"
    weight = b.parameter(O, C // groups, *kernel)
    return (
        f"F.conv{len(sizes)}d({x}, {weight}, {bias}, stride={tuple(stride)}, {padded}, "
        f"dilation={tuple(dilation)}, groups={groups})"
    )


@operation(lambda s: rows_first(3, 4, 5)(s) and s.count <= 24)
def transposed_convolution(b: Sketch) -> str:
    s = b.state
    C, sizes = s.sizes[1], s.sizes[2:]
    groups = b.pick([g for g in (1, 1, 2) if C % g == 0])
    O = groups * b.pick([1, 2])
    kernel = [b.pick([1, 2, 3]) for _ in sizes]
    stride = [b.pick([1, 2]) for _ in sizes]
    dilation = [b.pick([1, 2]) for _ in sizes]
    extra = [b.pick(range(max(t, d))) for t, d in zip(stride, dilation, strict=True)]
    spread = [
        (n - 1) * t + d * (k - 1) + e + 1
        for n, k, t, d, e in zip(sizes, kernel, stride, dilation, extra, strict=True)
    ]
    padding = [b.pick([0, 1]) if n > 2 else 0 for n in spread]
    b.state = s.arranged([0, O, *(n - 2 * p for n, p in zip(spread, padding, strict=True))])
    bias = b.parameter(O) if b.seldom(1) else "None"
    return (
        f"F.conv_transpose{len(sizes)}d(h, {b.parameter(C, O // groups, *kernel)}, {bias}, "
        f"stride={tuple(stride)}, padding={tuple(padding)}, output_padding={tuple(extra)}, "
        f"dilation={tuple(dilation)}, groups={groups})"
    )


# Normalisation


@operation(last_is_free, keeps=True)
def layer_norm(b: Sketch) -> str:
    s = b.state
    first = b.pick(range(s.dim + 1, s.rank))
    shape = s.sizes[first:]
    if math.prod(shape) == 1:  # nothing to normalise: all zeros, up to rounding
        return elementwise(b)
    kind = b.pick(["layer", "layer", "rms"])
    affine = f", {b.parameter(*shape)}" if b.often(2) else ""
    if kind == "layer" and affine:
        affine += f", {b.parameter(*shape)}"
    return f"F.{kind}_norm(h + bumps{shape}, {shape}{affine}, eps=0.1)"


@operation(rows_first(2, 3, 4, 5), keeps=True)
def group_norm(b: Sketch) -> str:
    s = b.state
    C = s.sizes[1]
    each = s.count // (s.outer * s.inner)
    groups = b.pick([g for g in (1, 2, 3, 4) if C % g == 0 and each > g] or [0])
    if groups == 0:
        return batch_norm(b)
    affine = f"{b.parameter(C)}, {b.parameter(C)}"
    return f"F.group_norm(h + bumps{s.sizes[1:]}, {groups}, {affine}, eps=0.1)"


@operation(rows_first(2, 3, 4, 5), keeps=True)
def batch_norm(b: Sketch) -> str:
    C = b.state.sizes[1]
    statistics = f"torch.linspace(-1, 1, {C}).to(h), torch.linspace(0.5, 2, {C}).to(h)"
    return f"F.batch_norm(h, {statistics}, {b.parameter(C)}, {b.parameter(C)})"


@operation(lambda s: rows_first(3, 4, 5)(s) and max(s.sizes[2:]) > 1, keeps=True)
def instance_norm(b: Sketch) -> str:
    sizes = b.state.sizes[1:]
    weight, bias = b.parameter(sizes[0]), b.parameter(sizes[0])
    return f"F.instance_norm(h + bumps{sizes}, weight={weight}, bias={bias}, eps=0.1)"


# Entry by entry


def _broadcast(b: Sketch) -> str:
    """Return a parameter that broadcasts against h, the axis of the samples apart."""
    s = b.state
    first = b.pick(range(s.rank + 1))
    shape = [1 if k == s.dim or b.seldom(3) else s.sizes[k] for k in range(first, s.rank)]
    return b.parameter(*shape)


ELEMENTWISE = [
    "h + {0}",
    "{0} + h",
    "h - {0}",
    "{0} - h",
    "h * {0}",
    "{0} * h",
    "h / (1.5 + {0}.square())",
    "{0} / (1.5 + h.square())",
    "h.div({0}.exp())",
    "torch.add(h, {0}, alpha=2.5)",
    "torch.sub(h, {0}, alpha=-0.5)",
    "torch.where(h.detach() > 0.1, h, {0})",
    "torch.where(h.detach() > 0.1, {0}, h)",
    "torch.lerp(h, {0}.expand_as(h), 0.3)",
    "torch.lerp(h, h.sin(), {0})",
    "torch.addcmul(h, {0}, {1}, value=0.5)",
    "torch.addcmul({0}, h, h, value=0.5)",
    "torch.maximum(h, {0})",
    "torch.hypot(h, {0} + 3.0)",
    "torch.pow(h.abs() + 0.5, {0})",
    "torch.atan2(h, {0}.square() + 1)",
    "h.clone().mul_({0})",
    "h.clone().add_({0})",
    "h.clone().copy_({0}) + h",
    "Scale.apply(h, {0})",
    "h.detach() * {0} + h",
    "h * torch.cosh({0}) + {0}",
    "h.masked_fill(h.detach() > 0, 0.5) * {0}",
    "torch.stack([h, {0}.expand_as(h)]).prod(0)",
    "torch.logaddexp(h, {0})",
    "h * {0}.expand_as(h).clone()",
    "(h * torch.stack([{0}, {0}]).sum(0))",
]


@operation(lambda s: True, keeps=True)
def elementwise(b: Sketch) -> str:
    form = b.pick(ELEMENTWISE)
    first = _broadcast(b)
    return form.format(first, _broadcast(b) if "{1}" in form else "")


@operation(lambda s: True, keeps=True)
def elementwise_again(b: Sketch) -> str:
    return elementwise(b)


@operation(lambda s: True, keeps=True)
def nonlinearity(b: Sketch) -> str:
    smooth = [
        "h.tanh()",
        "h.sigmoid()",
        "F.softplus(h)",
        "F.silu(h)",
        "h.sin()",
        "0.3 * h.square()",
    ]
    return b.pick([*smooth, "h.relu()", "F.gelu(h)", "0.5 * h", "h + h.detach()", "F.hardtanh(h)"])


@operation(rows_first(2, 3, 4), keeps=True)
def prelu(b: Sketch) -> str:
    return f"F.prelu(h, {b.parameter(b.pick([1, b.state.sizes[1]]))})"


@operation(lambda s: s.rank >= 2 and s.dim == 0 and s.rank <= 3, keeps=True)
def assignment(b: Sketch) -> str:
    """Write a parameter into a part of h, in place."""
    value = b.parameter(*b.state.sizes[2:])
    return b.pick(
        [
            f"h.index_put((torch.arange(len(h)), torch.zeros(len(h)).long()), {value})",
            f"h.select_scatter({value}.expand_as(h[:, 0]), 1, 0)",
            f"h.clone().index_fill_(1, torch.tensor([0]), 0.0) + {value}",
        ]
    )


# Rows that the data choose


@operation(lambda s: s.plain and s.dim == 0 and s.rank >= 2, keeps=True)
def rows_of_a_table(b: Sketch) -> str:
    s = b.state
    table, tokens = b.parameter(3, s.sizes[-1]), b.tokens_of_samples()
    view = f".view(-1, {', '.join(['1'] * (s.rank - 2) + [str(s.sizes[-1])])})"
    found = b.pick(
        [
            f"F.embedding({tokens}, {table})",
            f"F.embedding({tokens}, {table}, padding_idx=0)",
            f"{table}[{tokens}]",
            f"(2.0 * {table})[{tokens}]",
            f"{table}.index_select(0, {tokens})",
            f"(F.one_hot({tokens}, 3).to(h) @ {table})",
        ]
    )
    return f"h {b.pick('+*')} {found}{view}"


@operation(lambda s: s.plain and s.dim == 0 and s.rank == 2, keeps=True)
def bags_of_rows(b: Sketch) -> str:
    """The rows of a sample and the first one, so that some are used twice."""
    I, tokens, mode = b.state.sizes[-1], b.tokens_of_samples(), b.pick(["sum", "mean", "max"])
    rows = f"torch.stack([{tokens}, torch.zeros_like({tokens})], 1)"
    weights = ", per_sample_weights=h[:, :1].expand(-1, 2).sin()" if mode == "sum" else ""
    padding = f", padding_idx={b.pick([0, 1])}" if b.seldom(1) else ""
    return f"h * F.embedding_bag({rows}, {b.parameter(3, I)}, mode='{mode}'{padding}{weights})"


@operation(lambda s: s.plain and s.dim == 0 and s.rank >= 2, keeps=True)
def sorted_samples(b: Sketch) -> str:
    I, order = b.state.sizes[-1], b.order_of_samples()
    return f"torch.zeros_like(h).index_copy(0, {order}, F.linear(h[{order}], {b.parameter(I, I)}))"


@operation(lambda s: s.plain and last_is_free(s), keeps=True)
def samples_by_another_way(b: Sketch) -> str:
    s = b.state
    I, dim = s.sizes[-1], s.dim
    product = "F.linear({}, " + b.parameter(I, I) + ")"
    return b.pick(
        [
            product.format(f"h.flip({dim})") + f".flip({dim})",
            product.format(f"h.roll(1, {dim})") + f".roll(-1, {dim})",
            f"torch.stack([{product.format('row')} for row in h.unbind({dim})], {dim})",
            f"torch.cat([{product.format('part')} for part in h.split(2, {dim})], {dim})",
        ]
    )


@operation(free, keeps=True)
def gather(b: Sketch) -> str:
    axis = b.pick(b.state.axes)
    size = b.state.sizes[axis]
    index = f"(3 * h.detach()).abs().long() % {size}"
    return f"h.gather({axis}, {index}) * {_broadcast(b)}"


# Sequences


@operation(lambda s: s.rank == 3 and s.dim in (0, 1))
def recurrence(b: Sketch) -> str:
    s = b.state
    kind, rows = b.pick(["gru", "rnn_tanh", "lstm"]), f"h.shape[{s.dim}]"
    H, gates = b.pick([1, 2, 3]), {"gru": 3, "rnn_tanh": 1, "lstm": 4}
    G = gates[kind] * H
    weights = [b.parameter(G, s.sizes[2]), b.parameter(G, H), b.parameter(G), b.parameter(G)]
    zeros = f"h.new_zeros(1, {rows}, {H})"
    start = b.pick([zeros, f"{b.parameter(H)}.expand(1, {rows}, {H}).contiguous()"])
    start = f"({start}, {zeros})" if kind == "lstm" else start
    b.state = s.resized(2, H)
    return (
        f"torch.{kind}(h, {start}, [{', '.join(weights)}], True, 1, 0.0, False, False, "
        f"{s.dim == 0})[0]"
    )


@operation(rows_first(2))
def cell(b: Sketch) -> str:
    I, H = b.state.sizes[1], b.pick([1, 2, 3])
    start = f"{b.parameter(H)}.expand(len(h), {H})"
    weights = f"{b.parameter(3 * H, I)}, {b.parameter(3 * H, H)}, {b.parameter(3 * H)}"
    b.state = b.state.resized(1, H)
    return f"torch.gru_cell(h, {start}, {weights}, {b.parameter(3 * H)})"


@operation(lambda s: s.rank >= 3 and s.dim < s.rank - 2, keeps=True)
def attention(b: Sketch) -> str:
    I = b.state.sizes[-1]
    parts = [f"F.linear(h, {b.parameter(I, I)})" for _ in range(3)]
    return f"F.scaled_dot_product_attention({', '.join(parts)}, is_causal={b.seldom(1)})"


@operation(lambda s: s.rank == 3 and s.dim in (0, 1), keeps=True)
def many_heads(b: Sketch) -> str:
    E = b.state.sizes[2]
    heads = b.pick([k for k in (1, 2) if E % k == 0])
    turned = "" if b.state.dim == 1 else ".transpose(0, 1)"
    weights = f"{b.parameter(3 * E, E)}, {b.parameter(3 * E)}"
    out = f"{b.parameter(E, E)}, {b.parameter(E)}"
    x = f"h{turned}"
    return (
        f"F.multi_head_attention_forward({x}, {x}, {x}, {E}, {heads}, {weights}, None, None, "
        f"False, 0.0, {out}, need_weights=False)[0]{turned}"
    )


@operation(free, keeps=True)
def spectrum(b: Sketch) -> str:
    axis = b.pick(b.state.axes)
    size = b.state.sizes[axis]
    shape = [1] * b.state.rank
    shape[axis] = size // 2 + 1
    weight = b.parameter(*shape)
    return f"torch.fft.irfft(torch.fft.rfft(h, dim={axis}) * {weight}, n={size}, dim={axis})"


# Axes


@operation(free)
def permute(b: Sketch) -> str:
    order = b.pick([(*range(1, b.state.rank), 0), (b.state.rank - 1, *range(b.state.rank - 1))])
    if b.state.rank > 2 and b.seldom(1):
        order = (1, 0, *range(2, b.state.rank))
    b.state = b.state.arranged([b.state.sizes[k] for k in order])
    return f"h.permute{order}"


@operation(free)
def fold(b: Sketch) -> str:
    """Fold the samples and a neighbouring axis into rows."""
    s = b.state
    before = s.dim > 0 and (s.dim == s.rank - 1 or b.seldom(1))
    first = s.dim - 1 if before else s.dim
    size = s.sizes[first] if before else s.sizes[first + 1]
    sizes = [*s.sizes[:first], 0, *s.sizes[first + 2 :]]
    grown = {"outer": s.outer * size} if before else {"inner": s.inner * size}
    b.state = s.arranged(sizes, **grown)
    return f"h.flatten({first}, {first + 1})"


@operation(lambda s: not s.plain and s.rank <= 4)
def unfold(b: Sketch) -> str:
    s = b.state
    if s.inner > 1:
        sizes = [*s.sizes[: s.dim], 0, s.inner, *s.sizes[s.dim + 1 :]]
        b.state = s.arranged(sizes, inner=1)
        return f"h.unflatten({s.dim}, (-1, {s.inner}))"
    b.state = s.arranged([*s.sizes[: s.dim], s.outer, 0, *s.sizes[s.dim + 1 :]], outer=1)
    return f"h.unflatten({s.dim}, ({s.outer}, -1))"


@operation(lambda s: s.rank <= 4)
def new_axis(b: Sketch) -> str:
    s = b.state
    axis, size = b.pick(range(s.rank + 1)), b.pick([1, 1, 2, 3])
    size = size if s.count <= 24 else 1
    b.state = s.arranged([*s.sizes[:axis], size, *s.sizes[axis:]])
    if size == 1:
        return f"h.unsqueeze({axis})"
    sizes = ", ".join(str(size if k == axis else -1) for k in range(s.rank + 1))
    return f"h.unsqueeze({axis}).expand({sizes})"


@operation(free, keeps=True)
def along_an_axis(b: Sketch) -> str:
    k = b.pick(b.state.axes)
    return b.pick(
        [
            f"h.flip({k})",
            f"h.roll(1, {k})",
            f"h.cumsum({k})",
            f"h.softmax({k})",
            f"h.sort({k}).values",
            f"h.log_softmax({k})",
            f"F.normalize(h, dim={k}, eps=0.1)",
        ]
    )


@operation(free)
def reduction(b: Sketch) -> str:
    k = b.pick(b.state.axes)
    b.state = b.state.without(k)
    name = b.pick(["sum", "mean", "amax", "logsumexp", "prod"])
    return f"h.{name}({k})"


@operation(free)
def part(b: Sketch) -> str:
    k = b.pick(b.state.axes)
    size = b.state.sizes[k]
    kept = b.pick(range(1, size + 1))
    b.state = b.state.resized(k, kept)
    index = [b.pick(range(size)) for _ in range(kept)]
    return b.pick(
        [f"h.narrow({k}, {size - kept}, {kept})", f"h.index_select({k}, torch.tensor({index}))"]
    )


@operation(small)
def joined(b: Sketch) -> str:
    s = b.state
    k = b.pick(s.axes)
    b.state = s.resized(k, 2 * s.sizes[k])
    shape = [1 if axis == s.dim else n for axis, n in enumerate(s.sizes)]
    other = b.pick(["h.flip({k})", "h.square()", "{p}.expand_as(h)", "{p}.expand_as(h)"])
    other = other.format(k=k, p=b.parameter(*shape) if "{p}" in other else "")
    return f"torch.cat([{', '.join(b.pick([['h', other], [other, 'h']]))}], {k})"


@operation(lambda s: s.rank >= 3)
def merged(b: Sketch) -> str:
    """Merge two axes, neither of the samples."""
    s = b.state
    pairs = [k for k in range(s.rank - 1) if s.dim not in (k, k + 1)]
    if not pairs:
        return permute(b)
    k = b.pick(pairs)
    b.state = s.arranged([*s.sizes[:k], s.sizes[k] * s.sizes[k + 1], *s.sizes[k + 2 :]])
    return f"h.flatten({k}, {k + 1})"


@operation(lambda s: rows_first(3, 4)(s) and s.sizes[-1] > 1)
def pooling(b: Sketch) -> str:
    s = b.state
    d = s.rank - 2
    name = b.pick(["avg", "max"])
    kernel = tuple([1] * (d - 1) + [2])
    b.state = s.resized(-1, s.sizes[-1] - 1)
    return f"F.{name}_pool{d}d(h, {kernel}, stride=1)"


def embedded_tokens(b: Sketch) -> str:
    """Return the first line of a program whose input are tokens."""
    width = b.size()
    b.state = b.state.arranged([*b.state.sizes, width])
    table = b.parameter(VOCABULARY, width)
    padding = b.pick(["", ", padding_idx=0"])
    return b.pick([f"F.embedding(x, {table}{padding})", f"{table}[x]"])
