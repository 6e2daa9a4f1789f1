"""Geometry and color of images on tensors: what data serve, what weights were trained on, and what a prediction sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CROPS = {1: "1 crop, the centre,", 3: "3 crops (centre, both ends)", 10: "10 crops (centre, corners, mirrored)"}
"""How many views are cut from an image at test, and which."""

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Rounding = Literal["nearest", "down"]
"""How the size of a scaled image is made whole; torchvision rounds down."""

_PLACES = ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))  # (top, left): the center, then the corners


@dataclass(frozen=True)
class Crops:
    """Cut one or several views of the shape in use out of an image, at test time.

    Args:
        shape: (C, H, W) of a view. One channel of three is their brightness (ITU-R 601), three of one are its copies.
        scales: pixels to which the shorter side is scaled before H x W is cut out, or (H, W), to which any image is scaled;
            None cuts the largest region of the right proportions and scales that.
        crops: a scale's views: 1, the center; 3, the center and both ends of the longer side (Feichtenhofer et al. 2019,
            section 4); or 10, the center, the corners, and the five mirrored (Krizhevsky et al. 2012, section 4.1). ResNet's
            fifty are ten at 224, 256, 384, 480, 640 (He et al. 2016, section 3.4).
        interpolation: of the scaling.
        antialias: widen the kernel where an image is made smaller, as Pillow does.
    """

    shape: tuple[int, ...]
    scales: tuple[int | tuple[int, int], ...] | None = None
    crops: int = 1
    interpolation: Interpolation = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_crops(self.crops)
        if self.scales is not None and not (self.scales and all(map(self._holds, self.scales))):
            raise ValueError(
                f"data.scales is {list(self.scales)}, but a crop of {self.shape[1]} x {self.shape[2]} pixels is cut from each "
                f"scale. Give at least one, none below {min(self.shape[1:])}."
            )

    def _holds(self, scale: int | tuple[int, int]) -> bool:
        height, width = self.shape[1:]
        return min(height, width) <= scale if isinstance(scale, int) else height <= scale[0] and width <= scale[1]

    @property
    def views(self) -> int:
        return len(self.scales or (0,)) * self.crops

    def __str__(self) -> str:
        """The protocol, as it is written beside a figure."""
        height, width = self.shape[1:]
        what = CROPS[self.crops]
        where = f"at {_sides(self.scales)}" if self.scales else "of the largest region"
        how = self.interpolation + ("" if self.antialias else " without antialiasing")
        return f"{what} {where}, {height} x {width}, {how}" + (", probabilities averaged" if self.views > 1 else "")

    def cut(self, pixels: Tensor, view: int) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W): view 0 <= view < views of each. Floats, 0 to 255, are not rounded."""
        rows, columns = self.box(view)(*pixels.shape[2:])
        return self.scaled(pixels[:, :, rows, columns], view)

    def box(self, view: int) -> Callable[[int, int], tuple[slice, slice]]:
        """From an image's height and width to the rows and the columns that a view is made of."""

        def cut(height: int, width: int) -> tuple[slice, slice]:
            if self.scales is not None:
                return slice(None), slice(None)
            top, left, mirrored = place(view, self.crops, height, width)
            rows, columns = window((height, width), top, left, float(max(height, width)), self.shape[1:])
            return rows, in_mirror(columns, width) if mirrored else columns

        return cut

    def scaled(self, pixels: Tensor, view: int) -> Tensor:
        """The pixels of a view's `box`, (B, c, h, w), as it is served, (B, C, H, W)."""
        scale, crop = divmod(view, self.crops)
        top, left, mirrored = place(crop, self.crops, *pixels.shape[2:])
        pixels = with_channels(pixels, self.shape[0])
        height, width = self.shape[1:]
        if self.scales is None:
            cut = resized(pixels, (height, width), self.interpolation, self.antialias)
        else:
            # The whole image is scaled and then cut, as published protocols do.
            size = size_by(self.scales[scale], *pixels.shape[2:])
            scaled = rescaled(pixels, size, self.interpolation, self.antialias)
            y, x = round((scaled.shape[2] - height) * top), round((scaled.shape[3] - width) * left)
            columns = slice(x, x + width)
            cut = scaled[:, :, y : y + height, in_mirror(columns, scaled.shape[3]) if mirrored else columns]
        return cut.flip(-1) if mirrored else cut


def scales_of(said: Sequence[int | Sequence[int]] | None) -> tuple[int | tuple[int, int], ...] | None:
    """The scales of `Crops` from lists of a configuration. Raises ValueError."""
    return tuple(sides_of(each, "data.scales") for each in said or ()) or None


def sides_of(said: int | Sequence[int], key: str) -> int | tuple[int, int]:
    """A size of a configuration: pixels of the shorter side, or (H, W). Raises ValueError for other numbers of numbers."""
    if isinstance(said, int):
        return said
    if len(said) != 2:
        raise ValueError(f"{key} names {list(said)}; a size is the shorter side's pixels, or [height, width].")
    return said[0], said[1]


