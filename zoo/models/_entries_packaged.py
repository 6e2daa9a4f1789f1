"""Entries as JSON files in `weights/`: what this project trained, with its tensors beside them, and what others published
without metadata that a library carries."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from zoo.common.download import Address
from zoo.models import _entry
from zoo.models._entry import Accuracy, Weights


def packaged(name: str) -> Sequence[Weights]:
    return [read_entry(path) for path in sorted(_entry.FOLDER.glob(f"{name}-*.json"))]


def read_entry(path: Path) -> Weights:
    content = json.loads(path.read_text())
    if isinstance(content["class_names"], str):
        content["class_names"] = _categories(*content["class_names"].split(":"))
    for key in ("input_shape", "mean", "std", "class_names"):
        content[key] = tuple(content[key])
    if isinstance(content["resize"], list):
        content["resize"] = tuple(content["resize"])
    content["addresses"] = tuple(Address(**address) for address in content["addresses"])
    content["accuracies"] = tuple(Accuracy(**accuracy) for accuracy in content["accuracies"])
    return Weights(**content)


def _categories(model: str, weights: str) -> list[str]:
    """The classes that torchvision states for weights of its own, of data that others have trained on too."""
    import torchvision

    categories: list[str] = torchvision.models.get_model_weights(model)[weights].meta["categories"]
    return categories


def write_entry(entry: Weights) -> None:
    path = _entry.FOLDER / f"{entry.model}-{entry.tag}.json"
    path.write_text(json.dumps(asdict(entry), indent=1, ensure_ascii=False) + "\n")
