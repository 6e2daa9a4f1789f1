"""The anatomy of a run, and everything that knows Hydra: composing, refusing in the user's words, building the objects.

A run is model + task + data. `composed` turns a command line into a configuration, `build_*` turn that into objects,
`recipe_of` turns it into the names and plain values that a checkpoint carries, and `compose_recipe` back.
"""

import contextlib
import dataclasses
import importlib
import inspect
import os
import re
import traceback
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.utils import instantiate
from omegaconf import MISSING, SI, DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError

from zoo import folder, limits, plugins, settings, size, transfer, trust
from zoo.places import CONF as CONF
from zoo.places import LAST, checkpoint_of, exists
from zoo.signature import OPEN, hints, parameters
from zoo.size import PAPER, SMALL
from zoo.words import nearest

if TYPE_CHECKING:
    from torch import nn

    from zoo.data.base import DataModule
    from zoo.tasks.base import Task

PUBLISHED = "published"
"""Key of a recipe that was made of published weights: their tag. No file's own recipe has it."""


@dataclass
class Run:
    """The keys of a run. A misspelt one, in a YAML or on the command line, is an error."""

    model: Any = MISSING
    """Arguments of the network's builder; `name` is its name."""
    task: Any = MISSING
    data: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING
    size: str = PAPER
    """Which of its two networks a model's YAML composes: small, or paper."""
    input_shape: list[int] = MISSING
    """The shape of one sample, (C, H, W) or (C, T, H, W)."""
    seed: int = 0
    """Of the initial weights, the order of the samples, clip times and augmentation."""
    run_dir: str = "${hydra:runtime.output_dir}"
    """Where checkpoints, logs and pictures go."""
    freeze: Any = None
    """Parts of the network that keep their weights: all (but the head), head, or a list of its named blocks."""
    unfreeze: list[float] = dataclasses.field(default_factory=list)
    """Fractions of the run at which frozen parts are released, the deepest first."""
    reference_batch: int | None = None
    """The batch that optimizer.lr is meant for; of N times as many samples a step, the rate is N times as high."""
    least_steps: int = SI("${size:100,300}")
    """A run whose length nobody said takes no fewer steps than these."""
    most_samples: int | None = None
    """And it sees no more samples than these, repetitions counted, but for the least steps: what the paper's training saw."""
    resume: str | None = None
    """What to go on from, up to the bit: a run folder, a checkpoint, or auto, which is the run's own folder if it has begun."""
    test: bool = True
    """Score the best checkpoint on the test split at the end."""
    overwrite: bool = False
    """Remove what an earlier run left in the run's folder; without it a folder that holds a run is refused."""
    debug: bool = False
    """Show tracebacks."""


ConfigStore.instance().store(name="run", node=Run)

_OF_ALL_MODELS = ("name", "pretrained")

_KEYS = tuple(field.name for field in dataclasses.fields(Run))


# The command line


def in_one_folder(arguments: Sequence[str]) -> list[str]:
    """Where a run is taken up, it stays in its folder, if no other is named."""
    values = dict(argument.partition("=")[::2] for argument in arguments)
    named = values.keys() & {"run_dir", "hydra.run.dir", "hydra.sweep.dir"}
    added = []
    if "resume" in values and not named:
        resume = parse([f"resume={values['resume']}"])[0].value()
        if resume == "auto":
            if folder.slurm_step() is None:
                raise ValueError(
                    "resume=auto looks for the run in its own folder, so the folder must be named: hydra.run.dir=..."
                )
        elif resume is not None:
            added.append(f"hydra.run.dir={quoted(str(resumed_path(str(resume)).parent.parent))}")
    return [*arguments, *added]


_PLACES = frozenset("dir run_dir resume save_dir sub_dir dirpath default_root_dir".split()).union(
    trust.PLACES, trust.USERS["model"], trust.USERS["task"]
)
"""Last words of the settings that name a file or a folder, which may not be there yet."""


def literal_paths(arguments: Sequence[str]) -> list[str]:
    """Quote what names a file or a folder: Hydra's grammar reads commas, brackets and more as its own, and knows no letters but
    ASCII's. So a place can be written as it is called; one that begins with ~ is below the user's home.

    What has a meaning for Hydra keeps it: null, references (`${...}`), a value in quotation marks, in a sweep (`-m`) a comma.
    """
    sweep = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_literal(argument, sweep) for argument in arguments]


