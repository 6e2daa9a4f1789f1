"""The examples: each a single file outside of the package, trained by the command and by a plain Trainer."""

import ast
import csv
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import zoo
from zoo.data.rendered import scenes
from zoo.models import _registry
from zoo.train import train

Verb = Callable[..., tuple[int, str, str]]
FOLDER = Path(__file__).parent.parent / "examples"
SETTINGS = {
    "angle_head": ["model=mask_rcnn", "model.heads=[box,angle]", "task.metric=angle", "task.mode=min", "data.shape=[3,64,64]"],
    "caption_head": ["model=mask_rcnn", "model.heads=[box,caption]", "task.metric=caption", "data.shape=[3,64,64]"],
    "focal_task": ["task=focal", "task.gamma=1.5", "model=linear"],
    "ink_head": ["model=ink_rcnn", "task.metric=ink", "task.mode=min", "data.shape=[3,64,64]"],
    "semantic_head": ["model=mask_rcnn", "model.heads=[box,semantic]", "task.metric=semantic", "data.shape=[3,64,64]"],
    "stripes_data": ["data=stripes", "data.contrast=60", "model=linear"],
}
HEADS = {
    "angle_head": ({"angle"}, r"\d [\d.]+ turned -?\d+°"),
    "caption_head": ({"caption"}, r'\d [\d.]+ "\w+ [\w ]+ [\w ]+"'),
    "ink_head": ({"ink"}, r"\d [\d.]+ \d+ % ink"),
    "semantic_head": ({"semantic"}, r"\d [\d.]+.*; \d+ % digits"),
}
"""Figures of the heads, and what they say of a picture."""
QUICK = {"limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1, "max_epochs": 1, "logger": False}


SCRIPTS = {"coco_crops", "lite0_weights"}
"""What prepares files, tried in test_real_weights.py."""


def test_every_example_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SETTINGS, *SCRIPTS}


@pytest.mark.parametrize("name", [*SETTINGS, *sorted(SCRIPTS)])
def test_an_example_is_short_and_knows_public_names_alone(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    assert len(source.splitlines()) < 100
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not any(part.startswith("_") for part in str(node.module).split("."))
            assert not any(each.name.startswith("_") for each in node.names)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of an example are those of its own test alone."""
    monkeypatch.setattr(_registry, "_BUILDERS", dict(_registry._BUILDERS))


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(request.param, FOLDER / f"{request.param}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, request.param, module)
    spec.loader.exec_module(module)
    return module


TRIED = [pytest.param(name, marks=[pytest.mark.slow] if name in HEADS else []) for name in SETTINGS]


@pytest.mark.parametrize("example", TRIED, indirect=True)
def test_a_plain_trainer_trains_it(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example.main(accelerator="cpu", enable_progress_bar=False, **QUICK)


@pytest.mark.parametrize("name", TRIED)
def test_the_command_trains_scores_and_asks_it(name: str, verb: Verb) -> None:
    file, limits = str(FOLDER / f"{name}.py"), [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    status, out, err = verb("train", file, *SETTINGS[name], *limits, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert f"evaluate   python -m zoo.evaluate {Path('run').absolute()} {file}" in out
    status, again, err = verb("evaluate", "run", file, "trainer.limit_test_batches=1")
    assert status == 0, err
    figures = re.findall(r"^test \S+ [\d.]+$", out, re.MULTILINE)
    assert figures
    assert figures == re.findall(r"^test \S+ [\d.]+$", again, re.MULTILINE)
    changed = [each for each in SETTINGS[name] if each.startswith(("task.gamma", "data.contrast"))]
    assert all(each in again for each in changed)  # the protocol states what the example's own arguments were


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns_in_fifty_steps_and_is_scored_and_printed(name: str, verb: Verb, tmp_path: Path) -> None:
    figures, words = HEADS[name]
    light = ["model.head_options.box.width=64", "model.channels=32"] if name != "ink_head" else ["model.channels=32"]
    few = ["trainer.max_steps=50", "trainer.log_every_n_steps=1", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]
    often = ["trainer.val_check_interval=50", "trainer.accelerator=cpu", "hydra.run.dir=run", "trainer.precision=32-true"]
    file = str(FOLDER / f"{name}.py")
    status, out, err = verb("train", file, *SETTINGS[name], *light, *few, *often)
    assert status == 0, err
    with (tmp_path / "run" / "metrics.csv").open() as table:
        rows = list(csv.DictReader(table))
    head = f"train/loss_{name.removesuffix('_head')}"
    losses = [float(row[head]) for row in rows if row.get(head)]
    assert len(losses) == 50
    assert sum(losses[-10:]) / 10 < 0.8 * sum(losses[:3]) / 3, losses
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    for figure in figures:
        assert re.search(rf"^test {figure} [\d.]+$", out, re.MULTILINE)
        assert figure in told["tests"]
        assert any(row.get(f"val/{figure}") for row in rows)
    Image.fromarray(scenes.draw_scene("test", 0).images[0]).save(tmp_path / "one.png")
    status, out, err = verb("predict", "run", file, "one.png", "task.threshold=0.0")
    assert status == 0, err
    assert re.search(words, out), out


def test_a_caller_in_python_names_its_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    scores = train([str(FOLDER / "stripes_data.py"), *SETTINGS["stripes_data"], *limits, "trainer.max_epochs=1"])
    assert "test/accuracy" in scores


@pytest.mark.slow
def test_a_run_without_its_file_is_refused_with_the_remedy(verb: Verb) -> None:
    """In a process of its own, for what was imported stays."""
    import subprocess

    file = str(FOLDER / "focal_task.py")
    limits = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    assert verb("train", file, "task=focal", "model=linear", *limits, "trainer.max_epochs=1", "hydra.run.dir=run")[0] == 0
    code = "import zoo\ntry: zoo.load('run')\nexcept ValueError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "There is no task 'focal'" in said
    assert "If a file of your own defines it, name the file too: my_task.py" in said


def test_a_file_may_not_take_the_name_of_what_is_there(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from zoo.data import Digits as Base\n\n\nclass Digits(Base):\n    pass\n")
    status, _, err = verb("train", "mine.py")
    assert status == 1
    assert err == "Error: There is a data 'digits' already. Give Digits in mine another name.\n"
    del sys.modules["mine"]


def test_zoo_is_typed() -> None:
    assert (Path(zoo.__file__).parent / "py.typed").is_file()
