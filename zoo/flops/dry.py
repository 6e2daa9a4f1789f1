"""Checks and costs of a run's network before it trains, by a pass on the meta device."""

import contextlib
import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from zoo.run.compose import DictConfig
from zoo.run.size import PAPER, SMALL
from zoo.tasks.base import Task
from zoo.tasks.steps import LONE


def check_step(task: Task, data: Any, processes: int = 1, *, synchronized: bool = False) -> None:
    """Refuse steps of one sample each where BatchNorm would see one value of a channel.

    Args:
        data: the data module, set up.
        synchronized: whether the processes share BatchNorm's statistics.
    """
    from zoo.flops.count import profile

    share = -(-len(data.splits["train"]) // processes)
    if min(data.batch_size, share) == 1 and not (synchronized and processes > 1):
        with no_lone_values(task.net):
            profile(task.net, data.shape)


@contextlib.contextmanager
def no_lone_values(net: nn.Module) -> Iterator[None]:
    """Refuse a network whose BatchNorm would see one value of a channel in training; the caller feeds it one sample."""

    lone: list[nn.Module] = []

    def check(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            lone.append(module)

    layers = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training]
    hooks = [each.register_forward_pre_hook(check) for each in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if lone:
        raise ValueError(LONE)


def in_words(config: DictConfig) -> str:
    """`small (the paper's: 134.38 M parameters, 107.86 G multiply-adds)`, or `paper`: which network a run trains.

    To be asked before the data's facts are published: the paper's network has the paper's classes.
    """
    from zoo.common.numbers import quantity
    from zoo.run.network import arguments_of

    if config.size == PAPER:
        return PAPER
    paper = copy.deepcopy(config)
    paper.size = PAPER
    arguments, shape = arguments_of(paper), tuple(paper.input_shape)
    if (arguments, shape) == (arguments_of(config), tuple(config.input_shape)):
        return f"{SMALL} (the paper's is the same)"
    cost = _cost(config.model.name, json.dumps(arguments), shape)
    if cost is None:
        return SMALL
    return f"{SMALL} (the paper's: {quantity(cost[0])} parameters, {quantity(cost[1])} multiply-adds)"


@functools.cache
def _cost(name: str, arguments: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Parameters and multiply-adds; None of what cannot be built of the shape that is asked for. A process asks again and again
    for the same, as a sweep does."""
    import torch

    from zoo.flops.count import profile
    from zoo.models import create_model

    try:
        with torch.device("meta"):
            cost = profile(create_model(name, **json.loads(arguments)), shape)
    except (ValueError, RuntimeError):
        return None
    return cost.params, cost.macs