def _literal(argument: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or not value or not re.fullmatch(r"[\w.@/+~]+", key, re.ASCII):
        return argument
    in_marks = value[0] in "'\"" and value[-1] == value[0] and len(value) > 1
    if in_marks and key == "hydra.run.dir" and os.environ.get("LOCAL_RANK", "0") != "0":
        return f"{key}={quoted(value[1:-1])}"  # as Lightning writes it when it starts a further process, whatever is in it
    if exists(value):
        plain = re.fullmatch(r"[\w./:-]*", value, re.ASCII) and key.rpartition(".")[2] not in _PLACES
        return argument if plain else f"{key}={quoted(place(value))}"
    if key.rpartition(".")[2] not in _PLACES or in_marks or "${" in value or value.lower() in _WORDS:
        return argument
    if sweep and not key.startswith("hydra.") and ("," in value or value.endswith(")")):
        with contextlib.suppress(ValueError):
            parse([argument])
            return argument
        return f"{key}={','.join(quoted(place(each)) for each in value.split(','))}"
    return f"{key}={quoted(place(value))}"


def place(name: str) -> str:
    """A file or folder as the user means it: ~ is their home, unless something here is called so."""
    if not name.startswith("~"):
        return name
    home = name if exists(name) else os.path.expanduser(name)  # noqa: PTH111 (Path's fails where there is no such user)
    return f"./{home}" if home.startswith("~") else home


_WORDS = ("null", "true", "false", "nan", "inf", "???")
"""What Hydra does not take for text."""


def quoted(value: str) -> str:
    """A string as Hydra's grammar reads it back, whatever is in it."""
    if re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII) and value.lower() not in _WORDS:
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes mean themselves, but for those before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return "'" + escaped.replace("${", "\\${") + "'"


def parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ValueError(
            f"The setting {error.override} cannot be read. Write key=value; a list is [1,2], and text with other signs than "
            f"letters and numbers stands in two pairs of quotation marks: key='\"a (b)\"'."
        ) from None


