"""A batch through a network with the bits of its samples alone."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

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
        self.rows = rows
        self.part = part

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _LAYERS and len(args[0]) == self.rows > self.part:
            # Copied, for BLAS may sum otherwise where memory is aligned otherwise.
            return torch.cat([func(part.clone(), *args[1:], **kwargs) for part in args[0].split(self.part)])
        return func(*args, **kwargs)
