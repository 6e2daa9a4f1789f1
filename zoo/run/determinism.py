"""Which operations of a training step are not deterministic on a GPU.

`trainer.deterministic=true` makes torch choose deterministic algorithms. On a CPU each operation has one. On a GPU
some add up in an order that differs from run to run, and torch refuses them in the midst of the first step. Here they are found
before it, from the graph of one step on the CPU. What they are changes from release to release, so the list is the installed
torch's own, which stands in what it says of `torch.use_deterministic_algorithms`.
"""

import copy
import inspect
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import lightning

    from zoo.data.base import DataModule
    from zoo.tasks.base import Task

NONDETERMINISTIC = {
    "AvgPool3D": ("AvgPool3d", "avg_pool3d (backward)"),
    "AdaptiveAvgPool2D": ("AdaptiveAvgPool2d", "adaptive_avg_pool2d (backward)"),
    "AdaptiveAvgPool3D": ("AdaptiveAvgPool3d", "adaptive_avg_pool3d (backward)"),
    "AdaptiveMaxPool2D": ("AdaptiveMaxPool2d", "adaptive_max_pool2d (backward)"),
    "FractionalMaxPool2D": ("FractionalMaxPool2d", "fractional_max_pool2d (backward)"),
    "FractionalMaxPool3D": ("FractionalMaxPool3d", "fractional_max_pool3d (backward)"),
    "MaxPool3DWithIndices": ("MaxPool3d", "max_pool3d (backward)"),
    "MaxUnpool2D": ("MaxUnpool2d", "max_unpool2d"),
    "MaxUnpool3D": ("MaxUnpool3d", "max_unpool3d"),
    "UpsampleLinear1D": ("interpolate", "interpolate, linear (backward)"),
    "UpsampleTrilinear3D": ("interpolate", "interpolate, trilinear (backward)"),
    "UpsampleBicubic2D": ("interpolate", "interpolate, bicubic (backward)"),
    "ReflectionPad1D": ("ReflectionPad1d", "reflection padding in 1-D (backward)"),
    "ReflectionPad2D": ("ReflectionPad2d", "reflection padding in 2-D (backward)"),
    "ReflectionPad3D": ("ReflectionPad3d", "reflection padding in 3-D (backward)"),
    "ReplicationPad1D": ("ReplicationPad1d", "replication padding in 1-D (backward)"),
    "ReplicationPad3D": ("ReplicationPad3d", "replication padding in 3-D (backward)"),
    "NllLoss2D": ("NLLLoss", "cross-entropy of pixels"),
    "GridSampler2D": ("grid_sample", "grid_sample (backward)"),
    "GridSampler3D": ("grid_sample", "grid_sample in 3-D (backward)"),
    "CtcLoss": ("CTCLoss", "ctc_loss (backward)"),
}
"""Name of the node in the graph -> its name in torch's list, and the operation."""


def refused() -> set[str]:
    """The operations for which the installed torch states that it has no deterministic algorithm on a GPU, by torch's
    names."""
    text = (inspect.getdoc(torch.use_deterministic_algorithms) or "").partition("In addition")[0].rpartition("will throw a")[2]
    entries = [entry for entry in text.split("\n    * ")[1:] if "MPS" not in entry or "CUDA" in entry]
    return {name for entry in entries for name in re.findall(r"`torch\.(?:\w+\.)*(\w+)`", entry)}


def nondeterministic(losses: dict[str, Tensor]) -> list[str]:
    """The operations behind these losses that have no deterministic algorithm on a GPU."""
    without, found = refused(), set()
    seen: set[Any] = set()
    waiting = [loss.grad_fn for loss in losses.values()]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().partition("Backward")[0]
        listed, operation = NONDETERMINISTIC.get(name, ("", ""))
        if listed in without:
            found.add(operation)
        waiting += [parent for parent, _ in node.next_functions]
    return sorted(found)


def check(task: "Task", data: "DataModule", trainer: "lightning.Trainer", asked: bool | str | None) -> list[str] | None:
    """Find them in a step of two training samples; None where nobody asked. Raises ValueError where torch would refuse them in
    the run."""
    if not asked:
        return None
    samples = data.splits["train"]
    trial: Any = copy.deepcopy(task).train()  # a step moves the statistics of BatchNorm
    with torch.random.fork_rng(devices=[]):
        batch: Any = samples.__getitems__([(0, 0), (0, len(samples) - 1)])
        found = nondeterministic(trial.total_loss(batch)[1]) if len(batch["id"]) else []
    if found and asked is True and trainer.strategy.root_device.type != "cpu":
        raise ValueError(
            f"trainer.deterministic=true cannot be had on a GPU: {', '.join(found)} add up in no fixed order. Set "
            f"trainer.deterministic=warn, or train on the CPU."
        )
    task.recipe["training"]["unsteady_on_gpu"] = found
    return found
