"""Which of its two networks a model's YAML composes: the small one, by which an embedded set is learnt in minutes on two cores,
or the paper's, whose parameters and multiply-adds the tables promise.

A YAML states both values on one line, `width: ${size:0.125,1.0}`, and the key `size` of the run chooses. Embedded sets, and the
small official ones, say `small`; all others are `paper`; the command line beats both.
"""

import contextlib
import copy
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

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
    import torch

    from zoo.config import network_of
    from zoo.flops import profile
    from zoo.report import quantity

    if config.size == PAPER:
        return PAPER
    paper = copy.deepcopy(config)
    paper.size = PAPER
    if _plain(paper.model) == _plain(config.model) and paper.input_shape == config.input_shape:
        return f"{SMALL} (the paper's is the same)"
    try:
        with torch.device("meta"):
            cost = profile(network_of(paper), tuple(paper.input_shape))
    except (ValueError, RuntimeError):  # of the shape that is asked for here it cannot be built
        return SMALL
    return f"{SMALL} (the paper's: {quantity(cost.params)} parameters, {quantity(cost.macs)} multiply-adds)"


def _plain(node: DictConfig) -> dict[str, Any]:
    """What can be known of a node's values before the data's facts are."""
    found = {}
    for key in map(str, node):
        with contextlib.suppress(InterpolationResolutionError):
            found[key] = node[key]
    return found
