"""Images: splits held in memory, and files decoded where they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo.batch import Batch, LabelBatch
from zoo.chance import CROP, uniform
from zoo.crops import Crops, recoloured, region
from zoo.data._files import File
from zoo.data.base import Decoded, Draw, Unreadable, labelled

SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])


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
            pixels = self.crops.cut(self.images.index_select(0, ids), 0)  # faster than indexing
        else:
            pixels = torch.cat(
                [self.crops.cut(self.images[i : i + 1], v) for i, v in zip(ids.tolist(), view.tolist(), strict=True)]
            )
        return LabelBatch(input=pixels, label=self.labels[ids], id=ids, view=view, epoch=epoch)


def read_image(path: File, channels: int) -> Tensor:
    """An image file as (1, C, h, w) uint8 at its own size, grey or RGB, turned upright (EXIF).

    What the file holds decides, not its suffix. CMYK and palettes are converted, the first picture of an animation is
    read, 16-bit grey is scaled to bytes, transparency is dropped. Raises `Unreadable`.
    """
    try:
        with path.open("rb") as stream, Image.open(stream) as opened:
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


class ImageFiles(Decoded):
    """Image files, labelled or not, decoded where they are asked for.

    Args:
        short_side: for training: the shorter side is scaled to a length drawn from this range and H x W cut out at a
            random place (ResNet: 256 to 480); None takes the views of `crops`.
    """

    def __init__(
        self,
        paths: Sequence[File],
        labels: Sequence[int] | None,
        crops: Crops,
        *,
        short_side: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(len(paths), 1 if short_side else crops.views)
        self.paths = paths
        self.labels = labels
        self.crops = crops
        self.short_side = short_side
        self.seed = seed

    def name(self, number: int) -> str:
        return str(self.paths[number])

    def blank(self) -> dict[str, Tensor]:
        return labelled(torch.zeros(self.crops.shape, dtype=torch.uint8), self.labels, 0)

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        image = read_image(self.paths[number], self.crops.shape[0])
        if self.short_side is None:
            return labelled(self.crops.cut(image, view)[0], self.labels, number)
        length, top, left = uniform(self.seed, epoch, torch.tensor([number]), 3, CROP)[0].tolist()
        low, high = self.short_side
        height, width = self.crops.shape[1:]
        # Cut first and scaled once: the scaled image is never needed whole.
        scale = min(image.shape[2:]) / (low + length * (high - low))
        cut = region(image, top, left, scale, (height, width))
        return labelled(recoloured(cut, self.crops.shape[0])[0], self.labels, number)


def check_image(path: Path) -> None:
    """Read a file's header, no pixel of it. Raises `Unreadable`."""
    try:
        with Image.open(path):
            pass
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(path, str(error)) from error
