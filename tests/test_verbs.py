"""The verbs as a user types them: what they learn, print, write, and refuse."""

import csv
import json
import os
import pickle
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.common.places import CONF
from zoo.data.rendered import motion

Verb = Callable[..., tuple[int, str, str]]
Started = Callable[..., Any]
ODD_NAME = "shoe (1), left = best! çé 你好"


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory, started: Started) -> Path:
    """A run folder with an odd name: LeNet-5 on digits, three epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run (1), a=b!"
    folder.mkdir()
    done = started("trainer.max_epochs=3", f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.status == 0, done.err
    (folder / "said").write_text(done.out[0])
    return folder


def test_a_run_says_what_it_trains_and_what_came_of_it(lenet: Path) -> None:
    said = (lenet / "said").read_text()
    for line in (
        "model          lenet5",
        "parameters     61,706",
        "multiply-adds  416,520 at 1 x 32 x 32",
        "data           digits: 1,258 train, 180 val, 359 test images, 10 classes",
        "batch          32",
        "learning rate  0.001 (AdamW)",
        "scored 359 of 359 test samples",
    ):
        assert line in said, line
    accuracy = float(next(line for line in said.splitlines() if line.startswith("test accuracy ")).split()[-1])
    assert accuracy > 0.8
    assert (lenet / "checkpoints" / "best.ckpt").is_file()
    assert list(lenet.glob("events.out.tfevents.*"))
    header = (lenet / "metrics.csv").read_text().splitlines()[0]
    assert {"step", "train/loss", "train/accuracy", "val/accuracy"} <= set(header.split(","))
    assert not [p for p in lenet.rglob("*") if "=" in p.name], "no file's name holds an equals sign"


def test_the_pictures_show_something(lenet: Path) -> None:
    curves = np.array(Image.open(lenet / "curves.png").convert("RGB"))
    assert curves.shape[0] > 200
    assert len(np.unique(curves.reshape(-1, 3), axis=0)) > 50
    filters = np.array(Image.open(lenet / "filters.png").convert("L"))
    weight = torch.load(lenet / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["net.features.conv1.weight"]
    first = weight[0, 0]
    expected = ((first - first.min()) / (first.max() - first.min()) * 255).round().numpy()
    assert np.abs(filters[1 + 4 : 41 : 8, 1 + 4 : 41 : 8] - expected).max() <= 1, (
        "filter 0 in the first tile, 8 pixels a weight"
    )


def test_the_command_it_prints_evaluates_to_the_same_figure(lenet: Path, verb: Verb) -> None:
    said = (lenet / "said").read_text().splitlines()
    command = shlex.split(next(line for line in said if line.startswith("evaluate")))
    assert command[1:4] == ["python", "-m", "zoo.evaluate"]
    status, out, _ = verb("evaluate", *command[4:])
    assert status == 0
    before = [line for line in said if line.startswith("test ")]
    assert [line for line in out.splitlines() if line.startswith("test ")] == before
    assert "scored 359 of 359" in out
    status, out, _ = verb("evaluate", str(lenet / "checkpoints" / "last.ckpt"), "split=val", "data.batch_size=7")
    assert status == 0
    assert "scored 180 of 180 val samples" in out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five digits as PNG files with odd names, and one file that is no picture."""
    from zoo.data.rendered.synth import digit_indices, digits

    folder = tmp_path / ODD_NAME
    folder.mkdir()
    images, labels = digits()
    for index in digit_indices("train")[:5]:
        Image.fromarray(images[index]).resize((32, 32)).save(folder / f"{labels[index]} {ODD_NAME} {index}.png")
    (folder / "torn.png").write_bytes(b"torn")
    return folder


