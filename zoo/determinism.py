"""The same bits twice: which operations of a training step cannot give them on a GPU.

`trainer.deterministic=true` makes torch choose deterministic algorithms. On a CPU every operation of ours has one. On a GPU
some add up in an order that differs from run to run, and torch refuses them in the midst of the first step. Here they are found
before it, from the graph of one step on the CPU. (The list is that of `torch.use_deterministic_algorithms`, release 2.11.)
"""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from zoo.data.base import Samples
    from zoo.tasks.base import Task

UNSTEADY = {
    "AvgPool3D": "avg_pool3d (backward)",
    "AdaptiveAvgPool2D": "adaptive_avg_pool2d (backward)",
    "AdaptiveAvgPool3D": "adaptive_avg_pool3d (backward)",
    "AdaptiveMaxPool2D": "adaptive_max_pool2d (backward)",
    "FractionalMaxPool2D": "fractional_max_pool2d (backward)",
    "FractionalMaxPool3D": "fractional_max_pool3d (backward)",
    "MaxPool3DWithIndices": "max_pool3d (backward)",
    "MaxUnpool2D": "max_unpool2d",
    "MaxUnpool3D": "max_unpool3d",
    "UpsampleLinear1D": "interpolate, linear (backward)",
    "UpsampleTrilinear3D": "interpolate, trilinear (backward)",
    "UpsampleBicubic2D": "interpolate, bicubic (backward)",
    "ReflectionPad1D": "reflection padding in 1-D (backward)",
    "ReflectionPad3D": "reflection padding in 3-D (backward)",
    "ReplicationPad1D": "replication padding in 1-D (backward)",
    "ReplicationPad3D": "replication padding in 3-D (backward)",
    "NllLoss2D": "cross-entropy of pixels",
    "GridSampler2D": "grid_sample (backward)",
    "GridSampler3D": "grid_sample in 3-D (backward)",
    "CtcLoss": "ctc_loss (backward)",
}
"""Name of the node in the graph -> the operation."""


def unsteady(losses: dict[str, Tensor]) -> list[str]:
    """The operations behind these losses that have no deterministic algorithm on a GPU."""
    found: set[str] = set()
    seen: set[Any] = set()
    waiting = [loss.grad_fn for loss in losses.values()]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().partition("Backward")[0]
        if name in UNSTEADY:
            found.add(UNSTEADY[name])
        waiting += [parent for parent, _ in node.next_functions]
    return sorted(found)


def check(task: "Task", samples: "Samples", on_gpu: bool, asked: bool | str) -> list[str]:
    """Find them in a step of two samples; where torch would refuse them in the run, refuse the run. Raises ValueError."""
    trial: Any = copy.deepcopy(task).train()  # a step moves the statistics of BatchNorm
    trial.log = trial.log_dict = lambda *arguments, **named: None  # there is no trainer yet
    with torch.random.fork_rng(devices=[]):
        batch: Any = samples.__getitems__([(0, 0), (0, len(samples) - 1)])
        found = unsteady(trial.losses(batch)) if len(batch["id"]) else []
    if found and on_gpu and asked is True:
        raise ValueError(
            f"trainer.deterministic=true cannot be had on a GPU: {', '.join(found)} add up in no fixed order. Set "
            f"trainer.deterministic=warn, or train on the CPU."
        )
    return found
