"""From bytes to what a network reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of a batch or of a convolution's weights."""


class Normalizing(nn.Module):
    """The part of a task that knows the mean and the deviation of each channel, and the network's layout."""

    mean: Tensor
    std: Tensor
    normalizes: bool
    """Whether mean and deviation are known; until then only batches of floats can be read."""
    channels_last: bool
    channel_order: str
    """Of what the network reads, `rgb` unless it says `bgr`. Data are red, green, blue, and so are mean and deviation."""

    def normalize_by(self, net: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Take mean and deviation that were given, else those that the network's published weights were trained with; and lay
        out the network's weights as asked for."""
        if (mean is None) != (std is None):
            raise ValueError("mean and std belong together: give both, or neither.")
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        self.normalizes = False
        self.channel_order = getattr(net, "channel_order", "rgb")
        published: Mapping[str, Sequence[float]] = getattr(net, "normalization", {}) if mean is None else {}
        self.learn_statistics(published.get("mean", mean), published.get("std", std))
        for parameter in net.parameters() if self.channels_last else ():
            # Not net.to(memory_format=...): it refuses a network with both 2-D and 3-D convolutions.
            if parameter.dim() in CHANNELS_LAST:
                parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.dim()])

    def learn_statistics(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Take mean and deviation, where none are known yet."""
        if not self.normalizes and mean is not None and std is not None:
            device = self.mean.device
            self.mean, self.std = (torch.tensor(tuple(values), device=device) for values in (mean, std))
            self.normalizes = True

    def normalized(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, ...) -> float (B, C, ...) of zero mean and unit deviation by channel, in the network's layout. Floats
        are taken for what the network reads."""
        if pixels.is_floating_point():
            x = pixels.to(self.std.dtype)
        else:
            if not self.normalizes:
                raise ValueError(
                    f"The batch holds bytes, but {type(self).__name__} knows no mean and deviation to normalize by. Give it "
                    f"mean= and std= (of each channel, in 0..1), or serve floats as the network reads them."
                )
            shape = (-1,) + (1,) * (pixels.dim() - 2)
            scale = (255 * self.std).reshape(shape)
            x = pixels.to(scale.dtype).sub_((255 * self.mean).reshape(shape)).div_(scale)
            x = x.flip(1) if self.channel_order == "bgr" else x
        if self.channels_last:
            x = x.contiguous(memory_format=CHANNELS_LAST[x.dim()])
        return x

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Mean and deviation come out of a checkpoint where they are not known yet."""
        mean, std = (state_dict.get(f"{prefix}{name}") for name in ("mean", "std"))
        if isinstance(mean, Tensor) and isinstance(std, Tensor) and (mean != 0).any():
            self.learn_statistics(mean.tolist(), std.tolist())
        super()._load_from_state_dict(state_dict, prefix, *rest)