def check_overrides(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Compose what was asked for, each value of a sweep in turn, and explain what does not exist. The first of them."""
    parsed = parse(overrides)
    plain = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    first = composed(plain + [_sweep_values(o)[0] for o in parsed if o.is_sweep_override()], config_dir)
    for override in parsed:
        if override.is_sweep_override():
            for value in _sweep_values(override)[1:]:
                others = [_sweep_values(o)[0] for o in parsed if o.is_sweep_override() and o is not override]
                composed([*plain, *others, value], config_dir)
    return first


def _sweep_values(override: Override) -> list[str]:
    if not override.is_discrete_sweep():
        return [f"{override.input_line}"]  # an interval is drawn from by a sweeper of its own
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def composed(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The configuration of a command line, `hydra` included. Raises ValueError with the nearest names."""
    search = [f"hydra.searchpath=[{quoted('file://' + str(Path(config_dir).absolute()))}]"] if config_dir else []
    GlobalHydra.instance().clear()
    plugins.offer()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose("train", [*overrides, *search], return_hydra_config=True)
            size.check(config.size)
            _check_described(config)
            return config
        except MissingConfigException as error:
            if error.missing_cfg_file is None or not error.options:
                raise
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            raise ValueError(f"There is no {group} {name!r}; {nearest(name, list(error.options))}") from None
        except ConfigCompositionException as error:
            _explain(parse([*overrides, *search]))
            if re.search(rf"Key '{_GONE}'", f"{error} {error.__cause__}"):
                raise ValueError(f"A file of the configuration sets {_GONE}. {_INSTEAD}") from None
            raise


def _check_described(config: DictConfig) -> None:
    """Refuse a file that sets a value where a network, a task or a data set is to be described."""
    for group in ("model", "task", "data"):
        if not OmegaConf.is_missing(config, group) and not isinstance(config[group], DictConfig):
            raise ValueError(f"{group} is {config[group]!r}; it has settings of its own, as in {group}.NAME=VALUE.")


_GONE = "small_shape"
"""A key of recipes that were written before there was `size`."""
_INSTEAD = "There is no such setting any more: input_shape is the shape of a sample at either size."


def groups() -> list[str]:
    """The folders of the configuration, of whose files one or none is chosen."""
    return sorted(entry.name for entry in CONF.iterdir() if entry.is_dir())


def roots() -> tuple[str, ...]:
    """With what a setting's name begins."""
    return (*dict.fromkeys([*_KEYS, *groups()]), "hydra")


def _explain(overrides: Sequence[Override]) -> None:
    """Find the key that does not exist, and raise the sentence that names it."""
    for override in overrides:
        root = override.key_or_group.split(".")[0].split("/")[0]
        if root == _GONE:
            raise ValueError(f"{override.input_line} sets {_GONE}. {_INSTEAD}") from None
        if root not in roots() and not override.is_add():
            raise ValueError(f"There is no setting {root!r}; {nearest(root, roots()[:-1])}") from None
    choices = [o for o in overrides if o.key_or_group in groups() or o.key_or_group == "hydra.searchpath"]
    try:
        config = compose("train", [o.input_line or "" for o in choices])
    except ConfigCompositionException:
        return  # the mistake is inside a file, and the error names it
    for override in overrides:
        node: Any = config
        path = override.key_or_group.split(".")
        for depth, key in enumerate(path):
            if override in choices or override.is_add() or override.is_force_add() or path[0] == "hydra":
                break
            if not isinstance(node, DictConfig) or key not in node.keys():  # noqa: SIM118 (what has no value yet is not "in" it)
                place = ".".join(path[:depth]) or "a run"
                names = list(node) if isinstance(node, DictConfig) else []
                ending = (
                    nearest(key, [str(name) for name in names if not str(name).startswith("_")])
                    if names
                    else "it is a single value."
                )
                raise ValueError(f"{place} has no setting {key!r}; {ending}") from None
            if depth + 1 < len(path):
                node = node._get_node(key)
                if OmegaConf.is_interpolation(node._parent, key):
                    node = node._parent[key]


# From configuration to objects


def make(node: DictConfig, place: str) -> Any:
    """Instantiate what a node describes, as a partial to be completed; its values are checked against the signature."""
    check_values(located(node._target_), node, place)
    return instantiate(node, _partial_=True, _convert_="all")


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
            raise ValueError(
                f"{place}.{name} is {'null' if value is None else repr(value)}, but it must be {spoken(types[name])}."
            )


def check_parts(config: DictConfig) -> None:
    """Refuse what a run cannot be built of, as far as that is known before the data are: whatever the configuration describes,
    each value is held against the signature and the limits."""
    from zoo.models._registry import get_builder

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
            known.pop("precision", None)  # some of its words are ours; see `limits`
        if part == "model":
            _check_names(config.model)
            check_values(get_builder(config.model.name), {key: known[key] for key in known if key not in _OF_ALL_MODELS}, part)
        check_values(located(node._target_), known, part)
    if not (config.freeze is None or isinstance(config.freeze, str | ListConfig)):
        raise ValueError(f"freeze is {config.freeze!r}; it is all, head, a list of the network's parts, or null.")
    if config.unfreeze and not config.freeze:
        raise ValueError("unfreeze releases what freeze holds, but freeze is not set. Set freeze, or drop unfreeze.")
    _check_devices(config.trainer)


def _check_names(model: DictConfig) -> None:
    """Refuse a network and weights that do not exist."""
    from zoo.models._create import check_pretrained
    from zoo.models._registry import list_models

    if model.name not in list_models():
        raise ValueError(f"model.name is {model.name!r}; {nearest(str(model.name), list_models())}")
    try:
        check_pretrained(model.name, model.get("pretrained"))
    except ValueError as error:
        raise ValueError(f"model.{error}") from None


def _described(node: DictConfig, place: str = "") -> Iterator[tuple[str, DictConfig]]:
    """All that is to be built, by the place where it is described."""
    if "_target_" in node:
        yield place, node
    for key in map(str, node):
        written = not (OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) or key == "hydra")
        if written and isinstance(node[key], DictConfig):
            yield from _described(node[key], f"{place}.{key}" if place else key)


_MEETING = ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
"""Variables of which the launcher of several machines sets at least one."""


