"""Multiply-adds, parameters, receptive fields and memory of a network, layer by layer.

The network is run once, on a copy without memory (PyTorch's meta device), and every operation that reaches the
dispatcher is looked at: a matrix product or convolution is counted by its formula, whichever module or function asked
for it; everything else is listed as executed and not counted. A multiply-add (MAC) is one multiplication with its
addition; FLOPs are two per MAC. Biases, activations, normalization and pooling cost no MACs by convention.
"""

import copy
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from zoo.flops.field import Extent
from zoo.flops.figures import Layer, Profile, Shape, Uncounted, times
from zoo.flops.formulas import FREE, bind, formula_of, is_cheap
from zoo.flops.receptive import Fields


def profile(
    net: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    clips: int = 1,
    crops: int = 1,
    regions: int | None = None,
    dtype: torch.dtype | None = None,
    call: Callable[..., Any] | None = None,
) -> Profile:
    """Count what `net` costs on one sample, in evaluation mode. The network itself is not run, moved or changed: a copy
    is, with its hooks.

    input_shape: one sample without the batch: (3, 16, 112, 112). A tuple of shapes goes in as separate arguments, a list
        of shapes as one list (pytorchvideo's SlowFast).
    clips, crops: how many views of a sample a prediction averages; stated with the result.
    regions: proposals that reach the heads of a two-stage detector (default: its own limit); the mask and keypoint
        heads get as many, up to its detections per image. Their true number depends on the picture.
    dtype: of the inputs; by default that of the parameters.
    call: `call(net, *inputs)`, for a network that is not fed as `net(*inputs)`; inputs carry a batch of 1.

    A network that cannot run on the meta device runs on the CPU, with all parameters zero; `note` says which operation
    forced it. Raises ValueError, naming the layer where it broke, if the shape does not fit.
    """
    shapes, as_list = _shapes(input_shape)
    net = getattr(net, "_orig_mod", net)  # what torch.compile wrapped
    if isinstance(net, torch.jit.ScriptModule):
        raise ValueError("A TorchScript module cannot be looked into: profile the module that it was made from.")
    call = call or _caller(net, as_list)
    dtype = dtype or next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.get_default_dtype())
    if min(clips, crops) < 1 or (regions is not None and regions < 1):
        raise ValueError(f"clips, crops and regions count from 1, not {clips}, {crops} and {regions}.")
    notes = []
    try:
        ledger, said = _run(net, shapes, "meta", dtype, regions, call)
    except _BrokenError as first:
        try:
            ledger, said = _run(net, shapes, "cpu", dtype, regions, call)
        except _BrokenError as error:
            shown = " and ".join(times(s) for s in shapes)
            raise ValueError(f"The input shape {shown} does not fit {type(net).__name__}: {error}.") from error.__cause__
        notes.append(f"Ran on the CPU with zero weights, because {first}.")
    layers = ledger.layers()
    return Profile(
        name=type(net).__name__,
        input_shape=shapes[0] if len(shapes) == 1 else shapes,
        params=sum(layer.params for layer in layers),
        macs=sum(layer.macs for layer in layers),
        backward_macs=sum(layer.backward_macs for layer in layers),
        activations=sum(layer.activations for layer in layers),
        layers=layers,
        uncounted=ledger.uncounted(),
        clips=clips,
        crops=crops,
        note=" ".join(said + notes),
    )


# -------------------- the run


class _BrokenError(Exception):
    """A run that stopped; the text says where and why, as a clause."""


def _shapes(given: Any) -> tuple[tuple[Shape, ...], bool]:
    """The shapes of the inputs, and whether they go in as one list."""
    several = bool(given) and all(isinstance(part, Sequence) for part in given)
    shapes = tuple(tuple(part) for part in given) if several else (tuple(given),)
    for shape in shapes:
        if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"An input shape is whole numbers without the batch, as in (3, 224, 224), not {given}.")
    return shapes, several and isinstance(given, list)


def _caller(net: nn.Module, as_list: bool) -> Callable[..., Any]:
    if type(getattr(net, "transform", None)).__name__ == "GeneralizedRCNNTransform":
        return lambda net, *images: net([image[0] for image in images])  # torchvision's detectors: a list, unbatched
    return (lambda net, *inputs: net(list(inputs))) if as_list else (lambda net, *inputs: net(*inputs))


