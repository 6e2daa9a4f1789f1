"""From a command line to a configuration: a run is model + task + data.

`build.py` turns the configuration into objects; `recipe.py` turns it into the names and plain values that a checkpoint carries,
and back.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, SI, OmegaConf
from omegaconf import DictConfig as DictConfig

from zoo.common import trust
from zoo.common.places import CONF as CONF
from zoo.common.places import exists
from zoo.common.signature import parameters
from zoo.common.words import nearest, warn
from zoo.run import folder, plugins, size
from zoo.run.folder import place, resumed_path
from zoo.run.settings import FORMER
from zoo.run.size import PAPER


@dataclass
class Run:
    """The keys of a run. A misspelled one, in a YAML or on the command line, is an error."""

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
    facts: Any = dataclasses.field(default_factory=lambda: {"shape": "${data.shape}"})
    """What is known of the data. They fill it in when they are there."""
    input_shape: list[int] = MISSING
    """The shape of one sample, (C, H, W) or (C, T, H, W)."""
    seed: int = 0
    """Seed of the initial weights, the order of the samples, clip times and augmentation."""
    run_dir: str = "${hydra:runtime.output_dir}"
    """Where checkpoints, logs and pictures go."""
    freeze: Any = None
    """Parts of the network that keep their weights: all (but the head), head, or a list of its named blocks."""
    unfreeze: list[float] = dataclasses.field(default_factory=list)
    """Fractions of the run at which frozen parts are released, the deepest first."""
    activation_checkpointing: bool = False
    """Compute what the network's named blocks have inside again in the backward pass: less memory, about a third more time."""
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


_KEYS = tuple(field.name for field in dataclasses.fields(Run))


# The command line


def in_one_folder(arguments: Sequence[str]) -> list[str]:
    """A resumed run stays in its folder, unless another is named."""
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
    """Compose every combination of a sweep, explain what does not exist, and return the first configuration."""
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
    overrides = renamed(overrides)
    _check_choices(overrides)
    GlobalHydra.instance().clear()
    plugins.offer()
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
        try:
            config = compose("train", [*overrides, *search], return_hydra_config=True)
            size.check(config.size)
            _check_described(config)
            _start_once(config, overrides)
            return config
        except MissingConfigException as error:
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            known = list(error.options or []) or [each.stem for each in CONF.glob(f"{group}/*.yaml") if group in groups()]
            if error.missing_cfg_file is None or not known:
                raise
            raise ValueError(f"There is no {group} {name!r}; {nearest(name, known)}") from None
        except ConfigCompositionException as error:
            _explain(parse([*overrides, *search]))
            if re.search(rf"Key '{_GONE}'", f"{error} {error.__cause__}"):
                raise ValueError(f"A file of the configuration sets {_GONE}. {_INSTEAD}") from None
            raise


def renamed(arguments: Sequence[str]) -> list[str]:
    """A command line with the names that settings have now, which a warning says."""
    found = []
    for argument in arguments:
        written, equals, value = argument.partition("=")
        name = written.lstrip("+")
        new = FORMER.get(name) if equals else None
        # A network of the user's own may have an argument of that name.
        if new and not any(name.rpartition(".")[2] in parameters(builder) for builder in plugins.own("model").values()):
            warn(f"{name} is called {new} now{'' if '.' in new else ': it is a setting of the run'}.")
            argument = f"{new}={value}"
        # The options of a head of one's own stand in no file.
        own = argument.startswith("model.head_options.") and argument.split(".")[2] in plugins.own_heads()
        found.append(f"++{argument}" if own else argument)
    return found


def _check_choices(overrides: Sequence[str]) -> None:
    """Refuse a file that others are based on, and which is no choice by itself."""
    for group, _, name in (each.partition("=") for each in overrides):
        if name.startswith("base/") and group in groups():
            raise ValueError(
                f"There is no {group} {name!r}; {nearest(name, [each.stem for each in CONF.glob(f'{group}/*.yaml')])}"
            )


def _check_described(config: DictConfig) -> None:
    """Refuse a file that sets a value where a network, a task or a data set is to be described."""
    for group in ("model", "task", "data"):
        if not OmegaConf.is_missing(config, group) and not isinstance(config[group], DictConfig):
            raise ValueError(f"{group} is {config[group]!r}; it has settings of its own, as in {group}.NAME=VALUE.")


def _start_once(config: DictConfig, overrides: Sequence[str]) -> None:
    """Where weights of the backbone are asked for, the file of the network names no other ones."""
    said = {each.key_or_group for each in parse(overrides)}
    if {"model.backbone_weights", "model.pretrained"} & said == {"model.backbone_weights"} and config.model.backbone_weights:
        config.model.pretrained = None


_GONE = "small_shape"
"""A key of recipes that were written before there was `size`."""
_INSTEAD = "There is no such setting any more: input_shape is the shape of a sample at either size."


def groups() -> list[str]:
    """The folders of the configuration, of whose files one or none is chosen."""
    return sorted(entry.name for entry in CONF.iterdir() if entry.is_dir())


def roots() -> tuple[str, ...]:
    """The words with which a setting's name may begin."""
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


def choices_of(config: DictConfig) -> dict[str, str]:
    """Which file of each group was chosen: {"data": "digits", ...}."""
    return {group: choice for group, choice in _hydra(config).runtime.choices.items() if "/" not in group}


def overrides_of(config: DictConfig) -> list[str]:
    """The overrides that the user gave."""
    return list(_hydra(config).overrides.task)


def _hydra(config: DictConfig) -> Any:
    return config.hydra if "hydra" in config else HydraConfig.get()
