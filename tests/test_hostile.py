"""Hostile input: names that lead out of a folder, checkpoints with code in them, files that would fill the memory."""

import importlib
import io
import json
import os
import pickle
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.common.files import Unreadable
from zoo.common.places import safe_join
from zoo.data.rendered import motion
from zoo.predict import Limits
from zoo.run.build import build_data, build_task
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.recipe import compose_recipe, rebuild, recipe_of

Verb = Callable[..., tuple[int, str, str]]

ESCAPES = ["../x.png", "/etc/passwd", "a/../../x.png", "", "..", "a\0b", "./../x"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out of"):
        safe_join(tmp_path, name)


@pytest.mark.parametrize("name", ["x.png", "a/b/x.png", "a/../x.png", "..x/y.png", "ü (1).png"])
def test_other_names_stay(name: str, tmp_path: Path) -> None:
    assert tmp_path in safe_join(tmp_path, name).parents


def listed(folder: Path, name: str) -> list[str]:
    root = folder / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    root.mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"a\n{name or '..'}\nb\n")
    return ["model=fcn8s", "data=voc_segmentation", "size=small", f"data.root={folder}"]


def annotated(folder: Path, name: str) -> list[str]:
    (folder / "coco" / "annotations").mkdir(parents=True)
    images = [{"id": k, "file_name": name if k == 3 else f"{k}.jpg", "height": 8, "width": 8} for k in range(5)]
    content = {"categories": [{"id": 1, "name": "a"}], "images": images, "annotations": []}
    for part in ("train2017", "val2017"):
        (folder / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return ["model=fcn8s", "data=coco", "size=small", f"data.root={folder}"]


@pytest.mark.parametrize("make", [listed, annotated])
@pytest.mark.parametrize("name", ["../../x", "/etc/passwd"])
def test_data_that_name_files_elsewhere_are_refused(
    make: Callable[..., list[str]], name: str, verb: Verb, tmp_path: Path
) -> None:
    status, _, err = verb("train", *make(tmp_path, name))
    assert status == 1
    assert "leads out of" in err
    assert err.count("\n") == 1


# Checkpoints with code in them


class Attack:
    """Unpickled, it calls."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(folder: Path) -> dict[str, Attack]:
    mark = str(folder / "pwned")
    return {
        "os.system": Attack(os.system, f"touch {mark}"),
        "torch.save": Attack(torch.save, {}, mark),
        "torch.hub.load": Attack(torch.hub.load, mark),
        "subprocess.call": Attack(subprocess.call, ["touch", mark]),
        "eval": Attack(eval, f"open({mark!r}, 'w')"),
    }


@pytest.mark.parametrize("kind", ["os.system", "torch.save", "torch.hub.load", "subprocess.call", "eval"])
@pytest.mark.parametrize("form", ["zip", "pickle", "legacy"])
def test_a_checkpoint_with_code_is_refused_unrun(kind: str, form: str, verb: Verb, tmp_path: Path) -> None:
    names = {"model": "mlp", "task": "classification", "data": "digits"}
    content = {"state_dict": {"x": attacks(tmp_path)[kind]}, "zoo": {"names": names, "arguments": {}, "facts": {}}}
    path = tmp_path / "evil.ckpt"
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    for arguments in (
        ("evaluate", "evil.ckpt"),
        ("predict", "evil.ckpt", "evil.ckpt"),
        ("train", "model=mlp", "resume=evil.ckpt", "hydra.run.dir=x"),
        ("train", "model=mlp", "model.pretrained=evil.ckpt", "hydra.run.dir=x"),
    ):
        status, out, err = verb(*arguments)
        assert status == 1, out
        assert "evil.ckpt" in err
        assert err.count("\n") == 1
    assert not (tmp_path / "pwned").exists()


def rebuilt(task: Any, recipe: dict[str, Any]) -> Any:
    config = compose_recipe(recipe, [])
    publish(config, recipe["facts"])
    return rebuild({"state_dict": task.state_dict(), "zoo": recipe}, config, "x.ckpt")


TARGETS = ["os.system", "torch.hub.load", "torch.save", "torch.ops.load_library", "builtins.eval", "zoo.prepare.prepare"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", ["model", "task", "data", "names", "facts", "a value", "a fact", "in a list"])
def test_nothing_in_a_checkpoint_is_ever_called(
    target: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a `_target_` stands in a recipe, it is refused."""
    importlib.import_module("lightning")  # which could not be imported with what is put in torch's place
    called: list[Any] = []
    for module, name in ((os, "system"), (torch.hub, "load"), (torch, "save"), (torch.ops, "load_library")):
        monkeypatch.setattr(module, name, lambda *arguments, **named: called.append(arguments))
    config = composed(["model=linear", "data=digits", "run_dir=."])
    data = build_data(config)
    data.setup()
    facts = facts_of(data)
    publish(config, facts)
    task = build_task(config)
    recipe = recipe_of(config, facts)
    assert rebuilt(task, recipe).net is not None, "as it is, the recipe is good"
    hostile = {"_target_": target, "_args_": ["touch pwned"]}
    if place in ("model", "task", "data"):
        recipe["arguments"][place].update(hostile)
    elif place == "a value":
        recipe["arguments"]["data"]["seed"] = hostile
    elif place == "a fact":
        recipe["facts"]["mean"] = hostile  # the task's own mean refers to it
    elif place == "in a list":
        recipe["facts"]["class_names"] = [hostile]
    else:
        recipe[place].update(hostile)
    with pytest.raises(ValueError, match=r"The checkpoint|not a name|There is no"):
        rebuilt(task, recipe)
    assert not called
    assert not (Path.cwd() / "pwned").exists()


# Files that are small, and yet too large


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few hundred bytes that states any size, its pixels packed as zeros."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_images_beyond_a_size_are_refused_unless_told_otherwise(verb: Verb, tmp_path: Path) -> None:
    from zoo.models._entries import get_weights

    name = f"lenet5:{get_weights('lenet5').tag}"
    (tmp_path / "bomb.png").write_bytes(bomb(60_000, 60_000))
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(buffer, "PNG")
    (tmp_path / "small.png").write_bytes(buffer.getvalue())
    status, out, err = verb("predict", name, "bomb.png", "small.png")
    assert status == 0, err
    assert "bomb.png: cannot be read (it has 3,600,000,000 pixels, more than max_pixels=100000000 allows)" in out
    assert "small.png: " in out
    assert "small.png: cannot" not in out
    assert "it has 1,200 pixels, more than max_pixels=1199 allows" in verb("predict", name, "small.png", "max_pixels=1199")[1]
    assert "cannot be read" not in verb("predict", name, "small.png", "max_pixels=1200")[1]
    size = len(buffer.getvalue())
    assert f"more than max_bytes={size - 1} allows" in verb("predict", name, "small.png", f"max_bytes={size - 1}")[1]
    assert "cannot be read" not in verb("predict", name, "small.png", "max_bytes=0", "max_pixels=0")[1]
    assert "max_pixels is 'many', but it must be a whole number" in verb("predict", name, "small.png", "max_pixels=many")[2]


def test_videos_beyond_a_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(motion.render(motion.clip_path(tmp_path, "train", 0)))
    assert Limits().refusal(path, 4) is None
    assert Limits(max_frames=24).refusal(path, 4) is None
    assert Limits(max_frames=23).refusal(path, 4) == "it has 24 frames, more than max_frames=23 allows"
    with pytest.raises(Unreadable, match="it has 1,024 pixels, more than max_pixels=1023 allows"):
        Limits(max_pixels=1023).refusal(path, 4)
    path.write_bytes(b"torn")
    with pytest.raises(Unreadable, match="Invalid data"):
        Limits().refusal(path, 4)
