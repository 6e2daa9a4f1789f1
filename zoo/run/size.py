"""Which of its two networks a model's YAML composes: the small one, by which an embedded set is learnt in minutes on two cores,
or the paper's, whose parameters and multiply-adds the tables promise.

A YAML states both values on one line, `width: ${size:0.125,1.0}`, and the key `size` of the run chooses. Embedded sets, and the
small official ones, say `small`; all others are `paper`; the command line beats both.
"""

import copy
import functools
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

SMALL, PAPER = "small", "paper"
SIZES = (SMALL, PAPER)


def _of_size(small: Any, paper: Any, *, _root_: DictConfig) -> Any:
    value = small if _root_.size == SMALL else paper
    return OmegaConf.create(value) if isinstance(value, list) else value  # of a plain list no reference could take an item


def _stem(shape: Any) -> str:
    """`${stem:${data.shape}}`: which stem a ResNet has for what is served."""
    from zoo.models._frames import stem_for

    return stem_for(shape)


OmegaConf.register_new_resolver("size", _of_size, replace=True)
OmegaConf.register_new_resolver("stem", _stem, replace=True)


def check(size: object) -> None:
    """Raises ValueError where there is no such size."""
    if size not in SIZES:
        raise ValueError(
            f"size is {size!r}; it is {SMALL}, a network that learns an embedded set in minutes, or {PAPER}, the paper's own."
        )


def in_words(config: DictConfig) -> str:
    """`small (the paper's: 134.38 M parameters, 107.86 G multiply-adds)`, or `paper`: which network a run trains.

    To be asked before the data's facts are published: the paper's network has the paper's classes.
    """
    from zoo.config import arguments_of
    from zoo.report import quantity

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

    from zoo.flops import profile
    from zoo.models import create_model

    try:
        with torch.device("meta"):
            cost = profile(create_model(name, **json.loads(arguments)), shape)
    except (ValueError, RuntimeError):
        return None
    return cost.params, cost.macs
