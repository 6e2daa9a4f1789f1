"""A receptive field: of each axis of the input, which samples a tensor's positions read."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Reads = Callable[[int], Iterable[int]]
Extent = tuple[int | None, ...]
"""Input samples per axis (time, height, width, or as many as the input has); None where every position is mixed."""


@dataclass(frozen=True)
class Span:
    """Position `q * m + r` of an axis reads the samples `lo[r] + m * step` to `hi[r] + m * step`, where `q = len(lo)`.

    One entry (q = 1) is the usual pair of field and jump; up-sampling needs more: its positions differ in phase.
    """

    step: int
    lo: tuple[float, ...]
    hi: tuple[float, ...]

    def warp(self, ahead: int, per: int, reads: Reads) -> "Span":
        """The span of new positions `o` that read the old ones `reads(o)`; `per` new ones move on by `ahead` old."""
        q = len(self.lo)
        period = per * (q // math.gcd(q, ahead))
        lo, hi = [], []
        for position in range(period):
            turns = [divmod(i, q) for i in reads(position)]
            lo.append(min((self.lo[r] + m * self.step for m, r in turns), default=math.inf))
            hi.append(max((self.hi[r] + m * self.step for m, r in turns), default=-math.inf))
        return Span(self.step * (ahead * period // per) // q, tuple(lo), tuple(hi))

    def join(self, other: "Span") -> "Span | None":
        """The union of two paths; none if they move over the input at different speeds."""
        p, q = len(self.lo), len(other.lo)
        if self.step * q != other.step * p:
            return None
        n = math.lcm(p, q)
        a, b = (s.warp(n, n, lambda o: (o,)) for s in (self, other))
        return Span(a.step, tuple(map(min, a.lo, b.lo)), tuple(map(max, a.hi, b.hi)))

    @property
    def extent(self) -> int:
        return max(0, *(int(b - a + 1) if b >= a else 0 for a, b in zip(self.lo, self.hi, strict=True)))


class Factor(NamedTuple):
    """A part of a dimension: its size, the input axes that run along it, and whether it is one axis, unsplit."""

    size: int
    axes: frozenset[int] = frozenset()
    whole: bool = False


Dim = tuple[Factor, ...]
"""The factors of one dimension, outermost first; empty where no input axis runs along it."""
Spans = Mapping[int, Span | None]


@dataclass(frozen=True)
class Field:
    """What a tensor sees: per dimension the axes along it, per axis the span (None: all positions are mixed)."""

    dims: tuple[Dim, ...]
    spans: Spans

    @property
    def ndim(self) -> int:
        return len(self.dims)

    def axes(self, *dims: int) -> set[int]:
        return {axis for d in dims for factor in self.dims[d] for axis in factor.axes}

    def mixed(self, axes: Iterable[int]) -> "Field":
        return Field(self.dims, {**self.spans, **dict.fromkeys(axes)})

    def put(self, d: int, *dims: Dim) -> "Field":
        """With dimension `d` replaced by any number of others."""
        return Field(self.dims[:d] + dims + self.dims[d + 1 :], self.spans)

    def slide(self, d: int, size: int, ahead: int, per: int, reads: Reads) -> "Field":
        """Dimension `d`, now of length `size`, reads its old positions as `Span.warp` says. A length of 0 drops it."""
        new: tuple[Dim, ...] = ((),) if size else ()
        match self.dims[d]:
            case ():
                return self.put(d, *new)
            case (Factor(_, axes, True), *rest) if len(rest) <= 1 and not any(f.axes for f in rest):
                (axis,) = axes
                span = self.spans[axis]
                if span is not None and rest:  # channels folded into the axis: pixel shuffle
                    span = span.warp(1, rest[0].size, lambda o: (o // rest[0].size,))
                if span is not None:
                    span = span.warp(ahead, per, reads)
                new = ((Factor(size, axes, True),),) if size else ()
                return Field(self.put(d, *new).dims, {**self.spans, axis: span})
            case _:
                return self.mixed(self.axes(d)).put(d, *new)

    def reshape(self, old: Sequence[int], new: Sequence[int]) -> "Field":
        """Regroup the factors. One that has to be cut keeps its axes, but windows cannot slide over it any more."""
        rest: list[Factor] = []
        for size, factors in zip(old, self.dims, strict=True):
            for factor in factors or (Factor(size),):
                if rest and not rest[-1].axes and not factor.axes:
                    rest[-1] = Factor(rest[-1].size * factor.size)
                elif factor.size != 1:
                    rest.append(factor)
        rest.reverse()
        dims: list[Dim] = []
        for size in new:
            dim: list[Factor] = []
            while size != 1:
                factor = rest.pop() if rest else Factor(0)
                if factor.size and size % factor.size == 0:
                    dim.append(factor)
                    size //= factor.size
                elif size and factor.size and factor.size % size == 0:
                    dim.append(Factor(size, factor.axes))
                    rest.append(Factor(factor.size // size, factor.axes))
                    break
                else:
                    return Field(((),) * len(new), dict.fromkeys(self.spans))
            dims.append(tuple(dim) if any(f.axes for f in dim) else ())
        return Field(tuple(dims), self.spans)


def merge(fields: Sequence[Field]) -> Field:
    """The union over paths, dimensions aligned at the right as in broadcasting."""
    ndim = max(len(f.dims) for f in fields)
    aligned = [Field(((),) * (ndim - len(f.dims)) + f.dims, f.spans) for f in fields]
    spans: dict[int, Span | None] = {}
    for axis in {a for f in fields for a in f.spans}:
        seen = [f for f in aligned if axis in f.spans]
        places = [{d for d in range(ndim) if axis in f.axes(d)} for f in seen]
        span = seen[0].spans[axis]
        for f, place in zip(seen[1:], places[1:], strict=True):
            other = f.spans[axis]
            span = span.join(other) if span is not None and other is not None and place == places[0] else None
        spans[axis] = span
    dims: list[Dim] = []
    mixed: set[int] = set()
    for d in range(ndim):
        choices = {f.dims[d] for f in aligned} - {()}
        if len(choices) > 1:
            mixed |= {a for f in aligned for a in f.axes(d)}
        dims.append(choices.pop() if len(choices) == 1 else ())
    return Field(tuple(dims), spans).mixed(mixed)
