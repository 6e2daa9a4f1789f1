"""Refuse settings that cannot be used, naming setting and remedy, before anything is built."""

import contextlib
import importlib
import inspect
import os
import re
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from zoo.common.signature import OPEN, hints, parameters
from zoo.common.words import nearest
from zoo.run import facts, limits, settings
from zoo.run.compose import choices_of, overrides_of

_OF_ALL_MODELS = ("name", "pretrained")


_MOVED = {
    **{f"zoo.{name}": f"zoo.run.{name}" for name in ("callbacks", "logs", "resume", "sweep")},
    "zoo.tasks.freeze": "zoo.run.freeze",
    "zoo.data._augment": "zoo.data.loading.augment",
}
"""Where modules that a user's files may name (`_target_: zoo.callbacks.Pictures`) lie now."""


def settle_moved(config: DictConfig) -> None:
    """Write the present home of each `_target_`, and the present name of each setting, where a user's file has others."""
    from zoo.models._registry import get_builder

    for old, new in settings.FORMER.items():
        group, _, name = old.partition(".")
        if name in config[group] and name not in parameters(get_builder(config.model.name)):
            with open_dict(config):
                OmegaConf.update(config, new, config[group].pop(name))
    for _, node in _described(config):
        module, _, name = str(node._target_).rpartition(".")
        if module in _MOVED:
            node._target_ = f"{_MOVED[module]}.{name}"


def located(target: str) -> Any:
    """What a `_target_` names. Raises ValueError where there is no such thing."""
    module, _, name = str(target).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError, TypeError, ModuleNotFoundError):
        raise ValueError(f"There is nothing called {target!r}, which a file of the configuration wants to build.") from None


def check_values(target: Callable[..., Any], node: Mapping[Any, Any], place: str) -> None:
    """Refuse an argument that does not exist, or a value of another type than the signature's."""
    known, types = parameters(target), hints(target)
    for key in node:
        name = str(key)
        if name.startswith("_"):
            continue
        if name not in known and OPEN not in known:
            raise ValueError(f"{place} takes no argument {name!r}; {nearest(name, list(known))}")
        value = OmegaConf.to_container(node[name], resolve=True) if OmegaConf.is_config(node[name]) else node[name]
        if not isinstance(value, dict) and not _fits(value, types.get(name, Any)):
            what, wrong, hint = f"{place}.{name}", value, types[name]
            if isinstance(value, list) and (inner := _inner(hint)) is not None:
                at = next(at for at, each in enumerate(value) if not _fits(each, inner))
                what, wrong, hint = f"{what}[{at}]", value[at], inner
            raise ValueError(f"{what} is {'null' if wrong is None else repr(wrong)}, but it must be {spoken(hint)}.")


def check_parts(config: DictConfig) -> None:
    """Refuse settings of which no run can be built, as far as that is known before the data are read: each value is compared
    with the signature and the limits."""
    from zoo.models._registry import get_builder

    settle_moved(config)
    facts.settle(config)
    given = (("task", "num_outputs"), ("task", "mean"), ("task", "std"), ("data", "shape"))
    for group, key in given:  # others refer to them, and would be named
        if key in config[group] and not OmegaConf.is_interpolation(config[group], key) and config[group][key] is None:
            raise ValueError(f"{group}.{key} is null. Leave it out, and it fits the network and the data.")
    parts = {name: config[name] for name in ("optimizer", "scheduler", "trainer")}
    parts |= {f"{group}.{name}": node for group in ("callbacks", "logger") for name, node in config[group].items()}
    for place, node in parts.items():
        if not (isinstance(node, DictConfig) and "_target_" in node) and (node is not None or "." not in place):
            raise ValueError(f"{place} is {node!r}; it has settings of its own, as in {place}.NAME=VALUE, or is null.")
    values = settings.values(config, choices_of(config))
    limits.check(values)
    augment = config.data.augment if isinstance(config.data.augment, DictConfig) else {}
    for name in map(str, augment):
        if not ((each := augment[name]) is None or isinstance(each, DictConfig)):
            raise ValueError(f"data.augment.{name} is {each!r}; it has settings of its own, or is null.")
    for part, node in sorted(_described(config), key=lambda each: each[0] == "model"):  # last, for it refers to the others
        names = [name for name in map(str, node) if f"{part}.{name}" in values and not OmegaConf.is_missing(node, name)]
        known = {name: node[name] for name in names}
        if part == "trainer":
            known.pop("precision", None)  # `limits` knows words that Lightning does not
        if part == "model":
            _check_names(config.model)
            check_values(get_builder(config.model.name), {key: known[key] for key in known if key not in _OF_ALL_MODELS}, part)
            _check_options(config.model, values)
        check_values(located(node._target_), known, part)
    if not (config.freeze is None or isinstance(config.freeze, str | ListConfig)):
        raise ValueError(f"freeze is {config.freeze!r}; it is all, head, a list of the network's parts, or null.")
    if config.unfreeze and not config.freeze:
        raise ValueError("unfreeze releases what freeze holds, but freeze is not set. Set freeze, or drop unfreeze.")
    _check_devices(config.trainer)


