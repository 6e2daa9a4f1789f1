"""How many classes a network tells apart."""

from typing import Any

from torch import nn


def outputs_of(net: nn.Module) -> int:
    """How many classes a network tells apart: its `num_classes`, or the outputs of its last layer. Raises ValueError."""
    count = getattr(net, "num_classes", None)
    if count is None:
        last = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d)][-1:]
        count = next((getattr(layer, "out_features", getattr(layer, "out_channels", None)) for layer in last), None)
    if not count:
        raise ValueError(f"How many classes a {type(net).__name__} tells apart cannot be seen. Say it: num_outputs=...")
    return int(count)


def check_classes(task: Any, data: Any) -> None:
    """Raises ValueError where the data have classes that the network has no output for."""
    names = getattr(data, "class_names", ())
    if len(names) > task.num_outputs:
        raise ValueError(
            f"The data have {len(names)} classes, but the network has {task.num_outputs} outputs. Build it with "
            f"num_classes={len(names)}."
        )
