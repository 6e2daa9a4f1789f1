"""README's own lines for data of one's own, as they stand there but for the path."""

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import zoo
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
    picture[where] = np.array([[230, 60, 60], [60, 230, 60], [70, 70, 240]][kind]) + rng.integers(
        -25, 25, (int(where.sum()), 3)
    )
    return picture.clip(0, 255).astype(np.uint8), where


SPLITS = ("train", "val", "test")
"""All three are given the same files, so that the test figure is of what was learnt by heart."""


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


OWN = {
    "image_folder": (sixty_photographs, "accuracy", 0.95),
    "video_folder": (fifteen_clips, "accuracy", 0.95),
    "mask_folder": (sixteen_masks, "miou", 0.9),
    "coco": (twenty_six_images_with_boxes, "box_ap50", 0.95),
}
"""Of a kind of data the files, the figure, and what it is where they are known by heart."""


def test_readme_has_a_line_for_each_kind_of_own_data() -> None:
    assert lines().keys() == OWN.keys()


@pytest.mark.slow
@pytest.mark.parametrize("data", OWN)
def test_the_small_network_learns_a_few_files_by_heart(data: str, verb: Verb, tmp_path: Path) -> None:
    """With nothing set but the size."""
    make, metric, least = OWN[data]
    make(tmp_path / "own")
    settings = [each if not each.startswith("data.root=") else "data.root=own" for each in lines()[data]]
    status, out, err = verb("train", *settings, "size=small", "hydra.run.dir=run")
    assert status == 0, err
    assert json.loads(Path("run/result.json").read_text())["tests"][metric] >= least, out


SOURCE = {"image_folder": "resnet18", "mask_folder": "vgg16", "coco": "resnet50"}
"""Of a kind of data the network from whose weights the paper's starts."""
CHANCE = {
    "image_folder": {"train/loss": math.log(3)},
    "video_folder": {"train/loss": math.log(3)},
    "mask_folder": {"train/loss": math.log(4)},
    "coco": {"train/loss_classifier": math.log(4), "train/loss_objectness": math.log(2), "train/loss_mask": math.log(2)},
}


@pytest.mark.slow
@pytest.mark.parametrize("data", OWN)
def test_the_papers_network_starts_at_chance_and_says_how_long_it_takes(data: str, verb: Verb, tmp_path: Path) -> None:
    """From a file of random values, where the paper starts from trained ones."""
    OWN[data][0](tmp_path / "own")
    settings = [each if not each.startswith("data.root=") else "data.root=own" for each in lines()[data]]
    if data in SOURCE:
        torch.save(zoo.create_model(SOURCE[data]).state_dict(), "random.pth")
        settings.append("model.pretrained=random.pth")
    steps = 3 if data == "coco" else 7  # a step of the detector takes most of a minute, and is timed alone
    short = (
        f"trainer.max_steps={steps}",
        "trainer.limit_val_batches=0",
        "test=false",
        "callbacks.pictures=null",
        "data.batch_size=2",
    )
    status, out, err = verb("train", *settings, *short, "trainer.log_every_n_steps=1", "hydra.run.dir=run")
    assert status == 0, err
    assert re.search(r"^size +paper$", out, re.MULTILINE)
    assert re.search(r"^training takes about .* more", out, re.MULTILINE)
    with Path("run/metrics.csv").open() as log:
        first = next(row for row in csv.DictReader(log) if row.get("train/loss"))
    for name, loss in CHANCE[data].items():
        assert float(first[name]) == pytest.approx(loss, rel=0.3), first
