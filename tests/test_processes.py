"""Many processes, exactly: every sample is scored once, training follows that of one process, and one run is one run."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data import _motion

Started = Callable[..., Any]

ONE = ("trainer.accelerator=cpu",)
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "test=false")


def ranks(count: int) -> tuple[str, ...]:
    return (*ONE, "trainer=ddp", f"trainer.devices={count}") if count > 1 else ONE


def films(folder: Path) -> Path:
    """Eleven videos of three classes in the test split, two in each of the others."""
    for split, numbers in (("train", range(6)), ("val", range(6)), ("test", range(22))):
        for number in numbers:
            motion = _motion.CLASSES[number % 6]
            if motion in ("left", "up", "clockwise"):
                path = folder / split / motion / f"{number}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_motion.render(_motion.clip_path(folder, "train", number)))
    return folder


def masks(folder: Path) -> Path:
    """Images of different sizes with masks of three classes and void: seven of them for the test."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 7)):
        for number in range(count):
            size = (int(rng.integers(24, 40)), int(rng.integers(24, 40)))
            for name, pixels in (
                ("images", rng.integers(0, 256, (*size, 3))),
                ("masks", rng.choice([0, 1, 2, 255], size=size)),
            ):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / "classes.txt").write_text("background\nleft\nright\n")
    return folder


def no_files(folder: Path) -> Path:
    return folder


CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], int]] = {
    "classification": (no_files, ("model=mlp", "data=digits", "data.batch_size=50"), 359),
    "views of images": (
        no_files,
        ("model=mlp", "data=digits", "data.crops=10", "data.scales=[32]", "data.batch_size=512"),
        359,
    ),
    "views of videos": (
        films,
        ("model=early_fusion", "data=video_folder", "input_shape=[3,4,16,16]", "data.clips=3", "data.batch_size=4"),
        11,
    ),
    "segmentation": (
        masks,
        ("model=fcn8s", "data=mask_folder", "model.width=0.03125", "input_shape=[3,32,32]", "data.batch_size=4"),
        7,
    ),
}
"""Where the samples come from, the settings, and how many there are to score. A kind of task joins by a line."""


@pytest.mark.parametrize("case", CASES)
def test_every_sample_is_scored_once_by_any_number_of_processes(case: str, started: Started, tmp_path: Path) -> None:
    make, settings, count = CASES[case]
    folder = make(tmp_path / "data")
    root = [f"data.root={folder}"] if folder.exists() else []
    made = started(*settings, *root, *SHORT, *ONE, "hydra.run.dir=run", cwd=tmp_path)
    assert made.status == 0, made.err
    found = {}
    for processes in (1, 2, 3):
        arguments = [*settings[2:], *root, *ranks(processes)]
        arguments = [each for each in arguments if not each.startswith(("input_shape", "model."))]
        code = f"import json; from zoo.evaluate import evaluate\nprint(json.dumps(evaluate('run', {arguments!r})), flush=True)"
        done = started(cwd=tmp_path, processes=processes, code=code)
        assert done.statuses == [0] * processes, done.err
        assert sum(out.count("scored ") for out in done.out) == 1, "one process speaks"
        assert f"scored {count} of {count} test samples" in done.out[0]
        each = [json.loads(out.splitlines()[-1]) for out in done.out]
        assert all(metrics == each[0] for metrics in each), "all processes know the same figures"
        found[processes] = each[0]
    assert found[1].keys() == found[2].keys() == found[3].keys()
    for name, value in found[1].items():
        assert found[2][name] == pytest.approx(value, abs=1e-6), name
        assert found[3][name] == pytest.approx(value, abs=1e-6), name


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_processes_learn_what_one_does(started: Started, tmp_path: Path) -> None:
    settings = (
        "model=mlp",
        "model.hidden=[32]",
        "optimizer=sgd",
        "trainer.precision=64-true",
        "trainer.max_steps=20",
        "test=false",
    )
    settings = (*settings, "optimizer.lr=0.05", "data.augment=null")
    for processes in (1, 2):
        arguments = (*settings, *ranks(processes), f"data.batch_size={16 // processes}", f"hydra.run.dir={processes}")
        done = started(*arguments, cwd=tmp_path, processes=processes)
        assert done.statuses == [0] * processes, done.err
    one, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert one.keys() == two.keys()
    fresh = started(*settings, *ONE, "trainer.max_steps=1", "optimizer.lr=0", "hydra.run.dir=0", cwd=tmp_path)
    assert fresh.status == 0, fresh.err
    for key, value in one.items():
        assert value.dtype == torch.float64
        assert torch.allclose(two[key], value, rtol=0, atol=1e-9), key
    moved = (one["net.head.weight"] - weights(tmp_path / "0")["net.head.weight"]).abs().max()
    assert moved > 1e-2, "the weights went somewhere"


