"""A batch through a network with the bits of its samples alone."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.ops import MultiScaleRoIAlign

_LAYERS = frozenset(
    [
        torch.nn.functional.linear,
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

    BLAS and oneDNN sum in another order where there are more rows, which changes the last digits; all else computes each sample
    by itself. What is saved of small networks is the time between layers.

    Args:
        rows: of the batch.
        part: rows that are computed together.
    """

    def __init__(self, rows: int, part: int) -> None:
        super().__init__()
        self._parts = {rows: [part] * (rows // part)}

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
        if len(parts) > 1:
            # Copied, for BLAS may sum otherwise where memory is aligned otherwise.
            return torch.cat([func(part.clone(), *args[1:], **kwargs) for part in args[0].split(parts)])
        return func(*args, **kwargs)
