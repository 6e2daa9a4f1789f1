"""Drawing with class masks: colours, overlays, contact sheets. Pictures are uint8 tensors (3, H, W)."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor


@cache
def palette() -> Tensor:
    """(256, 3) uint8: a colour for each class, PASCAL VOC's (VOC2012 devkit, `VOClabelcolormap`): the bits of a class's
    number are dealt to red, green and blue, so that near numbers have far colours. 0 is black, 255 (void) near white."""
    number = torch.arange(256)
    colours = torch.zeros(256, 3, dtype=torch.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((number >> (3 * bit + channel)) & 1) << (7 - bit)).to(torch.uint8)
    return colours


def coloured(mask: Tensor) -> Tensor:
    """(H, W) uint8 classes -> their colours."""
    return palette()[mask.long()].permute(2, 0, 1)


def overlay(image: Tensor, mask: Tensor) -> Tensor:
    """Half the image, (1 or 3, H, W) uint8, half the colours of its classes."""
    return ((image.expand(3, -1, -1).int() + coloured(mask)) // 2).to(torch.uint8)


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


def save(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path
