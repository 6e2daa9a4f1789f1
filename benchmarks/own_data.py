"""README's own lines on a few files of each kind, with nothing set but the size: `python benchmarks/own_data.py [RUNS]`;
finished runs in the folder RUNS are not repeated.

All three splits are given the same files, so that the test figure is of what was learnt by heart.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.data.rendered.synth import digits

README = Path(__file__).parents[1] / "README.md"
SPLITS = ("train", "val", "test")


def lines() -> dict[str, list[str]]:
    """Of README the data set's name to the settings of its line."""
    found = re.findall(r"^zoo train (model=\S+ data=(\S+) data\.root=my_\S+)", README.read_text(), re.MULTILINE)
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
    picture[where] = np.array([[230, 60, 60], [60, 230, 60], [70, 70, 240]][kind]) + rng.integers(
        -25, 25, (int(where.sum()), 3)
    )
    return picture.clip(0, 255).astype(np.uint8), where


def sixty_photographs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        picture = Image.fromarray(drawn(rng, 160, number % 3)[0])
        for split in SPLITS:
            place = folder / split / ("disc", "bar", "cross")[number % 3] / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.save(place)


def fifteen_clips(folder: Path) -> None:
    """A digit that moves right, down or not at all."""
    rng, pictures = np.random.default_rng(0), digits()[0]
    for number in range(15):
        digit = np.kron(pictures[number] / pictures[number].max() * 200, np.ones((4, 4)))
        y, x = rng.integers(8, 24, 2)
        frames = []
        for at in range(18):
            frame = rng.integers(0, 40, (112, 112))
            down, right = y + 3 * at * (number % 3 == 1), x + 3 * at * (number % 3 == 0)
            frame[down : down + 32, right : right + 32] += digit.astype(int)
            frames.append(np.repeat(frame[..., None], 3, 2).clip(0, 255).astype(np.uint8))
        for split in SPLITS:
            place = folder / split / ("right", "down", "still")[number % 3] / f"{number}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(place), "w") as film:
                stream = film.add_stream("mpeg4", rate=5)
                stream.width = stream.height = 112
                for image in frames:
                    film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                film.mux(stream.encode())


def sixteen_masks(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(16):
        picture, where = drawn(rng, 128, number % 3)
        for split in SPLITS:
            for part, content in (("images", picture), ("masks", (where * (1 + number % 3)).astype(np.uint8))):
                (folder / split / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(folder / split / part / f"{number}.png")
    (folder / "classes.txt").write_text("ground\ndisc\nbar\ncross\n")


def twenty_six_images_with_boxes(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images, notes = [], []
    for number in range(26):
        picture, where = drawn(rng, 128, number % 3)
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        x, y, width, height = (int(each) for each in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1))
        images.append({"id": number, "file_name": f"{number}.png", "height": 128, "width": 128})
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        notes.append(
            {"id": number + 1, "image_id": number, "category_id": 1 + number % 3, "iscrowd": 0, "area": width * height}
        )
        notes[-1] |= {"bbox": [x, y, width, height], "segmentation": [corners]}
        for part in ("train2017", "val2017"):
            (folder / "coco" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / "coco" / part / f"{number}.png")
    content = {"images": images, "annotations": notes}
    content["categories"] = [{"id": 1 + k, "name": name} for k, name in enumerate(("disc", "bar", "cross"))]
    (folder / "coco" / "annotations").mkdir()
    for part in ("train2017", "val2017"):
        (folder / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


OWN: dict[str, Callable[[Path], None]] = {
    "image_folder": sixty_photographs,
    "video_folder": fifteen_clips,
    "mask_folder": sixteen_masks,
    "coco": twenty_six_images_with_boxes,
}
FIGURES = {"image_folder": "accuracy", "video_folder": "accuracy", "mask_folder": "miou", "coco": "box_ap50"}


def settings_of(data: str, folder: Path) -> list[str]:
    """README's line, but for the path."""
    return [f"data.root={folder}" if each.startswith("data.root=") else each for each in lines()[data]]


def main() -> None:
    from _record import train, write

    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own_data").absolute()
    rows = [["files", "settings", "epochs, parameters", "known by heart", "time"]]
    for data, make in OWN.items():
        folder = runs / f"{data}-files"
        if not folder.exists():
            make(folder)
        train([*settings_of(data, folder), "size=small"], runs / data)
        result = json.loads((runs / data / "result.json").read_text())
        length = f"{result['length']['max_epochs']} epochs, {result['parameters'] / 1e6:.2f} M"
        figure = f"{FIGURES[data]} {result['tests'][FIGURES[data]]:.3f}"
        rows.append(
            [
                make.__name__.replace("_", " "),
                f"`{' '.join(lines()[data])} size=small`",
                length,
                figure,
                f"{result['seconds']:.0f} s",
            ]
        )
    write(
        "own_data",
        "A few files of one's own, learnt by heart",
        "README's lines; seed 0; the files are drawn by the script",
        rows,
    )


if __name__ == "__main__":
    main()