@contextmanager
def _conditions(device: str) -> Iterator[None]:
    """How the copy runs, whatever surrounds the call, and without a trace in the process."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it fuses a whole encoder layer into one operation
    try:
        # Gradients are on because an operation's backward cost depends on which of its operands require one.
        with torch.inference_mode(False), torch.enable_grad(), torch.device(device), torch.random.fork_rng([]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _run(
    net: nn.Module,
    shapes: Sequence[Shape],
    device: str,
    dtype: torch.dtype,
    regions: int | None,
    call: Callable[..., Any],
) -> tuple["_Ledger", list[str]]:
    with _conditions(device):
        twin = _twin(net, device).eval()
        notes = _fix_regions(twin, regions)
        ledger = _Ledger(twin, device)
        inputs = [torch.zeros(1, *shape, dtype=dtype) for shape in shapes]
        ledger.fields.start(inputs, [len(shape) - 1 for shape in shapes])
        try:
            with ledger:
                call(twin, *inputs)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            raise _BrokenError(f"{ledger.where()} raised {type(error).__name__}: {_sentence(error)}") from error
    return ledger, notes


def _twin(net: nn.Module, device: str) -> nn.Module:
    """A copy of the network whose parameters take no memory.

    On the CPU parameters are zero, while buffers and other tensors keep their values: indices and anchors decide what
    is executed.
    """

    def hollow(t: Tensor) -> Tensor:
        if device == "meta":
            return t.detach().to("meta")
        return torch.zeros(t.shape, dtype=t.dtype) if t.is_meta else t.detach().cpu().clone()

    class Hollow(TorchFunctionMode):
        """Copies every tensor that deepcopy meets and that is no parameter."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is Tensor.__deepcopy__:
                return hollow(args[0]).requires_grad_(args[0].requires_grad)
            return func(*args, **(kwargs or {}))

    memo: dict[int, Any] = {}
    for p in net.parameters():
        if isinstance(p, nn.parameter.UninitializedParameter):  # a lazy module: its shape comes with the first input
            lazy: Any = type(p)
            memo[id(p)] = lazy(requires_grad=p.requires_grad, device=device, dtype=p.dtype)
        else:
            memo[id(p)] = nn.Parameter(torch.zeros(p.shape, dtype=p.dtype, device=device), p.requires_grad)
    with torch.no_grad(), Hollow():
        return copy.deepcopy(net, memo)


def _fix_regions(twin: nn.Module, regions: int | None) -> list[str]:
    """Give the heads of torchvision's two-stage detectors a stated number of regions, not what they would find."""
    notes = []
    modules: list[Any] = [m for m in twin.modules() if hasattr(m, "rpn") and hasattr(m, "roi_heads")]
    for module in modules:
        rpn, heads = module.rpn, module.roi_heads
        proposals = regions or rpn.post_nms_top_n()
        found = min(proposals, heads.detections_per_img)
        rpn.filter_proposals = _propose(proposals)
        heads.postprocess_detections = _detect(found)
        for pool in heads.modules():
            if hasattr(pool, "featmap_names"):
                pool.forward = _pool_one_level(pool)
        module.transform.postprocess = _as_it_is
        notes.append(f"Region heads: {proposals} proposals, {found} detections; mask pasting left out.")
    if regions and not modules:
        raise ValueError(f"{type(twin).__name__} has no region heads, so regions={regions} means nothing.")
    return notes


def _boxes(like: Tensor, n: int) -> Tensor:
    return like.new_tensor([0.0, 0.0, 16.0, 16.0]).expand(n, 4).contiguous()


def _propose(n: int) -> Callable[..., Any]:
    return lambda proposals, *_: ([_boxes(proposals, n)], [proposals.new_ones(n)])


def _detect(n: int) -> Callable[..., Any]:
    return lambda logits, *_: ([_boxes(logits, n)], [logits.new_ones(n)], [logits.new_ones(n, dtype=torch.int64)])


def _as_it_is(result: Any, *_: Any) -> Any:
    return result


def _pool_one_level(pool: Any) -> Callable[..., Any]:
    """Which pyramid level a region is pooled from depends on its size; the cost does not: take the first."""

    def forward(maps: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: Any) -> Any:
        from torchvision.ops import roi_align

        level = next(m for name, m in maps.items() if name in pool.featmap_names)
        return roi_align(level, boxes, pool.output_size, 1.0, pool.sampling_ratio)

    return forward


@dataclass
class _Row:
    module: nn.Module
    params: int = 0
    weight_shape: Shape = ()
    output_shape: Shape = ()
    receptive_field: Extent = ()
    macs: int = 0
    backward_macs: int = 0
    activations: int = 0
    calls: int = 0


