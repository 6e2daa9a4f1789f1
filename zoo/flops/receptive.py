"""Receptive fields, followed through the operations a network executes rather than through its modules.

A receptive field is the range of input samples that one output may depend on. Along every axis of the input each
tensor carries a `Span`: which samples its positions read. A convolution widens it, a stride spreads it, a branch that
joins takes the union, and whatever mixes all positions (global pooling, attention, a linear layer over a flattened map)
loses it: a dash. Padding is virtual, as in 1 + L * (K - 1), so that the field does not depend on the size of the input.
Statistics of normalization layers are not followed. An operation without a rule gives a dash, never a number that may
be wrong.
"""

import math
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from zoo.flops.field import Extent, Factor, Field, Reads, Span, merge
from zoo.flops.formulas import bind, names

_SAME = names("""
    clone _to_copy detach alias lift_fresh copy dropout native_dropout where masked_fill hardswish bernoulli fill zero
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_layer_norm native_group_norm
    _fused_rms_norm
""")
_PRODUCT = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2"), "baddbmm": ("batch1", "batch2")}
_RESHAPE = names("view _unsafe_view reshape unsqueeze squeeze")
_SOFTMAX = names("_softmax _log_softmax _safe_softmax cumsum sort")
_REDUCE = names("""
    mean sum amax amin max min argmax argmin var std var_mean std_mean logsumexp prod any all linalg_vector_norm norm
""")
_CUT = names("select unbind slice split split_with_sizes unsafe_split")
_POOL = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3}
_PAD = names("""
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d
""")
_TAPS = {"linear1d": (0, 1), "bilinear2d": (0, 1), "trilinear3d": (0, 1), "bicubic2d": (-1, 2)}


