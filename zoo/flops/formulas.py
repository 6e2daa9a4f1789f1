"""What single operations cost, and which ones cost nothing."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def bind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operation by name, defaults included."""
    declared = func._schema.arguments
    given = {**{a.name: value for a, value in zip(declared, args, strict=False)}, **kwargs}
    return {a.name: given.get(a.name, a.default_value) for a in declared}


def names(text: str) -> frozenset[str]:
    """A list of operations, without the quotes."""
    return frozenset(text.split())


Product = tuple[Any, ...]
"""Multiply-adds of one bilinear product and its operands: each one that needs a gradient costs as much again."""


def _convolution(a: Mapping[str, Any], out: Tensor) -> list[Product]:
    x, weight = a["input"], a["weight"]
    # Every output (transposed: every input) position meets one filter: weight[0] holds C_in / groups * kernel numbers
    # (transposed: C_out / groups * kernel).
    positions = x if a["transposed"] else out
    return [(positions.numel() * weight[0].numel(), x, weight)]


def _matrix(first: str, second: str) -> Callable[[Mapping[str, Any], Tensor], list[Product]]:
    return lambda a, out: [(out.numel() * a[first].shape[-1], a[first], a[second])]


def _attention(a: Mapping[str, Any], out: Tensor) -> list[Product]:
    q, k, v = a["query"], a["key"], a["value"]
    scores = math.prod(q.shape[:-1]) * k.shape[-2]
    return [(scores * q.shape[-1], q, k), (scores * v.shape[-1], q if q.requires_grad else k, v)]


def _rnn_layer(a: Mapping[str, Any], out: Tensor) -> list[Product]:
    x, from_input, from_state = a["input"], a["weight0"], a["weight1"]
    steps = math.prod(x.shape[:-1])
    return [(steps * from_input.numel(), x, from_input), (steps * from_state.numel(), from_state, from_state)]


def _deformable(a: Mapping[str, Any], out: Tensor) -> list[Product]:
    return [(out.numel() * a["weight"][0].numel(), a["input"], a["weight"])]


_FORMULAS: dict[str, Callable[[Mapping[str, Any], Tensor], Iterable[Product]]] = {
    "aten.convolution": _convolution,
    "aten.linear": _matrix("input", "weight"),
    "aten.mm": _matrix("self", "mat2"),
    "aten.bmm": _matrix("self", "mat2"),
    "aten.mv": _matrix("self", "vec"),
    "aten.dot": _matrix("self", "tensor"),
    "aten.vdot": _matrix("self", "other"),
    "aten.addmm": _matrix("mat1", "mat2"),
    "aten._addmm_activation": _matrix("mat1", "mat2"),
    "aten.addmv": _matrix("mat", "vec"),
    "aten.baddbmm": _matrix("batch1", "batch2"),
    "aten.addbmm": lambda a, out: [(a["batch1"].numel() * out.shape[-1], a["batch1"], a["batch2"])],
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention": _attention,
    "aten._scaled_dot_product_efficient_attention": _attention,
    "aten._scaled_dot_product_cudnn_attention": _attention,
    "aten._scaled_dot_product_fused_attention_overrideable": _attention,
    "aten.mkldnn_rnn_layer": _rnn_layer,
    "torchvision.deform_conv2d": _deformable,
}

# Executed without moving or computing anything: not worth a word.
FREE = names("""_unsafe_view unsafe_split empty empty_like new_empty empty_strided new_empty_strided empty_permuted
as_strided_ lift_fresh _local_scalar_dense squeeze_ unsqueeze_ transpose_ resize_ profiler._record_function_enter_new
    profiler._record_function_exit""")

# Known to hold no matrix product, beyond what torch itself tags as pointwise or as a reduction. What is in neither is
# reported as having no formula.
_CHEAP = names("""
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_layer_norm native_group_norm
    _fused_rms_norm _weight_norm_interface hardswish _softmax _log_softmax _safe_softmax linalg_vector_norm norm
    cumsum cumprod
    max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d max_unpool2d max_unpool3d
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d upsample_linear1d
    upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    grid_sampler_2d grid_sampler_3d pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d cat stack clone copy _to_copy roll flip repeat tril triu unfold_copy select_scatter slice_scatter
    index index_fill index_select index_put index_add index_copy gather scatter scatter_add scatter_reduce take
    masked_select
    embedding _embedding_bag one_hot nonzero where masked_fill sort topk argsort kthvalue unique _unique2
    unique_consecutive bincount histc searchsorted bucketize max min argmax argmin sum mean var_mean std_mean median
    zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor arange linspace eye
    fill zero rand randn rand_like randn_like randint randperm bernoulli native_dropout normal uniform multinomial
    torchvision.nms torchvision.roi_align torchvision.roi_pool torchvision.ps_roi_align torchvision.ps_roi_pool
    """)


def formula_of(func: Any) -> Callable[[Mapping[str, Any], Tensor], Iterable[Product]] | None:
    """How to count this operation, in place or not, if it holds a matrix product."""
    return _FORMULAS.get(_plain(func))


def is_cheap(func: Any) -> bool:
    """Whether it is known that this operation holds no matrix product."""
    return bool({torch.Tag.pointwise, torch.Tag.reduction} & set(func.tags)) or _plain(func).removeprefix("aten.") in _CHEAP


def _plain(func: Any) -> str:
    name = str(func.overloadpacket)
    return name.removesuffix("_") if func._schema.is_mutable else name
