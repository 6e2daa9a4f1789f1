"""Images: splits that are held in memory, and files that are decoded where they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from zoo.batch import Batch, LabelBatch
from zoo.data.base import Draw, Unreadable

SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])


class Pixels:
    """Images in memory: a batch is one gather.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
    """

    views = 1

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch:
        epoch, index = torch.tensor(draws, dtype=torch.int64).reshape(-1, 2).unbind(1)
        images, labels = self.images[index], self.labels[index]
        return LabelBatch(input=images, label=labels, id=index, view=torch.zeros_like(index), epoch=epoch)


def read_image(path: Path, shape: Sequence[int]) -> Tensor:
    """An image file as (C, H, W) uint8: turned upright (EXIF), made grey or RGB, the largest centred cut scaled to H x W.

    The first picture of an animation is read; 16-bit grey is scaled to bytes; transparency is dropped. Raises
    `Unreadable`.
    """
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                # Pillow would clip 16-bit values at 255 instead of scaling them.
                image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow's plug-ins raise
        raise Unreadable(path, str(error)) from error
    full = pixels.shape[:2]
    scale = min(full[0] / height, full[1] / width)
    edges = [min(extent, max(1, round(wish * scale))) for extent, wish in zip(full, (height, width), strict=True)]
    y, x = ((extent - edge) // 2 for extent, edge in zip(full, edges, strict=True))
    cut = torch.from_numpy(pixels[y : y + edges[0], x : x + edges[1]].reshape(*edges, -1)).permute(2, 0, 1)[None]
    if cut.shape[2:] != (height, width):
        cut = interpolate(cut, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return cut[0].expand(channels, -1, -1).contiguous()


class ImageFiles:
    """Image files, labelled or not, decoded where they are asked for."""

    views = 1

    def __init__(self, paths: Sequence[Path], labels: Sequence[int] | None, shape: Sequence[int]) -> None:
        self.paths = paths
        self.labels = labels
        self.shape = shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch:
        images: list[Tensor] = []
        kept: list[Draw] = []
        bad: dict[str, str] = {}
        for epoch, index in draws:
            try:
                images.append(read_image(self.paths[index], self.shape))
            except Unreadable as error:
                bad[str(error.path)] = error.reason
            else:
                kept.append((epoch, index))
        epochs, ids = torch.tensor(kept, dtype=torch.int64).reshape(-1, 2).unbind(1)
        pixels = torch.stack(images) if images else torch.empty((0, *self.shape), dtype=torch.uint8)
        batch = Batch(input=pixels, id=ids, view=torch.zeros_like(ids), epoch=epochs, bad=bad)
        if self.labels is None:
            return batch
        return LabelBatch(**batch, label=torch.tensor([self.labels[i] for i in ids.tolist()], dtype=torch.int64))


def check_image(path: Path) -> None:
    """Read a file's header, no pixel of it. Raises `Unreadable`."""
    try:
        with Image.open(path):
            pass
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(path, str(error)) from error
