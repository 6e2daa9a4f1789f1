"""Many processes, exactly: every sample is scored once, training follows that of one process, and one run is one run."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data.rendered import motion as _motion

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
            size = (int(rng.integers(40, 72)), int(rng.integers(40, 72)))
            for name, pixels in (
                ("images", rng.integers(0, 256, (*size, 3))),
                ("masks", rng.choice([0, 1, 2, 255], size=size)),
            ):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / "classes.txt").write_text("background\nleft\nright\n")
    return folder


def people(folder: Path) -> Path:
    """Images of different sizes with one or two bright rectangles each, in Penn-Fudan's layout: so many for the test."""
    rng = np.random.default_rng(0)
    for name in ("PNGImages", "PedMasks"):
        (folder / "PennFudanPed" / name).mkdir(parents=True)
    for number in range(36):
        height, width = rng.integers(56, 100, 2)
        pixels, mask = rng.integers(0, 60, (height, width, 3)), np.zeros((height, width), int)
        for value in range(1, int(rng.integers(2, 4))):
            top, left = rng.integers(0, 20), width // 2 * (value - 1) + rng.integers(0, 20)
            place = np.s_[top : top + rng.integers(20, 36), left : left + rng.integers(12, width // 2)]
            pixels[place], mask[place] = 255, value
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "PennFudanPed" / "PNGImages" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "PennFudanPed" / "PedMasks" / f"{number}_mask.png")
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
        (
            "model=early_fusion",
            "data=video_folder",
            "size=small",
            "input_shape=[3,4,16,16]",
            "data.clips=2",
            "data.crops=3",
            "data.batch_size=4",
        ),
        11,
    ),
    "segmentation": (
        masks,
        ("model=fcn8s", "data=mask_folder", "size=small", "model.width=0.03125", "input_shape=[3,32,32]", "data.batch_size=4"),
        7,
    ),
    "detection": (
        people,
        (
            "model=mask_rcnn",
            "data=pennfudan",
            "size=small",
            "model.channels=16",
            "model.head_options.box.width=32",
            "model.head_options.mask.widths=[8]",
            "model.rpn_options.train_proposals=60",
            "model.head_options.box.regions=16",
            "model.head_options.box.score_threshold=0",
            "input_shape=[3,64,64]",
            "data.batch_size=2",
        ),
        7,
    ),
}
"""Where the samples come from, the settings, and how many there are to score. A kind of task joins by a line."""


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * bool(at)) for at, case in enumerate(CASES)])
def test_every_sample_is_scored_once_by_any_number_of_processes(
    case: str, started: Started, tmp_path: Path, record: Callable[..., None]
) -> None:
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
    assert any(found[1].values()), "there is something to compare"
    assert found[1].keys() == found[2].keys() == found[3].keys()
    apart = max(abs(found[count][name] - value) for name, value in found[1].items() for count in (2, 3))
    record(
        f"{case} scored by 1, 2 and 3 processes",
        tried=3,
        lost=int(apart > 1e-6),
        detail=f"figures apart by {apart:.1e} at most",
    )
    assert apart <= 1e-6


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.numerical
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
    from zoo.run.compose import composed
    from zoo.run.trainer import build_trainer

    config = composed(["model=resnet18", "trainer.sync_batchnorm=true", "trainer.accelerator=cpu", "run_dir=."])
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
    assert {path.parent for path in (*folder.rglob("metrics.csv"), *folder.rglob("events.out.tfevents*"))} == {run}
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert out.count("test accuracy") == 1
    assert "scored 359 of 359 test samples" in out
    assert not any("module." in key for key in weights(run))
    return run


def test_slurms_tasks_are_one_run(started: Started, tmp_path: Path) -> None:
    arguments = (*QUICK, *ranks(2), "resume=auto")
    done = started(*arguments, cwd=tmp_path, processes=2, env=SLURM)
    assert done.statuses == [0, 0], done.err
    assert assert_one_run(tmp_path, "".join(done.out)).name == "slurm-4711.0"
    again = started(*arguments, cwd=tmp_path, processes=2, env=SLURM)  # put back in the queue, a job keeps its number
    assert again.statuses == [0, 0], again.err
    assert "".join(again.out).count("This run is finished") == 1
    assert len(list(tmp_path.rglob("checkpoints"))) == 1


