"""What all verbs share at their edges: signals, statuses, letters, mistakes."""

import contextlib
import errno
import functools
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import yaml
from PIL import Image

from tests.conftest import module_of
from zoo.__main__ import verbs
from zoo.benchmark.timing import Timing
from zoo.common import progress
from zoo.data.loading import skipping
from zoo.run import cli, signals
from zoo.run.callbacks import Lines, Progress

Verb = Callable[..., tuple[int, str, str]]

VERBS = {
    "train": ("zoo.run.trainer.build_trainer", ("model=linear",)),
    "evaluate": ("zoo.evaluate.evaluate", ("lenet5:fashion_mnist",)),
    "predict": ("zoo.predict.predict", ("lenet5:fashion_mnist", ".")),
    "prepare": ("zoo.prepare.prepare", ("digits",)),
    "publish": ("zoo.publish.publish", ("run",)),
    "verify": ("zoo.verify.verify", ("lenet5",)),
    "study": ("zoo.study.__main__.study", ("model=lenet5",)),
    "benchmark": ("zoo.benchmark.__main__.benchmark", ("linear",)),
    "flops": ("zoo.flops.__main__.profile", ("model=linear",)),
}
"""What each verb calls for its work, and arguments that bring it there."""
GO_ON = ("train", "prepare", "study")


def test_every_verb_is_in_this_list() -> None:
    source = Path(cli.__file__).parent.parent
    uses = [path for path in source.rglob("*.py") if re.search(r"cli\.(verb|command)\(", path.read_text())]
    assert {path.parent.name if path.stem == "__main__" else path.stem for path in uses} == VERBS.keys()
    assert verbs().keys() == VERBS.keys()


def replace(name: str, work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `work` in the place of what a verb calls, under its signature, from which the options are read."""
    module, _, function = VERBS[name][0].rpartition(".")
    original = getattr(importlib.import_module(module), function)
    monkeypatch.setattr(importlib.import_module(module), function, functools.wraps(original)(work))


@pytest.mark.parametrize("number", signals.STOPPING)
@pytest.mark.parametrize("name", VERBS)
def test_every_verb_ends_on_every_signal(name: str, number: int, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    child = []

    def work(*_: Any, **__: Any) -> None:
        child.append(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]))
        signal.raise_signal(number)

    replace(name, work, monkeypatch)
    before = [signal.getsignal(each) for each in signals.STOPPING]
    status, _, err = verb(name, *VERBS[name][1])
    assert status == (130 if number == signal.SIGINT else signals.AGAIN if name in GO_ON else 128 + number)
    assert f"Stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}." in err
    assert "Traceback" not in err
    assert child[0].wait(5) in (-signal.SIGTERM, -signal.SIGKILL), "its processes are ended too"
    assert [signal.getsignal(each) for each in signals.STOPPING] == before


def test_a_reader_that_waits_for_ever_does_not_keep_the_process(tmp_path: Path) -> None:
    """A thread opens a pipe into which nobody writes; Python would wait for it at the exit."""
    code = (
        "import os, sys, threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from zoo.run import cli, signals\n"
        "signals.PATIENCE = 0.2\n"
        "def work(arguments):\n"
        "    with ThreadPoolExecutor(1) as pool:\n"
        "        wait = pool.submit(open, 'pipe')\n"
        "        print('waits', flush=True)\n"
        "        wait.result()\n"
        "sys.argv[1:] = []\n"
        "cli.verb(work, bare=True)\n"
    )
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waits\n"
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Stopped in the midst of something that does not end" in err


def test_the_end_of_a_verb_ends_its_timer(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    replace("verify", lambda *_, **__: signal.raise_signal(signal.SIGTERM), monkeypatch)
    assert verb("verify", "lenet5")[0] == 143
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


@pytest.mark.parametrize("name", VERBS)
def test_no_letter_is_too_much_for_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence with letters that ASCII has not, and with a byte that is no letter in any encoding."""

    def work(*_: Any, **__: Any) -> None:
        print("图片 \udce9")
        raise ValueError("There is no folder Bücher/图片.")

    replace(name, work, monkeypatch)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", [name, *VERBS[name][1]])
    with pytest.raises(SystemExit) as stop:
        module_of(name).main()
    assert stop.value.code == 1
    written = []
    for stream in (out, err):
        stream.flush()
        stream.buffer.seek(0)
        written.append(stream.buffer.read().decode())
    assert "\\u56fe\\u7247" in written[0]
    assert written[1] == "Error: There is no folder B\\xfccher/\\u56fe\\u7247.\n"


@pytest.mark.parametrize("arguments", [("zoo.verify", "--help"), ("zoo.train", "--help")])
def test_a_reader_that_goes_away_sees_no_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """As in `--help | head -1`: the pipe is closed before the first word."""
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE)
    os.close(read)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_run_may_be_called_anything(verb: Verb, tmp_path: Path) -> None:
    """Its folder, its data and the pictures to predict; every verb finds it by the same name."""
    odd = "-ünï 图片, [1] {a}=b 'c' \"d\" ~#$HOME (y)%&;"
    root = tmp_path / "data"
    for number, name in enumerate(("ant = [1]", "Bär, 熊")):
        (root / odd / name).mkdir(parents=True)
        for each in range(10):
            Image.new("RGB", (8, 8), (200 * number, 20 * each, 0)).save(root / odd / name / f"{each}.png")
    settings = ("model=linear", "data=image_folder", f"data.root=data/{odd}", "data.shape=[3,8,8]", "data.num_workers=0")
    limits = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "callbacks.pictures=null")
    status, out, err = verb("train", *settings, *limits, f"hydra.run.dir={odd}")
    assert status == 0, err
    assert (tmp_path / odd / "result.json").is_file()
    for name, arguments in (
        ("evaluate", (odd, f"data.root=data/{odd}")),
        ("predict", (odd, f"data/{odd}", f"out={odd}/{odd}")),
        ("flops", (odd,)),
        ("prepare", ("image_folder", f"data.root=data/{odd}")),
        ("prepare", ("image_folder", f"data/{odd}")),
        ("train", (*settings, "trainer.max_epochs=2", *limits[1:], f"resume={odd}")),
    ):
        status, out, err = verb(name, *arguments)
        assert status == 0, (name, err)
        assert out


