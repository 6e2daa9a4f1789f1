"""What a checkpoint states of a task that was built in Python."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from zoo.common.signature import parameters
from zoo.common.trust import harmless


def own_recipe(task: Any, known_data: Mapping[str, Any]) -> dict[str, Any]:
    """Names and plain values: the network's builder and its arguments (if `zoo.create_model` made it), the task's arguments,
    and the facts of the data.

    Args:
        known_data: what the task was told by its data module.
    """
    from zoo import __version__
    from zoo.common.words import choice

    net: dict[str, Any] = getattr(task.net, "recipe", {})
    known = {
        name: getattr(task, name)
        for name in parameters(type(task))
        if name not in ("net", "optimizer", "scheduler", "mean", "std", *task.facts)
    }
    facts = dict(known_data)
    shape = facts.setdefault("shape", _built(task.net).get("input_shape"))
    data = facts.pop("data", None)
    facts |= {name: list(getattr(task, name)) for name in task.facts}
    facts["num_classes"] = len(task.class_names)
    if task.normalizes:
        facts |= {"mean": task.mean.tolist(), "std": task.std.tolist()}
    folder = "video_folder" if shape is not None and len(shape) == 4 else "image_folder"
    names = {"model": net.get("name"), "task": choice(type(task)), "data": choice(data) if data else folder}
    return {
        "version": __version__,
        "size": "paper",  # the arguments are complete, so that it chooses nothing
        "names": {group: name for group, name in names.items() if name is not None},
        "arguments": {"model": _built(task.net), "task": _plain(known), "data": {}},
        "facts": facts,
    }


def _built(net: nn.Module) -> dict[str, Any]:
    """What a network of `zoo.create_model` was built with."""
    arguments: dict[str, Any] = getattr(net, "recipe", {}).get("arguments", {})
    return arguments


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a checkpoint may hold."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {name: value for name, value in listed.items() if harmless(value)}
