"""Resuming: checkpoints that are whole or absent, a state that is restored to the bit, and savepoints at signals.

Lightning restores weights, optimizer, schedules, averages and its own counters. Three things are added. The state is saved
*between* batches, with nothing half done: before a batch, after the optimizer's step, its log and its validation. The states
of the random generators are part of it, each rank's its own. And the data module says where in the epoch's order it stands.
"""

import io
import json
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import numpy as np
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from zoo.common.places import write_whole
from zoo.common.words import nearest
from zoo.run.cli import resume_command, sentence
from zoo.run.compose import quoted
from zoo.run.report import Clock
from zoo.run.signals import AGAIN, PATIENCE, STOPPING, Stopped, fail, handled, leave
from zoo.run.sweep import SweepTable
from zoo.tasks.steps import NotFinite


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written to a temporary file beside them, synced, and renamed: whoever looks sees the old one or the new."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content, path = buffer.getbuffer(), Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            before = "The one of before is as it was" if path.is_file() else "There was none before"
            raise ValueError(
                f"The checkpoint {path} of {len(content) / 1e6:.1f} MB could not be written: {error.strerror}. {before}. Make "
                f"room, and go on with resume={quoted(str(path.parent.parent))}."
            ) from error


class Best(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which takes the best checkpoint so far along when a run resumes in another folder."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        measured = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
        if measured and self.monitor is not None and self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"callbacks.checkpoint.monitor (val/ and task.metric, if it is not set) is {self.monitor!r}, which is not "
                f"measured; {nearest(self.monitor, measured)}"
            )
        super().on_validation_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if not state or trainer.ckpt_path is None:
            return
        there, here = Path(trainer.ckpt_path).parent, Path(str(self.dirpath))

        def own(path: str) -> str:
            """The file of that name in the run's folder, if it is one; nothing else is a checkpoint's to replace."""
            name = Path(path).name
            source, target = there / name, here / name
            if not name or name == self.CHECKPOINT_NAME_LAST + self.FILE_EXTENSION or not _regular(source):
                return ""
            if trainer.is_global_zero and source.absolute() != target.absolute():
                here.mkdir(parents=True, exist_ok=True)
                write_whole(target, source.read_bytes())
            return str(target)

        best = {own(path): score for path, score in state["best_k_models"].items()}
        best.pop("", None)
        known = own(state["best_model_path"])
        worst = own(state["kth_best_model_path"])
        worst = worst if worst in best else next(iter(best), "")
        state |= {
            "dirpath": self.dirpath,
            "best_k_models": best,
            "best_model_path": known,
            "best_model_score": state["best_model_score"] if known else None,
            "kth_best_model_path": worst,
            "last_model_path": "",
        }


def _regular(path: Path) -> bool:
    return path.suffix == ".ckpt" and path.is_file() and not path.is_symlink()


class Interrupted(Stopped):
    """The run was asked to stop, and is saved; the command that resumes it stands on standard output."""

    def tell(self) -> None:
        if self.said:
            print(f"\n{self.said}", flush=True)
        self.said = ""


GRACE = 15.0
"""Seconds that a reader has for the next batch once the run is asked to stop."""
_ONE_REQUEST = 1.0
"""Seconds within which a second signal is the same request: some programs signal a process and then its group."""


