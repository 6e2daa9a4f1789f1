"""Published weights as a checkpoint: the recipe that they would have been saved with, cut as their publisher cuts."""

import json
from typing import TYPE_CHECKING, Any

from zoo.run.size import PAPER

if TYPE_CHECKING:
    from zoo.models import Weights

PUBLISHED = "published"
"""Key of a recipe that was made of published weights: their tag. No file's own recipe has it."""


def recipe_of_weights(name: str, tag: str) -> dict[str, Any]:
    """The recipe of a checkpoint that published weights would have been saved with: the user's own files, cut as the publisher
    cuts them. Raises ValueError where the weights name no classes."""
    from zoo import __version__
    from zoo.models._entries import get_weights

    entry = get_weights(name, tag)
    if not entry.class_names:
        raise ValueError(f"{name}:{tag} does not name its classes, so it can only be started from: pretrained={tag}.")
    return {
        "version": __version__,
        "size": PAPER,
        "names": {"model": entry.model, "task": entry.task, "data": data_of(entry)},
        "arguments": {"model": dict(entry.arguments), "data": cut_of(entry)},
        PUBLISHED: entry.tag,
        "facts": {
            "num_classes": entry.num_classes,
            "class_names": list(entry.class_names),
            "mean": list(entry.mean),
            "std": list(entry.std),
            "shape": list(entry.input_shape),
            **entry.facts,
        },
    }


def data_of(entry: "Weights") -> str:
    """The data set that reads a user's own files as these weights want them."""
    if len(entry.input_shape) == 4:
        return "video_folder"
    return {"detection": "coco", "segmentation": "mask_folder"}.get(entry.task, "image_folder")


def cut_of(entry: "Weights") -> dict[str, Any]:
    """The arguments of data sets by which files are cut as the publisher cuts them."""
    if len(entry.input_shape) == 4:
        return {"resize": _listed(entry.resize), "antialias": entry.antialias, "rate": entry.rate, **entry.views}
    how = {"interpolation": entry.interpolation, "antialias": entry.antialias}
    if entry.whole:
        objects = _objects_of(entry) if entry.task == "detection" else {}
        return {"short_side": entry.resize, "rounding": "down", **how, **objects}
    return {"scales": [_listed(entry.resize)] if entry.resize else None, **how}


def _listed(resize: int | tuple[int, int] | None) -> Any:
    return list(resize) if isinstance(resize, tuple) else resize


def _objects_of(entry: "Weights") -> dict[str, Any]:
    """How COCO is read for a detector: classes by their categories' ids, and the file that states what is learned."""
    annotations = "person_keypoints" if "keypoints" in entry.facts["fields"] else "instances"
    return {"target": "instances", "annotations": annotations, "gaps": True}


def overrides_of(entry: "Weights", data: str) -> list[str]:
    """The settings by which a data set, `data=`, is cut as the publisher cuts: of those that it has, what it does not do by
    itself."""
    from zoo.run.compose import composed

    own = composed([f"data={data}"]).data
    said = {key: each for key, each in cut_of(entry).items() if own.get(key, each) != each}
    return [f"data={data}", *(f"data.{key}={json.dumps(each)}" for key, each in said.items())]
