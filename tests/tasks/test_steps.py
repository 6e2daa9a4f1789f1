"""A task's steps by themselves: without a Trainer, on the example batch of each target."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import zoo
from zoo.batch import TARGETS, example_batch
from zoo.tasks import AutoencoderTask, ClassificationTask, DetectionTask, RotationTask, SegmentationTask, Task

SMALL = {"backbone": "resnet18", "levels": 2, "channels": 8, "rpn_options": {"anchors": [8, 16, 32]}, "norm": "batch"}
TASKS: dict[str, tuple[Callable[[], Task], tuple[int, ...]]] = {
    "classification": (
        lambda: ClassificationTask(zoo.create_model("linear", num_classes=3, in_chans=3, input_shape=(3, 8, 8)), **STATISTICS),
        (3, 8, 8),
    ),
    "clips": (
        lambda: ClassificationTask(
            zoo.create_model("single_frame", num_classes=3, input_shape=(3, 2, 32, 32), backbone="resnet18"), **STATISTICS
        ),
        (3, 2, 32, 32),
    ),
    "rotation": (
        lambda: RotationTask(zoo.create_model("linear", num_classes=4, in_chans=3, input_shape=(3, 8, 8)), **STATISTICS),
        (3, 8, 8),
    ),
    "autoencoder": (
        lambda: AutoencoderTask(zoo.create_model("autoencoder", in_chans=3, input_shape=(3, 32, 32)), **STATISTICS),
        (3, 32, 32),
    ),
    "segmentation": (lambda: SegmentationTask(nn.Conv2d(3, 3, 1), num_outputs=3, **STATISTICS), (3, 16, 16)),
    "detection": (lambda: DetectionTask(zoo.create_model("faster_rcnn", num_classes=3, **SMALL), **STATISTICS), (3, 64, 64)),
}
STATISTICS = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def test_every_target_is_learned_from_here() -> None:
    assert {make().target for make, _ in TASKS.values()} == {*TARGETS}


@pytest.mark.parametrize("name", TASKS)
def test_steps_need_no_trainer(name: str) -> None:
    make, shape = TASKS[name]
    task = make().train()
    batch = example_batch(task.target, shape, 3, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*self.log.*|.*[Tt]rainer.*")
        loss = task.training_step(batch, 0)
        assert loss is not None
        assert loss.requires_grad
        loss.backward()
        assert any(each.grad is not None for each in task.parameters())
        task.eval()
        with torch.inference_mode():
            task.validation_step(batch, 0)
            task.on_validation_epoch_end()
            assert task.scored == {"val": 2}
            assert set(task.predict_step(batch, 0)) == {"id", "view", "prediction"}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "detection"])
def test_a_foreign_batch_needs_no_trainer(name: str) -> None:
    make, shape = TASKS[name]
    task = make().train()
    batch = example_batch(task.target, shape, 3, 2)
    key = TARGETS[task.target].key
    assert task.training_step((batch["input"], batch[key]) if key else batch["input"], 0) is not None


def test_losses_are_computed_in_one_place() -> None:
    """Whoever needs a step asks the task."""
    from tests.test_house import MODULES

    assert [name for name, source in MODULES.items() if ".losses(batch" in source.replace("super().losses", "")] == [
        "zoo.tasks.steps"
    ]


@pytest.mark.parametrize(("precision", "padded"), [("bf16-mixed", True), ("32-true", False)])
def test_any_trainer_pads_explicitly_in_bfloat16(precision: str, padded: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    task = ClassificationTask(net, num_outputs=4, **STATISTICS)
    batch = example_batch("label", (3, 8, 8), 4, 4)
    loader = DataLoader([*zip(batch["input"], batch["label"], strict=True)], batch_size=2)
    arguments = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(accelerator="cpu", precision=precision, max_epochs=1, **arguments).fit(task, loader)  # type: ignore[arg-type]
    assert (net[0].padding_mode == "constant") is padded


@pytest.mark.parametrize("target", TARGETS)
def test_an_example_is_what_the_contract_says(target: str) -> None:
    batch = example_batch(target, (3, 16, 16), 5, 4)
    assert {"input", "id", "view", "epoch"} <= batch.keys()
    key = TARGETS[target].key
    assert not key or key in batch
    kinds = [kind for kind in vars(inspect.getmodule(example_batch)).values() if getattr(kind, "__total__", False)]
    stated = [{*kind.__annotations__} for kind in kinds if "input" in kind.__annotations__]
    assert any({*batch} <= names for names in stated)


NUMBERS = """
import torch
from torch import nn
from torchmetrics.regression import MeanAbsoluteError

from zoo.batch import TARGETS, Target
from zoo.tasks import Task

TARGETS["number"] = Target(
    "a number a sample",
    "(input, number), the number float32 (B,)",
    "number",
    lambda classes, size, shape, draw: {"number": torch.rand(size, generator=draw)},
    lambda value, count: value if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() == 1 else None,
)


class Brightness(Task):
    target = "number"
    default_arguments = {"metric": "mae", "mode": "min", "channels_last": False}

    def losses(self, batch):
        return {"l1": (self(batch["input"])[:, 0] - batch["number"]).abs().mean()}

    def predict(self, batch):
        return self(batch["input"])[:, 0]

    def sample_outputs(self, batch):
        return {"id": batch["id"], "view": batch["view"], "number": batch["number"], "said": self.predict(batch)}

    def measures(self, outputs):
        return {"mae": (MeanAbsoluteError(), self.pairs(outputs))}

    def pairs(self, outputs):
        return [(outputs["said"], outputs["number"])]

"""


def test_a_target_of_a_new_kind_is_one_entry_and_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example batch, a step, a plain Trainer with a loader of another package, its metrics, and what it says of a wrong
    batch: no room but `batch` knows the target."""
    place: dict[str, Any] = {"__name__": "numbers_of_a_test"}
    monkeypatch.setitem(TARGETS, "number", TARGETS["none"])  # gone afterwards
    exec(NUMBERS, place)
    kind: type[Task] = place["Brightness"]
    task = kind(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), mean=(0.5,), std=(0.3,))
    loss = task.train().training_step(example_batch("number", (1, 8, 8), 1, 4), 0)
    assert loss is not None
    images = torch.linspace(0, 255, 64).round().to(torch.uint8)[:, None, None, None].expand(64, 1, 8, 8)
    pairs = [*zip(images, images[:, 0, 0, 0] / 255, strict=True)]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=15, **quiet)  # type: ignore[arg-type]
    loader = DataLoader(pairs, batch_size=8, shuffle=True)  # type: ignore[arg-type]
    task.optimizer = functools.partial(torch.optim.AdamW, lr=0.01)
    trainer.fit(task, loader, loader)
    assert trainer.callback_metrics["val/mae"] < 0.1
    with pytest.raises(
        ValueError, match=r"The batch's number is int64 \(4,\). Brightness reads \(input, number\), the number float"
    ):
        task.training_step((images[:4], torch.arange(4)), 0)
