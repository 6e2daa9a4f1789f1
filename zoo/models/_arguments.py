"""Arguments that many builders have, and what their values may be."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

Stem = Literal["imagenet", "small"]
"""How a ResNet for images begins: with strides of 4 in all, or of 1 for images of few pixels."""
ClipStem = Literal["paper", "small"]
"""How a network for clips begins: with the paper's strides, or with 1 for clips of few pixels. The weights are the same."""


def check_choice(name: str, value: object, kind: Any) -> None:
    """Refuse a value that is none of the words of a `Literal`. Raises ValueError."""
    *words, last = get_args(kind)
    if value not in (*words, last):
        raise ValueError(f"{name} is {value!r}; there are {', '.join(words)} and {last}.")


def check_extents(name: str, input_shape: Sequence[int], least: Sequence[int]) -> None:
    """Refuse an image or a clip that is too small for a network's poolings. Raises ValueError.

    Args:
        name: of the network.
        input_shape: (C, H, W) or (C, T, H, W).
        least: (H, W) or (T, H, W).
    """
    if all(extent >= needed for extent, needed in zip(input_shape[-len(least) :], least, strict=False)):
        return
    *frames, height, width = least
    kind, needed = ("A clip", f"{frames[0]} frames of ") if frames else ("An image", "")
    raise ValueError(f"{kind} of {tuple(input_shape)} is too small for {name}: it takes at least {needed}{height} x {width}.")
