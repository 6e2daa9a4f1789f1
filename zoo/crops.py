"""Geometry and colour of images on tensors: what data serve, what weights were trained on, and what a prediction sees."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_PLACES = ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))  # (top, left): the centre, then the corners


@dataclass(frozen=True)
class Crops:
    """How an image becomes one or several views of the shape in use, at test time.

    Args:
        shape: (C, H, W) of a view. One channel of three is their brightness (ITU-R 601), three of one are its copies.
        scales: pixels to which the shorter side is scaled before H x W is cut out; None cuts the largest region of the
            right proportions and scales that.
        crops: a scale's views: 1, the centre; or 10, the centre, the corners, and the five mirrored (Krizhevsky et al.
            2012, section 4.1). ResNet's fifty are ten at 224, 256, 384, 480, 640 (He et al. 2016, section 3.4).
    """

    shape: tuple[int, ...]
    scales: tuple[int, ...] | None = None
    crops: int = 1

    def __post_init__(self) -> None:
        if self.crops not in (1, 10):
            raise ValueError(f"data.crops is {self.crops}; an image is scored by 1 crop or by 10.")
        if self.scales is not None and (not self.scales or min(self.scales) < min(self.shape[1:])):
            raise ValueError(
                f"data.scales is {list(self.scales)}, but a crop of {self.shape[1]} x {self.shape[2]} pixels is cut from each "
                f"scale. Give at least one, none below {min(self.shape[1:])}."
            )

    @property
    def views(self) -> int:
        return len(self.scales or (0,)) * self.crops

    def __str__(self) -> str:
        """The protocol, as it is written beside a figure."""
        height, width = self.shape[1:]
        what = "1 crop, the centre," if self.crops == 1 else "10 crops (centre, corners, mirrored)"
        where = f"at short sides {', '.join(map(str, self.scales))}" if self.scales else "of the largest region"
        return f"{what} {where}, {height} x {width}, bilinear" + (", probabilities averaged" if self.views > 1 else "")

    def cut(self, pixels: Tensor, view: int) -> Tensor:
        """(B, c, h, w) uint8 -> (B, C, H, W): view 0 <= view < views of each."""
        scale, crop = divmod(view, self.crops)
        top, left = _PLACES[crop % 5]
        pixels = recoloured(pixels, self.shape[0])
        height, width = self.shape[1:]
        if self.scales is None:
            cut = region(pixels, top, left, min(pixels.shape[2] / height, pixels.shape[3] / width), (height, width))
        else:
            # The whole image is scaled and then cut, as published protocols do; torchvision rounds the same way.
            short, full = self.scales[scale], pixels.shape[2:]
            size = [short if extent == min(full) else int(short * extent / min(full)) for extent in full]
            # In float, as torchvision computes: on bytes the result may differ by one.
            floats = interpolate(pixels.float(), size, mode="bilinear", antialias=True, align_corners=False)
            scaled = floats.round_().to(torch.uint8)
            y, x = round((scaled.shape[2] - height) * top), round((scaled.shape[3] - width) * left)
            cut = scaled[:, :, y : y + height, x : x + width]
        return cut.flip(-1) if crop >= 5 else cut


def brightness(x: Tensor) -> Tensor:
    """Of red, green and blue what the eye sees (ITU-R 601), of other channels the mean: (B, C, ...) -> (B, 1, ...)."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device).reshape(1, 3, *(1,) * (x.dim() - 2))
    return (x * weights).sum(1, keepdim=True)


def recoloured(pixels: Tensor, channels: int) -> Tensor:
    """(B, c, H, W) uint8 -> (B, C, H, W)."""
    if pixels.shape[1] == 3 and channels == 1:
        return brightness(pixels.float()).round_().to(torch.uint8)
    return pixels.expand(-1, channels, -1, -1)


def region(pixels: Tensor, top: float, left: float, scale: float, size: tuple[int, int]) -> Tensor:
    """Cut `scale * size` pixels out and scale them to `size` = (H, W); `top` and `left` in 0..1 are of the space left."""
    full = pixels.shape[2:]
    edges = [min(extent, max(1, round(wish * scale))) for extent, wish in zip(full, size, strict=True)]
    y, x = (int(place * (extent - edge)) for place, extent, edge in zip((top, left), full, edges, strict=True))
    return resized(pixels[:, :, y : y + edges[0], x : x + edges[1]], size)


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if pixels.shape[2:] == size:
        return pixels
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