@pytest.mark.slow
def test_the_workers_of_a_verb_end_with_it(started: Callable[..., Any], tmp_path: Path) -> None:
    """Those that `zoo.prepare` starts, in the midst of files."""
    code = """
import multiprocessing, os, signal, sys, threading, time
from pathlib import Path
from zoo.run import cli
from zoo.data.loading.parallel import mapped
def stop():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    Path("workers").write_text(" ".join(str(each.pid) for each in multiprocessing.active_children()))
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=stop, daemon=True).start()
sys.argv[1:] = []
cli.verb(lambda _: list(mapped(time.sleep, [600.0] * 4, "waits", processes=2)), bare=True, resumes="It goes on.")
"""
    done = started(cwd=tmp_path, code=code)
    assert done.status == signals.AGAIN, done.err
    assert "Stopped by SIGTERM. It goes on." in done.err[0]
    workers = [int(pid) for pid in (tmp_path / "workers").read_text().split()]
    assert len(workers) == 2
    assert not any(signals._runs(pid) for pid in workers)


def full(path: Path, content: bytes) -> None:
    """As `write_whole` on a disk without room."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_was_measured_is_said_where_it_cannot_be_written(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = ("model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "data.num_workers=0")
    found = Timing((0.1,), (), 1, finite=True)
    monkeypatch.setattr("zoo.benchmark.timing.timed", lambda trial: found)
    monkeypatch.setattr("zoo.study.compare._measure", lambda outcome, folder: outcome.rows.append({"test": 0.5}))
    for name in ("zoo.run.resume", "zoo.run.logs"):  # which write other files by the same function, and keep it
        importlib.import_module(name)
    monkeypatch.setattr("zoo.common.places.write_whole", full)
    for name, arguments, key, file in (
        ("train", (*settings, "callbacks.pictures=null", "logger=none", "hydra.run.dir=run"), "test", "result.json"),
        ("study", ("model=lenet5", "seeds=0"), "rows", "seed-0.json"),
        ("benchmark", ("linear", "measure=training", "mode=eager"), "training_rate", "benchmark.json"),
    ):
        status, out, err = verb(name, *arguments)
        assert (status, err.count("\n")) == (1, 1), err
        assert err.startswith("Error: ")
        assert f"{file} could not be written: No space left on device. What it would say stands above." in err
        (said,) = [json.loads(line) for line in out.splitlines() if line.startswith(("{", "["))]
        assert key in (said[0] if isinstance(said, list) else said), name


def test_a_run_without_loggers_ends_as_any_other(verb: Verb, tmp_path: Path) -> None:
    """There is no metrics.csv to draw from, and nowhere to write a rate."""
    settings = ("model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "data.num_workers=0")
    status, _, err = verb("train", *settings, "logger=none", "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert (tmp_path / "run" / "result.json").is_file()
    assert not (tmp_path / "run" / "metrics.csv").exists()


# A sign of life


def test_verbs_that_take_long_say_so(verb: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While files are looked at, and while a network is measured."""

    def slow(*_: Any) -> Any:
        time.sleep(0.05)
        return Timing((0.1,), (), 1, finite=True)

    monkeypatch.setattr(progress, "EVERY", 0.005)
    monkeypatch.setattr("zoo.benchmark.timing.timed", slow)
    status, out, err = verb("benchmark", "linear", "measure=training", "mode=eager")
    assert status == 0, err
    assert "linear, eager training: 0.0 min so far" in out
    attempt = skipping.attempt
    monkeypatch.setattr(skipping, "attempt", lambda *args: (time.sleep(0.02), attempt(*args))[1])
    for name in "ab":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8)).save(tmp_path / "pictures" / name / f"{number}.png")
    status, out, err = verb("prepare", "image_folder", "pictures")
    assert status == 0, err
    assert re.search(r"looking at the files of train: \d+ of \d+, 0.0 min so far", out), out


