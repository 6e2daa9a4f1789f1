"""Segmentation and autoencoding as a user runs them: train, evaluate, predict, and what is refused at the door."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures of two sizes; a pixel's class is in its colour."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(20):
        mask = np.kron(rng.integers(0, 3, (2, 3)), np.ones((16 + number % 2, 16))).astype(np.uint8)
        Image.fromarray(np.stack([mask * 100, 255 - mask * 100, mask], -1)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("sky\nroad\ntree\n")
    return root


SMALL = ("model.width=0.03", "data.shape=[3,32,32]", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.num_workers=0")


def test_train_evaluate_and_predict_on_ones_own_masks(verb: Verb, folder: Path, tmp_path: Path) -> None:
    own = ("model=fcn8s", "data=mask_folder", "size=small", f"data.root={folder}", "run_dir=run", *SMALL)
    status, said, error = verb("train", *own)
    assert status == 0, error
    assert "test miou" in said
    assert "test iou/tree" in said
    assert "scored 4 of 4 test samples" in said
    assert (tmp_path / "run" / "predictions.png").is_file()

    tested = [line for line in said.splitlines() if line.startswith("test ")]
    status, said, error = verb("evaluate", "run")
    assert status == 0, error
    assert [line for line in said.splitlines() if line.startswith("test ")] == tested
    status, averaged, error = verb("evaluate", "run", "task.flip=true", "task.scales=[0.5,1.0]")
    assert status == 0, error
    assert "test miou" in averaged

    (folder / "elsewhere").mkdir()
    Image.new("RGB", (50, 40)).save(folder / "elsewhere" / "1.png")
    (folder / "torn.png").write_bytes(b"no picture")
    paths = (str(folder / "images" / "1.png"), str(folder / "elsewhere" / "1.png"), str(folder / "torn.png"))
    status, said, error = verb("predict", "run", *paths, "out=drawn", "json=-")
    assert status == 0, error
    first, second, third = map(json.loads, said.splitlines())
    assert set(first["shares"]) <= {"sky", "road", "tree"}
    assert first["pictures"] == ["drawn/1_overlay.png", "drawn/1_classes.png"]
    assert second["pictures"] == ["drawn/1-2_overlay.png", "drawn/1-2_classes.png"]
    assert "error" in third
    with Image.open(tmp_path / "drawn" / "1_classes.png") as classes, Image.open(paths[0]) as image:
        assert classes.mode == "P"
        assert classes.size == image.size
        assert set(np.unique(np.asarray(classes))) <= {0, 1, 2}


def test_wrong_masks_stop_a_run_before_it_begins(verb: Verb, folder: Path) -> None:
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(folder / "masks" / "3.png")
    status, said, error = verb(
        "train", "model=fcn8s", "data=mask_folder", "size=small", f"data.root={folder}", *SMALL, "data.max_bad=0"
    )
    assert status == 1
    assert "it holds the class 9, but the classes are 0 to 2 and void" in error
    assert "parameters" not in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("model=fcn8s", "data=digits"),
            "segmentation learns from a class for each pixel, but digits serves one class a sample",
        ),
        (
            ("model=lenet5", "data=digit_scenes"),
            "classification learns from one class a sample, but digit_scenes serves a class",
        ),
        (("model=fcn8s", "data=camvid", "size=small", "data.root=nowhere"), "There is no folder"),
    ],
)
def test_what_does_not_fit_is_one_sentence(verb: Verb, arguments: tuple[str, ...], sentence: str) -> None:
    status, _, error = verb("train", *arguments)
    assert status == 1
    assert sentence in error


def test_an_autoencoder_leaves_its_pictures(verb: Verb, tmp_path: Path) -> None:
    own = ("model.width=0.1", "model.embedding=2", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "run_dir=run")
    status, said, error = verb("train", "model=autoencoder", "trainer.accelerator=cpu", *own)
    assert status == 0, error
    assert "test mse" in said
    for name in ("reconstructions", "interpolation", "embedding"):
        assert (tmp_path / "run" / f"{name}.png").is_file()
    Image.new("L", (28, 28), 90).save(tmp_path / "grey.png")
    status, said, error = verb("predict", "run", "grey.png")
    assert status == 0, error
    assert "mse" in said
    assert (tmp_path / "predictions" / "grey_reconstruction.png").is_file()