def _check_devices(trainer: DictConfig) -> None:
    """Refuse what names no device of this machine, none of Lightning's ways to use them, and machines that never meet."""
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
    """Where a library refuses what is built of these groups, say which of their settings the user has changed.

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
        return callable(value)
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


def spoken(hint: Any) -> str:
    """An annotation made of plain types in the words of a sentence."""
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


def choices_of(config: DictConfig) -> dict[str, str]:
    """Which file of each group was chosen: {"data": "digits", ...}."""
    return {group: choice for group, choice in _hydra(config).runtime.choices.items() if "/" not in group}


def overrides_of(config: DictConfig) -> list[str]:
    """What the user set."""
    return list(_hydra(config).overrides.task)


def _hydra(config: DictConfig) -> Any:
    return config.hydra if "hydra" in config else HydraConfig.get()


def layout_of(config: DictConfig) -> int:
    """How many axes a sample of the chosen data set has."""
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
            f"{choices_of(config)['task']} learns from {TARGETS[target]}, but {choices_of(config)['data']} serves "
            f"{' or '.join(TARGETS[each] for each in kind.targets)}. Choose another data= or another model=."
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


def build_data(config: DictConfig) -> "DataModule":
    """The data module, its files not looked at yet."""
    check_parts(config)
    check_fit(config)
    with speaking_of(config, "data"):
        return typing.cast("DataModule", make(config.data, "data")())


def facts_of(data: "DataModule") -> dict[str, Any]:
    """What the data set owns and others read: published in the configuration as `${data.NAME}`, carried by the checkpoint."""
    for name in data.class_names:
        if not trust.harmless(name):  # it would be read as a reference to a setting, or to the environment
            raise ValueError(f"A class is called {name!r}; a name may not hold ${{. Rename it.")
    return {
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "mean": list(data.mean),
        "std": list(data.std),
        "shape": list(data.shape),
        **{name: _listed(getattr(data, name)) for name in data.facts},
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def pretrained_facts(config: DictConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """The mean and deviation that published weights were trained with, where the run starts from some; else nothing."""
    from zoo.models._entries import entry_named

    entry = entry_named(config.model.name, config.model.get("pretrained"))
    return {**entry.normalization(int(config.data.shape[0]), own)} if entry else {}


def publish(config: DictConfig, facts: Mapping[str, Any]) -> None:
    with open_dict(config.data):
        config.data.update(facts)


def scale_rate(config: DictConfig, world_size: int) -> int:
    """Samples a step over all devices; by it and the recipe's reference batch the learning rate is scaled, once.

    (The linear scaling rule: Goyal et al. 2017, section 2.1.)
    """
    effective = int(config.data.batch_size) * world_size * int(config.trainer.accumulate_grad_batches)
    if config.reference_batch is not None:
        if config.reference_batch < 1:
            raise ValueError(f"reference_batch is {config.reference_batch}; it is a number of samples, at least 1.")
        config.optimizer.lr = config.optimizer.lr * effective / config.reference_batch
    return effective


def fetch_weights(config: DictConfig) -> None:
    """Have the published weights that a run starts from, before anything is built for it. Raises ValueError."""
    from zoo.models._create import weights_file

    if pretrained := config.model.get("pretrained"):
        with _ways_out(config):
            weights_file(config.model.name, pretrained)


def _ways_out(config: DictConfig) -> contextlib.AbstractContextManager[None]:
    return transfer.ways_out(config.model, config.freeze, config.size)


def build_task(config: DictConfig, *, anew: bool = True) -> "Task":
    """The network and the task around it; the data set's facts must be published.

    Args:
        anew: whether the network starts from `model.pretrained`; a checkpoint's has the checkpoint's weights.
    """
    from zoo.models._registry import get_builder

    own = {str(key): value for key, value in config.model.items() if key not in _OF_ALL_MODELS}
    check_values(get_builder(config.model.name), own, "model")
    _check_outputs(config)
    with _ways_out(config), speaking_of(config, "model"):
        net: nn.Module = make(config.model, "model")(**({} if anew else {"pretrained": None}))
    with speaking_of(config, "task"):
        task = make(config.task, "task")(net=net)
    return typing.cast("Task", task)


def _check_outputs(config: DictConfig) -> None:
    """Refuse fewer outputs than there are classes: a label would be looked for outside of them; and means of other channels."""
    for name in ("mean", "std"):
        if len(config.task[name]) not in (1, channels := int(config.data.shape[0])):
            raise ValueError(f"task.{name} is {list(config.task[name])}; it has a number for each of {channels} channels.")
    needed = int(config.data.num_classes)
    where = f"the data have {needed} classes"
    if (own := config.task.get("num_outputs")) is not None:
        if own < needed and located(config.task._target_).target != "none":
            raise ValueError(f"task.num_outputs is {own}, but {where}. Leave it out, and there are as many.")
        needed, where = int(own), f"the task has {own} classes"
    has = config.model.get("num_classes")
    if has is not None and has < needed:
        raise ValueError(f"model.num_classes is {has}, but {where}. Leave it out, and the network has as many.")


def untrained_net(overrides: Sequence[str]) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The paper's network at the paper's input shape, but for what is set here; with the configuration and the shape."""
    config = composed([f"size={PAPER}", *overrides])
    return config, network_of(config), tuple(config.input_shape)


