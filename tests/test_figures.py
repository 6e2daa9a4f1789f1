"""A run's figures: of which weights, of which samples, how many steps made them, and that every verb tells the same."""

import csv
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from PIL import Image

from zoo.data.digits import Digits
from zoo.data.loading.sampler import EpochSampler, spread_order
from zoo.run.augmentation import mirrored_classes
from zoo.run.report import steps_of

Verb = Callable[..., tuple[int, str, str]]
TINY = ("model=mlp", "model.hidden=[16]", "callbacks.pictures=null", "hydra.run.dir=run")
AVERAGES = {
    "ema": ("callbacks=ema", "callbacks.average.decay=0.9"),
    "any other": (
        "+callbacks.mean._target_=lightning.pytorch.callbacks.WeightAveraging",
        "+callbacks.mean.use_buffers=true",
    ),
    "swa": (
        "+callbacks.swa._target_=lightning.pytorch.callbacks.StochasticWeightAveraging",
        "+callbacks.swa.swa_lrs=0.05",
        "+callbacks.swa.swa_epoch_start=1",
    ),
}


def said(out: str, name: str) -> str:
    """The line of a name, without it."""
    (line,) = re.findall(rf"^{re.escape(name)} +(.*)$", out, re.MULTILINE)
    return str(line)


@pytest.mark.parametrize("kind", AVERAGES)
def test_run_result_and_evaluate_tell_the_figure_of_the_same_weights(verb: Verb, tmp_path: Path, kind: str) -> None:
    status, out, err = verb("train", *TINY, *AVERAGES[kind], "trainer.max_epochs=3", "data.batch_size=128", "optimizer.lr=0.01")
    assert status == 0, err
    again_status, again, err = verb("evaluate", "run")
    assert again_status == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert said(out, "test accuracy") == said(again, "test accuracy") == f"{result['test']:.3f}"
    assert said(out, "weights") == said(again, "weights") == result["weights"]
    assert said(out, "protocol") == said(again, "protocol") == result["protocol"]
    assert ("averaged" in result["weights"]) == (kind != "swa")  # Lightning's SWA is done after the last validation
    _, validated, _ = verb("evaluate", "run", "split=val")
    assert said(validated, "val accuracy") == said(out, "best val accuracy")


def test_without_validation_the_last_weights_are_scored_and_it_is_said(verb: Verb) -> None:
    _, out, _ = verb("train", *TINY, "trainer.max_epochs=1", "trainer.limit_val_batches=0")
    assert "Nothing was validated, so no epoch was chosen" in out
    assert said(out, "val split") == "none (trainer.limit_val_batches=0)"
    assert said(out, "weights").startswith("last.ckpt, after 39 steps")
    assert said(out, "evaluate").endswith("/run")
    _, again, _ = verb("evaluate", "run")
    assert said(again, "test accuracy") == said(out, "test accuracy")


def test_a_limited_evaluation_takes_samples_from_every_part_of_the_split(verb: Verb, tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 8), ("test", 32)):
        for tone, name in enumerate("abcd"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (8, 8), 60 * tone).save(tmp_path / "set" / split / name / f"{number:02d}.png")
    own = (
        "data=image_folder",
        "data.root=set",
        "model=linear",
        "data.shape=[1,8,8]",
        "data.batch_size=8",
        "data.num_workers=0",
    )
    limits = ("trainer.limit_test_batches=4", "trainer.limit_val_batches=0.5", "trainer.limit_train_batches=1")
    # A rate of 0 and equal weights: any fixed answer is right for a quarter of the whole.
    status, out, err = verb("train", *own, *limits, "optimizer.lr=0", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert status == 0, err
    assert said(out, "scored") == "32 of 128 test samples, one of every 4 (trainer.limit_test_batches)"
    assert said(out, "chosen on").startswith("16 of 32 val samples, one of every 2 (trainer.limit_val_batches). Fewer than 100")
    assert said(out, "val split").startswith("50 % at most")
    assert said(out, "test split").startswith("4 batches at most")
    whole = float(said(verb("evaluate", "run")[1], "test accuracy"))
    assert float(said(out, "test accuracy")) == pytest.approx(whole, abs=1 / 32)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(
    ("length", "batch", "batches", "views"), [(128, 8, 4, 1), (600, 16, 5, 1), (120, 6, 3, 3), (40, 1, 7, 1)]
)
def test_the_ranks_share_a_sample_of_each_stretch(world: int, length: int, batch: int, batches: int, views: int) -> None:
    count = batch * batches * world
    taken: list[int] = []
    for rank in range(world):
        sampler = EpochSampler(length, seed=3, shuffle=False, rank=rank, world=world, spread=count, views=views)
        taken += [index for _, index in list(sampler)[: batch * batches]]
    numbers = sorted({index // views for index in taken})
    stretches = count // views
    edges = [at * (length // views) // stretches for at in range(stretches + 1)]
    for low, high in pairwise(edges):
        assert sum(low <= number < high for number in numbers) >= 1
    assert len(set(taken)) == min(count, length)


def test_a_set_whose_classes_take_turns_is_not_taken_for_one_class() -> None:
    order = spread_order(600, 100)[:100]
    counts = torch.bincount(order % 6, minlength=6)  # every sixth would be of one class
    assert counts.min() >= 5
    assert sorted(spread_order(600, 100).tolist()) == list(range(600))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 1}, (39, 39)),
        ({"max_epochs": -1, "max_steps": 120}, (39, 120)),
        ({"max_epochs": 7, "max_steps": 120}, (39, 120)),
        ({"max_epochs": 3, "accumulate_grad_batches": 2}, (20, 60)),
        ({"max_epochs": 2, "limit_train_batches": 2}, (2, 4)),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, (19, 38)),
        ({"max_epochs": -1, "max_time": "00:01:00:00"}, (39, None)),
    ],
)
def test_steps_are_counted_as_lightning_counts_them(settings: dict[str, Any], expected: tuple[int, int | None]) -> None:
    data = Digits(shape=(1, 8, 8), batch_size=32)
    data.setup()
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)
    assert steps_of(trainer, data) == expected