@dataclass
class _Tally:
    known: bool
    calls: int = 0
    elements: int = 0


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves __init_subclass__ bare
    """Books every operation to the module that is running."""

    def __init__(self, twin: nn.Module, device: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it bare
        self.fields = Fields()
        self._twin = twin
        self._device = device
        self._stack: list[str] = [""]
        self._rows: dict[str, _Row] = {"": _Row(twin)}
        self._others: dict[str, _Tally] = {}
        self._op: str | None = None
        for name, module in twin.named_modules():  # outermost, so that other hooks are booked to their module
            module.register_forward_pre_hook(lambda m, args, name=name: self._enter(name, m), prepend=True)
            module.register_forward_hook(lambda m, args, out, name=name: self._leave(name, out))

    def _enter(self, name: str, module: nn.Module) -> None:
        self._stack.append(name)
        self._rows.setdefault(name, _Row(module)).calls += 1

    def _leave(self, name: str, out: Any) -> None:
        self._stack.pop()
        row = self._rows[name]
        x = next((t for t in tree_leaves(out) if isinstance(t, Tensor)), None)
        if x is None:
            return
        extent = self.fields.extent(x)
        if math.prod(x.shape) >= math.prod(row.output_shape) or row.calls == 1:
            row.output_shape = tuple(x.shape[1:] if x.ndim > 1 and x.shape[0] == 1 else x.shape)
        pairs = zip(row.receptive_field, extent, strict=True) if row.receptive_field and extent else ()
        row.receptive_field = tuple(None if None in (a, b) else max(a or 0, b or 0) for a, b in pairs) or extent

    def where(self) -> str:
        """The place where the run stopped, as a phrase."""
        name = self._stack[-1]
        module = self._rows[name].module
        layer = f"layer '{name}' ({_describe(module)})" if name else f"{_describe(module)} itself"
        return f"{self._op} in {layer}" if self._op else layer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._op = op = str(func.overloadpacket)
        formula = formula_of(func)
        if formula and self._device == "cpu" and not func._schema.is_mutable:
            # With zero weights the product is zero: only its shape has to be found.
            shape = func(*tree_map_only(Tensor, _meta, args), **tree_map_only(Tensor, _meta, kwargs))
            out = tree_map_only(Tensor, lambda t: torch.zeros(t.shape, dtype=t.dtype), shape)
        else:
            out = func(*args, **kwargs)
        self._op = None
        self.fields.follow(func, args, kwargs, out)
        row = self._rows[self._stack[-1]]
        outs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        held = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        row.activations += sum(t.nbytes for t in outs[:1] if t.untyped_storage()._cdata not in held)
        if formula:
            for macs, *operands in formula(bind(func, args, kwargs), outs[0]):
                row.macs += macs
                row.backward_macs += macs * sum(operand.requires_grad for operand in operands)
        elif not (func.is_view or op.removeprefix("aten.") in FREE):
            tally = self._others.setdefault(op.removeprefix("aten."), _Tally(known=is_cheap(func)))
            tally.calls += 1
            tally.elements += sum(t.numel() for t in outs)
        return out

    def uncounted(self) -> dict[str, Uncounted]:
        found = sorted(self._others.items(), key=lambda item: (item[1].known, -item[1].elements))
        return {op: Uncounted(op, tally.calls, tally.elements, tally.known) for op, tally in found}

    def layers(self) -> tuple[Layer, ...]:
        """Rows of leaves, and of other modules with work or parameters of their own. Every parameter is in one row."""
        seen: set[int] = set()
        for name, module in self._twin.named_modules():
            own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
            seen |= {id(p) for p in own}
            while name not in self._rows:  # used by its parent as a bag of weights, or not used
                name = name.rpartition(".")[0]
            row = self._rows[name]
            row.params += sum(p.numel() for p in own)
            if own and row.module is module:
                weight = module._parameters.get("weight")
                row.weight_shape = tuple((weight if weight is not None else max(own, key=Tensor.numel)).shape)
        return tuple(
            Layer(
                name or "(root)",
                type(row.module).__name__,
                row.output_shape,
                row.weight_shape,
                row.params,
                row.macs,
                row.backward_macs,
                row.receptive_field,
                row.activations,
                row.calls,
            )
            for name, row in self._rows.items()
            if row.params or row.macs or row.activations or (row.calls and not any(row.module.children()))
        )


def _meta(t: Tensor) -> Tensor:
    return t.to("meta")


def _sentence(error: BaseException) -> str:
    return textwrap.shorten(str(error).strip().rstrip(".!").replace(". ", "; "), 200, placeholder="…")


def _describe(module: nn.Module) -> str:
    extra = module.extra_repr().split("\n")[0]
    return f"{type(module).__name__}({extra})" if extra else type(module).__name__
