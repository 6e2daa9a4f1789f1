"""The settings of a run as plain values, and what a resumed run may change of them.

A checkpoint carries the whole composed configuration, each value under its full name. Where a run is taken up with others,
each difference is said; one that would make another run of it is refused.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.common.renaming import ARGUMENTS
from zoo.common.words import printable

NAMED = ("model", "task", "data", "optimizer", "scheduler")
"""Groups of which one file is chosen, by whose name they are known."""
ASIDE = (
    "resume",
    "overwrite",
    "debug",
    "run_dir",
    "facts.*",
    "trainer.default_root_dir",
    "callbacks.*.dirpath",
    "callbacks.*.folder",
    "logger.*.save_dir",
)
"""Hydra's own, how a run is called, where it goes."""
HARMLESS = (
    "test",
    "activation_checkpointing",
    "least_steps",
    "most_samples",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
    "trainer.limit_test_batches",
    "trainer.check_val_every_n_epoch",
    "trainer.val_check_interval",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.profiler",
    "trainer.enable_*",
    "data.root",
    "data.folder",
    "data.source",
    "data.download",
    "data.num_workers",
    "data.max_bad",
    "data.cache_bytes",
    "data.shard_bytes",
    "data.decoder",
    "model.pretrained",
    "model.backbone_weights",
    "task.results",
    "task.threshold",
    "logger.*",
    "callbacks.*",
)
"""What may differ: how long, where and on what a run trains, what it says and draws. Everything else makes another run."""
HARMFUL = ("callbacks.average", "callbacks.average.*", "callbacks.checkpoint.monitor", "callbacks.checkpoint.mode")
"""Nevertheless: which weights are kept, and by what the best are chosen."""


FORMER = {
    "model.checkpointing": "activation_checkpointing",
    **{f"model.{old}": f"model.{new}" for old, new in ARGUMENTS.items()},
}
"""The names of settings that were called otherwise."""


def renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a version before under the names that they have now."""
    former = {FORMER[name]: value for name, value in settings.items() if name in FORMER}
    return {name: value for name, value in settings.items() if name not in FORMER} | former


def plain(config: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """Every setting under its full name, {"data.batch_size": 32, "optimizer": "adamw", ...}, with nothing left to look up.

    What is to be built stands as the chosen file's name, or as the name of its class. What refers to facts of the data is
    left out: they are not known yet, and are compared for themselves.
    """
    return {name: value for name, value in values(config, choices).items() if not _matches(name, ASIDE)}


def values(config: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """All settings, including those of the run's folder and name."""
    return dict(_values(config, "", choices))


def _values(node: DictConfig, place: str, choices: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for key in map(str, node):
        name = f"{place}.{key}" if place else key
        if key.startswith("_") or name == "hydra":  # Hydra's own; to look at its folders would make them
            continue
        try:
            value = None if OmegaConf.is_missing(node, key) else node[key]
            if isinstance(value, ListConfig):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            continue
        if isinstance(value, DictConfig):
            if OmegaConf.is_interpolation(node, key):
                continue
            built = choices[name] if name in NAMED else _class(value.get("_target_"))
            if built is not None:
                yield name, str(built)
            yield from _values(value, name, choices)
        elif value is None or isinstance(value, bool | int | float | str | list):
            yield name, value


def differences(was: Mapping[str, Any], config: DictConfig, is_now: Mapping[str, Any], said: Sequence[str]) -> dict[str, str]:
    """The settings in which two runs differ: name to "was 32, is 64".

    Args:
        was: the settings of the run that is taken up, as its checkpoint states them.
        config: of the run now.
        is_now: its settings.
        said: names of what the user set. What the checkpoint does not know counts only if it is among these: this version
            may have settings that the one before did not have.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in [*is_now, *(name for name in was if name not in is_now)]:
        if _matches(name, ASIDE):
            continue
        unknown = name not in was and not any(name == each or name.startswith(f"{each}.") for each in said)
        parents = [name[:at] for at, char in enumerate(name) if char == "."]
        if unknown or any(parent in found for parent in parents):  # of another optimizer all arguments are others
            continue
        before, now = was.get(name), is_now.get(name)
        pair = (now if _class(before) == now else before, now)
        if _spoken(pair[0]) != _spoken(pair[1]):
            found[name] = pair
    own = [pair for name, pair in found.items() if not _refers(config, name)]
    kept = {name: pair for name, pair in found.items() if not _refers(config, name) or pair not in own}
    return {name: f"was {_spoken(before)}, is {_spoken(now)}" for name, (before, now) in kept.items()}


def _class(target: Any) -> Any:
    """The class's name without its module: modules may move. (Checkpoints of before have both.)"""
    named = isinstance(target, str) and re.fullmatch(r"[a-z_][\w.]*\.[A-Z]\w*", target)
    return target.rpartition(".")[2] if named else target


def harmless(name: str) -> bool:
    return _matches(name, HARMLESS) and not _matches(name, HARMFUL)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _refers(config: DictConfig, name: str) -> bool:
    """Whether a value is another's, as data.seed is seed."""
    node: Any = config
    *parents, key = name.split(".")
    for parent in parents:
        node = node.get(parent) if isinstance(node, DictConfig) else None
    return isinstance(node, DictConfig) and key in node and bool(OmegaConf.is_interpolation(node, key))


def _spoken(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_spoken, value))}]"
    return printable(value)[:200]
