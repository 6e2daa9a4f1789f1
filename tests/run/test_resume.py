"""Runs that go on: killed anywhere and resumed, they end with the same bits; checkpoints are whole or absent."""

import csv
import errno
import io
import json
import os
import random
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.run import resume, signals
from zoo.run.logs import MetricsCsv
from zoo.run.signals import AGAIN

Started = Callable[..., Any]

TINY = ("model=mlp", "data.fraction=0.2", "data.batch_size=16", "task.mixup=0.2", "~logger.tensorboard")
"""Fifteen steps an epoch of a network with BatchNorm and dropout (launcher.py puts it in mlp's place, and weights of it
into the working folder)."""
EVERYTHING = (
    *TINY,
    "callbacks=ema",
    "callbacks.average.decay=0.9",
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "scheduler.warmup=0.2",
    "model.pretrained=start.safetensors",
    "freeze=[relu1]",
    "unfreeze=[0.4]",
    "trainer.log_every_n_steps=1",
)


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Nested values, tensors to the bit; the times that some carry aside."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{place}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(7e7), other.nan_to_num(7e7)), place
    else:
        assert one == other or one != one, place


_ASIDE = ("dirpath", "best_k_models", "current_score")


def content(run: Path, name: str) -> dict[str, Any]:
    """What of a checkpoint must not depend on the interruption: all, but for folders, Lightning's count of its restarts, and
    the score that its ModelCheckpoint saw last, which it saves and never reads."""
    found = torch.load(run / "checkpoints" / name, weights_only=True)
    found["callbacks"] = {
        key: {name: value for name, value in state.items() if "path" not in name and name not in _ASIDE}
        for key, state in found["callbacks"].items()
    }
    assert found["savepoint"].pop("seconds") > 0
    found["zoo"].pop("run")
    progress = found.pop("loops")["fit_loop"]
    found["steps"] = progress["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]
    found["epochs"] = progress["epoch_progress"]["current"]["processed"]
    return found


def assert_same_runs(one: Path, other: Path) -> None:
    assert_same(content(one, "last.ckpt"), content(other, "last.ckpt"))
    assert_same(content(one, "best.ckpt")["state_dict"], content(other, "best.ckpt")["state_dict"])
    assert rows(one) == rows(other)


def rows(run: Path) -> list[dict[str, str]]:
    """The metrics, all of them and each once; learning rates are among them."""
    with (run / "metrics.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert {"lr-AdamW", "train/loss", "val/accuracy", "test/accuracy"} <= found[0].keys()
    return found


def taken(*orders: list[Any]) -> dict[tuple[int, int], list[int]]:
    """(epoch, batch) -> the samples; a step that was taken twice was taken alike."""
    result: dict[tuple[int, int], list[int]] = {}
    for epoch, batch, ids in (step for order in orders for step in order):
        assert result.setdefault((epoch, batch), ids) == ids
    return result


def killed_and_resumed(
    started: Started, settings: tuple[str, ...], folder: Path, kill_at: int
) -> dict[tuple[int, int], list[int]]:
    arguments = (*settings, f"hydra.run.dir={folder / 'killed'}", "resume=auto")
    first = started(*arguments, cwd=folder, tiny=True, kill_at=kill_at)
    assert first.status == -signal.SIGKILL, first.err
    for path in folder.rglob("*.ckpt"):
        torch.load(path, weights_only=True)  # whatever has the name of a checkpoint is a whole one
    again = started(*arguments, cwd=folder, tiny=True, count=True)
    assert again.status == 0, again.err
    assert again.out[0].count("test accuracy") == 1
    assert not list(folder.rglob(".*.ckpt-*")), "no part of a checkpoint is left"
    assert_same_runs(folder / "whole", folder / "killed")
    return taken(first.order, again.order)


SAVED = (*EVERYTHING, "callbacks.savepoints.minutes=0", "data.num_workers=2")


@pytest.fixture(scope="module")
def whole(started: Started, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run that nothing interrupts, in the folder `whole` of a folder; and what it counted."""
    folder = tmp_path_factory.mktemp("resume")
    ended = started(*SAVED, f"hydra.run.dir={folder / 'whole'}", cwd=folder, tiny=True, count=True)
    assert ended.status == 0, ended.err
    return folder, ended


def test_a_killed_run_ends_as_if_it_had_not_been(started: Started, whole: tuple[Path, Any]) -> None:
    folder, ended = whole
    order = killed_and_resumed(started, SAVED, folder, kill_at=ended.calls // 2)
    assert order == taken(ended.order)
    assert len(order) == 45, "three epochs of fifteen batches"


VARIANTS: list[tuple[str, ...]] = [
    (*EVERYTHING, "data.num_workers=0", "callbacks.savepoints.minutes=0"),
    (*EVERYTHING, "data.num_workers=2", "callbacks.savepoints.minutes=0"),
    (*EVERYTHING, "data.num_workers=2", "callbacks.savepoints.minutes=0.002"),
    (*TINY, "trainer.max_epochs=3", "callbacks.savepoints.minutes=0.002", "trainer.log_every_n_steps=1"),
    (*TINY, "trainer.max_epochs=4", "trainer.accumulate_grad_batches=4", "scheduler=step", "trainer.log_every_n_steps=1"),
    (*TINY, "trainer.max_steps=37", "scheduler=linear", "callbacks.savepoints.minutes=0", "trainer.log_every_n_steps=1"),
    (*TINY, "trainer.max_epochs=3", "trainer.val_check_interval=0.34", "callbacks.savepoints.minutes=0", "callbacks=ema"),
    (*TINY, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "task.cutmix=1.0", "trainer.log_every_n_steps=1"),
]
"""What a run may be made of; each is killed at some of the twenty moments."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_twenty_moments(variant: int, started: Started, tmp_path: Path, record: Callable[..., None]) -> None:
    """Killed at moments drawn from all of a run's: in steps, in validation, in the test, in writing checkpoints and logs."""
    settings = VARIANTS[variant]
    whole = started(*settings, f"hydra.run.dir={tmp_path / 'whole'}", cwd=tmp_path, tiny=True, count=True)
    assert whole.status == 0, whole.err
    draw = random.Random(variant)
    moments = [draw.randrange(2, whole.calls) for _ in range(3)]
    exact = 0
    try:
        for kill_at in moments:
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
            order = killed_and_resumed(started, settings, tmp_path, kill_at)
            assert order == taken(whole.order)
            exact += 1
    finally:
        record(
            f"runs killed and resumed ({' '.join(settings[len(TINY) :])})",
            tried=len(moments),
            lost=len(moments) - exact,
            detail=f"killed at calls {', '.join(map(str, moments))} of {whole.calls}; all bits, rows and batches the same",
        )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(
    number: int, status: int, started: Started, whole: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    moment = {"kill_at": whole[1].calls // 3, "number": number}
    first = started(*SAVED, f"hydra.run.dir={folder}", cwd=tmp_path, tiny=True, **moment)
    assert first.status == status, first.err
    assert "Traceback" not in first.err[0]
    command = shlex.split(first.out[0].strip().splitlines()[-1])
    assert command[:3] == ["python", "-m", "zoo.train"]
    assert command[-1] == f"resume={folder}"
    if number == signal.SIGTERM:  # what is saved does not depend on who asked
        again = started(*command[3:], cwd=tmp_path, tiny=True)
        assert again.status == 0, again.err
        assert_same_runs(whole[0] / "whole", folder)


def test_a_signal_before_there_is_anything_to_save(started: Started, tmp_path: Path) -> None:
    """While data are prepared nothing is lost by leaving at once, and the status is the same."""
    code = (
        "import os, signal, zoo.train\n"
        "from zoo.data.base import DataModule\n"
        "DataModule.prepare_data = lambda self: os.kill(os.getpid(), signal.SIGTERM)\n"
        "zoo.train.main()"
    )
    done = started(*TINY, cwd=tmp_path, code=code)
    assert done.status == AGAIN, done.err


def test_a_full_disk_is_a_sentence_and_the_last_good_state_stays(started: Started, tmp_path: Path) -> None:
    """The system itself refuses to write: a file may grow to 60 kB, which the log does and a checkpoint does not."""
    good = started(*TINY, "trainer.max_epochs=1", "hydra.run.dir=run", cwd=tmp_path, tiny=True)
    assert good.status == 0, good.err
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    code = (
        "import resource, zoo.train\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) - 1000}, {len(before) - 1000}))\n"
        "zoo.train.main()"
    )
    full = started(*TINY, "trainer.max_epochs=2", "resume=run", cwd=tmp_path, tiny=True, code=code)
    assert full.status == 1
    (said,) = [line for line in full.err[0].splitlines() if line.startswith("Error")]
    assert "could not be written: File too large. The one of before is as it was. Make room, and go on with resume=" in said
    assert "Traceback" not in full.err[0]
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not list((tmp_path / "run" / "checkpoints").glob(".*")), "no part of a file is left"
    again = started(*TINY, "trainer.max_epochs=2", "resume=run", cwd=tmp_path, tiny=True)
    assert again.status == 0, again.err


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(resume, "write_whole", full)
    with pytest.raises(ValueError, match=r"last.ckpt of 0.0 MB could not be written: No space left on device. There was none"):
        resume.WholeCheckpoints().save_checkpoint({}, tmp_path / "last.ckpt")


def test_the_best_checkpoint_comes_along_to_another_folder(started: Started, tmp_path: Path) -> None:
    first = started(*TINY, "trainer.max_epochs=2", "hydra.run.dir=one", cwd=tmp_path, tiny=True)
    again = started(*TINY, "trainer.max_epochs=2", "resume=one", "hydra.run.dir=two", cwd=tmp_path, tiny=True)
    assert again.status == 0, again.err
    assert sorted(path.name for path in (tmp_path / "two" / "checkpoints").iterdir()) == ["best.ckpt"]

    def scores(out: str) -> list[str]:
        return [line for line in out.splitlines() if line.startswith(("test ", "best ", "scored"))]

    assert scores(again.out[0]) == scores(first.out[0])


def test_resume_auto_needs_a_folder_that_stays(started: Started, tmp_path: Path) -> None:
    done = started(*TINY, "resume=auto", cwd=tmp_path)
    assert done.status == 1
    assert "the folder must be named: hydra.run.dir=" in done.err[0]


def test_a_loss_that_is_not_a_number_leaves_its_samples_and_the_last_good_state(started: Started, tmp_path: Path) -> None:
    code = (
        "import zoo.train\n"
        "from zoo.tasks.classification import ClassificationTask as Task\n"
        "losses = Task.losses\n"
        "Task.losses = lambda self, batch: {k: v * (float('nan') if self.global_step == 20 else 1)"
        " for k, v in losses(self, batch).items()}\n"
        "zoo.train.main()"
    )
    done = started(*TINY, "trainer.max_epochs=3", "hydra.run.dir=run", cwd=tmp_path, tiny=True, count=True, code=code)
    assert done.status == 1
    assert "The loss became nan at step 20, on samples [" in done.err[0]
    found = json.loads((tmp_path / "run" / "not_finite.json").read_text())
    assert found == {"step": 20, "loss": "nan", "rank": 0, "ids": done.order[-1][2]}
    kept = content(tmp_path / "run", "last.ckpt")
    assert kept["steps"]["completed"] == 15, "of the epoch's beginning"
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


# The log


def logged(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return [(row["step"], row["loss"]) for row in csv.DictReader(stream)]


def test_the_log_goes_on(tmp_path: Path) -> None:
    log = MetricsCsv(str(tmp_path), flush_every=2)
    log.rewind(0)
    for step in range(5):
        log.log_metrics({"loss": step / 2}, step)
    log.save()
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("0.5")  # a row cut short by a kill
    other = MetricsCsv(str(tmp_path))
    other.rewind(3)
    assert logged(tmp_path) == [("0", "0.0"), ("1", "0.5"), ("2", "1.0")]
    other.log_metrics({"loss": 9.0, "accuracy": 1.0}, 3)
    other.save()
    assert logged(tmp_path)[-1] == ("3", "9.0")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "accuracy,loss,step"
    third = MetricsCsv(str(tmp_path))
    third.rewind(3)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "loss,step", "of what is gone no column stays"
    fresh = MetricsCsv(str(tmp_path))
    fresh.rewind(0)
    assert not (tmp_path / "metrics.csv").exists(), "a new run does not go on with another's log"


def test_random_states_come_back() -> None:
    state = resume.random_state()
    first = (torch.rand(3), random.random(), np.random.rand(3), random.gauss(0, 1), np.random.randn())
    resume.set_random_state(state)
    again = (torch.rand(3), random.random(), np.random.rand(3), random.gauss(0, 1), np.random.randn())
    assert torch.equal(first[0], again[0])
    assert (first[2] == again[2]).all()
    assert first[1::2] == again[1::2]
    assert first[4] == again[4]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@pytest.mark.parametrize("computes", [False, True])
def test_a_reader_that_waits_for_ever_keeps_no_run_from_stopping(
    computes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that reads ends after a grace; one that computes has its time, until it is asked again."""
    from zoo.run import resume

    monkeypatch.setattr(resume, "GRACE", 0.1)
    monkeypatch.setattr(resume, "_ONE_REQUEST", 0.05)
    os.mkfifo(tmp_path / "film.mp4")
    savepoints = resume.Savepoints(str(tmp_path / "checkpoints"))
    trainer: Any = None
    asked = [0.1, 0.6] if computes else [0.1]
    timers = [threading.Timer(after, os.kill, (os.getpid(), signal.SIGTERM)) for after in asked]
    begun = time.monotonic()

    def run() -> None:
        with signals.stopping(""):
            savepoints.on_train_start(trainer, trainer)
            if computes:
                savepoints._reads_since = None
            for timer in timers:
                timer.start()
            os.open(tmp_path / "film.mp4", os.O_RDONLY)

    with pytest.raises(signals.Stopped, match=str(signals.AGAIN)):
        run()
    assert time.monotonic() - begun >= asked[-1], "a step under way was not waited for"
    assert not savepoints._before, "the signals are handed back"
