"""Which of its two networks a model's YAML composes: the small one, which learns an embedded set in minutes on two cores, or
the paper's, whose parameters and multiply-adds the tables promise.

A YAML states both values on one line, `width: ${size:0.125,1.0}`, and the key `size` of the run chooses. Embedded sets, and the
small official ones, say `small`; all others are `paper`; the command line beats both.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf

SMALL, PAPER = "small", "paper"
SIZES = (SMALL, PAPER)


def _of_size(small: Any, paper: Any, *, _root_: DictConfig) -> Any:
    value = small if _root_.size == SMALL else paper
    return OmegaConf.create(value) if isinstance(value, list) else value  # of a plain list no reference could take an item


def _stem(shape: Any) -> str:
    """`${stem:${data.shape}}`: the stem of a ResNet for samples of this shape."""
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