class Fields:
    """The fields of all tensors of a run. `follow` sees every operation, in order."""

    def __init__(self) -> None:
        self._of: MutableMapping[Tensor, Field] = WeakTensorKeyDictionary()
        self._rank = 0

    def start(self, inputs: Sequence[Tensor], spatial: Sequence[int]) -> None:
        """The last `spatial[i]` dimensions of input i are axes, aligned at the last. Where inputs differ in length, the
        coarser one has every n-th sample of the finer (SlowFast's pathways), and fields count the finer's samples."""
        self._rank = max(spatial)
        finest = {a: max(x.shape[-a] for x, n in zip(inputs, spatial, strict=True) if n >= a) for a in self._axes()}
        for x, n in zip(inputs, spatial, strict=True):
            axes = range(n, 0, -1)
            whole = tuple((Factor(x.shape[-a], frozenset({a}), True),) for a in axes)
            steps = {a: divmod(finest[a], x.shape[-a]) for a in axes}
            spans = {a: None if rest else Span(step, (0,), (0,)) for a, (step, rest) in steps.items()}
            self._of[x] = Field(((),) * (x.ndim - n) + whole, spans)

    def _axes(self) -> range:
        return range(self._rank, 0, -1)  # an axis is the distance from the last dimension

    def extent(self, x: Tensor) -> Extent:
        """Samples per axis, outermost axis first; empty for a tensor that depends on no input."""
        field = self._of.get(x)
        if field is None:
            return ()
        spans = [field.spans.get(a, Span(0, (0,), (-1,))) for a in self._axes()]
        return tuple(None if s is None else s.extent for s in spans)

    def follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Give the outputs of an executed operation their fields."""
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        seen = {t: self._of[t] for t in tensors if t in self._of}
        if not seen:
            return
        outs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        results = self._rule(func, bind(func, args, kwargs), list(seen.values()), outs)
        lost = dict.fromkeys({a for f in seen.values() for a in f.spans})
        for i, t in enumerate(outs):
            field = results[i] if i < len(results) else None
            self._of[t] = field if field and len(field.dims) == t.ndim else Field(((),) * t.ndim, lost)
        target = tensors[0]
        if func._schema.is_mutable and target._base is not None and any(t is not target for t in seen):
            base = target._base  # written through a view: what the rest of the base sees is no longer known
            self._of[base] = Field(((),) * base.ndim, lost)

    def _rule(self, func: Any, a: dict[str, Any], seen: list[Field], outs: list[Tensor]) -> Sequence[Field | None]:
        """The fields of the outputs, as far as they are known."""
        name = func.overloadpacket.__name__
        name = name.removesuffix("_") if func._schema.is_mutable else name
        if torch.Tag.pointwise in func.tags or name in _SAME:
            return [merge(seen)] * len(outs)
        if name in ("cat", "stack"):
            return [self._concatenate(a["tensors"], a["dim"], new=name == "stack")]
        if name in _PRODUCT:
            first, second = _PRODUCT[name]
            bias = a["self"] if first != "self" else None
            return [self._product(a[first], a[second], bias)]
        x = a["self"] if "self" in a else a.get("input")
        if not isinstance(x, Tensor) or x not in self._of:
            return []
        if len(seen) > 1 and not name.startswith("max_unpool"):  # a weight or index computed from the input
            return []
        field = self._of[x]
        if name in _RESHAPE:
            return [field.reshape(x.shape, outs[0].shape)]
        if name in ("permute", "transpose", "t"):
            return [_permute(name, field, a)]
        if name == "expand":
            return [Field(((),) * (outs[0].ndim - x.ndim) + field.dims, field.spans)]
        if name in _SOFTMAX:
            return [field.mixed(field.axes(a["dim"]))] * len(outs)
        if name in _REDUCE:
            return [_reduce(field, a)] * len(outs)
        if name in _CUT:
            return _cut(name, field, x, a, outs)
        if name == "convolution":
            return [_convolve(field, x, a, outs[0])]
        if name in _POOL:
            kernel = _per_axis(a["kernel_size"], _POOL[name])
            return [_windows(field, x, outs[0], kernel, a["stride"] or kernel, a["padding"], a.get("dilation", [1]))]
        if name in _PAD:
            return [_pad(field, a["pad"] if "pad" in a else a["padding"], outs[0])]
        if name.startswith(("_adaptive_", "adaptive_", "upsample_", "max_unpool", "pixel_")):
            return [_resize(name, field, x, a, outs[0])] * len(outs)
        return []

    def _concatenate(self, tensors: Sequence[Tensor], dim: int, new: bool) -> Field:
        d = dim % (tensors[0].ndim + new)
        fields = [self._of[t] for t in tensors if t in self._of]
        if new:
            return merge([Field((*f.dims[:d], (), *f.dims[d:]), f.spans) for f in fields])
        return merge([f.put(d, ()) for f in fields]).mixed({a for f in fields for a in f.axes(d)})

    def _product(self, first: Tensor, second: Tensor, bias: Tensor | None) -> Field:
        a, b = (self._of.get(t, Field(((),) * t.ndim, {})) for t in (first, second))
        both = a.axes(-2) & b.axes(-1)  # attention: every position with every other
        rows = a.mixed(a.axes(-1) | both).put(a.ndim - 1, ())
        columns = b.mixed(b.axes(-2) | both).put(b.ndim - 2, ())
        added = [self._of[bias]] if bias is not None and bias in self._of else []
        return merge([rows, columns.put(b.ndim - 1, ()) if both else columns, *added])


def _permute(name: str, field: Field, a: Mapping[str, Any]) -> Field:
    order = list(range(field.ndim))
    if name == "permute":
        order = a["dims"]
    elif field.ndim > 1:
        i, j = (a["dim0"], a["dim1"]) if name == "transpose" else (0, 1)
        order[i], order[j] = order[j], order[i]
    return Field(tuple(field.dims[d] for d in order), field.spans)


def _reduce(field: Field, a: Mapping[str, Any]) -> Field | None:
    if a.get("dim") is None:
        return None
    given = a["dim"] if isinstance(a["dim"], (list, tuple)) else [a["dim"]]
    gone = {d % field.ndim for d in given} or set(range(field.ndim))
    field = field.mixed(field.axes(*gone))
    for d in sorted(gone, reverse=True):
        field = field.put(d, ()) if a.get("keepdim") else field.put(d)
    return field


def _per_axis(values: Sequence[int], n: int) -> Sequence[int]:
    return values if len(values) == n else [*values] * n


def _window(kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    return lambda o: [o * stride - padding + t * dilation for t in range(kernel)]


def _transposed(kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    taps = [t * dilation - padding for t in range(kernel)]
    return lambda o: [(o - tap) // stride for tap in taps if (o - tap) % stride == 0]


def _windows(
    field: Field,
    x: Tensor,
    out: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool = False,
) -> Field:
    n = len(kernel)
    stride, padding, dilation = (_per_axis(v, n) for v in (stride, padding, dilation))
    for d, k, s, p, step in zip(range(x.ndim - n, x.ndim), kernel, stride, padding, dilation, strict=True):
        if (k, s, p) == (1, 1, 0):
            continue
        if transposed:
            field = field.slide(d, out.shape[d], 1, s, _transposed(k, s, p, step))
        else:
            field = field.slide(d, out.shape[d], s, 1, _window(k, s, p, step))
    return field


def _convolve(field: Field, x: Tensor, a: Mapping[str, Any], out: Tensor) -> Field:
    field = field.mixed(field.axes(1)).put(1, ())
    kernel = a["weight"].shape[2:]
    return _windows(field, x, out, kernel, a["stride"], a["padding"], a["dilation"], a["transposed"])


def _cut(name: str, field: Field, x: Tensor, a: Mapping[str, Any], outs: Sequence[Tensor]) -> list[Field | None]:
    d, size, step = a["dim"] % x.ndim, x.shape[a["dim"]], a.get("step") or 1
    begin = a.get("index", a.get("start")) or 0
    begin = min(max(begin + size if begin < 0 else begin, 0), size)
    results: list[Field | None] = []
    for out in outs:
        if name in ("select", "unbind"):
            results.append(field.slide(d, 0, 0, 1, _at(begin)))
            begin += 1
            continue
        if out.shape[d] == size or not field.dims[d]:
            results.append(field)
        elif field.dims[d][0].whole:
            results.append(field.slide(d, out.shape[d], step, 1, _window(1, step, -begin, 1)))
        else:
            results.append(field.put(d, (Factor(out.shape[d], frozenset(field.axes(d))),)))
        begin += out.shape[d]
    return results


def _at(position: int) -> Reads:
    return lambda o: (position,)


def _pad(field: Field, pad: Sequence[int], out: Tensor) -> Field:
    for i in range(len(pad) // 2):  # pairs, from the last dimension
        if pad[2 * i] or pad[2 * i + 1]:
            d = out.ndim - 1 - i
            field = field.slide(d, out.shape[d], 1, 1, _window(1, 1, pad[2 * i], 1))
    return field


def _resize(name: str, field: Field, x: Tensor, a: Mapping[str, Any], out: Tensor) -> Field:
    """Adaptive pooling, up-sampling, unpooling, shuffling: any ratio of lengths, so that positions differ in phase."""
    taps = _TAPS.get(name.removeprefix("upsample_"))
    for d in range(2, x.ndim):
        old, new = x.shape[d], out.shape[d]
        if old == new:
            continue
        corners = bool(taps and a["align_corners"] and new > 1)
        ahead, per = (old - 1, new - 1) if corners else (old, new)
        if "adaptive" in name and new == 1:
            field = field.mixed(field.axes(d)).put(d, ())
            continue
        if "adaptive" in name or name == "pixel_unshuffle":
            reads = _bins(ahead, per)
        elif taps:
            reads = _interpolation(ahead, per, corners, *taps)
        else:
            reads = _nearest(ahead, per)
        g = math.gcd(ahead, per)
        field = field.slide(d, new, ahead // g, per // g, reads)
    return field


def _bins(old: int, new: int) -> Reads:
    return lambda o: range(o * old // new, -(-(o + 1) * old // new))


def _nearest(old: int, new: int) -> Reads:
    return lambda o: (o * old // new,)


def _interpolation(ahead: int, per: int, corners: bool, first: int, last: int) -> Reads:
    def reads(o: int) -> Iterable[int]:
        at, off = divmod(o * ahead, per) if corners else divmod((2 * o + 1) * ahead - per, 2 * per)
        return range(at + first, at + last + 1) if off else (at,)

    return reads
