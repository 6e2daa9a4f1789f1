"""README's own lines for data of one's own, as they stand there but for the path."""

import csv
import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo

Verb = Callable[..., tuple[int, str, str]]


def script() -> Any:
    """`benchmarks/own_data.py`, which draws the files."""
    spec = importlib.util.spec_from_file_location("own_data", Path(__file__).parents[1] / "benchmarks" / "own_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OWN = script()


def test_readme_has_a_line_for_each_kind_of_own_data() -> None:
    assert OWN.lines().keys() == OWN.OWN.keys()


STEPS = {"image_folder": 15, "video_folder": 12, "mask_folder": 150, "coco": 40}
"""After which the loss is half of what it was; the whole runs are benchmarks/own_data.py's."""
BATCH = {"image_folder": 12, "video_folder": 5}
"""Of fewer samples than README's line has, where a step is dear."""


def training_losses(name: str = "train/loss") -> list[float]:
    with Path("run/metrics.csv").open() as log:
        return [float(row[name]) for row in csv.DictReader(log) if row.get(name)]


@pytest.mark.slow
@pytest.mark.parametrize("data", OWN.OWN)
def test_the_small_network_learns_a_few_files(data: str, verb: Verb, tmp_path: Path) -> None:
    OWN.OWN[data](tmp_path / "own")
    settings = OWN.settings_of(data, Path("own"))
    short = [f"trainer.max_steps={STEPS[data]}", "trainer.limit_val_batches=0", "test=false", "callbacks.pictures=null"]
    if data in BATCH:
        short.append(f"data.batch_size={BATCH[data]}")
    status, _, err = verb("train", *settings, *short, "size=small", "trainer.log_every_n_steps=1", "hydra.run.dir=run")
    assert status == 0, err
    losses = training_losses()
    assert sum(losses[-5:]) / 5 < losses[0] / 2


SOURCE = {"image_folder": "resnet18", "mask_folder": "vgg16", "coco": "resnet50"}
"""Of a kind of data the network from whose weights the paper's starts."""
CHANCE = {
    "image_folder": {"train/loss": math.log(3)},
    "video_folder": {"train/loss": math.log(3)},
    "mask_folder": {"train/loss": math.log(4)},
    "coco": {"train/loss_classifier": math.log(4), "train/loss_objectness": math.log(2)},
}


def random_weights(name: str) -> dict[str, Tensor]:
    """With the statistics of such pictures, as a trained network's BatchNorm would have them: a detector keeps them."""
    net = zoo.create_model(name)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    rng = np.random.default_rng(0)
    pictures = torch.stack([torch.from_numpy(OWN.drawn(rng, 256, number % 3)[0]) for number in range(6)])
    with torch.no_grad():
        net((pictures.movedim(-1, 1) / 255 - 0.45) / 0.225)
    return net.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("data", OWN.OWN)
def test_the_papers_network_starts_at_chance(data: str, verb: Verb, tmp_path: Path) -> None:
    """From a file of random values, where the paper starts from trained ones."""
    OWN.OWN[data](tmp_path / "own")
    settings = OWN.settings_of(data, Path("own"))
    if data in SOURCE:
        torch.save(random_weights(SOURCE[data]), "random.pth")
        settings.append("model.pretrained=random.pth")
    short = ("trainer.max_steps=1", "trainer.limit_val_batches=0", "test=false", "callbacks=none", "data.batch_size=1")
    status, out, err = verb("train", *settings, *short, "hydra.run.dir=run")
    assert status == 0, err
    assert re.search(r"^size +paper$", out, re.MULTILINE)
    for name, loss in CHANCE[data].items():
        assert training_losses(name)[0] == pytest.approx(loss, rel=0.3), name
