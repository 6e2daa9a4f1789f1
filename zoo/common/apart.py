"""A batch through a network with the bits of its samples alone."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode
from torchvision.ops import MultiScaleRoIAlign

_LAYERS = frozenset(
    [
        linear,
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
    ]
)


class Apart(TorchFunctionMode):
    """Convolutions and linear layers compute the parts of a batch one after another, all else the batch as a whole.

    BLAS and oneDNN may sum in another order where there are more rows, which changes the last digits; all else computes each
    sample by itself. A layer that gives the same bits another way for noise of the shape (most convolutions of the batch as a
    whole, linear layers row by row in one call) is computed so: the order of its sums depends on the shape alone.

    Args:
        rows: of the batch.
        part: rows that are computed together.
        known: in which way each layer is computed; where who asks for batch after batch keeps it, it is found out once.
    """

    def __init__(self, rows: int, part: int, known: dict[Any, Any] | None = None) -> None:
        super().__init__()
        self._parts = {rows: [part] * (rows // part)}
        self._known = known

    @contextlib.contextmanager
    def of_regions(self, net: nn.Module) -> Iterator[None]:
        """Meanwhile the regions that a detector pools are computed image by image too."""

        def told(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            counts = list(map(len, arguments[1]))
            self._parts[sum(counts)] = counts

        with contextlib.ExitStack() as stack:
            for module in net.modules():
                if isinstance(module, MultiScaleRoIAlign):
                    stack.callback(module.register_forward_pre_hook(told).remove)
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        parts = self._parts.get(len(args[0]), []) if func in _LAYERS else []
        if len(parts) < 2:
            return func(*args, **kwargs)
        return self._way(func, parts, args, kwargs)(*args, **kwargs)

    def _way(self, func: Any, parts: list[int], args: Any, kwargs: Any) -> Any:
        """How the layer computes a batch of this shape, with the bits of its parts."""
        x, weight, *rest = args
        in_parts = functools.partial(_in_parts, func, parts)
        if self._known is None:
            return in_parts
        layer = func, id(weight), x.shape, x.stride(), tuple(parts)
        if layer not in self._known:
            noise = torch.empty_like(x).normal_(generator=torch.Generator(x.device).manual_seed(0))
            right = in_parts(noise, weight, *rest, **kwargs)
            rows = func is linear and x.dim() == 2 and {*parts} == {1} and weight.numel() <= _LIGHT
            ways = (way for way in (func, *([_by_rows] if rows else [])) if way(noise, weight, *rest, **kwargs).equal(right))
            self._known[layer] = next(ways, in_parts)
        return self._known[layer]


_LIGHT = 2**20
"""Weights of a layer that is computed row by row in one call, at most: they could be copied for each row."""


def _by_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer, (B, K) -> (B, N), as B products of one row."""
    weights, rows = weight.t().expand(len(x), *weight.t().shape), x[:, None]
    if bias is None:
        return torch.bmm(rows, weights)[:, 0]
    return torch.baddbmm(bias.expand(len(x), 1, len(bias)), rows, weights)[:, 0]


def _in_parts(func: Any, parts: list[int], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    # Copied, for BLAS may sum otherwise where memory is aligned otherwise.
    return torch.cat([func(part.clone(), *args, **kwargs) for part in torch.split(x, parts)])
