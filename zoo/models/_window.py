"""Fully convolutional inference: clips larger than those of training, whose last maps are averaged window by window."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import avg_pool3d


class WindowAverage(nn.Module):
    """The averages of all windows of maps, at stride 1: (B, C, t, h, w) -> (B, C, t', h', w').

    Args:
        window: extents (t, h, w) of a window; None is the whole axis. Smaller maps have smaller windows.
    """

    def __init__(self, window: Sequence[int | None]) -> None:
        super().__init__()
        self.window = tuple(window)

    def forward(self, x: Tensor) -> Tensor:
        window = [size if edge is None else min(edge, size) for edge, size in zip(self.window, x.shape[2:], strict=True)]
        return avg_pool3d(x, window, stride=1)


def average(window: int | None) -> nn.Module:
    """The pooling of a head: of all maps at once, or of every square of so many pixels over the whole time.

    Raises ValueError: a window of no pixel.
    """
    if window is not None and window < 1:
        raise ValueError(f"window is {window}; it is a number of pixels of the last maps, at least 1, or null for all of them.")
    return nn.AdaptiveAvgPool3d(1) if window is None else WindowAverage((None, window, window))
