"""What a checkpoint states of a task, and the way back."""

import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import nn

from zoo.common.signature import parameters
from zoo.common.trust import harmless


class Restorable:
    """The part of a task that a checkpoint states, and that brings it back."""

    recipe: dict[str, Any]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoo"] = self.recipe or own_recipe(self)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        *,
        net: nn.Module | None = None,
        **arguments: Any,
    ) -> Self:
        """The task of a checkpoint with its weights: of a run of `zoo.train`, or of a Trainer that trained this class.

        The network is built from the name and the arguments that the checkpoint states. Nothing in it is imported or called.

        Args:
            checkpoint_path: a checkpoint, or a run folder, of which the best one is taken.
            map_location: the device; None is the CPU.
            net: the network, where it was not made by `zoo.create_model`; its weights are replaced.
            arguments: of the task, in place of those that the checkpoint states. The optimizer and the scheduler are never in
                it: for further training give them again.

        Raises:
            ValueError: the checkpoint is of another task, or of a network that must be given.
        """
        # By its name: to read a run is the business of a room that knows tasks.
        restored = pkgutil.resolve_name("zoo.run.trained:restored")
        task: Any = restored(cls, checkpoint_path, net, arguments)
        return cast(Self, task if map_location is None else task.to(map_location))


def own_recipe(task: Any) -> dict[str, Any]:
    """Names and plain values: the network's builder and its arguments (if `zoo.create_model` made it), the task's arguments,
    and the facts of the data."""
    from zoo import __version__
    from zoo.common.words import choice

    net: dict[str, Any] = getattr(task.net, "recipe", {})
    known = {
        name: getattr(task, name)
        for name in parameters(type(task))
        if name not in ("net", "optimizer", "scheduler", "mean", "std", "metrics", *task.facts)
    } | {"metrics": [name for name in task.wanted if name in task.available]}
    facts = dict(task.known_data)
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