@pytest.mark.slow
def test_two_processes_killed_and_resumed_end_with_the_same_bits(
    started: Started, tmp_path: Path, record: Callable[..., None]
) -> None:
    settings = ("model=mlp", "data.fraction=0.2", "data.batch_size=8", "trainer.max_epochs=2", "callbacks.savepoints.minutes=0")
    settings = (*settings, *ranks(2))
    whole = started(*settings, "hydra.run.dir=whole", cwd=tmp_path, processes=2, tiny=True, count=True)
    assert whole.statuses == [0, 0], whole.err
    arguments = (*settings, "hydra.run.dir=killed", "resume=auto")
    killed = started(*arguments, cwd=tmp_path, processes=2, tiny=True, kill_at=whole.calls // 2)
    assert killed.status == -signal.SIGKILL
    asked = started(*arguments, cwd=tmp_path, processes=2, tiny=True, kill_at=whole.calls // 4, number=signal.SIGTERM)
    assert asked.statuses == [75, 0], "a signal to one process stops both, at the same step; the first speaks for both"
    again = started(*arguments, cwd=tmp_path, processes=2, tiny=True)
    assert again.statuses == [0, 0], again.err
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    same = all(torch.equal(one[key], other[key]) for key in one)
    record("two processes, killed, stopped and resumed", tried=1, lost=int(not same))
    assert same


# The page on scaling: each of its commands, in its CPU form

PAGE = Path(__file__).parent.parent.parent / "docs" / "scaling.md"


def commands(kind: str) -> list[str]:
    """The lines of the page's blocks of this kind."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def find(words: str) -> str:
    (line,) = [line for line in commands("bash") if line.startswith(words)]
    return line


def on_a_cpu(command: str, **exchanged: str) -> list[str]:
    """Two processes in the place of many, a small network for a large one; `exchanged` is this test's own."""
    rest = " ".join(QUICK[1:])
    untrained = "model.pretrained=null input_shape=[3,16,16] data.num_workers=0 data.max_bad=0.1"
    small = {
        "torchrun": f"{sys.executable} -m torch.distributed.run",
        "python": sys.executable,
        "model=c3d": " ".join(QUICK),
        "model=resnet18": f"model=resnet18 {untrained} {rest}",
        "model=lenet5,lenet_wide": f"model=lenet5,lenet_wide {rest}",
        "trainer.devices=8": "trainer.devices=2",
        "8": "2",
        **exchanged,
    }
    words: list[str] = []
    for word in shlex.split(command):
        key, equals, value = word.partition("=")
        words += shlex.split(small.get(word) or (f"{key}={small[value]}" if equals and value in small else word))
    return [*words, "trainer.accelerator=cpu"] if "zoo.train" in words else words


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def ran(words: list[str], folder: Path, started: Started) -> str:
    """What a command says. A verb of one process is forked, which spares the libraries' import."""
    folder.mkdir(exist_ok=True)
    _, _, module, *arguments = words
    several = [each for each in arguments if each.startswith(("trainer.devices=", "hydra/launcher="))]
    if module.startswith("zoo.") and not several:
        done = started(*arguments, module=module, cwd=folder)
        assert done.status == 0, done.err[0][-4000:]
        return str(done.out[0])
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment())
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


@pytest.mark.slow
def test_one_machine(started: Started, tmp_path: Path) -> None:
    for words in ("python -m zoo.train model=c3d", "python -m zoo.train model=c3d trainer=ddp", "torchrun --standalone"):
        lines = [line for line in commands("bash") if line.startswith(words)]
        folder = tmp_path / words.replace(" ", "-")
        out = ran(on_a_cpu(lines[0]), folder, started)
        run = assert_one_run(folder, out)
        assert ("64 (32 x 2 devices x 1 steps)" in out) == ("trainer.devices" in lines[0])
    command = find("python -m zoo.train model=c3d resume=")
    assert "test accuracy" in ran(on_a_cpu(command, RUN_FOLDER=str(run)), folder, started)
    assert_one_run(folder, out)


@pytest.mark.slow
def test_sharded_weights_need_gpus(started: Started, tmp_path: Path) -> None:
    done = started(*on_a_cpu(find("python -m zoo.train model=c3d trainer=fsdp"))[3:], cwd=tmp_path)
    assert done.status == 1
    assert done.err[0].count("Error: ") == 1
    assert "Traceback" not in done.err[0]


@pytest.mark.slow
def test_several_machines(tmp_path: Path) -> None:
    """Two agents of torchrun, as on two machines, with a process each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    few = {"4": "2", "8": "1", "HOST:29400": f"127.0.0.1:{port}", "trainer.devices=8": "trainer.devices=1"}
    words = on_a_cpu(find("torchrun --nnodes"), **few, **{"trainer.num_nodes=4": "trainer.num_nodes=2"})
    agents = [
        subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(2)
    ]
    said = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert_one_run(tmp_path, "".join(out for out, _ in said))


SRUN = """#!{python}
import os, signal, subprocess, sys
tasks = [
    subprocess.Popen(sys.argv[1:], env={{**os.environ, "SLURM_PROCID": str(k), "SLURM_LOCALID": str(k), "SLURM_STEP_ID": "0"}})
    for k in range(2)
]
open("tasks", "w").write(" ".join(str(task.pid) for task in tasks))
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.mark.slow
def test_slurms_script(tmp_path: Path) -> None:
    """The page's script, under an srun of two tasks: sent the signal, it is put back in the queue, and then goes on."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text(SRUN.format(python=sys.executable))
    (tools / "scontrol").write_text('#!/bin/sh\necho "$@" >> queue\n')
    (tools / "python").symlink_to(sys.executable)
    for tool in ("srun", "scontrol"):
        (tools / tool).chmod(0o755)
    text = "\n".join(commands("sbatch"))
    for word, small in (("model=c3d", " ".join(QUICK)), ("devices=8", "devices=2"), ("num_nodes=4", "num_nodes=1")):
        assert word in text
        text = text.replace(word, small)
    text = text.replace(
        "resume=auto", "resume=auto trainer.accelerator=cpu callbacks.savepoints.minutes=0 trainer.max_epochs=400"
    )
    (tmp_path / "job.sh").write_text(text)
    found = {**SLURM, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    del found["SLURM_STEP_ID"]
    path = f"{tools}:{os.environ['PATH']}"
    packages = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), *sys.path[1:]]))
    job = subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=environment(PATH=path, PYTHONPATH=packages, **found))
    while not list(tmp_path.rglob("last.ckpt")):
        assert job.poll() is None
        time.sleep(0.05)
    for task in (tmp_path / "tasks").read_text().split():
        os.kill(int(task), signal.SIGUSR1)
    assert job.wait() == 0
    assert (tmp_path / "queue").read_text() == "requeue 4711\n"
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    epoch = torch.load(checkpoint, weights_only=True)["epoch"]
    (tmp_path / "job.sh").write_text(text.replace("max_epochs=400", f"max_epochs={epoch + 2}"))
    arguments = {"cwd": tmp_path, "env": environment(PATH=path, PYTHONPATH=packages, **found)}
    done = subprocess.run(["bash", "job.sh"], capture_output=True, text=True, check=True, **arguments)  # type: ignore[call-overload]
    assert assert_one_run(tmp_path, done.stdout).name == "slurm-4711.0"
    assert torch.load(checkpoint, weights_only=True)["epoch"] > epoch


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "joblib", "submitit"])
def test_sweeps(launcher: str, started: Started, tmp_path: Path) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher" if launcher else "hydra")
    words = f"python -m zoo.train -m hydra/launcher={launcher}" if launcher else "python -m zoo.train -m model"
    here = {"hydra/launcher=submitit_slurm": "hydra/launcher=submitit_local", "hydra.launcher.gpus_per_node=1": ""}
    (line,) = [line for line in commands("bash") if line.startswith(words)]
    ran([word for word in on_a_cpu(line, **here) if "gpus_per_node" not in word], tmp_path, started)
    runs = sorted(path.parent.parent.name for path in tmp_path.rglob("last.ckpt"))
    assert len(runs) == (2 if launcher else 4)
    assert {name.partition("-")[2] for name in runs} == {"lenet5-digits", "lenet_wide-digits"}


@pytest.mark.slow
def test_archives(started: Started, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    for number in range(40):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 20, 3)).astype(np.uint8)).save(path)
    places = {"PICTURES": str(tmp_path / "pictures"), "ARCHIVES": str(tmp_path / "archives")}
    assert "2 classes" in ran(on_a_cpu(find("python -m zoo.prepare"), **places), tmp_path, started)
    assert "test accuracy" in ran(on_a_cpu(find("python -m zoo.train model=resnet18"), **places), tmp_path, started)


def test_every_command_of_the_page_is_started_by_a_test() -> None:
    started_above = ("python -m zoo.train model=c3d", "torchrun", "python -m zoo.train -m", "python -m zoo.prepare")
    for line in commands("bash"):
        assert line.startswith((*started_above, "python -m zoo.train model=resnet18")), line


@pytest.mark.parametrize("failing", [0, 1])
def test_a_process_that_fails_ends_the_others_in_one_sentence(failing: int, started: Started, tmp_path: Path) -> None:
    code = f"""
import sys
from zoo.tasks.classification import ClassificationTask
losses = ClassificationTask.losses
def fails(self, batch):
    if self.global_rank == {failing} and self.global_step == 1:
        raise ValueError("the sample is odd")
    return losses(self, batch)
ClassificationTask.losses = fails
sys.argv = ["zoo.train", "model=linear", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu",
            "trainer.max_steps=3", "callbacks.pictures=null", "hydra.run.dir=run"]
from zoo.train import main
main()
"""
    done = started(cwd=tmp_path, processes=2, code=code)
    assert all(done.statuses), done.statuses
    said = "".join(done.err)
    assert said.count("Error: the sample is odd") == 1, said
    assert "Traceback" not in said
