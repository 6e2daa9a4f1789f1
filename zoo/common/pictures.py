"""Read pictures: which formats are opened, and how their pixels become bytes."""

import contextlib
import importlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, UnidentifiedImageError, features
from torch import Tensor

from zoo.common.files import File, Unreadable, check_pixels, reason, regular
from zoo.common.pixels import Pixels
from zoo.common.words import nearest

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
"""Those that keep each pixel's number."""


def suffixes_of(formats: Sequence[str]) -> frozenset[str]:
    """All suffixes that Pillow gives to files of these formats."""
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in formats)


SUFFIXES = suffixes_of(_COMPILED)

Ground = tuple[int, int, int]
"""What lies below transparent pixels: red, green, blue."""
WHITE = (255, 255, 255)


def ground_of(value: str | Sequence[int]) -> Ground:
    """The argument `ground` of all data sets of pictures. Raises ValueError."""
    if isinstance(value, str):
        if value not in ImageColor.colormap:
            raise ValueError(
                f"data.ground is {value!r}, which is no color's word; {nearest(value, ImageColor.colormap)} Or give three "
                f"numbers from 0 to 255."
            )
        return ImageColor.getrgb(value)[:3]
    if len(value) != 3 or not all(0 <= number <= 255 for number in value):
        raise ValueError(
            f"data.ground is {list(value)}; it is three numbers from 0 to 255 (red, green, blue), or a color's word, as white."
        )
    return (value[0], value[1], value[2])


@contextlib.contextmanager
def picture(path: File, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """A picture whose header has been read, and no pixel yet: the only way in which this package opens one.

    What the file holds decides, not its suffix. Raises `Unreadable`, for whatever goes wrong inside as well.
    """
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(path, Pixels):
                image = path.picture()
            else:
                image = stack.enter_context(_opened(stack.enter_context(regular(path).open("rb")), formats))
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


Box = Callable[[int, int], tuple[slice, slice]]
"""From the height and the width of an upright picture to the rows and the columns that are wanted."""


def read_image(path: File, channels: int, ground: Ground = WHITE, box: Box | None = None) -> Tensor:
    """An image file, or a picture in memory, as (1, C, h, w) uint8 at its own size, gray or RGB, turned upright (EXIF).

    CMYK and palettes are converted, the first picture of an animation is read, numbers of 16 bits are scaled to bytes by the
    range of their type. Integers of 32 bits are taken where they are bytes, 0 to 255; they have no range of their own, nor
    have floating-point numbers, which are refused. Transparent pictures lie on the `ground`; of all the `box` is cut out.
    Raises `Unreadable`.
    """
    if isinstance(path, Pixels) and isinstance(path.content, np.ndarray):
        height, width, given = path.content.shape
        check_pixels(path, width, height)
        cut = path.content[box(height, width) if box else ...]
        if given != channels:  # of what files have beside their pixels, as a turn or a ground, there is nothing
            cut = np.asarray(Pixels(path.name, cut).picture().convert("L" if channels == 1 else "RGB"))
        return _batch_of_one(np.require(cut, requirements=["C", "W"]))
    with picture(path) as image:
        return pixels_of(image, channels, ground, path, box)


def pixels_of(
    image: Image.Image, channels: int, ground: Ground = WHITE, path: File = Path("image"), box: Box | None = None
) -> Tensor:
    """As `read_image`, for a picture that is open, or was made in memory."""
    wide = _wide(path, image)  # what the decoder is told is gone when it is done
    image.load()
    if (turn := _TURNS.get(_orientation(image))) is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):
        clear = image.info.get("transparency")
        hidden = None if clear is None else Image.fromarray(np.asarray(image) == clear)
        image = Image.fromarray(_bytes(path, image, wide))
        if hidden is not None:
            image.putalpha(ImageChops.invert(hidden.convert("L")))
    if box is not None:
        image = _cut(image, *box(image.height, image.width))
    if image.has_transparency_data:
        under = Image.new("RGBA", image.size, (*ground, 255))
        image = Image.alpha_composite(under, image.convert("RGBA"))
    return _batch_of_one(np.asarray(image.convert("L" if channels == 1 else "RGB")).copy())


