"""Drawing with class masks and objects: colors, overlays, contact sheets. Pictures are uint8 tensors (3, H, W)."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from zoo.common.places import replaceable
from zoo.common.words import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@cache
def palette() -> Tensor:
    """(256, 3) uint8: a color for each class, PASCAL VOC's (VOC2012 devkit, `VOClabelcolormap`): the bits of a class's
    number are dealt to red, green and blue, so that near numbers have far colors. 0 is black, 255 (void) near white."""
    number = torch.arange(256)
    colors = torch.zeros(256, 3, dtype=torch.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((number >> (3 * bit + channel)) & 1) << (7 - bit)).to(torch.uint8)
    return colors


def colored(mask: Tensor) -> Tensor:
    """(H, W) uint8 classes -> their colors."""
    return palette()[mask.long()].permute(2, 0, 1)


def overlay(image: Tensor, mask: Tensor) -> Tensor:
    """Half the image, (1 or 3, H, W) uint8, half the colors of its classes."""
    return ((image.expand(3, -1, -1).int() + colored(mask)) // 2).to(torch.uint8)


def at_size(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """uint8 (B, C, h, w) -> (B, C, H, W), on the CPU."""
    return interpolate(pixels.cpu(), tuple(size), mode="bilinear", align_corners=False, antialias=True)


_LEGIBLE = 400
"""Pixels of the shorter side, at least, of a picture in which names are written."""


def objects(image: Tensor, found: Mapping[str, Tensor], class_names: Sequence[str]) -> Tensor:
    """An image, (1 or 3, H, W) uint8, with objects on it: boxes, and if there are any masks, keypoints, names with scores.
    Each has a color of its own. A small image is enlarged by a whole number first, or names could not be read.

    Args:
        found: `boxes` (N, 4), `labels` from 1, perhaps `scores`, `masks` (N, H, W) or (N, 1, H, W), `keypoints` (N, K, 3).
    """
    from torchvision.utils import draw_bounding_boxes, draw_keypoints, draw_segmentation_masks

    found = {name: values.detach().cpu() for name, values in found.items()}
    zoom = -(-_LEGIBLE // min(image.shape[1:]))
    picture = image.cpu().expand(3, -1, -1).repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    if not len(found["boxes"]):
        return picture
    colors = [(red, green, blue) for red, green, blue in palette()[1:].tolist()]
    chosen = [colors[number % len(colors)] for number in range(len(found["boxes"]))]
    names = [printable(class_names[label - 1]) for label in found["labels"].tolist()]
    if "scores" in found:
        names = [f"{name} {score:.2f}" for name, score in zip(names, found["scores"].tolist(), strict=True)]
    if "masks" in found:
        masks = found["masks"].reshape(-1, *image.shape[1:]) > 0.5
        masks = masks.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
        picture = draw_segmentation_masks(picture, masks, alpha=0.5, colors=chosen)
    picture = draw_bounding_boxes(picture, zoom * found["boxes"], names, chosen, width=2)
    for keypoints, color in zip(found.get("keypoints", ()), chosen, strict=False):
        seen = keypoints[keypoints[:, 2] > 0, :2]
        picture = draw_keypoints(picture, zoom * seen[None], colors=color, radius=3) if len(seen) else picture
    drawn: Tensor = picture
    return drawn


def to_pil(picture: Tensor) -> Image.Image:
    """(3, H, W) uint8 -> a picture of Pillow's."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def index_picture(mask: Tensor) -> Image.Image:
    """(H, W) uint8 classes -> a palette picture whose values are the classes."""
    picture = Image.fromarray(mask.contiguous().numpy())
    picture.putpalette(palette().flatten().tolist())
    return picture


def sheet(rows: Sequence[Sequence[Tensor]], titles: Sequence[str], edge: int = 160) -> Image.Image:
    """Pictures in rows under the titles of their columns, each scaled to fit a square of `edge` pixels, nearest."""
    gap, top = 4, 16
    canvas = Image.new("RGB", (len(titles) * (edge + gap) + gap, top + len(rows) * (edge + gap)), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        pen.text((gap + column * (edge + gap), 2), title, fill=(0, 0, 0))
        for line, row in enumerate(rows):
            picture = to_pil(row[column])
            factor = edge / max(picture.size)
            size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
            place = (gap + column * (edge + gap), top + line * (edge + gap))
            canvas.paste(picture.resize(size, Image.Resampling.NEAREST), place)
    return canvas


class VideoWriter:
    """An H.264 file written picture by picture: `with VideoWriter(path, rate) as film: film.add(picture)`.

    Args:
        rate: pictures a second.
        comment: what the file says of itself.
    """

    def __init__(self, path: Path, rate: float, comment: str = "") -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("wb")  # FFmpeg would take some names for protocols
        self._container = av.open(self._file, "w", format="mp4")
        self._container.metadata["comment"] = comment
        self._stream = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._stream.pix_fmt = "yuv420p"  # what every player shows

    def add(self, picture: Image.Image) -> None:
        """All pictures have one size; of an odd number of rows or columns the last is left out, as colors lie in pairs."""
        import av

        pixels = np.asarray(picture.convert("RGB"))[: picture.height // 2 * 2, : picture.width // 2 * 2]
        if not self._stream.codec_context.is_open:
            self._stream.height, self._stream.width = pixels.shape[:2]
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._container.mux(self._stream.encode(None))
            self._container.close()


def save(picture: "Image.Image | Figure", path: Path, **how: Any) -> Path:
    """A picture of Pillow's, or a figure of Matplotlib's, in a file. Raises ValueError where a link or a pipe has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write: Callable[..., object] = picture.save if isinstance(picture, Image.Image) else picture.savefig
    write(replaceable(path), **how)
    return path