def network_of(config: DictConfig) -> "nn.Module":
    """The network that is described, with random weights; what data would decide that are not there is its default."""
    from zoo.models import create_model

    return create_model(config.model.name, **arguments_of(config))


def arguments_of(config: DictConfig) -> dict[str, Any]:
    """Of the network's arguments those that are known, as plain values."""
    from zoo.models._registry import get_builder

    arguments: dict[str, Any] = {}
    for key in inspect.signature(get_builder(config.model.name)).parameters:
        with contextlib.suppress(InterpolationResolutionError):
            if key in config.model:
                value = config.model[key]
                arguments[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return arguments


def trained_net(place: str | Path, overrides: Sequence[str] = ()) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The same of a run or a checkpoint: its network, without the weights, and the shape of a sample that it was trained at."""
    content = read_checkpoint(place)
    config = compose_recipe(content["zoo"], overrides, with_data=False)
    publish(config, content["zoo"]["facts"])
    config.model.pretrained = None
    return config, build_task(config).net, tuple(config.input_shape)


def named_net(name: str, overrides: Sequence[str] = ()) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The network of that name, untrained; else that of the run in the folder called so."""
    return trained_net(name, overrides) if names_a_run(name) else untrained_net([f"model={name}", *overrides])


def names_a_run(name: str) -> bool:
    """Whether this is a run's folder or a checkpoint; a model's name is the model's, whatever lies here."""
    from zoo.models._registry import list_models

    return name not in list_models() and exists(place(name))


# What a checkpoint carries


def recipe_of(config: DictConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Names and plain values from which a run can be rebuilt; nothing that would be imported or called."""
    from zoo import __version__

    choices = choices_of(config)
    arguments = {group: _plain(config[group], facts if group == "data" else {}) for group in ("model", "task", "data")}
    names = {group: choices[group] for group in arguments}
    arguments["model"].pop("pretrained", None)  # the checkpoint holds the weights that training made of them
    return {"version": __version__, "size": config.size, "names": names, "arguments": arguments, "facts": dict(facts)}


def settings_of(config: DictConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made with, as plain values under the names of its choices; for the loggers."""
    groups = {name: _plain(config[name], facts) for name in ("model", "task", "data", "optimizer", "scheduler", "trainer")}
    return {name: {"name": choices_of(config)[name], **values} for name, values in groups.items()} | {"seed": config.seed}


def _plain(node: DictConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The node's values without those that describe objects, and without published facts it has no argument for."""
    values = {}
    for key in node:
        name = str(key)
        value = node[name]
        if name.startswith("_") or (name in facts and name != "shape") or isinstance(value, DictConfig):
            continue
        values[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return values


@trust.of_any_version
def compose_recipe(recipe: Mapping[str, Any], overrides: Sequence[str], *, with_data: bool = True) -> DictConfig:
    """The configuration of a checkpoint's recipe, changed by a command line.

    Names choose among the files of `conf/`; values replace values that are there, as far as `zoo.trust` lets a checkpoint
    decide. What it does not is the user's: said here, or when the user trained the run.

    Args:
        with_data: whether the data will be read, so that their places must be known.
    """
    names, arguments = recipe["names"], recipe["arguments"]
    if "model" not in names:
        raise ValueError(
            "The checkpoint does not say how its network is built, for zoo.create_model has not made it. In Python, its task's "
            "load_from_checkpoint takes the network, as net=..."
        )
    chosen = {o.key_or_group for o in parse(overrides)}
    for group in (*names, *arguments):
        if group not in ("model", "task", "data"):
            raise ValueError(f"The checkpoint names a {group!r}; a run is a model, a task and data.")
    for group, name in names.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            raise ValueError(f"The checkpoint names a {group} {name!r}, which is not a name.")
    trust.check_facts(recipe["facts"])  # the task's settings refer to facts, and would be built of them
    groups = [f"{group}={name}" for group, name in names.items() if group not in chosen]
    try:
        config = composed(["run_dir=.", *groups, *overrides, f"size={_size_of(recipe, overrides)}"])
    except ValueError as error:
        if foreign := [group for group, name in names.items() if group not in chosen and not plugins.known(group, name)]:
            mine = f"my_{foreign[0]}.py"
            said = (
                f"{str(error).rstrip('.?')}. If a file of your own defines it, name the file too: {mine}; in Python, import it."
            )
            raise ValueError(said) from None
        raise
    shape = recipe["facts"].get("shape")
    if not isinstance(shape, list) or len(shape) not in (3, 4) or not all(type(extent) is int for extent in shape):
        raise ValueError(f"The checkpoint states the shape of a sample as {shape!r}; it must be [C, H, W] or [C, T, H, W].")
    config.input_shape = shape
    for group, values in arguments.items():
        if group not in chosen:
            _fill(config, group, values, chosen)
    config.model.pretrained = recipe.get(PUBLISHED)  # of other checkpoints the weights are in the file
    if "data" not in chosen:
        _place(config, recipe, chosen, with_data)
    return config


def _size_of(recipe: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """At which size a network was trained; it stays what it is. Raises ValueError where the user says otherwise."""
    stated = recipe.get("size", SMALL)  # that of all before there were two
    if stated not in size.SIZES:
        raise ValueError(f"The checkpoint states its size as {stated!r}; there are {' and '.join(size.SIZES)}.")
    for override in parse(overrides):
        if override.key_or_group == "size" and override.value() != stated:
            raise ValueError(
                f"The network was trained at size={stated}, and stays what it is. Leave {override.input_line} out."
            )
    return str(stated)


def _fill(config: DictConfig, group: str, values: Any, chosen: Collection[str]) -> None:
    """Set what a checkpoint may decide of a group."""
    own = choices_of(config)[group] in plugins.own(group)
    said = [name.partition(".")[2] for name in chosen if name.startswith(f"{group}.")]
    if own and isinstance(values, dict):
        said += [key for key in config[group] if _is(config[group], str(key), values.get(key))]
    config[group].update(trust.decided(group, values, list(config[group]), said, own=own))


def _is(node: DictConfig, key: str, value: Any) -> bool:
    """Whether a value stands there already."""
    return not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key) and node[key] == value


def _place(config: DictConfig, recipe: Mapping[str, Any], chosen: Collection[str], with_data: bool) -> None:
    """Set what the user alone decides of the data, as it was said when the run was trained here."""
    own = trust.remembered(recipe)
    for key, value in own.items():
        if key in list(config.data) and f"data.{key}" not in chosen:
            config.data[key] = value
    for key in trust.PLACES:
        if key not in list(config.data) or key in own or f"data.{key}" in chosen:
            continue
        if not with_data and OmegaConf.is_missing(config.data, key):
            config.data[key] = "."
        was = recipe["arguments"].get("data", {}).get(key)
        if with_data and was is not None and (OmegaConf.is_missing(config.data, key) or was != config.data[key]):
            raise ValueError(
                f"The checkpoint would read data.{key} from {was}, and it is not of a run that was trained here. If you trust "
                f"that place, say it yourself: data.{key}={quoted(str(was))}."
            )


def checkpoint_path(named: str | Path) -> Path:
    """A checkpoint file, or the best one of a run folder (the last one where no epoch was finished)."""
    path = Path(place(str(named)))
    if exists(path) and path.is_dir():
        return checkpoint_of(path)
    if not (exists(path) and path.is_file()):
        raise ValueError(f"There is no checkpoint {path}. Name a checkpoint file or a run folder.")
    return path


def read_checkpoint(place: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, its recipe checked to be there; or published weights, `MODEL:TAG`.

    Only tensors and plain values are unpickled.
    """
    from zoo.models._entries import full_name
    from zoo.models._weights import read_pickle

    if published := full_name(place):
        return {"zoo": recipe_of_weights(*published)}
    path = checkpoint_path(place)
    content = typing.cast("dict[str, Any]", read_pickle(path))
    recipe = content.get("zoo")
    parts = {"names": dict, "arguments": dict, "facts": dict}
    if not isinstance(recipe, dict) or not all(isinstance(recipe.get(part), kind) for part, kind in parts.items()):
        with trust.naming_later_version(recipe, path):
            raise ValueError(
                f"{path} is not a checkpoint of zoo.train: it does not say which model, task and data set it is of."
            )
    recipe.pop(PUBLISHED, None)
    return content


def resumable(config: DictConfig) -> str | None:
    """The checkpoint to go on from, if there is one."""
    if config.resume is None:
        return None
    if config.resume == "auto":
        own = Path(config.run_dir) / "checkpoints" / LAST
        return str(own) if own.is_file() else None
    return str(resumed_path(config.resume))


def configured(config: DictConfig) -> dict[str, Any]:
    """A run's settings as plain values, as its checkpoint carries them; to be taken before anything is built of them."""
    return settings.plain(config, choices_of(config))


def differences(config: DictConfig, path: str) -> dict[str, str]:
    """What the user should know: settings that are others than those of the checkpoint which the run goes on from.

    Raises ValueError where it would be another run.
    """
    recipe = read_checkpoint(path)["zoo"]
    said = [o.key_or_group for o in parse(overrides_of(config))]
    was = recipe.get("settings")
    older = not isinstance(was, dict)
    if not isinstance(was, dict):  # of an older version, which knew these, facts of the data among them
        was = {f"{group}.{name}": each for group, own in recipe["arguments"].items() for name, each in own.items()}
    now = configured(config)
    was = {"size": SMALL} | {str(name): each for name, each in was.items()} | recipe["names"]
    if older:
        was, now = ({name: each for name, each in one.items() if name in other} for one, other in ((was, now), (now, was)))
    found = settings.differences(was, config, now, said)
    if wrong := [f"{name} {each}" for name, each in found.items() if not settings.harmless(name)]:
        with trust.naming_later_version(recipe, path):
            raise ValueError(
                f"{path} is of a run with other settings: {'; '.join(wrong)}. Go on with the settings it was made with, or "
                f"begin another run from its weights: model.pretrained={quoted(path)}, without resume=."
            )
    return found


def resumed_path(named: str) -> Path:
    """The checkpoint that a run goes on from: the last one of a folder, not its best."""
    last = Path(place(named)) / "checkpoints" / LAST
    return last if exists(last) else checkpoint_path(named)


def recipe_of_weights(name: str, tag: str) -> dict[str, Any]:
    """The recipe of a checkpoint that published weights would have been saved with: files, cut as theirs were."""
    from zoo import __version__
    from zoo.models._entries import get_weights

    entry = get_weights(name, tag)
    if not entry.class_names:
        raise ValueError(f"{name}:{tag} does not name its classes, so it can only be started from: pretrained={tag}.")
    cut: dict[str, Any] = {"scales": [entry.resize] if entry.resize else None}
    data = "image_folder"
    if len(entry.input_shape) == 4:
        data, cut = "video_folder", {"short_side": entry.resize, "rate": entry.rate}
    return {
        "version": __version__,
        "size": PAPER,
        "names": {"model": name, "task": entry.task, "data": data},
        "arguments": {"model": dict(entry.arguments), "data": cut},
        PUBLISHED: tag,
        "facts": {
            "num_classes": entry.num_classes,
            "class_names": list(entry.class_names),
            "mean": list(entry.mean),
            "std": list(entry.std),
            "shape": list(entry.input_shape),
        },
    }


@trust.of_any_version
def rebuild(content: Mapping[str, Any], config: DictConfig, place: str | Path) -> "Task":
    """The task of a checkpoint with its weights, from a configuration of `compose_recipe` with the facts published."""
    from zoo.models._weights import check_size

    if isinstance(weights := content.get("state_dict"), dict):
        check_size(weights, lambda: build_task(config), place)
    task = build_task(config)
    fill(task, content, place)
    return task


def fill(task: "Task", content: Mapping[str, Any], place: str | Path) -> None:
    """Put a checkpoint's weights into a task. Raises ValueError where they are of another network."""
    try:
        if "state_dict" in content:  # published weights are in the network since it was built
            task.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        name = content["zoo"]["names"].get("model") or type(task.net).__name__
        lines = str(error).splitlines()
        raise ValueError(f"{place} holds weights of another network than {name}: {lines[-1].strip()}") from None
    task.recipe = content["zoo"]


def is_task(name: Any, kind: type) -> bool:
    """Whether a task of this name is of this class, or one is made of the other."""
    from zoo.words import choice

    if name == choice(kind):
        return True
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        return False
    try:
        own = located(composed([f"task={name}"]).task._target_)
    except ValueError:
        return False
    return issubclass(kind, own) or issubclass(own, kind)
