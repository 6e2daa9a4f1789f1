"""Detection as a user runs it: train, evaluate, predict on images and videos, and what stops a run."""

import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from zoo.common.draw import VideoWriter
from zoo.data.reading.container import probe
from zoo.data.rendered import scenes
from zoo.data.rendered.synth import SPLITS
from zoo.tasks.detection import DetectionTask

Verb = Callable[..., tuple[int, str, str]]
SMALL = (
    "model.channels=16",
    "model.head_options.box.width=32",
    "model.head_options.box.regions=16",
    "model.rpn_options.train_proposals=60",
    "data.shape=[3,64,64]",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
)
HEADS = ("model.head_options.mask.widths=[8]", "model.head_options.keypoint.widths=[8]")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with eight scenes a split."""
    folder: Path = tmp_path_factory.mktemp("data")
    for split in SPLITS:
        (folder / scenes.FOLDER / split).mkdir(parents=True)
        parts = [scenes.draw_scene(split, number) for number in range(8)]
        arrays = scenes.Scenes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        np.savez(folder / scenes.FOLDER / split / "000.npz", **arrays._asdict())
    return folder


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SCENES", dict.fromkeys(SPLITS, 8))
    monkeypatch.setattr(scenes, "_A_FILE", 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "metrics"),
    [
        (("model=faster_rcnn",), {"box_ap"}),
        pytest.param(("model=keypoint_rcnn", *HEADS), {"box_ap", "keypoint_ap"}, marks=pytest.mark.slow),
        pytest.param(
            ("model=mask_rcnn", "model.heads=[box,mask,keypoint]", *HEADS),
            {"box_ap", "mask_ap", "keypoint_ap"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_train_with_any_heads(verb: Verb, root: Path, tmp_path: Path, arguments: tuple[str, ...], metrics: set[str]) -> None:
    status, said, error = verb("train", *arguments, f"data.root={root}", "run_dir=run", *SMALL)
    assert status == 0, error
    scored = {line.split()[1] for line in said.splitlines() if line.startswith("test ")}
    assert {name for name in scored if name.endswith("_ap")} == metrics
    assert "scored 8 of 8 test samples" in said
    assert "multiply-adds" in said
    assert (tmp_path / "run" / "predictions.png").is_file()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["max_detections"] == 100


@pytest.mark.slow
def test_evaluate_and_predict_images_and_videos(verb: Verb, root: Path, tmp_path: Path) -> None:
    own = ("model=mask_rcnn", f"data.root={root}", "run_dir=run", *SMALL, *HEADS)
    status, said, error = verb("train", *own)
    assert status == 0, error
    tested = [line for line in said.splitlines() if line.startswith("test ")]
    status, said, error = verb("evaluate", "run", "task.results=found")
    assert status == 0, error
    assert [line for line in said.splitlines() if line.startswith("test ")] == tested
    boxes, masks = (json.loads((tmp_path / "found" / f"{kind}.json").read_text()) for kind in ("box", "mask"))
    assert len(boxes) == len(masks)
    assert not (tmp_path / "found" / "keypoint.json").exists()

    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (75, 101, 3)).astype(np.uint8)) for _ in range(4)]
    pictures[0].save(tmp_path / "one.png")
    with VideoWriter(tmp_path / "film (1).mp4", 5) as film:
        for picture in pictures:
            film.add(picture)
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    status, said, error = verb(
        "predict", "run", "one.png", "film (1).mp4", "torn.mp4", "json=-", "out=drawn", "task.threshold=0.0"
    )
    assert status == 0, error
    one, film_said, torn = map(json.loads, said.splitlines())
    assert one["pictures"] == ["drawn/one_objects.png"]
    assert one["objects"], "a threshold of 0 leaves all in"
    assert set(one["objects"][0]) == {"box", "score", "name", "mask"}
    assert one["objects"][0]["mask"]["size"] == [75, 101], "at the file's own size"
    with Image.open(tmp_path / "drawn" / "one_objects.png") as drawn:
        assert drawn.size == (101 * 6, 75 * 6)
    assert film_said["pictures"] == ["drawn/film (1)_objects.mp4"]
    assert len(film_said["frames"]) == 4
    video = probe(tmp_path / "drawn" / "film (1)_objects.mp4")
    assert len(video) == 4
    assert video.rate == pytest.approx(5, rel=0.01)
    assert "error" in torn


class Poisoned(DetectionTask):
    """Its loss is not a number from the fifth step on."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        losses = super().losses(batch)
        return {**losses, "loss_mask": losses["loss_mask"] * (math.nan if self.global_step == 5 else 1)}


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoint(
    verb: Verb, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.tasks.detection.DetectionTask", Poisoned)
    own = ("model=mask_rcnn", f"data.root={root}", "run_dir=run", *SMALL, *HEADS, "trainer.max_epochs=3", "data.batch_size=2")
    status, _, error = verb("train", *own)
    assert status == 1
    assert "The loss became nan at step 5, on samples [" in error
    assert error.count("\n") == 1
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    status, said, error = verb("evaluate", "run")
    assert status == 0, error
    assert "test mask_ap" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("model=mask_rcnn", "data=digits"),
            "detection learns from the boxes and masks of objects, but digits serves one class",
        ),
        (("model=lenet5", "data=digit_scenes"), "classification learns from one class a sample"),
        (
            ("model=resnet18", "task=detection", "data=digit_scenes", "data.shape=[3,64,64]"),
            "resnet18 is no network for detection",
        ),
        (("model=mask_rcnn", "model.heads=[box,mesk]"), "There is no head 'mesk'; did you mean mask"),
        (("model=mask_rcnn", "model.heads=[mask]"), "must begin with box"),
        (("model=mask_rcnn", "data=coco", "size=small", "data.root=nowhere"), "There is no"),
    ],
)
def test_what_does_not_fit_is_one_sentence(verb: Verb, root: Path, arguments: tuple[str, ...], sentence: str) -> None:
    place = () if {"data=digits", "data=coco", "size=small"} & set(arguments) else (f"data.root={root}",)
    status, _, error = verb("train", *arguments, *place)
    assert status == 1
    assert sentence in error
    assert error.count("\n") == 1


