"""What an addition costs: a network, a data set and a task two files each, a head one; no list is kept by hand.

The package, its configuration and its tests are copied, and the files are added there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent

MODEL = {
    "zoo/models/patchwork.py": '''"""Patches of an image, each of which says a class (2026, of nobody)."""

from torch import nn

from zoo.models._base import Classifier
from zoo.models._registry import register


@register
def patchwork(num_classes: int = 10, in_chans: int = 1, width: int = 16) -> Classifier:
    """One convolution of patches of 4 x 4; what they say is averaged.

    Args:
        width: channels of a patch.
    """
    layers = {"patches": nn.Conv2d(in_chans, width, 4, 4), "relu": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1)}
    return Classifier(
        {**layers, "flatten": nn.Flatten()}, num_features=width, num_classes=num_classes, in_chans=in_chans, blocks=("relu",)
    )
''',
    "conf/model/patchwork.yaml": """# @package _global_
# Patches, each of which says a class.
defaults: [base/image, _self_]
input_shape: [1, 32, 32]
model:
  name: patchwork
  width: ${size:8,16}
trainer:
  max_epochs: 2 # ours
""",
}

DATA = {
    "zoo/data/halves.py": '''"""Images of which one half is bright, drawn in memory."""

import torch
from torch import Tensor

from zoo.data.stored import Stored


class Halves(Stored):
    """Grey images, 8 x 8, bright on the left or on the right."""

    default_shape = (1, 32, 32)
    class_names = ("left", "right")
    source_mean = (0.5,)
    source_std = (0.5,)

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
        images[::2, ..., :4], images[1::2, ..., 4:] = 255, 255
        return {split: (images, torch.arange(64) % 2) for split in ("train", "val", "test")}
''',
    "conf/data/halves.yaml": """# @package _global_
# Images of which one half is bright.
size: small
data:
  _target_: zoo.data.halves.Halves
  shape: ${input_shape}
  fraction: 1.0
  crops: 1
  scales: null
  ground: white
  batch_size: 16
  num_workers: null
  seed: ${seed}
  max_bad: 0.01
  augment: {}
""",
}

TASK = {
    "zoo/tasks/doubt.py": '''"""Classification by a network that is not to be sure of itself."""

from typing import Any

from torch import Tensor, nn

from zoo.tasks.classification import ClassificationTask


class DoubtTask(ClassificationTask):
    """The loss, and a share of what the scores weigh.

    Args:
        share: of the squares of the scores.
        arguments: those of `ClassificationTask`.
    """

    def __init__(self, net: nn.Module, *, share: float = 0.01, **arguments: Any) -> None:
        super().__init__(net, **arguments)
        self.share = share

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {**super().losses(batch), "doubt": self.share * self(batch["input"]).square().mean()}
''',
    "conf/task/doubt.yaml": """# A label an image, without being sure of it.
defaults:
  - classification
  - _self_
_target_: zoo.tasks.doubt.DoubtTask
share: 0.01
""",
}

HEAD = {
    "size_head.py": '''import torch
from torch import Tensor, nn

from zoo.models import Head, Regions, register_head


@register_head
class SizeHead(Head):
    """The width and the height of an object."""

    name = "size"
    needs = ("boxes",)
    resolution = 3

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {"head": nn.Flatten(), "predictor": nn.Linear(9 * channels, 2)}

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        boxes = torch.cat(regions.of("boxes"))
        return (outputs - (boxes[:, 2:] - boxes[:, :2])).abs().mean()

    def results(self, outputs: Tensor, regions: Regions) -> list[dict[str, Tensor]]:
        return [{"sizes": each} for each in regions.split(outputs)]
''',
}

RUN = """
import torch, zoo
from zoo.evaluate import evaluate
from zoo.train import train

assert zoo.__file__.startswith({folder!r}), zoo.__file__
short = ["trainer.max_epochs=3", "logger=none", "optimizer.lr=0.1"]
for name, words in {{
    "model": ["model=patchwork", "data=digits"],
    "data": ["model=linear", "data=halves"],
    "task": ["model=linear", "data=digits", "task=doubt", "task.share=0.5"],
    "all": ["model=patchwork", "model.width=4", "data=halves", "task=doubt"],
}}.items():
    scores = train([*words, *short, f"hydra.run.dir={{name}}"])
    assert evaluate(name)["test/accuracy"] == scores["test/accuracy"]
    if name == "data":
        assert scores["test/accuracy"] == 1
    if name == "task":
        assert torch.load("task/checkpoints/best.ckpt", weights_only=True)["zoo"]["names"]["task"] == "doubt"

import size_head

light = dict(backbone="resnet18", norm="batch", levels=2, channels=8, rpn_options={{"anchors": [8, 16, 32]}})
width = {{"box": {{"width": 8}}}}
net = zoo.create_model("mask_rcnn", num_classes=2, heads=["box", "size"], head_options=width, **light)
images = [torch.rand(3, 64, 64)]
truth = [dict(boxes=torch.tensor([[4.0, 4.0, 40.0, 40.0]]), labels=torch.tensor([1]))]
losses = net(images, truth)
assert "loss_size" in losses, losses
sum(losses.values()).backward()
assert "sizes" in net.eval()(images)[0]
"""

TAKEN = "patchwork or halves or doubt or same_names or no_circle or every_argument or value_of_the_paper"
"""The house's rules that go through all networks, data sets and tasks."""
GENERATED = "readmes_row"
"""README's table: `tools/readme.py` writes it anew."""


@pytest.mark.slow
def test_a_model_a_data_set_and_a_task_are_two_files_and_a_head_is_one(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for name in ("zoo", "conf", "tests", "tools"):
        shutil.copytree(CHECKOUT / name, house / name, ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "pyproject.toml"):
        shutil.copyfile(CHECKOUT / name, house / name)
    for files, count in ((MODEL, 2), (DATA, 2), (TASK, 2)):
        assert len(files) == count
        for name, content in files.items():
            assert not (house / name).exists()
            (house / name).write_text(content)
    (head,) = HEAD
    (tmp_path / head).write_text(HEAD[head])
    environment = {**os.environ, "PYTHONPATH": str(house), "OMP_NUM_THREADS": "1"}
    chosen = f"({TAKEN}) and not {GENERATED}"
    rules = ["tests/test_house.py", "tests/common/test_trust.py", "tests/run/test_size.py", "-k", chosen]
    for words, place in ((["-c", RUN.format(folder=str(house))], tmp_path), (["-m", "pytest", "-q", "-n0", *rules], house)):
        done = subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
