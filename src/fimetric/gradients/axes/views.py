"""Views: entries that move, are left out or come together, and stay what they are."""

from dataclasses import replace

from fimetric.gradients.axes.base import Found, Rule, Use, kept, repeated, reshaped, same
from fimetric.gradients.graph import axis_of, metadata, signed
from fimetric.gradients.layout import Layout, Ragged, owner_of_rows, rows_of


def permute(use: Use) -> Found:
    """Output axis i is input axis dims[i]."""
    return use.at(axis_of(use.node._saved_dims[use.dim], len(use.shape)))


def transpose(use: Use) -> Found:
    """Two axes change places."""
    dims = [axis_of(getattr(use.node, f"_saved_dim{k}"), len(use.shape)) for k in (0, 1)]
    return use.at(dims[1 - dims.index(use.dim)] if use.dim in dims else use.dim)


def transpose_matrix(use: Use) -> Found:
    """``Tensor.t``."""
    return use.at(len(use.shape) - 1 - use.dim)


def select(use: Use) -> Found:
    """One entry along an axis, which the output lacks; or every one, an output each."""
    axis = use.axes()[0]
    return use.at(use.dim + (use.dim >= axis))


def split(use: Use) -> Found:
    """Some entries along an axis: outputs that begin and end with whole rounds of samples."""
    return kept(use, use.axes())


def slice_(use: Use) -> Found:
    """A range along an axis; where that is the samples' own, of whole rounds of them, or ragged."""
    (axis,), layout = use.axes(), use.layout
    if axis != use.dim or use.shape[axis] == use.output[axis]:
        return kept(use, () if axis == use.dim else (axis,))
    start, size = signed(use.node._saved_start), use.shape[axis]
    start = max(0, start + size if start < 0 else min(start, size))
    rounds = _rounds(layout, size) if isinstance(layout, Layout) else None
    if rounds is not None:
        whole = use.node._saved_step == 1 and start % (rounds.samples * rounds.inner) == 0
        return rounds if whole else None
    owner = owner_of_rows(layout, use.output[axis]).cpu().long()
    rows = owner.new_full((size,), -1)
    rows[start :: use.node._saved_step][: len(owner)] = owner
    return Ragged(axis, layout.samples, rows)


def _rounds(layout: Layout, size: int) -> Layout | None:
    """Return the layout of whole rounds of samples, as many as make up ``size``."""
    period = layout.samples * layout.inner
    return None if size % period else replace(layout, outer=size // period)


def stack(use: Use) -> Found:
    """Inputs side by side along a new axis."""
    axis = axis_of(use.node._saved_dim, len(use.output))
    return None if axis == use.dim else use.at(use.dim - (use.dim > axis))


def cat(use: Use) -> Found:
    """Inputs one after another along an axis; where that is the samples' own, ragged ones."""
    axis = axis_of(use.node._saved_dim, len(use.output))
    if axis != use.dim or not isinstance(use.layout, Ragged):
        return kept(use, (axis,))
    before = use.node.next_functions[: use.input]
    if any(node is None for node, _ in before):  # of a size that is not told
        return None
    start = sum(metadata(node)[k].shape[axis] for node, k in before)
    return rows_of(use.layout.owner[start : start + use.shape[axis]], axis, use.layout.samples)


def pad(use: Use) -> Found:
    """Zeros before and after the last axes."""
    widths, size = [signed(width) for width in use.node._saved_pad], len(use.shape)
    return kept(use, [size - 1 - k // 2 for k, width in enumerate(widths) if width])


def repeat(use: Use) -> Found:
    """Copies one after another along each axis."""
    dim, layout = use.dim - len(use.output) + len(use.shape), use.layout
    if dim < 0 or use.shape[dim] == use.output[use.dim]:
        return use.at(dim) if dim >= 0 else None
    return _rounds(replace(layout, dim=dim), use.shape[dim]) if isinstance(layout, Layout) else None


def unfold(use: Use) -> Found:
    """Windows along an axis, whose entries become a last one."""
    axis = axis_of(use.node._saved_dimension, len(use.shape))
    return None if use.dim in (axis, len(use.shape)) else use.layout


def diagonal(use: Use) -> Found:
    """The diagonal of two axes of the input is the last one of the output."""
    size = len(use.shape)
    gone = {axis_of(getattr(use.node, f"_saved_dim{k}"), size) for k in (1, 2)}
    others = [dim for dim in range(size) if dim not in gone]
    return None if use.dim == len(use.output) - 1 else use.at(others[use.dim])


def diag_embed(use: Use) -> Found:
    """The last axis of the input is the diagonal of two axes of the output."""
    size = len(use.output)
    new = {axis_of(getattr(use.node, f"_saved_dim{k}"), size) for k in (1, 2)}
    return None if use.dim in new else use.at(use.dim - sum(axis < use.dim for axis in new))


def as_real(use: Use) -> Found:
    """``torch.view_as_real``: a last axis for the two parts."""
    return None if use.dim == len(use.shape) else use.layout


def as_complex(use: Use) -> Found:
    """``torch.view_as_complex``."""
    return use.layout


VIEWS: dict[str, Rule] = {
    "Diagonal": diagonal,
    "DiagEmbed": diag_embed,
    "Cat": cat,
    "ConstantPadNd": pad,
    "Expand": repeated,
    "Permute": permute,
    "Repeat": repeat,
    "Select": select,
    "Slice": slice_,
    "Split": split,
    "SplitWithSizes": split,
    "Stack": stack,
    "T": transpose_matrix,
    "Transpose": transpose,
    "Unbind": select,
    "Unfold": unfold,
    "UnsafeSplit": split,
    "ViewAsComplex": as_complex,
    "ViewAsReal": as_real,
    **dict.fromkeys(("ReshapeAlias", "Squeeze", "UnsafeView", "Unsqueeze", "View"), reshaped),
    **dict.fromkeys(("Alias", "Clone", "CopyBackwards", "ToCopy"), same),
}
