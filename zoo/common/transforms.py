"""Preprocessing of pictures and clips in memory: scaled, cut, colored and normalized as data sets and tasks do it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from zoo.common.crops import Crops, Interpolation, region, rescaled, size_by, with_channels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = Image | Tensor | NDArray[np.generic]

ChannelOrder = Literal["rgb", "bgr"]

_FORMS = {
    3: "a PIL image, a tensor (C, H, W) or (B, C, H, W), or an array (H, W, C) or (B, H, W, C)",
    4: "a tensor (T, C, H, W), (C, T, H, W) or a batch of such, or an array (T, H, W, C) or (B, T, H, W, C)",
}
"""What is taken, by the number of axes of a sample."""


@dataclass(frozen=True)
class Transforms:
    """Preprocessing of a picture or a clip for a network.

    `transforms(image)` is float32 (C, H, W), of a batch (B, C, H, W); of clips (C, T, H, W) or (B, C, T, H, W). An image is

    - a PIL image of any mode. It is turned upright (EXIF); palettes and CMYK are converted; what is transparent lies on white;
      numbers of 16 bits are divided by 256. Numbers of 32 bits that are no bytes, and floating-point ones, have no range and
      are refused.
    - a tensor (C, H, W), or a batch of them (B, C, H, W): uint8, or floats from 0 to 1.
    - an array of NumPy (H, W) or (H, W, C), or a batch (B, H, W, C), of the same numbers.

    C is 1 or 3, whatever the network reads: of three the brightness is taken, one is repeated.

    A clip is a tensor (T, C, H, W) or (C, T, H, W), a batch of them, or an array (T, H, W, C) or (B, T, H, W, C). Where both
    axes could be the channels (1 or 3), it is (T, C, H, W). Its frames are served as they are: choose as many as the network
    reads, at the rate it was trained with.

    Bytes give the numbers that `zoo predict` feeds; floats are not rounded on the way, as in torchvision.

    Args:
        shape: (C, H, W) or (C, T, H, W) of what the network reads.
        mean: of each channel, in 0..1.
        std: likewise.
        resize: pixels to which the shorter side is scaled before the center is cut out, or (H, W), to which any image is
            scaled; None cuts the largest centered region and scales it, or leaves what goes in whole at its own size.
        interpolation: of the scaling.
        antialias: widen the kernel where an image is made smaller, as Pillow does.
        whole: nothing is cut off: an image keeps the size that `resize` and `limit` make of it.
        limit: pixels that the longer side of an image that goes in whole has at most.
        channel_order: of what the network reads. `mean` and `std` are of red, green and blue in any case.

    Raises:
        ValueError: what is handed over has another form, another type, or floats beyond 0..1.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    whole: bool = False
    limit: int | None = None
    channel_order: ChannelOrder = "rgb"

    @property
    def _clips(self) -> bool:
        return len(self.shape) == 4

    @cached_property
    def _crops(self) -> Crops:
        scales = (self.resize,) if self.resize else None
        return Crops((self.shape[0], *self.shape[-2:]), scales, 1, self.interpolation, self.antialias)

    def __call__(self, pixels: "Pixels") -> Tensor:
        found, single = self._batch(pixels)
        if self._clips:
            if self.shape[0] not in (1, 3):
                raise ValueError(
                    f"The network reads clips of {self.shape[0]} channels, of which some are flow; data sets make them."
                )
            folded = found.transpose(1, 2).flatten(0, 1)
            cut = self._frames(folded)
            cut = cut.reshape(len(found), -1, *cut.shape[1:]).transpose(1, 2)
        else:
            cut = self._uncut(found) if self.whole else self._crops.cut(found, 0)
        axes = (-1, *(1,) * (len(self.shape) - 1))
        mean, std = (torch.tensor(each, device=cut.device).reshape(axes) for each in (self.mean, self.std))
        normalized = (cut.float() - 255 * mean) / (255 * std)
        if self.channel_order == "bgr":
            normalized = normalized.flip(1)
        if single:
            (normalized,) = normalized
        return normalized

    def _uncut(self, images: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W) by `resize` and `limit` alone."""
        images = with_channels(images, self.shape[0])
        if self.resize is None:
            return images
        height, width = images.shape[2:]
        return rescaled(images, size_by(self.resize, height, width, self.limit), self.interpolation, self.antialias)

    def _frames(self, frames: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W), cut as the frames of films are: before they are scaled, but by `resize` after it."""
        height, width = self.shape[-2:]
        if self.resize is not None:
            return self._crops.cut(frames, 0)
        return with_channels(region(frames, 0.5, 0.5, float(max(frames.shape[2:])), (height, width)), self.shape[0])

    def _batch(self, pixels: Any) -> tuple[Tensor, bool]:
        """(B, C, H, W) or (B, C, T, H, W), uint8 or float32 from 0 to 255; and whether it was one sample. Raises ValueError."""
        from PIL import Image

        if isinstance(pixels, Image.Image) and not self._clips:
            return _of_picture(pixels, self.shape[0]), True
        array = not isinstance(pixels, Tensor)
        found = self._tensor(pixels) if array else pixels
        axes = len(self.shape)
        if array and axes == 3 and found.dim() == 2:
            found = found[..., None]
        if found.dim() not in (axes, axes + 1):
            raise self._refused(pixels)
        single = found.dim() == axes
        found = found[None] if single else found
        if array:
            found = found.movedim(-1, 1)
        elif self._clips and self._channels(found.shape[2]):
            found = found.transpose(1, 2)
        if not self._channels(found.shape[1]) or not found.numel():
            raise self._refused(pixels)
        return self._numbers(found, pixels), single

    def _tensor(self, pixels: Any) -> Tensor:
        import numpy as np

        if not isinstance(pixels, np.ndarray):
            raise self._refused(pixels)
        try:
            return torch.from_numpy(np.array(pixels))  # a copy: not all may be written to
        except TypeError:
            raise self._refused(pixels) from None

    def _channels(self, count: int) -> bool:
        return count in ((1, 3) if self.shape[0] in (1, 3) else (1, self.shape[0]))

    def _numbers(self, found: Tensor, pixels: Any) -> Tensor:
        """Bytes as they are; floats from 0 to 1 times 255. Raises ValueError."""
        if found.dtype == torch.uint8:
            return found
        if not found.is_floating_point():
            raise self._refused(pixels)
        low, high = found.min().item(), found.max().item()
        if not (low >= 0 and high <= 1):
            raise self._refused(pixels, f", from {low:g} to {high:g}")
        return found.float() * 255

    def _refused(self, pixels: Any, more: str = "") -> ValueError:
        kind, what = ("clips", _FORMS[4]) if self._clips else ("images", _FORMS[3])
        form = f" {tuple(pixels.shape)} of {pixels.dtype}" if hasattr(pixels, "dtype") and hasattr(pixels, "shape") else ""
        wanted = f"Give {what}, of 1 or 3 channels, bytes (uint8) or floats from 0 to 1."
        return ValueError(f"The network reads {kind}, not {_called(pixels)}{form}{more}. {wanted}")


def _called(value: Any) -> str:
    kind = "a PIL image" if type(value).__module__.startswith("PIL.") else f"a {type(value).__name__}"
    return {"a Tensor": "a tensor", "a ndarray": "an array"}.get(kind, kind)


def _of_picture(image: "Image", channels: int) -> Tensor:
    """(1, C, h, w) uint8, read as from a file. Raises ValueError."""
    from zoo.common.files import Unreadable
    from zoo.common.pictures import pixels_of

    try:
        return pixels_of(image, channels)
    except Unreadable as error:
        raise ValueError(f"The image cannot be used: {error.reason}.") from None