def _cut(image: Image.Image, rows: slice, columns: slice) -> Image.Image:
    (top, bottom, _), (left, right, _) = rows.indices(image.height), columns.indices(image.width)
    whole = (0, 0, *image.size)
    return image if (left, top, right, bottom) == whole else image.crop((left, top, right, bottom))


def _batch_of_one(pixels: NDArray[np.uint8]) -> Tensor:
    """(h, w) or (h, w, C) -> (1, C, h, w)."""
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]


_DEEP, _LONG = "16-bit", "32-bit"
_RULES = {
    _DEEP: "16 bits a channel; each is divided by 256, by the range of its type, for images are served as bytes",
    _LONG: "32 bits, none of which is more than a byte; they are taken as they are",
}
"""By `Header.wide`, what its numbers are, and what is done."""


def conversions(wide: Mapping[str, int]) -> list[str]:
    """Sentences about pictures that are converted to bytes, one for each kind of `Header.wide`."""
    said = [(count, _RULES[kind]) for kind, count in wide.items() if kind in _RULES and count]
    return [f"{count:,} picture{'s' * (count != 1)} hold{'s' * (count == 1)} numbers of {rule}." for count, rule in said]


def _wide(path: File, image: Image.Image) -> str:
    """As `Header.wide`, of a picture whose header was read. Raises `Unreadable`: numbers of no range."""
    if image.mode == "F":
        raise Unreadable(path, "its pixels are floating-point numbers of no stated range; save it with 8 or 16 bits")
    if image.mode.startswith("I;16") or any(map(_sixteen, getattr(image, "tile", ()))):
        return _DEEP
    return _LONG if image.mode == "I" else ""


def _sixteen(tile: Any) -> bool:
    """Whether Pillow's decoder of a tile is told of 16 bits without a sign, as `RGB;16B`, or of a number above 255. (Of colors
    in JPEG 2000 and AVIF the decoder alone knows, which gives bytes.)"""
    decoder, arguments = tile[0], tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    mode = any(";16" in each and not each.endswith("S") for each in arguments if isinstance(each, str))
    return mode or (decoder.startswith("ppm") and any(each > 255 for each in arguments if isinstance(each, int)))


def _bytes(path: File, image: Image.Image, wide: str) -> NDArray[np.uint8]:
    """Wide integers as bytes; Pillow would clip them at 255."""
    values = np.asarray(image).astype(np.int64)
    if wide == _DEEP:
        return (values >> 8).clip(0, 255).astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise Unreadable(
            path, f"its pixels are 32-bit integers from {low} to {high}, of no stated range; save it with 8 or 16 bits"
        )
    return values.astype(np.uint8)


@dataclass(frozen=True)
class Header:
    """What is known of a picture before its pixels are read."""

    height: int
    width: int
    wide: str
    """How wide its numbers are, 16-bit or 32-bit; empty for bytes."""


def check_image(path: File) -> Header:
    """Read a file's header; the pixels too, where only they tell whether their numbers have a range. The size is as written.
    Raises `Unreadable`."""
    with picture(path) as image:
        return _header(path, image)


def upright_header(path: File) -> Header:
    """As `check_image`, with height and width turned as the EXIF tag asks. Raises `Unreadable`."""
    with picture(path) as image:
        found = _header(path, image)
        return Header(found.width, found.height, found.wide) if _orientation(image) >= 5 else found


def _header(path: File, image: Image.Image) -> Header:
    width, height = image.size
    wide = _wide(path, image)
    if wide == _LONG:
        _bytes(path, image, wide)
    return Header(height, width, wide)


def wide_ones(paths: Iterable[Path]) -> Counter[str]:
    """Count the files whose numbers are wider than bytes, by kind; files that cannot be read do not count."""
    found: Counter[str] = Counter()
    for path in paths:
        with contextlib.suppress(Unreadable):
            found[check_image(path).wide] += 1
    del found[""]
    return found
