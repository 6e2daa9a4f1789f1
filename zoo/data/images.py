"""Images: splits held in memory, and files decoded where they are asked for."""

import contextlib
import importlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError, features
from torch import Tensor

from zoo.batch import Batch, LabelBatch
from zoo.chance import CROP, uniform
from zoo.crops import Crops, recoloured, region
from zoo.data._files import File, check_pixels, reason, regular
from zoo.data.base import Decoded, Draw, Unreadable, labelled

_PLUGINS = {
    "JPEG": ("Jpeg", "jpg"),
    "PNG": ("Png", "zlib"),
    "WEBP": ("WebP", "webp"),
    "GIF": ("Gif", None),
    "BMP": ("Bmp", None),
    "DIB": ("Bmp", None),
    "TIFF": ("Tiff", None),
    "PPM": ("Ppm", None),
    "AVIF": ("Avif", "avif"),
    "JPEG2000": ("Jpeg2K", "jpg_2000"),
    "MPO": ("Mpo", "jpg"),
}
"""Pillow's formats of photographs and of scans, the most usual first; where each is read, and what must be compiled in. Not one
of them is read by starting another program, as PostScript is."""

_COMPILED = tuple(name for name, (_, feature) in _PLUGINS.items() if feature is None or features.check(feature))
for _name in _COMPILED:
    importlib.import_module(f"PIL.{_PLUGINS[_name][0]}ImagePlugin")
FORMATS = tuple(name for name in _COMPILED if name in Image.OPEN)  # an MPO is opened as the JPEG that it begins with
LOSSLESS = tuple(name for name in FORMATS if name in ("PNG", "GIF", "BMP", "DIB", "TIFF", "PPM"))
"""Of them those that keep each pixel's number."""


def suffixes_of(formats: Sequence[str]) -> frozenset[str]:
    """All suffixes that Pillow gives to files of these formats."""
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in formats)


SUFFIXES = suffixes_of(_COMPILED)


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


@contextlib.contextmanager
def picture(path: File, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """A picture whose header has been read, and no pixel yet: the only way in which this package opens one.

    What the file holds decides, not its suffix. Raises `Unreadable`, for whatever goes wrong inside as well.
    """
    try:
        with regular(path).open("rb") as stream, _opened(stream, formats) as image:
            check_pixels(path, *image.size)
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(path, f"it holds no picture of the kinds that are read here ({', '.join(formats)})") from None
    except Exception as error:  # plug-ins raise what their parsers raise: struct.error, TypeError, zlib.error, MemoryError, ...
        raise Unreadable(path, reason(error)) from error


def _opened(stream: Any, formats: Sequence[str]) -> Image.Image:
    """As `Image.open(stream, formats=formats)`, without its own limit of pixels, which holds for the whole process."""
    start = stream.read(16)
    if not start:
        raise ValueError("it is empty")
    for factory, accept in map(Image.OPEN.__getitem__, formats):
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # as there: a header of another kind
            if accept and accept(start) is True:
                stream.seek(0)
                return factory(stream, "")
    raise UnidentifiedImageError


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int:
    """The EXIF tag, 1 to 8; 1, upright, where it is missing or not to be understood. What Pillow has turned is upright."""
    if image.format == "PNG":
        image.load()  # Pillow looks for the tag behind the pixels too; a torn file is found here
    try:
        found = 1 if image.format == "TIFF" else image.getexif().get(0x0112, 1)
    except Exception:  # a broken tag is no broken picture
        return 1
    return found if found in _TURNS else 1


def read_image(path: File, channels: int, ground: Sequence[int] = (255, 255, 255)) -> Tensor:
    """An image file as (1, C, h, w) uint8 at its own size, grey or RGB, turned upright (EXIF).

    CMYK and palettes are converted, the first picture of an animation is read, 16-bit grey is scaled to bytes by the range of
    its type. Integers of 32 bits are taken where they are bytes, 0 to 255; they have no range of their own, nor have
    floating-point numbers, which are refused. Transparent pictures lie on the `ground`. Raises `Unreadable`.
    """
    with picture(path) as image:
        image.load()
        if (turn := _TURNS.get(_orientation(image))) is not None:
            image = image.transpose(turn)
        if image.mode == "F":
            raise Unreadable(path, "its pixels are floating-point numbers of no stated range; save it with 8 or 16 bits")
        if image.mode.startswith("I"):
            clear = image.info.get("transparency")
            hidden = None if clear is None else Image.fromarray(np.asarray(image) == clear)
            image = Image.fromarray(_bytes(path, image))
            if hidden is not None:
                image.putalpha(ImageChops.invert(hidden.convert("L")))
        if image.has_transparency_data:
            under = Image.new("RGBA", image.size, (*ground, 255))
            image = Image.alpha_composite(under, image.convert("RGBA"))
        pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]


def _bytes(path: File, image: Image.Image) -> NDArray[np.uint8]:
    """Wide integers as bytes; Pillow would clip them at 255."""
    values = np.asarray(image).astype(np.int64)
    if image.mode != "I" or image.format == "PPM":  # 16 bits, or what Pillow has scaled to them
        return (values >> 8).clip(0, 255).astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise Unreadable(
            path, f"its pixels are 32-bit integers from {low} to {high}, of no stated range; save it with 8 or 16 bits"
        )
    return values.astype(np.uint8)


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


def check_image(path: File) -> None:
    """Read a file's header, no pixel of it. Raises `Unreadable`."""
    with picture(path):
        pass


def upright_size(path: File) -> tuple[int, int]:
    """Height and width of an image file, turned as its EXIF tag asks. Raises `Unreadable`."""
    with picture(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)
