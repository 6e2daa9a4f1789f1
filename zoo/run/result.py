"""The outcome of a run as plain values, `result.json` in its folder."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from zoo.common.numbers import figure
from zoo.common.places import write_outcome
from zoo.common.words import printable
from zoo.run.folder import first_process
from zoo.run.report import Clock, Conditions, device_of

if TYPE_CHECKING:
    from zoo.data.base import DataModule
    from zoo.tasks.base import Task


LENGTH = ("max_epochs", "max_steps", "max_time")
"""The trainer's keys that say how long a run is."""


def finished(config: DictConfig, resume: str | None) -> bool:
    """Whether the run that is to be resumed is at the end that is asked for, and has its result; then it says so. A run that
    is asked to be longer is not finished.
    """
    folder = Path(config.run_dir)
    here = resume is not None and Path(resume).absolute().parent.parent == folder.absolute()
    if not (here or config.resume == "auto") or not (folder / "result.json").is_file():
        return False
    try:
        result = json.loads((folder / "result.json").read_text())
        had = result.get("length", {})
        said = f"test {result['metric']} {figure(float(result['test']))}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    if any(key in had and _longer(config.trainer[key], had[key]) for key in LENGTH):
        return False
    if first_process():
        print(
            f"This run is finished: {printable(said)}. Its result is {printable(folder / 'result.json')}, and stays as it is."
        )
        print("To train it longer, raise trainer.max_epochs; another run needs another folder.")
    return True


def _longer(now: Any, had: Any) -> bool:
    if isinstance(now, int) and isinstance(had, int) and now >= 0 and had >= 0:
        return now > had
    return bool(now != had)


@rank_zero_only
def write_result(
    trainer: lightning.Trainer,
    task: "Task",
    data: "DataModule",
    metrics: Mapping[str, Tensor],
    config: DictConfig,
    overrides: Sequence[str],
    macs: int,
    clock: Clock,
    how: Conditions,
) -> None:
    """The run's outcome as plain values, `result.json` in its folder; a sweep makes its table of them."""
    callback: Any = trainer.checkpoint_callback
    best = getattr(callback, "best_model_score", None)
    content = {
        "names": task.recipe["names"],
        "overrides": list(overrides),
        "seed": config.seed,
        "metric": task.metric,
        "test": float(metrics[f"test/{task.metric}"]) if f"test/{task.metric}" in metrics else None,
        "tests": {name.removeprefix("test/"): float(value) for name, value in metrics.items() if name.startswith("test/")},
        "val": None if best is None else float(best),
        "scored": task.scored["test"],
        "weights": how.weights,
        "protocol": how.protocol,
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "macs": macs,
        "shape": list(data.shape),
        "seconds": round(clock.seconds, 1),
        "length": _length(trainer, task.recipe["settings"]),
        "device": device_of(trainer),
        "precision": str(trainer.precision),
        "versions": versions(),
        "landmarks": dict(data.landmarks),
        "left_out": dict(sorted(data.skipped.items())),
        **task.conditions(),
    }
    write_outcome(Path(config.run_dir) / "result.json", content)


def _length(trainer: lightning.Trainer, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The length that was asked for; the epochs that were trained, where these are more."""
    meant = {key: settings.get(f"trainer.{key}") for key in LENGTH}
    return meant | {"max_epochs": max(meant["max_epochs"] or 0, trainer.max_epochs or 0) or meant["max_epochs"]}


def versions() -> str:
    """The conditions under which a figure was measured."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, lightning {lightning.__version__}, "
        f"{platform.machine()}, {torch.get_num_threads()} threads"
    )


def hardware() -> str:
    """Processor and cores, as the system names them."""
    listed = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", listed.read_text()) if listed.exists() else []
    return f"{names[0] if names else platform.processor()}, {len(names) or os.cpu_count()} cores"
