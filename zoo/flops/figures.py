"""The cost of a network: figures, and the table that `zoo flops` prints of them."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zoo.common.words import printable
from zoo.flops.field import Extent

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One module of the network, or what its own `forward` computed outside its children.

    All figures are for one sample and summed over `calls`; shapes are those of the largest call, without the batch, and
    the receptive field is the largest. weight_shape is as torch stores it (a linear layer: out x in); of several
    parameters it is `weight`, else the largest. activations: bytes written. params: each parameter is in one row, a
    shared one in the first.
    """

    name: str
    kind: str
    output_shape: Shape
    weight_shape: Shape
    params: int
    macs: int
    backward_macs: int
    receptive_field: Extent
    activations: int
    calls: int

    @property
    def flops(self) -> int:
        return 2 * self.macs


@dataclass(frozen=True)
class Uncounted:
    """An operation that was executed and added no multiply-adds. `known` is False for one that may hide some."""

    op: str
    calls: int
    elements: int
    known: bool


@dataclass(frozen=True)
class Profile:
    """The cost of one network on one sample. `print` shows it as a table.

    macs, flops: of one forward pass over one sample of `input_shape`; `flops = 2 * macs`.
    backward_macs: what the backward pass adds for the parameters that require a gradient (the input does not).
    activations: bytes of the results that the operations of the forward pass write. Views and in-place operations write
        none; what an operation keeps aside for its gradient (a pool's indices) is left out.
    uncounted: name -> operation executed and not counted. note: how the figures came about, if it was not as usual.
    clips, crops: views of one video or image at test time; a prediction costs `macs * clips * crops`.
    """

    name: str
    input_shape: Shape | tuple[Shape, ...]
    params: int
    macs: int
    backward_macs: int
    activations: int
    layers: tuple[Layer, ...]
    uncounted: Mapping[str, Uncounted]
    clips: int = 1
    crops: int = 1
    note: str = ""

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def training_macs(self) -> int:
        """Forward and backward of one sample."""
        return self.macs + self.backward_macs

    @property
    def views(self) -> int:
        return self.clips * self.crops

    @property
    def view_macs(self) -> int:
        """Forward of all views: what one prediction costs."""
        return self.macs * self.views

    @property
    def missing(self) -> tuple[str, ...]:
        """Operations that may hold multiply-adds and have no formula here: with any, the totals are lower bounds."""
        return tuple(op for op, u in self.uncounted.items() if not u.known)

    def __getitem__(self, name: str) -> Layer:
        """The layer of that path."""
        return {layer.name: layer for layer in self.layers}[name]

    def __str__(self) -> str:
        return _render(self)


_WIDTH = 120


def times(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _big(n: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if n >= size:
            return f"{n / size:,.2f} {unit}"
    return f"{n:,}"


def _memory(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB" if n >= 2**20 else f"{n / 2**10:,.1f} KiB" if n >= 2**10 else f"{n} B"


def _cut(names: Sequence[str], width: int) -> list[str]:
    """Names of that width, or of as much more as it takes for no two of them to look alike. A path's end tells most."""
    for wide in range(width, max(map(len, names))):
        for start in range(0, wide // 2 + 1, 4):
            cut = [n if len(n) <= wide else f"{n[:start]}…{n[len(n) - (wide - start - 1) :]}" for n in names]
            if len(set(cut)) == len(set(names)):
                return cut
    return list(names)


def _render(p: Profile) -> str:
    shapes = (p.input_shape,) if isinstance(p.input_shape[0], int) else p.input_shape
    head = ["layer", "kind", "output", "weight", "params", "MACs", "FLOPs", "field", "memory"]
    rows = [
        [
            printable(layer.name),
            printable(layer.kind) + (f" *{layer.calls}" if layer.calls > 1 else ""),
            "x".join(map(str, layer.output_shape)),
            "x".join(map(str, layer.weight_shape)),
            f"{layer.params:,}" if layer.params else "",
            _big(layer.macs) if layer.macs else "",
            _big(layer.flops) if layer.macs else "",
            "x".join("-" if n is None else str(n) for n in layer.receptive_field),
            _memory(layer.activations) if layer.activations else "",
        ]
        for layer in p.layers
    ]
    total = ["total", "", "", "", f"{p.params:,}", _big(p.macs), _big(p.flops), "", _memory(p.activations)]
    widths = [max(len(row[i]) for row in [head, *rows, total]) for i in range(len(head))]
    spare = _WIDTH - sum(widths[2:]) - 2 * (len(head) - 1)
    widths[1] = max(min(widths[1], max(spare - widths[0], spare // 3)), 8)
    names = _cut([row[0] for row in [head, *rows, total]], max(min(widths[0], spare - widths[1]), 12))
    for row, name in zip([head, *rows, total], names, strict=True):
        row[0] = name
    widths[0] = max(map(len, names))

    def line(row: Sequence[str]) -> str:
        name, kind, *rest = row
        kind = kind if len(kind) <= widths[1] else kind[: widths[1] - 1] + "…"
        cells = zip((name, kind, *rest), widths, strict=True)
        return "  ".join(c.ljust(w) if i < 4 else c.rjust(w) for i, (c, w) in enumerate(cells)).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(head) - 1))
    views = f"{p.clips} clip{'s' * (p.clips > 1)} x {p.crops} crop{'s' * (p.crops > 1)}"
    known = [u for u in p.uncounted.values() if u.known]
    facts = [
        f"Forward {_big(p.macs)} MACs = {_big(p.flops)} FLOPs; with backward {_big(p.training_macs)} MACs = "
        f"{_big(2 * p.training_macs)} FLOPs; all {p.views} views forward {_big(p.view_macs)} MACs.",
        "Executed and not counted (calls, elements written): "
        + (", ".join(f"{u.op} {u.calls} ({_big(u.elements)})" for u in known) or "nothing")
        + ".",
    ]
    if p.missing:
        facts.insert(0, f"NO FORMULA, so that all totals are lower bounds: {', '.join(p.missing)}.")
    title = f"{p.name}, one sample of {' and '.join(times(s) for s in shapes)}, {views}"
    text = [title, rule, line(head), rule, *map(line, rows), rule, line(total), rule]
    return "\n".join(text + [textwrap.fill(fact, _WIDTH, subsequent_indent="  ") for fact in [*facts, p.note] if fact])
