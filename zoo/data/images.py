"""Images: how they are cut to the shape in use, splits held in memory, and files decoded where they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from zoo.batch import Batch, LabelBatch
from zoo.data._augment import brightness
from zoo.data._random import CROP, uniform
from zoo.data.base import Draw, Unreadable

SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])

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
            scaled = resized(pixels, (size[0], size[1]))
            y, x = round((scaled.shape[2] - height) * top), round((scaled.shape[3] - width) * left)
            cut = scaled[:, :, y : y + height, x : x + width]
        return cut.flip(-1) if crop >= 5 else cut


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


class Pixels:
    """Images in memory at the size of their source: a batch is one gather, and one scaling where another size is served.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        crops: what is served of an image; None is the image as it is.
    """

    def __init__(self, images: Tensor, labels: Tensor, crops: Crops | None = None) -> None:
        self.images = images
        self.labels = labels
        self.crops = crops or Crops(tuple(images.shape[1:]))
        self.views = self.crops.views

    def __len__(self) -> int:
        return len(self.images) * self.views

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch:
        epoch, index = torch.from_numpy(np.array(draws, dtype=np.int64).reshape(-1, 2)).unbind(1)
        ids, view = index // self.views, index % self.views
        if self.views == 1:
            pixels = self.crops.cut(self.images[ids], 0)
        else:
            pixels = torch.cat(
                [self.crops.cut(self.images[i : i + 1], v) for i, v in zip(ids.tolist(), view.tolist(), strict=True)]
            )
        return LabelBatch(input=pixels, label=self.labels[ids], id=ids, view=view, epoch=epoch)


def read_image(path: Path, channels: int) -> Tensor:
    """An image file as (1, C, h, w) uint8 at its own size, grey or RGB, turned upright (EXIF).

    What the file holds decides, not its suffix. CMYK and palettes are converted, the first picture of an animation is
    read, 16-bit grey is scaled to bytes, transparency is dropped. Raises `Unreadable`.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise Unreadable(path, "its pixels are floating-point numbers of no stated range")
            if image.mode.startswith("I"):
                # Pillow would clip 16-bit values at 255 instead of scaling them.
                image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow's plug-ins raise
        raise error if isinstance(error, Unreadable) else Unreadable(path, str(error)) from error
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]


class ImageFiles:
    """Image files, labelled or not, decoded where they are asked for.

    Args:
        short_side: for training: the shorter side is scaled to a length drawn from this range and H x W cut out at a
            random place (ResNet: 256 to 480); None takes the views of `crops`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[int] | None,
        crops: Crops,
        *,
        short_side: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.paths = paths
        self.labels = labels
        self.crops = crops
        self.views = 1 if short_side else crops.views
        self.short_side = short_side
        self.seed = seed

    def __len__(self) -> int:
        return len(self.paths) * self.views

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch:
        images: list[Tensor] = []
        kept: list[tuple[int, int, int]] = []
        bad: dict[str, str] = {}
        for epoch, index in draws:
            number, view = divmod(index, self.views)
            try:
                images.append(self._read(epoch, number, view))
            except Unreadable as error:
                bad[str(error.path)] = error.reason
            else:
                kept.append((number, view, epoch))
        ids, views, epochs = torch.tensor(kept, dtype=torch.int64).reshape(-1, 3).unbind(1)
        pixels = torch.cat(images) if images else torch.empty((0, *self.crops.shape), dtype=torch.uint8)
        batch = Batch(input=pixels, id=ids, view=views, epoch=epochs, bad=bad)
        if self.labels is None:
            return batch
        return LabelBatch(**batch, label=torch.tensor([self.labels[i] for i in ids.tolist()], dtype=torch.int64))

    def _read(self, epoch: int, number: int, view: int) -> Tensor:
        image = read_image(self.paths[number], self.crops.shape[0])
        if self.short_side is None:
            return self.crops.cut(image, view)
        length, top, left = uniform(self.seed, epoch, torch.tensor([number]), 3, CROP)[0].tolist()
        low, high = self.short_side
        height, width = self.crops.shape[1:]
        # Cut first and scaled once: the scaled image is never needed whole.
        scale = min(image.shape[2:]) / (low + length * (high - low))
        return recoloured(region(image, top, left, scale, (height, width)), self.crops.shape[0])


def check_image(path: Path) -> None:
    """Read a file's header, no pixel of it. Raises `Unreadable`."""
    try:
        with Image.open(path):
            pass
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(path, str(error)) from error