class Savepoints(Callback):
    """Keep `last.ckpt`, from which a run resumes as if it had never stopped.

    It is written before the first batch of each epoch, within epochs where the time has come, at the end, and on Ctrl-C,
    SIGTERM and SIGUSR1 at the end of the step that is under way; the run then stops, with status 130 or `AGAIN`. A second
    Ctrl-C or a second SIGTERM stops at once, and so does a reader that waits for ever: the last savepoint is what there is.
    In the midst of accumulated gradients nothing is saved; it waits for the optimizer's step.

    Args:
        folder: of the checkpoint.
        minutes: within an epoch, the time after which the run is saved again.
    """

    def __init__(self, folder: str, minutes: float = 10) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.minutes = minutes
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._saved = time.monotonic()
        self._restored: dict[str, Any] = {}
        self.clock = Clock()
        """The run's, which its savepoints carry on."""
        self.begun = False
        """Whether training has begun, hence whatever was to be restored has been."""
        self.stepped = False
        """Whether a step of it is done, hence what was restored is of the right types."""
        self._asked_at = 0.0
        self._reads_since: float | None = None

    # What is saved besides Lightning's own

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = {"random": _of_all_ranks(random_state()), "logged": _logged(trainer), "seconds": self.clock.seconds}
        checkpoint["savepoint"] = state

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return  # the best one is loaded to be scored: no run goes on from it, nor does its time count
        _check_counts(checkpoint.get("loops"))
        self._restored = checkpoint.get("savepoint", {})
        self.clock.before = float(self._restored.get("seconds", 0))

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            for part in self.path.parent.glob(".*.ckpt-*"):  # of a checkpoint in whose writing the run was killed
                part.unlink(missing_ok=True)
        begun = self._restored["logged"] if self._restored else 0 if trainer.ckpt_path is None else None
        for logger in trainer.loggers:
            if begun is not None and (rewind := getattr(logger, "rewind", None)):
                rewind(begun)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begun = True
        self._before = handled(self._ask, *STOPPING)
        self._saved = self._reads_since = time.monotonic()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._hand_back()

    def _hand_back(self) -> None:
        for number, handler in self._before.items():
            handled(handler, number)
        self._before = {}

    # When it is saved

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._reads_since = None
        resumed = bool(self._restored)
        if resumed:
            _restore(trainer, self._restored)
            self._restored = {}
        if batch_idx % trainer.accumulate_grad_batches or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # Where only some epochs are validated, as of tiny ones, only these are saved.
        kept = trainer.current_epoch % (trainer.check_val_every_n_epoch or 1) == 0
        new_epoch = batch_idx == 0 and trainer.global_step > 0 and not resumed and kept
        overdue = time.monotonic() - self._saved > 60 * self.minutes
        # The ranks' clocks differ, and a signal may reach one of them alone: they agree, and do it at the same step.
        if new_epoch or trainer.strategy.reduce_boolean_decision(overdue or self._asked is not None, all=False):
            self._save(trainer)
            if trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False):
                self._stop(trainer)

    def on_train_batch_end(self, *_: Any) -> None:
        self.stepped = True
        self._reads_since = time.monotonic()

    def on_validation_batch_start(self, *_: Any) -> None:
        self._reads_since = None

    def on_validation_batch_end(self, *_: Any) -> None:
        self._reads_since = time.monotonic()

    def on_validation_end(self, *_: Any) -> None:
        self._reads_since = None

    def on_train_epoch_end(self, *_: Any) -> None:
        self._reads_since = None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save(trainer)
        if trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False):
            self._stop(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # what is logged before the state is on disk before the state
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()

    # Signals

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked == signal.SIGINT:
            signal.default_int_handler(number, frame)
        if number == signal.SIGINT:  # not by print, in whose midst a signal may come
            os.write(2, b"\nThe run stops and saves itself after this step; Ctrl-C again stops it at once.\n")
        elif self._asked is not None:
            if time.monotonic() - self._asked_at > _ONE_REQUEST:
                self._hand_back()
                signal.raise_signal(number)  # to whoever handled it before training
            return
        self._asked, self._asked_at = number, time.monotonic()
        if number != signal.SIGINT:
            threading.Thread(target=self._watch, args=(number,), daemon=True).start()

    def _watch(self, number: int) -> None:
        """Ask a second time where the batch that is waited for does not come. (A step that computes may take its time.)"""
        while self._before:
            since = self._reads_since
            if since is not None and time.monotonic() - max(since, self._asked_at) > GRACE:
                os.kill(os.getpid(), number)
                time.sleep(PATIENCE)
                if self._before:  # a library does not let Python hear it
                    os.write(2, f"\n{resume_command(self.path.parent.parent)}\n".encode() if self.path.is_file() else b"")
                    leave(AGAIN)
                return
            time.sleep(0.05)

    def _stop(self, trainer: lightning.Trainer) -> None:
        # The first process speaks for all: where one launches the others, a failed one would have the rest killed.
        if not trainer.is_global_zero:
            raise Interrupted(0)
        raise Interrupted(
            128 + signal.SIGINT if self._asked == signal.SIGINT else AGAIN,
            f"Interrupted at step {trainer.global_step}; the run is saved. {resume_command(self.path.parent.parent)}",
        )

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        self._hand_back()
        if isinstance(exception, NotFinite):
            found = {"step": exception.step, "loss": str(exception.loss), "rank": trainer.global_rank, "ids": exception.ids}
            write_whole(self.path.parent.parent / "not_finite.json", (json.dumps(found) + "\n").encode())
        if trainer.world_size > 1 and not trainer.is_global_zero and (said := sentence(exception)):
            # Lightning's clearing up waits for the others, who wait for this process: its end is what they notice.
            fail(said)
        gone = isinstance(exception, torch.distributed.DistError) or ("gloo" in str(exception) and "peer" in str(exception))
        if trainer.world_size > 1 and gone:  # another process has failed, and has said why
            raise Stopped(1)


@contextmanager
def taken_up(trainer: lightning.Trainer, clock: Clock, resume: str | None) -> Iterator[None]:
    """Train, perhaps from a checkpoint: its time counts, and a state that does not fit is one sentence."""
    savepoints = next((each for each in trainer.callbacks if isinstance(each, Savepoints)), None)  # type: ignore[attr-defined]
    if savepoints is not None:
        savepoints.clock = clock
    try:
        yield
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if resume is None or savepoints is None or savepoints.stepped:
            raise
        if savepoints.begun and isinstance(error, RuntimeError | ValueError) and not _of_optimizer(error):
            raise  # of the data, or the device
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ValueError(
            f"{resume} cannot be gone on from, as its state does not fit this run ({reason}). Begin another run from its "
            f"weights: model.pretrained={quoted(resume)}, without resume=."
        ) from error


def _of_optimizer(error: BaseException) -> bool:
    """Whether torch's optimizer raised it over its own state, and not the step that it calls."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    told = [each for each in modules if each.startswith(("torch.optim", "lightning", "zoo"))]
    return told[-1:] != [] and told[-1].startswith("torch.optim")


@contextmanager
def saying_how_to_resume(folder: str) -> Iterator[None]:
    """Print what the user can do where a run is stopped before or after its training."""
    try:
        yield
    except Stopped as stop:
        if stop.said and not isinstance(stop, Interrupted):
            saved = (Path(folder) / "checkpoints" / "last.ckpt").is_file()
            stop.said += " What was learned is saved." if saved else " Nothing was to be saved yet."
            stop.said += f" {resume_command(Path(folder))}" if saved or SweepTable.under_way else ""
        raise


def without_handlers(trainer: lightning.Trainer) -> lightning.Trainer:
    """Keep Lightning from handling signals: its handler for SIGTERM talks to the other ranks wherever they are, and its handler
    for SLURM's saves in the midst of a step."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


_COUNTS = frozenset(["ready", "started", "processed", "completed"])


def _check_counts(state: Any) -> None:
    """Lightning adds to its counters in the midst of training, whatever a checkpoint says they are. Raises ValueError."""
    for key, value in state.items() if isinstance(state, dict) else ():
        if key in _COUNTS and not (type(value) is int and 0 <= value < 2**53):
            raise ValueError(f"it has {value!r} batches or epochs {key}")
        _check_counts(value)


# The state of a process


def random_state() -> dict[str, Any]:
    """The states of this process's random generators, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
    }


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))


def _of_all_ranks(mine: dict[str, Any]) -> list[dict[str, Any]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, mine)
    return states


def _logged(trainer: lightning.Trainer) -> int:
    """The step under which the next batch is logged. (Lightning has no public name for it.)"""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def _restore(trainer: lightning.Trainer, saved: dict[str, Any]) -> None:
    """Restore what Lightning does not, or counts wrongly when a run resumes between two batches."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = saved["logged"]
    if len(saved["random"]) == trainer.world_size:  # with another number of processes nothing is the same anyway
        set_random_state(saved["random"][trainer.global_rank])