def by_heart(source: Path, root: Path) -> Path:
    """COCO's layout with the first eight images of 1 to 5 objects, no crowd and nothing below 32 x 32: twice each in
    train2017, as a tenth of that is held back, and once in val2017, which is scored."""
    whole = json.loads((source / "annotations" / "instances_train2017.json").read_text())
    objects: dict[int, list[dict[str, Any]]] = {}
    for each in whole["annotations"]:
        objects.setdefault(each["image_id"], []).append(each)
    fitting = [
        image
        for image in whole["images"]
        if 1 <= len(own := objects.get(image["id"], [])) <= 5
        and all(not each["iscrowd"] and each["area"] > 32 * 32 for each in own)
    ][:8]
    (root / "coco" / "annotations").mkdir(parents=True)
    for split, copies in (("train2017", 2), ("val2017", 1)):
        images, annotations = [], []
        for copy, image in itertools.product(range(copies), fitting):
            number = len(images) + 1
            images.append({**image, "id": number, "file_name": f"{copy}_{image['file_name']}"})
            for each in objects[image["id"]]:
                annotations.append({**each, "id": len(annotations) + 1, "image_id": number})
            path = root / "coco" / split / images[-1]["file_name"]
            path.parent.mkdir(exist_ok=True)
            shutil.copy(source / "train2017" / image["file_name"], path)
        text = json.dumps({**whole, "images": images, "annotations": annotations})
        (root / "coco" / "annotations" / f"instances_{split}.json").write_text(text)
    return root


@pytest.mark.slow
@pytest.mark.realdata
def test_eight_real_images_are_learnt_by_heart(verb: Verb, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """From COCO's JSON to COCO's measure: what is scored is what was trained on."""
    root = by_heart(real_data("coco128"), tmp_path / "data")
    status, said, error = verb(
        "train",
        "model=mask_rcnn",
        "data=coco",
        "size=small",
        f"data.root={root}",
        "data.shape=[3,256,426]",
        "data.flip=false",
        "data.batch_size=2",
        "data.num_workers=0",
        "model.rpn_options.anchors=[32,64,128,256]",
        "model.head_options.mask.widths=[64,64]",
        "trainer.max_epochs=40",
        "trainer.check_val_every_n_epoch=40",
        "trainer.accelerator=cpu",
        "run_dir=run",
    )
    assert status == 0, error
    assert "scored 8 of 8 test samples" in said
    scores = {words[1]: float(words[2]) for line in said.splitlines() if len(words := line.split()) == 3 and words[0] == "test"}
    assert scores["mask_ap50"] > 0.9, scores