def test_the_bar_counts_epochs_from_one() -> None:
    bar = Progress()
    bar._trainer = SimpleNamespace(max_epochs=3, current_epoch=1)  # type: ignore[assignment]
    assert bar._get_train_description(1).strip() == "Epoch 2/3"


def test_what_takes_long_says_so_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.speaking(), progress.beating("looking at files", lambda: "7 of 9"):
        while "\n" not in (said := capsys.readouterr().out):
            pass
    assert said.startswith("looking at files: 7 of 9, 0.0 min so far\n")
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    with progress.speaking(), progress.beating("looking at files"):
        time.sleep(0.05)
    assert capsys.readouterr().out == ""


def test_training_says_how_far_it_is(verb: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line an epoch; more often where more time has passed. The loggers are told the settings."""
    settings = ("model=linear", "trainer.max_epochs=2", "trainer.limit_train_batches=2", "callbacks.pictures=null")
    status, out, err = verb("train", *settings, "hydra.run.dir=run")
    assert status == 0, err
    lines = [line for line in out.splitlines() if line.startswith("Epoch ")]
    assert [line.partition(":")[0] for line in lines] == ["Epoch 1/2", "Epoch 2/2"]
    assert all("train/loss" in line and "val/accuracy" in line for line in lines)
    told = yaml.safe_load((tmp_path / "run" / "hparams.yaml").read_text())
    assert told["model"]["name"] == "linear"
    assert told["trainer"]["max_epochs"] == 2
    monkeypatch.setattr(progress, "EVERY", 0.0)
    status, out, err = verb("evaluate", "run")
    assert status == 0, err
    assert "test: batch 1" in out
    for name, arguments in (("train", settings), ("study", ("model=lenet5", "seeds=0", "shares=100"))):
        monkeypatch.setattr(lightning.Trainer, "fit", speak_of_a_batch)
        verb(name, *arguments)
        assert "batch 3 of 9, step 0" in "".join(said), name
        said.clear()


said: list[str] = []


def speak_of_a_batch(trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
    """What a training of nine batches would say after its third."""
    trainer.fit_loop.max_batches = 9
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Lines):
                callback.on_train_batch_end(trainer, None, None, None, 2)  # type: ignore[arg-type]
    said.append(out.getvalue())
    raise ValueError("Enough.")
