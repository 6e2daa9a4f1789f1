"""Describe the augmentation of training samples, and warn where it contradicts the classes' names."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from zoo.data.loading.augment import Flip

if TYPE_CHECKING:
    from zoo.data.base import DataModule

PAIRS = (
    ("left", "right"),
    ("links", "rechts"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("esquerda", "direita"),
    ("sinistra", "destra"),
    ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"),
    ("cw", "ccw"),
    ("east", "west"),
    ("port", "starboard"),
    ("b", "d"),
    ("p", "q"),
)
"""Words that change places in a mirror. A set of classes that has both of a pair is told apart by it."""


def in_words(config: DictConfig, data: "DataModule") -> str:
    """`half of the clips mirrored, scaled by 0.5 to 2`; `none`."""
    samples = {3: "images", 4: "clips"}[data.layout]
    scale = config.data.get("scale")
    parts = [f"half of the {samples} mirrored"] if config.data.get("flip") else []
    if scale and list(scale) != [1.0, 1.0]:
        parts.append(f"scaled by {scale[0]:g} to {scale[1]:g}")
    if data.layout == 4:
        parts.append("cut at a random time and place")
    elif config.data.get("short_side") and not isinstance(config.data.short_side, int):
        low, high = config.data.short_side
        parts.append(f"cut at a random place, of a short side of {low} to {high}")
    for each in data.augment:
        parts.append(f"{each.probability:.0%} mirrored" if isinstance(each, Flip) else type(each).__name__)
    return ", ".join(parts) or "none"


def contradiction(config: DictConfig, data: "DataModule") -> str | None:
    """The warning where classes are mirror images of one another and samples are mirrored; None elsewhere."""
    by_augment = any(isinstance(each, Flip) for each in data.augment)
    classes = mirrored_classes(data.class_names)
    if not classes or not (config.data.get("flip") or by_augment):
        return None
    setting = "data.flip=false" if config.data.get("flip") else "data.augment={}, or leave Flip out of it"
    return (
        f"The classes {' and '.join(classes)} look like mirror images of one another, but training samples are mirrored and "
        f"keep their labels. If left and right matter, set {setting}."
    )


def mirrored_classes(class_names: Sequence[str]) -> tuple[str, ...]:
    """The first two classes whose names differ by a pair of mirror words: `turn_left` and `turn_right`."""
    words = {name: re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()) for name in class_names}
    for one, other in PAIRS:
        for name, own in words.items():
            for opposite, others in words.items():
                if one in own and [other if word == one else word for word in own] == others:
                    return name, opposite
    return ()
