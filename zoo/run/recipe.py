"""What a checkpoint carries of its run, names and plain values, and the way back from them to a configuration."""

import re
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from zoo.common import trust
from zoo.common.nested import flat
from zoo.common.places import LAST, exists
from zoo.run import plugins, settings, size
from zoo.run.build import build_task
from zoo.run.check import located
from zoo.run.compose import choices_of, composed, overrides_of, parse, quoted
from zoo.run.facts import publish, written
from zoo.run.folder import checkpoint_path, first_process, place, resumed_path
from zoo.run.network import untrained_net
from zoo.run.published import PUBLISHED, recipe_of_weights
from zoo.run.size import SMALL

if TYPE_CHECKING:
    from torch import nn

    from zoo.tasks.base import Task


def trained_net(place: str | Path, overrides: Sequence[str] = ()) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The configuration, the network (without the weights) and the input shape of a run or a checkpoint."""
    content = read_checkpoint(place)
    config = compose_recipe(content["zoo"], overrides, with_data=False)
    publish(config, content["zoo"]["facts"])
    config.model.pretrained = None
    return config, build_task(config).net, tuple(config.input_shape)


def named_net(name: str, overrides: Sequence[str] = ()) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The untrained network of that name, or the network of the run in the folder of that name."""
    return trained_net(name, overrides) if names_a_run(name) else untrained_net([f"model={name}", *overrides])


def names_a_run(name: str) -> bool:
    """Whether this names a run's folder or a checkpoint. A model's name is always the model."""
    from zoo.models._list import list_models

    return name not in list_models() and exists(place(name))


def recipe_of(
    config: DictConfig,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Names and plain values from which a run can be rebuilt; nothing that would be imported or called.

    Args:
        settings: of the run, as of `configured`; with them it gets a number, and the places of its data are kept here.
        training: what the optimizer was told.
    """
    from zoo import __version__

    choices = choices_of(config)
    arguments = {group: _plain(config[group], group) for group in ("model", "task", "data")}
    names = {group: choices[group] for group in arguments}
    for start in trust.USERS["model"]:
        arguments["model"].pop(start, None)  # the checkpoint holds the weights that training made of them
    recipe = {"version": __version__, "size": config.size, "names": names, "arguments": arguments, "facts": dict(facts)}
    if settings is None:
        return recipe
    run = trust.number()
    if first_process():
        trust.remember(run, names["data"], arguments["data"])
    return {**recipe, "settings": settings, "run": run, "training": training}


def settings_of(config: DictConfig) -> dict[str, Any]:
    """What a run was made with, as plain values under the names of its choices; for the loggers. Facts are left out."""
    found: dict[str, Any] = {"seed": config.seed}
    for group in ("model", "task", "data", "optimizer", "scheduler", "trainer"):
        found[group] = {"name": choices_of(config)[group], **_plain(config[group], group, facts=False)}
    return found


def _plain(node: DictConfig, group: str, *, facts: bool = True) -> dict[str, Any]:
    """The node's values without those that describe objects; with those that are facts of the data, or without. (What a model
    has below a name is no object, but options of its parts.)"""
    values = {}
    for key in node:
        name = str(key)
        value = node[name]
        fact = OmegaConf.is_interpolation(node, name) and written(node, name) == f"${{facts.{name}}}"
        described = isinstance(value, DictConfig) and group != "model"
        if name.startswith("_") or described or (fact and not facts):
            continue
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        values[name] = [each for each in plain if trust.harmless(each)] if isinstance(plain, list) else plain
    return values


@trust.of_any_version
def compose_recipe(recipe: Mapping[str, Any], overrides: Sequence[str], *, with_data: bool = True) -> DictConfig:
    """The configuration of a checkpoint's recipe, changed by a command line.

    Names choose among the files of `conf/`; values replace values that are there, as far as `zoo.common.trust` lets a
    checkpoint decide. What it does not is the user's: said here, or when the user trained the run.

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
    """The size at which a network was trained. Raises ValueError where the user asks for another."""
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
    """Set the arguments of a group that a checkpoint may decide."""
    own = choices_of(config)[group] in plugins.own(group)
    said = [name.partition(".")[2] for name in chosen if name.startswith(f"{group}.")]
    if own and isinstance(values, dict):
        said += [key for key in config[group] if _is(config[group], str(key), values.get(key))]
    for key, value in flat(trust.decided(group, values, list(config[group]), said, own=own)).items():
        OmegaConf.update(config[group], key, value, force_add="." in key)  # options of a head of one's own are new


def _is(node: DictConfig, key: str, value: Any) -> bool:
    """Whether a value stands there already."""
    return not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key) and node[key] == value


def _place(config: DictConfig, recipe: Mapping[str, Any], chosen: Collection[str], with_data: bool) -> None:
    """Set the places of the data, which the user alone decides, as they were when the run was trained on this machine."""
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


def read_checkpoint(place: str | Path) -> dict[str, Any]:
    """A checkpoint that zoo wrote, with its recipe; or published weights, `MODEL:TAG`; or what `zoo publish` wrote, a folder or
    `hf-hub:ORG/NAME`.

    Only tensors and plain values are unpickled.
    """
    from zoo.common.hub import is_published
    from zoo.common.tensors import read_pickle
    from zoo.models._entries import full_name

    if is_published(place):
        return _read_published(place)
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


def _read_published(place: str | Path) -> dict[str, Any]:
    """A published network as the checkpoint that it was made of."""
    import torch

    from zoo.common.hub import TASK, read_published
    from zoo.common.tensors import NET

    recipe, tensors = read_published(place)
    recipe.pop(PUBLISHED, None)
    trust.check_facts(recipe["facts"])
    state = {f"{NET}{key}": value for key, value in tensors.items() if not key.startswith(TASK)}
    state |= {key.removeprefix(TASK): value for key, value in tensors.items() if key.startswith(TASK)}
    state |= {key: torch.tensor(recipe["facts"][key]) for key in ("mean", "std") if key in recipe["facts"]}
    return {"zoo": recipe, "state_dict": state}


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
    return settings.renamed(settings.plain(config, choices_of(config)))


def differences(config: DictConfig, path: str) -> dict[str, str]:
    """The settings that differ from those of the checkpoint which the run resumes from.

    Raises ValueError where it would be another run.
    """
    recipe = read_checkpoint(path)["zoo"]
    said = [o.key_or_group for o in parse(overrides_of(config))]
    was = recipe.get("settings")
    older = not isinstance(was, dict)
    if not isinstance(was, dict):  # of an older version, which knew these, facts of the data among them
        was = {f"{group}.{name}": each for group, own in recipe["arguments"].items() for name, each in own.items()}
    now = configured(config)
    was = {"size": SMALL} | settings.renamed({str(name): each for name, each in was.items()}) | recipe["names"]
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
    from zoo.common.words import choice

    if name == choice(kind):
        return True
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        return False
    try:
        own = located(composed([f"task={name}"]).task._target_)
    except ValueError:
        return False
    return issubclass(kind, own) or issubclass(own, kind)