def test_predict_names_classes(lenet: Path, pictures: Path, tmp_path: Path, verb: Verb) -> None:
    single = sorted(pictures.glob("?*你好 *.png"))[0]
    status, out, _ = verb("predict", str(lenet), str(pictures), str(single), "top_k=3", f"json={tmp_path / 'out.jsonl'}")
    assert status == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == 7
    good = [line for line in lines if "top" in line]
    assert len(good) == 6
    assert all(len(line["top"]) == 3 for line in good)
    hits = [line["top"][0]["class"] == Path(line["file"]).name[0] for line in good]
    assert sum(hits) >= 4
    assert "torn.png: cannot be read" in out
    status, out, _ = verb("predict", str(lenet), str(single), "json=-")
    assert json.loads(out)["file"] == str(single)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten short real H.264 files each, one of them torn."""
    root = tmp_path_factory.mktemp("films") / ODD_NAME
    for number in range(60):
        if motion.CLASSES[number % 6] in ("left", "up", "clockwise"):
            path = root / motion.CLASSES[number % 6] / f"{ODD_NAME} {number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(motion.render(motion.clip_path(root, "train", number)))
    (root / "left" / "torn.mp4").write_bytes(b"torn")
    return root


SMALL = (
    "model=inflated",
    "input_shape=[3,16,32,32]",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=1",
    "data.batch_size=2",
)


@pytest.mark.slow
def test_ones_own_videos(films: Path, tmp_path: Path, verb: Verb) -> None:
    status, out, err = verb(
        "train", *SMALL, "data=video_folder", "size=small", f"data.root={films}", "data.max_bad=0.2", "hydra.run.dir=run"
    )
    assert status == 0, err
    assert "torn.mp4" in out
    assert "files cannot be read and are left out" in out
    assert (
        "protocol 4 clips a video, 16 frames, 5 a second, 1 crop, the centre, of the largest region, 32 x 32, bilinear, "
        "decoded by pyav, probabilities averaged" in out
    )
    views = ("data.clips=2", "data.crops=3", "data.short_side=48")
    status, out, err = verb("evaluate", str(tmp_path / "run"), "data.batch_size=5", "data.max_bad=0.2", *views)
    assert status == 0, err
    assert "protocol 2 clips a video, 16 frames, 5 a second, 3 crops (centre, both ends) at short side 48, 32 x 32" in out
    assert "test view_accuracy" in out
    status, _, err = verb("evaluate", str(tmp_path / "run"), "data.shape=[3,8,32,32]")
    assert status == 1
    assert "built for clips of 16 frames, but the data serve 8" in err
    clip = Image.open(tmp_path / "run" / "filters.gif")
    assert clip.n_frames == 3  # type: ignore[attr-defined]
    status, out, _ = verb("predict", str(tmp_path / "run"), str(films / "up"))
    assert status == 0
    assert len(out.splitlines()) == 10
    assert all(name in out for name in ("left", "up", "clockwise"))


@pytest.mark.slow
def test_clips_are_turned_too(films: Path, tmp_path: Path, verb: Verb) -> None:
    """Pretraining on clips, then the trunk under a classifier: only the head starts afresh."""
    light = ("model=late_fusion", "input_shape=[3,4,32,32]", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    data = ("data=video_folder", "size=small", f"data.root={films}", "data.max_bad=0.2", "data.batch_size=2", "data.clips=1")
    status, out, err = verb("train", "task=rotation", *light, *data, "hydra.run.dir=turned")
    assert status == 0, err
    assert re.search(r"scored [1-9]\d* of [1-9]\d* test samples", out)
    assert "test accuracy" in out
    status, out, _ = verb("predict", "turned", str(films / "up"), "top_k=4")
    assert status == 0
    assert all(turn in line for line in out.splitlines() for turn in ("0°", "90°", "180°", "270°"))
    with pytest.warns(UserWarning, match="head"):
        status, _, err = verb("train", *light, *data, "model.pretrained=turned/checkpoints/best.ckpt", "hydra.run.dir=told")
    assert status == 0, err


REFUSED = [
    (("model=c3dd",), "There is no model 'c3dd'; did you mean c3d"),
    (("modle=c3d",), "There is no setting 'modle'; did you mean model"),
    (("trainer.max_epoch=3",), "trainer has no setting 'max_epoch'; did you mean max_epochs"),
    (("+trainer.max_epochs=3", "hydra.run.dir=here"), "An item is already at 'trainer.max_epochs'"),
    (("model=c3d", "data=digits"), "digits serves (C, H, W) images, but c3d reads (C, T, H, W) clips"),
    (("data.batch_size=many",), "data.batch_size is 'many', but it must be a whole number"),
    (("data.batch_size=0",), "data.batch_size is 0"),
    (("+model.padding=1",), "model takes no argument 'padding'"),
    (("model=c3d", "data=video_folder", "size=small"), "data.root is not set"),
    (("model=c3d", "data=video_folder", "size=small", "data.root=nowhere"), "There is no folder"),
    (("model=c3d", "data=video_folder", "size=small", "data.root=empty"), "has no class folders"),
    (("model=c3d", "data=video_folder", "size=small", "data.root=hollow"), "holds no files of the kinds"),
    (
        (
            "model=c3d",
            "data=video_folder",
            "size=small",
            "data.root=hollow",
            "data.shape=[3,8,112,112]",
            "model.input_shape=[3,16,112,112]",
        ),
        "built for clips of 16 frames, but the data serve 8",
    ),
    (
        ("model=two_stream", "data=video_folder", "data.root=hollow", "model.motion=flow"),
        "Set data.flow to dis or raft",
    ),
    (
        ("model=c3d", "data=video_folder", "size=small", "data.root=hollow", "data.flow=dis"),
        "reads clips of 3 channels, pictures alone",
    ),
    (("model=c3d", "data.decoder=opencv", "data=video_folder", "size=small", "data.root=hollow"), "data.decoder is 'opencv'"),
    (
        ("model=c3d", "data=video_csv", "size=small", "data.root=hollow"),
        "it is a folder, not a file. Set data.root to a CSV",
    ),
    (("model=c3d", "data=ucf101", "data.root=hollow"), "classInd.txt. Without it UCF101 cannot be read"),
    (("model=c3d", "data=kinetics", "data.root=hollow"), "has no annotations/train.csv"),
    (("data=image_folder", "data.root=torn"), "Not one of 2 files can be read"),
    (("resume=nowhere.ckpt",), "There is no checkpoint nowhere.ckpt"),
    (("resume=evil.ckpt",), "could run code"),
    (("resume=foreign.ckpt",), "is not a checkpoint of zoo.train"),
    (("resume=other.ckpt",), "model was c3d, is lenet5"),
    (("model.pretrained=wide.ckpt",), "does not hold weights of lenet5"),
    pytest.param(
        ("trainer.devices=1000", "trainer.accelerator=gpu"),
        "trainer.accelerator is gpu, but torch sees no GPU here",
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
    ),
    (("scheduler=cosine", "trainer.max_epochs=-1"), "A schedule needs an end"),
    (("--debug",), "There is no option --debug"),
    (("seed=x",), "seed: Value 'x'"),
]


@pytest.fixture
def mistakes(tmp_path: Path) -> None:
    from zoo import create_model

    for name in ("empty", "hollow/a", "hollow/b", "torn/a", "torn/b"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("torn/a/x.png", "torn/b/x.png"):
        (tmp_path / name).write_bytes(b"torn")
    torch.save({"x": os.system}, tmp_path / "evil.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    names = {"model": "c3d", "task": "video_classification", "data": "motion_digits"}
    torch.save({"state_dict": {}, "zoo": {"names": names, "arguments": {}, "facts": {}}}, tmp_path / "other.ckpt")
    torch.save(create_model("lenet_wide").state_dict(), tmp_path / "wide.ckpt")


@pytest.mark.usefixtures("mistakes")
@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_a_mistake_is_one_sentence_and_status_1(arguments: tuple[str, ...], said: str, verb: Verb, tmp_path: Path) -> None:
    status, out, err = verb("train", *arguments)
    assert status == 1
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert said in lines[0]
    assert "Traceback" not in out + err
    assert not list(tmp_path.rglob("*.ckpt")) or not list(tmp_path.rglob("checkpoints"))


def test_debug_shows_the_traceback(verb: Verb) -> None:
    with pytest.raises(Exception, match="c3dd"):
        verb("train", "model=c3dd", "debug=true")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("code.ckpt", pickle.dumps(os.system), "code.ckpt holds something other than tensors and plain values"),
        ("empty.ckpt", b"", "empty.ckpt is damaged or not a checkpoint"),
        ("text.ckpt", b"hello", "text.ckpt is damaged or not a checkpoint"),
    ],
)
@pytest.mark.parametrize("name_of_verb", ["evaluate", "predict"])
def test_what_is_no_checkpoint_is_refused(
    name: str, content: bytes, said: str, name_of_verb: str, verb: Verb, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    status, _, err = verb(name_of_verb, name, *([name] if name_of_verb == "predict" else []))
    assert status == 1
    assert said in err
    assert err.count("\n") == 1


def test_a_foreign_state_dict_is_refused(verb: Verb, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    status, _, err = verb("evaluate", "foreign.ckpt")
    assert status == 1
    assert "is not a checkpoint of zoo.train" in err


def test_weights_of_another_network_are_refused(lenet: Path, verb: Verb, tmp_path: Path) -> None:
    content = torch.load(lenet / "checkpoints" / "best.ckpt", weights_only=True)
    content["zoo"]["names"]["model"] = content["zoo"]["arguments"]["model"]["name"] = "lenet_wide"
    torch.save(content, tmp_path / "other.ckpt")
    status, _, err = verb("evaluate", "other.ckpt")
    assert status == 1
    assert "holds weights of another network than lenet_wide" in err


def test_evaluate_and_predict_refuse_what_does_not_exist(lenet: Path, verb: Verb) -> None:
    assert "There is no file or folder nothing.png" in verb("predict", str(lenet), "nothing.png")[2]
    assert "There is no checkpoint nothing" in verb("evaluate", "nothing")[2]
    assert "split is 'tset'" in verb("evaluate", str(lenet), "split=tset")[2]
    assert "at least one file" in verb("predict", str(lenet))[2]


def test_checkpoints_hold_names_and_plain_values(lenet: Path) -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            assert not any(str(key).startswith("_") for key in value)
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        else:
            assert value is None or isinstance(value, str | int | float | bool)

    content = torch.load(lenet / "checkpoints" / "best.ckpt", weights_only=True)
    walk(content["zoo"])
    assert content["zoo"]["names"] == {"model": "lenet5", "task": "classification", "data": "digits"}
    assert all(key in ("mean", "std") or key.startswith("net.") for key in content["state_dict"])


def test_a_sweep_runs_one_job_after_another(tmp_path: Path, started: Started) -> None:
    settings = ("-m", "model=lenet5,lenet_wide", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "hydra.sweep.dir=all")
    done = started(*settings, cwd=tmp_path)
    assert done.status == 0, done.err
    folders = ["0-lenet5-digits", "1-lenet_wide-digits"]
    assert sorted(p.name for p in (tmp_path / "all").iterdir() if p.is_dir()) == folders
    said = [float(score) for score in re.findall(r"^test accuracy ([\d.]+)$", done.out[0], flags=re.MULTILINE)]
    table = (tmp_path / "all" / "sweep.md").read_text()
    assert table in done.out[0]
    for folder, score, name, size in zip(folders, said, ["lenet5", "lenet_wide"], ["61,706", "1.26 M"], strict=True):
        result = json.loads((tmp_path / "all" / folder / "result.json").read_text())
        assert result["test"] == pytest.approx(score, abs=5e-4)
        assert f"| {name} | digits | accuracy {score:.3f} | 359 | {size} |" in table
    with (tmp_path / "all" / "sweep.csv").open() as stream:
        assert [row["run"] for row in csv.DictReader(stream)] == ["lenet5", "lenet_wide"]
    with Image.open(tmp_path / "all" / "sweep.png") as chart:
        assert chart.size[0] > 500


def test_help_shows_the_groups(tmp_path: Path, started: Started) -> None:
    done = started("--help", cwd=tmp_path)
    assert done.status == 0
    assert "c3d" in done.out[0]
    assert "motion_digits" in done.out[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_prepare_renders_once(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, count in {"train": 12, "val": 6, "test": 6}.items():  # the whole set takes the better part of a minute
        monkeypatch.setitem(motion.CLIPS, split, count)
    status, out, _ = verb("prepare", "motion_digits")
    assert status == 0
    assert "motion_digits: 12 train, 6 val, 6 test, 6 classes" in out
    monkeypatch.setattr(motion, "render", None)
    status, out, _ = verb("prepare", "motion_digits")
    assert status == 0, "nothing is rendered twice"
    status, _, err = verb("prepare", "motion_digit")
    assert status == 1
    assert "did you mean motion_digits" in err


DEFAULT_RUNS = {
    "classification": ("model=lenet5",),
    "video_classification": ("model=inflated",),
    "segmentation": ("model=fcn8s",),
    "detection": ("model=mask_rcnn",),
    "autoencoder": ("model=autoencoder",),
    "rotation": ("model=lenet5", "task=rotation"),
}
"""Of each task the run to begin with. What they reach in the end is in benchmarks/results/default_runs.md."""


def test_every_task_has_a_run_to_begin_with() -> None:
    assert DEFAULT_RUNS.keys() == {path.stem for path in (CONF / "task").glob("*.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("task", DEFAULT_RUNS)
def test_fifty_steps_lower_every_part_of_the_loss(task: str, started: Started, tmp_path: Path) -> None:
    fifty = ("trainer.max_steps=50", "trainer.log_every_n_steps=1", "trainer.limit_val_batches=0", "test=false")
    done = started(*DEFAULT_RUNS[task], *fifty, "hydra.run.dir=run", cwd=tmp_path)
    assert done.status == 0, done.err
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    parts = [name for name in rows[0] if name.startswith("train/") and "loss" in name]
    assert len(parts) >= (5 if task == "detection" else 1)
    for part in parts:
        values = [float(row[part]) for row in rows if row[part]]
        assert len(values) == 50, part
        assert np.mean(values[-10:]) < np.mean(values[:10]), part