def _sides(scales: Sequence[int | tuple[int, int]]) -> str:
    short = ", ".join(str(scale) for scale in scales if isinstance(scale, int))
    return ", ".join(
        [*([f"short sides {short}"] if short else []), *(f"{s[0]} x {s[1]}" for s in scales if not isinstance(s, int))]
    )


def check_crops(crops: int) -> None:
    if crops not in CROPS:
        raise ValueError(f"data.crops is {crops}; a picture is scored by {', '.join(map(str, CROPS))} crops.")


def place(crop: int, crops: int, height: int, width: int) -> tuple[float, float, bool]:
    """Where crop 0 <= crop < crops of a picture lies: (top, left) in 0..1 of the space left; and whether it is mirrored.

    Of a mirrored one it is the place in the mirrored picture, as torchvision's `ten_crop` counts: where the space left is
    odd, the center of the mirror is not the mirror of the center.
    """
    if crops == 3:
        along = (0.5, 0.0, 1.0)[crop]
        return (0.5, along, False) if width >= height else (along, 0.5, False)
    top, left = _PLACES[crop % 5]
    return (top, 1 - left, True) if crop >= 5 else (top, left, False)


def in_mirror(columns: slice, width: int) -> slice:
    """The columns of a picture that are these columns of its mirror image, still to be mirrored."""
    return slice(width - columns.stop, width - columns.start)


def brightness(x: Tensor) -> Tensor:
    """The luminance of red, green and blue (ITU-R 601), the mean of other channels: (B, C, ...) -> (B, 1, ...)."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device).reshape(1, 3, *(1,) * (x.dim() - 2))
    return (x * weights).sum(1, keepdim=True)


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """(B, c, H, W) -> (B, C, H, W), bytes or floats."""
    if pixels.shape[1] == 3 and channels == 1:
        bright = brightness(pixels.float())
        return bright.round_().to(torch.uint8) if pixels.dtype == torch.uint8 else bright
    return pixels.expand(-1, channels, -1, -1)


def window(full: Sequence[int], top: float, left: float, scale: float, size: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of `scale * size` pixels, or of fewer in the same proportions where there are not as many; `top` and
    `left` in 0..1 are of the space left."""
    scale = min(scale, full[0] / size[0], full[1] / size[1])
    edges = [min(extent, max(1, round(wish * scale))) for extent, wish in zip(full, size, strict=True)]
    y, x = (int(place * (extent - edge)) for place, extent, edge in zip((top, left), full, edges, strict=True))
    return slice(y, y + edges[0]), slice(x, x + edges[1])


def region(pixels: Tensor, top: float, left: float, scale: float, size: tuple[int, int]) -> Tensor:
    """Cut a `window` out of (B, C, h, w) and scale it to `size` = (H, W)."""
    rows, columns = window(pixels.shape[2:], top, left, scale, size)
    return resized(pixels[:, :, rows, columns], size)


def resized(pixels: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear", antialias: bool = True) -> Tensor:
    if pixels.shape[2:] == size:
        return pixels
    if (interpolation, antialias) != ("bilinear", True):
        return rescaled(pixels, size, interpolation, antialias)
    if pixels.dtype == torch.uint8 and pixels.shape[1] == 1 and len(pixels) % 4 == 0:
        # Four gray images as the channels of one: torch scales them in the time of one, to the same bytes.
        return resized(pixels.reshape(-1, 4, *pixels.shape[2:]), size).reshape(-1, 1, *size)
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def size_by(scale: int | tuple[int, int], height: int, width: int, limit: int | None = None) -> tuple[int, int]:
    """Height and width of an image scaled to (H, W), or by its shorter side as torchvision does it, which rounds down.

    Args:
        limit: pixels that the longer side has at most.
    """
    if not isinstance(scale, int):
        return scale
    short, long = sorted((height, width))
    if limit is not None:  # as in torchvision's GeneralizedRCNNTransform
        factor = min(scale / short, limit / long)
        return int(height * factor), int(width * factor)
    return scale if height == short else int(scale * height / short), scale if width == short else int(scale * width / short)


def rescaled(pixels: Tensor, size: Sequence[int], interpolation: Interpolation = "bilinear", antialias: bool = True) -> Tensor:
    """(B, c, h, w) -> (B, c, H, W). Bytes are computed in float, and may differ by one from torchvision's and Pillow's."""
    align = None if interpolation == "nearest" else False
    smooth = antialias and interpolation != "nearest"
    bytes_ = pixels.dtype == torch.uint8
    # A kernel that overshoots makes bytes of the rows first, as Pillow's does.
    steps = [(pixels.shape[2], size[1]), size] if bytes_ and smooth and interpolation == "bicubic" else [size]
    floats = pixels.float()
    for step in steps:
        floats = interpolate(floats, tuple(step), mode=interpolation, antialias=smooth, align_corners=align)
        floats = floats.round_().clamp_(0, 255) if bytes_ else floats
    return floats.to(pixels.dtype) if bytes_ else floats