def _check_options(model: DictConfig, values: Mapping[str, Any]) -> None:
    """Refuse options that a part of a detector does not take, or that are of another type than its constructor's."""
    from zoo.models._detector import Proposals
    from zoo.models._heads import head_named

    heads, first = model.get("head_options"), model.get("rpn_options")
    parts: dict[str, tuple[Callable[..., Any], Any]] = {
        f"head_options.{name}": (head_named(str(name)), heads[name]) for name in map(str, heads or {})
    }
    parts |= {"rpn_options": (Proposals, first)} if first is not None else {}
    for place, (part, node) in parts.items():
        if not isinstance(node, DictConfig):
            raise ValueError(f"model.{place} is {node!r}; it has settings of its own, as in model.{place}.NAME=VALUE.")
        names = [name for name in map(str, node) if f"model.{place}.{name}" in values]
        check_values(part, {name: node[name] for name in names}, f"model.{place}")


def _check_names(model: DictConfig) -> None:
    """Refuse a network and weights that do not exist."""
    from zoo.models._list import list_models
    from zoo.models._start import check_start

    if model.name not in list_models():
        raise ValueError(f"model.name is {model.name!r}; {nearest(str(model.name), list_models())}")
    try:
        check_start(model.name, model)
    except ValueError as error:
        raise ValueError(f"model.{error}") from None


def _described(node: DictConfig, place: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node of the configuration that describes an object, with its place."""
    if "_target_" in node:
        yield place, node
    for key in map(str, node):
        written = not (OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) or key == "hydra")
        if written and isinstance(node[key], DictConfig):
            yield from _described(node[key], f"{place}.{key}" if place else key)


_MEETING = ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
"""Variables of which the launcher of several machines sets at least one."""


def _check_devices(trainer: DictConfig) -> None:
    """Refuse an unknown accelerator or strategy, a number of devices that is none, and machines that do not know where to
    meet."""
    import torch
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    for name, known in (
        ("accelerator", ("auto", "gpu", *AcceleratorRegistry.available_accelerators())),
        ("strategy", ("auto", *StrategyRegistry.available_strategies())),
    ):
        if trainer[name] not in known:
            short = [each for each in known if each.count("_") < 2]  # there are dozens of combinations
            raise ValueError(f"trainer.{name} is {trainer[name]!r}; {nearest(trainer[name], short)}")
    if trainer.num_nodes > 1 and not any(name in os.environ for name in _MEETING):
        raise ValueError(
            f"trainer.num_nodes is {trainer.num_nodes}, but nothing says where the machines meet: they would wait for "
            f"each other for ever. Start the run by srun or torchrun on each, or set MASTER_ADDR, MASTER_PORT and "
            f"NODE_RANK there."
        )
    on_cpu = trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not torch.accelerator.is_available())
    devices = OmegaConf.to_container(trainer).get("devices")  # type: ignore[union-attr]
    said = ",".join(map(str, devices)) if isinstance(devices, list) else str(devices)
    number = r"0*[1-9]\d*"
    if on_cpu and (isinstance(devices, list) or not re.fullmatch(rf"auto|{number}", said, re.ASCII)):
        raise ValueError(f"trainer.devices is {devices!r}; on processors it is a number of processes, at least 1, or auto.")
    if not re.fullmatch(
        rf"auto|-1|{number}|\d+(,\d+)+,?|\d+,", said if not isinstance(devices, list) else f"{said},", re.ASCII
    ):
        raise ValueError(f"trainer.devices is {devices!r}; it is a number of devices, a list of their numbers, or auto.")


@contextlib.contextmanager
def speaking_of(config: DictConfig, *groups: str, by: str = "") -> Iterator[None]:
    """Turn a library's refusal of these groups into a sentence that names the settings which the user changed.

    Args:
        by: which library's refusals are meant, if not any.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__:
            cause = cause.__cause__
        raised = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(cause.__traceback__)][-1]
        if raised.startswith("zoo.") or not raised.startswith(by):
            raise cause from None
        said = " ".join(str(cause).split())
        mine = [each for each in overrides_of(config) if re.split(r"[.=]", each.lstrip("+~"))[0] in groups]
        named = [each for each in mine if re.search(rf"\b{each.partition('=')[0].rpartition('.')[2]}\b", said)]
        what = ", ".join(named or mine) or " and ".join(groups)
        raise ValueError(
            f"{what} cannot be used: {re.split(r'[.] |[.]$| with error ', said)[0] or type(cause).__name__}."
        ) from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value satisfies an annotation made of plain types; annotations of other things are satisfied, unless a
    plain type stands beside them."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        plain = [each for each in parts if not inspect.isclass(each) or each in _SPOKEN]
        return any(_fits(value, each) for each in (parts if {*plain} <= {type(None)} else plain))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return value is None
    if origin is Callable:
        return callable(value) or (isinstance(value, dict) and "_target_" in value)
    if hint in (int, str, bool):
        return type(value) is hint
    if hint is Path:
        return isinstance(value, str)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, dict)
    if hint is float:
        return type(value) in (int, float)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        inner = [each for each in typing.get_args(hint) if each is not ...]
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value) if inner else True
    return True


