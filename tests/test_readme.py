"""README's own lines for data of one's own, as they stand there but for the path."""

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from zoo.data._synth import digits

README = Path(__file__).parents[1] / "README.md"
Verb = Callable[..., tuple[int, str, str]]


def lines() -> dict[str, list[str]]:
    """The data set's name to the settings of its line."""
    found = re.findall(r"^python -m zoo\.train (model=\S+ data=(\S+) data\.root=my_\S+)", README.read_text(), re.MULTILINE)
    return {data: settings.split() for settings, data in found}


def drawn(rng: np.random.Generator, edge: int, kind: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture of a colored thing on a noisy ground, and where the thing is: a disc, a bar or a cross."""
    y, x = np.mgrid[:edge, :edge]
    (cy, cx), radius = rng.integers(edge // 3, 2 * edge // 3, 2), edge // 5
    near_x, near_y = abs(x - cx) < radius, abs(y - cy) < radius
    where = [
        (y - cy) ** 2 + (x - cx) ** 2 < radius**2,
        near_x & (abs(y - cy) < radius // 2),
        (near_x & (abs(y - cy) < radius // 3)) | (near_y & (abs(x - cx) < radius // 3)),
    ][kind]
    picture = rng.integers(60, 120, (edge, edge, 3))
    picture[where] = np.array([[230, 60, 60], [60, 230, 60], [70, 70, 240]][kind]) + rng.integers(-25, 25, (int(where.sum()), 3))
    return picture.clip(0, 255).astype(np.uint8), where


def sixty_photographs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        place = folder / ("disc", "bar", "cross")[number % 3] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn(rng, 160, number % 3)[0]).save(place)


def fifteen_clips(folder: Path) -> None:
    """A digit that moves right, down or not at all."""
    rng, pictures = np.random.default_rng(0), digits()[0]
    for number in range(15):
        place = folder / ("right", "down", "still")[number % 3] / f"{number}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        digit = np.kron(pictures[number] / pictures[number].max() * 200, np.ones((4, 4)))
        y, x = rng.integers(8, 24, 2)
        with av.open(str(place), "w") as film:
            stream = film.add_stream("mpeg4", rate=5)
            stream.width = stream.height = 112
            for at in range(18):
                frame = rng.integers(0, 40, (112, 112))
                down, right = y + 3 * at * (number % 3 == 1), x + 3 * at * (number % 3 == 0)
                frame[down : down + 32, right : right + 32] += digit.astype(int)
                image = np.repeat(frame[..., None], 3, 2).clip(0, 255).astype(np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            film.mux(stream.encode())


def sixteen_masks(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\ndisc\nbar\ncross\n")
    for number in range(16):
        picture, where = drawn(rng, 128, number % 3)
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray((where * (1 + number % 3)).astype(np.uint8)).save(folder / "masks" / f"{number}.png")


def twenty_six_images_with_boxes(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("PNGImages", "PedMasks"):
        (folder / "PennFudanPed" / part).mkdir(parents=True)
    for number in range(26):
        picture, where = drawn(rng, 128, number % 3)
        Image.fromarray(picture).save(folder / "PennFudanPed" / "PNGImages" / f"{number}.png")
        Image.fromarray(where.astype(np.uint8)).save(folder / "PennFudanPed" / "PedMasks" / f"{number}_mask.png")


OWN = {
    "image_folder": (sixty_photographs, "train/accuracy", 0.9),
    "video_folder": (fifteen_clips, "train/accuracy", 0.9),
    "mask_folder": (sixteen_masks, "train/pixel_accuracy", 0.9),
    "pennfudan": (twenty_six_images_with_boxes, "box_ap", 0.9),
}


def test_readme_has_a_line_for_each_kind_of_own_data() -> None:
    assert lines().keys() == OWN.keys()
