"""The line beside a figure names everything that the figure depends on: every argument of every data set and task is tried."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from zoo.common.places import CONF
from zoo.run.build import make
from zoo.run.check import located
from zoo.run.compose import composed
from zoo.run.facts import publish
from zoo.run.protocol import protocol

DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
TASKS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))

OTHERS: dict[type, list[Any]] = {
    bool: [True, False],
    int: [3, 2, 2007, 640],
    float: [0.3, 2.5],
    str: ["elsewhere", "s3://elsewhere", "bicubic", "down", "linspace"],
    list: [[3, 40, 40], [3, 8, 48, 48], [256, 480], [640], [0.5, 1.5], ["a", "b"]],
}
"""By kind of value, what to put in its place; the first that the argument takes is tried."""


def configured(data: str, task: str | None = None, *settings: str) -> Any:
    """A composed configuration of a data set with some model that fits it, its facts not known."""
    kind = located(composed([f"data={data}", "model=linear"]).data._target_)
    model = "c3d" if kind.layout == 4 else {"label": "linear", "semantic": "fcn8s", "instances": "mask_rcnn"}[kind.targets[0]]
    config = composed([f"data={data}", f"model={model}", *([f"task={task}"] if task else []), "run_dir=.", *settings])
    for name in [str(key) for key in config.data if OmegaConf.is_missing(config.data, key)]:
        config.data[name] = "somewhere"
    return config


FACTS: dict[str, Any] = {"mean": [0.5], "std": [0.5], "class_names": ["a"], "num_classes": 1}


def line(config: Any, recipe: dict[str, Any] | None = None, precision: str = "32-true") -> str:
    """What is written beside a figure of this configuration, once the data's facts are published in it."""
    data = make(config.data, "data")()
    publish(config, {**FACTS, **{name: [] for name in data.facts}})
    return protocol(config, data, recipe or {"arguments": {"model": {}}}, precision)


@pytest.mark.parametrize("name", DATA)
def test_every_argument_of_a_data_set_is_named_or_changes_no_figure(name: str) -> None:
    base = configured(name)
    kind = located(base.data._target_)
    before = line(base.copy())
    assert f"data={name}" in before
    for argument in inspect.signature(kind).parameters:
        if argument in kind.unscored:
            continue
        tried = False
        for value in [value for values in OTHERS.values() for value in values]:
            config = base.copy()
            old = config.data.get(argument)
            if value == (OmegaConf.to_container(old) if OmegaConf.is_config(old) else old):
                continue
            config.data[argument] = value
            if argument == "shape" and len(value if isinstance(value, list) else []) != kind.layout:
                continue
            try:
                after = line(config)
            except (ValueError, TypeError):
                continue  # not a value for this argument
            tried = True
            assert after != before, f"data.{argument}={value} changes a figure, and its line is the same: {after}"
            break
        # `Clips` names the decoder, of which only one may be installed; flow is for networks of other channels.
        assert tried or argument in ("flow", "decoder"), f"no value was found for data.{argument}: add one to OTHERS"


@pytest.mark.parametrize("name", TASKS)
def test_every_argument_of_a_task_is_named_or_changes_no_figure(name: str) -> None:
    data = {"detection": "digit_scenes", "segmentation": "digit_scenes", "video_classification": "motion_digits"}.get(
        name, "digits"
    )
    base = configured(data, name)
    kind = located(base.task._target_)
    before = line(base.copy())
    for argument, parameter in inspect.signature(kind).parameters.items():
        if argument in kind.unscored:
            continue
        default = parameter.default
        value: Any = (
            (not default) if isinstance(default, bool) else default + 1 if isinstance(default, int | float) else ["other"]
        )
        config = base.copy()
        config.task[argument] = value
        assert line(config) != before, f"task.{argument}={value} changes a figure, and its line is the same: {before}"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of pictures and of masks, by the data set that reads them."""
    folder = tmp_path_factory.mktemp("own")
    noise = np.random.default_rng(0)
    for number in range(24):
        for name in ("a", "b"):
            place = folder / "image_folder" / name / f"{name}{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (40, 48, 3)).astype(np.uint8)).save(place)
        for part, pixels in (("images", noise.integers(0, 256, (40, 48, 3))), ("masks", noise.integers(0, 2, (40, 48)))):
            place = folder / "mask_folder" / part / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(place)
    (folder / "mask_folder" / "classes.txt").write_text("ground\nblock\n")
    return {place.name: place for place in folder.iterdir()}


@pytest.mark.parametrize("name", ["digits", "image_folder", "mask_folder"])
def test_what_is_declared_unscored_serves_the_same_bits(name: str, own: dict[str, Path]) -> None:
    changes = {
        "batch_size": 5,
        "num_workers": 0,
        "seed": 7,
        "max_bad": 0.9,
        "flip": False,
        "scale": [1.0, 1.0],
        "fraction": 0.5,
        "ground": "black",
    }
    root = f"data.root={own[name]}" if name in own else "seed=0"

    def served(**set_here: Any) -> list[torch.Tensor]:
        config = configured(name, None, root)
        config.data.update(set_here)
        data = make(config.data, "data")()
        data.prepare_data()
        data.setup()
        return [data.splits[split].__getitems__([(0, at)])["input"] for split in ("val", "test") for at in range(2)]

    kind = located(configured(name).data._target_)
    arguments = kind.unscored.intersection(inspect.signature(kind).parameters)
    before = served()
    after = served(**{key: value for key, value in changes.items() if key in arguments})
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_the_network_is_told_at_evaluation_is_named() -> None:
    config = configured("digit_scenes", "detection", "model=mask_rcnn", "model.head_options.box.detections=300")
    said = line(config, {"arguments": {"model": {"detections": 10}}}, "bf16-mixed")
    assert "model.head_options.box.detections=300" in said
    assert "precision bf16-mixed" in said