def test_the_block_says_how_many_steps_will_be_taken(verb: Verb, tmp_path: Path) -> None:
    few = ("trainer.max_epochs=2", "trainer.limit_train_batches=2", "test=false")
    _, out, _ = verb("train", *TINY, *few)
    assert said(out, "steps").startswith(
        "4 (2 epochs of 2); a network hardly learns in fewer than about 100: trainer.max_steps="
    )
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_who_asks_for_steps_gets_them(verb: Verb, tmp_path: Path) -> None:
    few = ("data.batch_size=400", "trainer.max_steps=100", "trainer.limit_val_batches=0", "test=false")
    status, out, err = verb("train", *TINY, *few)
    assert status == 0, err
    assert said(out, "steps") == "100 (33.3 epochs of 3)"
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 100


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (["turn_left", "turn_right", "stop"], ("turn_left", "turn_right")),
        (["TurnRight", "TurnLeft"], ("TurnLeft", "TurnRight")),
        (["clockwise", "counterclockwise"], ("clockwise", "counterclockwise")),
        (["a", "b", "c", "d"], ("b", "d")),
        (["left over", "right answer"], ()),
        (["bright", "leftover"], ()),
    ],
)
def test_classes_that_are_mirror_images(classes: list[str], found: tuple[str, ...]) -> None:
    assert mirrored_classes(classes) == found


@pytest.mark.parametrize(("flip", "warned"), [("true", True), ("false", False)])
def test_mirrored_clips_of_directions_are_warned_of(verb: Verb, tmp_path: Path, flip: str, warned: bool) -> None:
    import av

    for name in ("go_left", "go_right"):
        for number in range(6):
            (tmp_path / "films" / name).mkdir(parents=True, exist_ok=True)
            with av.open(str(tmp_path / "films" / name / f"{number}.mp4"), "w") as film:
                stream = film.add_stream("libx264", rate=8)
                stream.width, stream.height = 32, 32
                for _ in range(4):
                    film.mux(stream.encode(av.VideoFrame(32, 32, "rgb24")))
                film.mux(stream.encode())
    own = (
        "model=single_frame",
        "data=video_folder",
        "size=small",
        "data.root=films",
        f"data.flip={flip}",
        "data.num_workers=0",
    )
    small = (
        "input_shape=[3,2,32,32]",
        "trainer.max_steps=1",
        "test=false",
        "trainer.limit_val_batches=0",
        "callbacks.pictures=null",
    )
    status, out, err = verb("train", *own, *small, "hydra.run.dir=run")
    assert status == 0, err
    assert ("go_left and go_right look like mirror images" in out) == warned
    assert ("data.flip=false" in out) == warned
    assert said(out, "augmentation").startswith("half of the clips mirrored") == warned


@pytest.mark.parametrize("settings", [("trainer.max_steps=2",), ("trainer.max_epochs=2", "trainer.limit_train_batches=1")])
def test_the_shortest_run_leaves_its_training_loss(verb: Verb, tmp_path: Path, settings: tuple[str, ...]) -> None:
    verb("train", *TINY, *settings, "test=false")
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for column in ("train/loss", "lr-AdamW"):
        assert [row for row in rows if row.get(column)], f"metrics.csv has no {column}"