def _inner(hint: Any) -> Any:
    """What a list is of; None where it is no list, or of anything."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((found for each in typing.get_args(hint) if (found := _inner(each)) is not None), None)
    origin = typing.get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return next((each for each in typing.get_args(hint) if each is not ...), None)
    return None


def spoken(hint: Any) -> str:
    """An annotation of plain types as words: `a whole number or null`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        return " or ".join(spoken(each) for each in parts if not inspect.isclass(each) or each in _SPOKEN)
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(each) for each in typing.get_args(hint))
    origin = typing.get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "settings of their own by name"
    if origin is Callable:
        return "settings of its own"
    return _SPOKEN.get(hint) or "a list"


_SPOKEN = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "null",
    Path: "a file",
}


def layout_of(config: DictConfig) -> int:
    """The number of axes of a sample of the chosen data set."""
    return int(located(config.data._target_).layout)


def check_fit(config: DictConfig) -> None:
    """Refuse a model and a data set whose samples are of different kinds, and data without what the task learns from.

    A data set that can serve several things is asked for the task's.
    """
    from zoo.batch import TARGETS
    from zoo.data.base import AXES

    check_values(located(config.data._target_), config.data, "data")
    layout, axes = layout_of(config), len(config.input_shape)
    for name, value in (("input_shape", config.input_shape), ("data.shape", config.data.shape)):
        if len(value) not in AXES:
            raise ValueError(f"{name} is {list(value)}; it is [C, H, W], or [C, T, H, W] for clips.")
    if layout != axes:
        raise ValueError(
            f"{choices_of(config)['data']} serves {AXES[layout]}, but {config.model.name} reads {AXES[axes]}. "
            f"Choose another data= or another model=."
        )
    kind, target = located(config.data._target_), located(config.task._target_).target
    if target not in (*kind.targets, "none"):
        raise ValueError(
            f"{choices_of(config)['task']} learns from {TARGETS[target].words}, but {choices_of(config)['data']} serves "
            f"{' or '.join(TARGETS[each].words for each in kind.targets)}. Choose another data= or another model=."
        )
    built, served = config.model.get("input_shape") or [], config.data.shape
    if isinstance(built, ListConfig | list) and len(built) == len(served) == 4 and built[1] != served[1]:
        raise ValueError(
            f"The network is built for clips of {built[1]} frames, but the data serve {served[1]} (data.shape={list(served)}). "
            f"Make data.shape and model.input_shape equal."
        )
    if len(kind.targets) > 1 and target != "none":
        config.data.target = target
    sized = OmegaConf.to_container(config.model, resolve=False)
    if "${task.num_outputs}" in typing.cast("dict[str, Any]", sized).values() and "num_outputs" not in config.task:
        raise ValueError(
            f"{config.model.name} is no network for {choices_of(config)['task']}, which asks for no number of outputs. "
            f"Choose another model= or another task=."
        )


def check_outputs(config: DictConfig) -> None:
    """Refuse fewer outputs than classes, whose labels would be out of range, and means of another number of channels."""
    for name in ("mean", "std"):
        if len(config.task[name]) not in (1, channels := int(config.facts.shape[0])):
            raise ValueError(f"task.{name} is {list(config.task[name])}; it has a number for each of {channels} channels.")
    needed = int(config.facts.num_classes)
    where = f"the data have {needed} classes"
    if (own := config.task.get("num_outputs")) is not None:
        if own < needed and located(config.task._target_).target != "none":
            raise ValueError(f"task.num_outputs is {own}, but {where}. Leave it out, and there are as many.")
        needed, where = int(own), f"the task has {own} classes"
    has = config.model.get("num_classes")
    if has is not None and has < needed:
        raise ValueError(f"model.num_classes is {has}, but {where}. Leave it out, and the network has as many.")