def test_synchronised_statistics_are_a_choice() -> None:
    """The layers are exchanged; on a CPU, where torch has none, they are refused in a sentence."""
    from zoo import config as run
    from zoo.train import build_trainer

    config = run.composed(["model=resnet18", "trainer.sync_batchnorm=true", "trainer.accelerator=cpu", "run_dir=."])
    with pytest.raises(ValueError, match=r"trainer\.sync_batchnorm needs GPUs"):
        build_trainer(config, callbacks=[], logger=False)


SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "127.0.0.1",
    "SLURM_PROCID": "RANK",
    "SLURM_LOCALID": "RANK",
}
QUICK = ("model=mlp", "trainer.max_epochs=1", "trainer.limit_train_batches=2")


def assert_one_run(folder: Path, out: str) -> Path:
    """One folder, one set of logs, one pair of checkpoints, one voice. Returns the folder of the run."""
    (checkpoint,) = folder.rglob("last.ckpt")
    run = checkpoint.parent.parent
    assert len(list(folder.rglob("checkpoints"))) == len(list(folder.rglob(".hydra"))) == 1
    assert len(list(folder.rglob("metrics.csv"))) == len(list(folder.rglob("events.out.tfevents*"))) == 1
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert out.count("test accuracy") == 1
    assert "scored 359 of 359 test samples" in out
    assert not any("module." in key for key in weights(run))
    return run


def test_slurms_tasks_are_one_run(started: Started, tmp_path: Path) -> None:
    arguments = (*QUICK, *ranks(2), "resume=auto")
    for _ in range(2):  # put back in the queue, a job keeps its number, hence its folder
        done = started(*arguments, cwd=tmp_path, processes=2, env=SLURM)
        assert done.statuses == [0, 0], done.err
        run = assert_one_run(tmp_path, "".join(done.out))
        assert run.name == "slurm-4711.0"


# The page on scaling: each of its commands, in its CPU form

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"


def commands(kind: str) -> list[str]:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] if kind == "bash" else blocks


def on_a_cpu(command: str, folder: Path) -> list[str]:
    """Two processes for eight, this machine for four, a small network for a large one; nothing else is changed."""
    small = {
        "torchrun": f"{sys.executable} -m torch.distributed.run",
        "python": sys.executable,
        "8": "2",
        "model=c3d": " ".join(QUICK),
        "model=resnet18": "model=resnet18 input_shape=[3,16,16] data.num_workers=0 " + " ".join(QUICK[1:]),
        "trainer.devices=8": "trainer.devices=2",
        "trainer.num_nodes=4": "trainer.num_nodes=2",
        "model=lenet5,lenet_wide": "model=lenet5,lenet_wide " + " ".join(QUICK[1:]),
        "hydra/launcher=submitit_slurm": "hydra/launcher=submitit_local",
        "hydra.launcher.gpus_per_node=1": "hydra.launcher.gpus_per_node=0",
        "PICTURES": str(folder / "pictures"),
    }
    words: list[str] = []
    for word in shlex.split(command):
        key, equals, value = word.partition("=")
        words += small.get(word, f"{key}={small[value]}" if equals and value in ("PICTURES",) else word).split()
    return [*words, "trainer.accelerator=cpu"] if "zoo.train" in words else words


def ran(words: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_one_machine(tmp_path: Path) -> None:
    plain, ddp, fsdp, torchrun = (on_a_cpu(command, tmp_path) for command in commands("bash")[:4])
    for name, words in (("plain", plain), ("ddp", ddp), ("torchrun", torchrun)):
        folder = tmp_path / name
        folder.mkdir()
        assert_one_run(folder, ran(words, folder))
    refused = subprocess.run(fsdp, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1
    assert "Error: " in refused.stderr
    assert "Traceback" not in refused.stderr
