"""The pictures of digit_scenes: what is drawn, and how a hundred of them become one file. (No torch here: see `_synth`.)"""

import io
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable
from zoo.data.reading.arrays import read_arrays
from zoo.data.rendered.synth import SPLITS, digit_indices, digits, texture

FOLDER = "digit_scenes-2"  # a change to what is drawn is another edition, in another folder
SCENES = {"train": 4000, "val": 400, "test": 800}
SIZE = 128  # pixels
MOST = 5  # digits in a scene
NO_DIGIT = 255  # label of the places that a scene leaves free
_A_FILE = 100  # scenes
_GLYPH = 64  # edge of the enlarged 8x8 digit, pixels
_INK = 0.45  # the share of full brightness from which a pixel belongs to the digit


class Scenes(NamedTuple):
    """N pictures and what is in them."""

    images: NDArray[np.uint8]
    """(N, 128, 128, 3)."""
    instances: NDArray[np.uint8]
    """(N, 128, 128): which digit is seen at a pixel, counted from 1; 0 is the background."""
    labels: NDArray[np.uint8]
    """(N, 5): what each digit is; `NO_DIGIT` where there is none."""
    keypoints: NDArray[np.float32]
    """(N, 5, 4, 2): x, y of the corners of the upright digit's box, turned with it: as one reads it, top left, top right,
    bottom right, bottom left."""


def scene_files(folder: Path, split: str) -> list[Path]:
    """The files of a split; the k-th holds scenes 100 k to 100 k + 99."""
    return [folder / split / f"{number:03d}.npz" for number in range(SCENES[split] // _A_FILE)]


def draw_scene(split: str, number: int) -> Scenes:
    """One scene: three to five real digits on a patch of a photograph, each over those before it.

    A digit is 40 to 80 pixels tall, turned by up to 30 degrees (far further, 6 and 9 would be one another), and lies
    inside the picture with its whole turned box. The hues of a scene are spread around the circle of colors, so that where
    two digits meet, it can be seen. Digits overlap wherever chance puts them, as long as 75 % of the ink of each stays in
    sight; one that finds no such place in 30 attempts is left out.
    """
    import cv2

    rng = np.random.default_rng((30, SPLITS.index(split), number))
    pool, (images, labels) = digit_indices(split), digits()
    canvas = texture(rng, split, SIZE)
    instances = np.zeros((SIZE, SIZE), np.uint8)
    found = np.full(MOST, NO_DIGIT, np.uint8)
    corners = np.zeros((MOST, 4, 2), np.float32)
    inked: list[int] = []
    first_hue = rng.random()
    for place in range(rng.integers(3, MOST + 1)):
        index = rng.choice(pool)
        glyph, box = _glyph(images[index])
        height, angle = rng.uniform(40, 80), np.deg2rad(rng.uniform(-30, 30))
        hue = first_hue + (place + rng.uniform(-0.2, 0.2)) / MOST
        color = np.array(hsv_to_rgb(hue % 1, rng.uniform(0.4, 1), 1)) * 255
        turn = height / (box[2, 1] - box[0, 1]) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        spread = (box - box.mean(0)) @ turn.T  # the turned box about the digit's center
        room = np.abs(spread).max(0)
        for _ in range(30):
            center = rng.uniform(room, SIZE - room)
            # Pixel k of an array covers k to k + 1, while OpenCV counts from the middles of pixels.
            shift = center - turn @ box.mean(0) + turn @ (0.5, 0.5) - 0.5
            drawn = cv2.warpAffine(glyph, np.column_stack([turn, shift]), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
            ink = drawn > _INK
            after = np.where(ink, len(inked) + 1, instances)
            seen = np.bincount(after.ravel(), minlength=len(inked) + 2)[1:]
            if all(s >= 0.75 * total for s, total in zip(seen, inked, strict=False)):
                cover = np.clip((drawn - _INK) / 0.2 + 0.5, 0, 1)[..., None]  # the edge of a stroke, about a pixel wide
                canvas = canvas * (1 - cover) + color * cover
                instances, found[len(inked)], corners[len(inked)] = after.astype(np.uint8), labels[index], spread + center
                inked.append(int(ink.sum()))
                break
    return Scenes(np.rint(canvas).astype(np.uint8)[None], instances[None], found[None], corners[None])


def _glyph(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A digit enlarged to 64x64, 0..1 at its brightest, and the corners (4, 2) of its ink, (x, y)."""
    import cv2

    large = cv2.resize(image.astype(np.float32), (_GLYPH, _GLYPH), interpolation=cv2.INTER_CUBIC)
    glyph = np.asarray(np.clip(large / large.max(), 0, 1), dtype=np.float32)
    y, x = np.nonzero(glyph > _INK)
    left, right, top, bottom = x.min(), x.max() + 1, y.min(), y.max() + 1
    return glyph, np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def render(path: Path) -> bytes:
    """The file that belongs at a path of `scene_files`."""
    first = int(path.stem) * _A_FILE
    parts = [draw_scene(path.parent.name, number) for number in range(first, first + _A_FILE)]
    buffer = io.BytesIO()
    arrays = Scenes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    np.savez_compressed(buffer, **arrays._asdict())
    return buffer.getvalue()


def read_scenes(path: Path) -> Scenes:
    """The scenes of a file. Raises `Unreadable`: it is none that `render` makes."""
    square = (_A_FILE, SIZE, SIZE)
    kinds = {"images": ("u1", (*square, 3)), "instances": ("u1", square)}
    kinds |= {"labels": ("u1", (_A_FILE, MOST)), "keypoints": ("f4", (_A_FILE, MOST, 4, 2))}
    scenes = Scenes(**read_arrays(path, kinds))
    if scenes.instances.max() > MOST or (scenes.labels[scenes.labels != NO_DIGIT] > 9).any():
        raise Unreadable(path, "it has more digits than there are")
    if not np.isfinite(scenes.keypoints).all():
        raise Unreadable(path, "a keypoint is not a number")
    return scenes
