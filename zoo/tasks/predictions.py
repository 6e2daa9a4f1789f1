"""What a task says of a user's file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor, nn

from zoo.common.apart import Apart

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class FilePrediction:
    """What a prediction says of one file: a line of text, the same as plain values, and pictures by name."""

    text: str
    fields: dict[str, Any]
    pictures: dict[str, "Image"] = field(default_factory=dict)


def ranked(views: Sequence[Tensor], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
    """The classes of each sample, most probable first, by the mean of its views; of each they are (V, C) probabilities."""
    best = torch.stack([each.mean(0) for each in views]).cpu().topk(min(top_k, len(class_names)))
    said = []
    for places, values in zip(best.indices.tolist(), best.values.tolist(), strict=True):
        top = [(class_names[at], value) for at, value in zip(places, values, strict=True)]
        text = ", ".join(f"{name} {value:.3f}" for name, value in top)
        said.append(FilePrediction(text, {"top": [{"class": name, "probability": value} for name, value in top]}))
    return said


def together(batches: Sequence[Any], predict: Callable[[Any], Tensor]) -> list[Tensor]:
    """What `predict` says of the views of each batch, the network asked once for all whose inputs are of one shape."""
    alike: dict[Any, list[int]] = {}
    for at, batch in enumerate(batches):
        alike.setdefault(batch["input"].shape[1:], []).append(at)
    said: dict[int, Tensor] = {}
    for places in alike.values():
        inputs = [batches[at]["input"] for at in places]
        whole = predict({"input": inputs[0] if len(inputs) == 1 else torch.cat(inputs)})
        said.update(zip(places, torch.split(whole, [len(each) for each in inputs]), strict=True))
    return [said[at] for at in range(len(batches))]


_VALUES = 2**22
"""Bytes of whole images that go through a network together, at most: its maps are many times as large."""


def apart(batches: Sequence[Any], predict: Callable[[Any], Any], names: Sequence[str], net: nn.Module) -> list[Any]:
    """The same of whole images: a few of one size at a time, with the bits of each alone.

    Args:
        predict: what the network says, one row or entry a sample.
        names: of the fields that it reads beside the input, as far as there are any.
    """
    alike: dict[Any, list[int]] = {}
    for at, batch in enumerate(batches):
        sizes = [batch[name].shape for name in ("input", *names) if name in batch]
        alike.setdefault((*sizes, str(batch.get("size"))), []).append(at)
    said: dict[int, Any] = {}
    for (shape, *_), places in alike.items():
        views, step = shape[0], max(1, _VALUES // shape.numel())
        for few in (places[start : start + step] for start in range(0, len(places), step)):
            known = [name for name in ("input", *names) if name in batches[few[0]]]
            whole = {name: torch.cat([batches[at][name] for at in few]) for name in known}
            with Apart(views * len(few), views) as layers, layers.of_regions(net):
                found = predict(whole)
            said.update((at, found[views * turn : views * (turn + 1)]) for turn, at in enumerate(few))
    return [said[at] for at in range(len(batches))]


def a_few(samples: Sequence[Any], most: int = 8) -> Iterator[Any]:
    """Batches of one sample, evenly spread; without those whose file could not be read."""
    count = min(most, len(samples))
    batches = (samples[number * len(samples) // count] for number in range(count))
    return (batch for batch in batches if len(batch["id"]))
