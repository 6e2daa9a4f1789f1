"""Bounds of numbers and known names that a setting's type does not state, checked before anything is built.

A library finds most of these out too, but late, in the midst of a traceback, and in words that name no setting.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Limit:
    """Which values are taken, and the end of the sentence "SETTING is VALUE; it is ..."."""

    holds: Callable[[Any], bool]
    said: str


def _number(holds: Callable[[Any], bool], said: str) -> Limit:
    """The limit of a number, or of each number of a list; what else may stand there is for the type to say."""

    def each(value: Any) -> bool:
        inner = value if isinstance(value, list) else [value]
        return all(holds(one) for one in inner if isinstance(one, int | float))

    return Limit(each, said)


def _least(least: float) -> Limit:
    return _number(lambda value: value >= least, f"at least {least}")


def _duration(value: Any) -> bool:
    """DAYS:HOURS:MINUTES:SECONDS, or settings by these names."""
    if isinstance(value, str):
        return re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value, re.ASCII) is not None
    if isinstance(value, Mapping):
        return {*value} <= {"days", "hours", "minutes", "seconds", "weeks"} and all(
            isinstance(each, int | float) and each >= 0 for each in value.values()
        )
    return True


def _part(value: Any) -> bool:
    """A part of an epoch: a whole number of batches, or a share."""
    return bool(value >= 0 and (isinstance(value, int) or value <= 1))


def _interval(value: Any) -> bool:
    return _duration(value) and not (isinstance(value, int | float) and (value == 0 or not _part(value)))


def _word(*known: str) -> Limit:
    return Limit(lambda value: value in known, f"{', '.join(known[:-1])} or {known[-1]}")


SHARE = _number(lambda value: 0 <= value <= 1, "a share, from 0 to 1")
ABOVE_0 = _number(lambda value: value > 0, "above 0")
BATCHES = _number(_part, "a share of the batches, from 0.0 to 1.0, or a whole number of them, at least 0")
DURATION = Limit(_duration, "a time as DAYS:HOURS:MINUTES:SECONDS, for instance 00:12:00:00")

_PRECISIONS = ("auto", "native", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
_OTHERS = ("16", "32", "64", "bf16", "transformer-engine", "transformer-engine-float16")
PRECISION = Limit(lambda value: str(value) in (*_PRECISIONS, *_OTHERS), f"{', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]}")

LIMITS: dict[str, Limit] = {
    "trainer.precision": PRECISION,
    "trainer.num_nodes": _least(1),
    "trainer.max_epochs": _least(-1),
    "trainer.max_steps": _least(-1),
    "trainer.max_time": DURATION,
    "trainer.fast_dev_run": _least(0),
    "trainer.overfit_batches": BATCHES,
    "trainer.limit_*_batches": BATCHES,
    "trainer.accumulate_grad_batches": _least(1),
    "trainer.gradient_clip_val": _least(0),
    "trainer.val_check_interval": Limit(_interval, "a share of an epoch, or a number of batches, above 0, or a time"),
    "trainer.profiler": _word("simple", "advanced", "pytorch", "xla"),
    "trainer.check_val_every_n_epoch": _least(1),
    "trainer.log_every_n_steps": _least(1),
    "trainer.num_sanity_val_steps": _least(-1),
    "callbacks.savepoints.minutes": _least(0),
    "task.mode": _word("min", "max"),
    "callbacks.checkpoint.mode": _word("min", "max"),
    "callbacks.checkpoint.save_top_k": _least(-1),
    "callbacks.average.decay": SHARE,
    "logger.csv.flush_every": _least(1),
    "optimizer.lr": _least(0),
    "optimizer.weight_decay": _least(0),
    "optimizer.momentum": _least(0),
    "optimizer.alpha": _least(0),
    "optimizer.betas": _number(lambda value: 0 <= value < 1, "two numbers from 0 to below 1"),
    "scheduler.warmup": _number(lambda value: 0 <= value < 1, "a fraction of the run, from 0 to below 1"),
    "scheduler.final": _least(0),
    "scheduler.at": SHARE,
    "scheduler.factor": ABOVE_0,
    "data.shape": _least(1),
    "data.batch_size": _least(1),
    "data.num_workers": _least(0),
    "data.fraction": _number(lambda value: 0 < value <= 1, "a share of the training labels, above 0 and up to 1"),
    "data.max_bad": SHARE,
    "data.short_side": _least(1),
    "data.clips": _least(1),
    "data.rate": ABOVE_0,
    "data.scale": ABOVE_0,
    "data.scales": ABOVE_0,
    "data.prepared": _least(1),
    "data.*_bytes": _least(1),
    "task.num_outputs": _least(1),
    "model.num_classes": _least(1),
    "model.in_chans": _least(1),
    "input_shape": _least(1),
    "least_steps": _least(0),
    "most_samples": _least(1),
    "reference_batch": _number(lambda value: value >= 1, "a number of samples, at least 1"),
    "*seed": _number(lambda value: 0 <= value < 2**32, f"a whole number from 0 to {2**32 - 1}"),
}
"""By the setting's name, which may hold a star."""


def check(values: Mapping[str, Any]) -> None:
    """Raises ValueError for the first value outside its setting's limits. The type decides about null.

    Args:
        values: by the settings' full names.
    """
    for name, value in sorted(values.items(), key=lambda item: item[0].startswith("model.")):  # which refers to the others
        spoken = value if isinstance(value, list) else [value]
        if not all(math.isfinite(each) for each in spoken if isinstance(each, float)):
            raise ValueError(f"{name} is {value}; it is a finite number.")
        for pattern, limit in LIMITS.items():
            if value is not None and fnmatchcase(name, pattern) and not limit.holds(value):
                raise ValueError(f"{name} is {value!r}; it is {limit.said}.")
