"""Self-supervision by rotation: by how many quarter turns was an image turned? (Gidaris, Singh and Komodakis 2018,
"Unsupervised representation learning by predicting image rotations")."""

from collections.abc import Sequence
from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo.batch import Batch
from zoo.common.chance import ROTATION, uniform
from zoo.common.words import warn
from zoo.tasks.base import Optimization, Task
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import CLASSES, Mean, Measure
from zoo.tasks.predictions import FilePrediction, ranked, together

TURNS = 4
CLASS_NAMES = ("0°", "90°", "180°", "270°")
"""Counter-clockwise."""


class RotationTask(Task):
    """Turn by 0, 90, 180 or 270 degrees, exactly and on the device, and tell which; labels are not looked at in training.

    A clip is turned as a whole. Images that are not square are cut to their central square. Evaluation always turns each
    sample all four ways: `accuracy` is over all of them, `loss` the mean cross-entropy.

    Args:
        num_outputs: 4.
        copies: "all" puts all four copies of a sample into the batch, which is then four times as large (the paper,
            section 3: better than one at a time); "one" turns each sample one way, by (seed, epoch, sample id).
        seed: of the choice of "one".
    """

    target = "none"
    available = CLASSES
    unscored = Task.unscored | {"copies", "seed"}
    default_arguments = Optimization(metric="accuracy", mode="max", channels_last=False)

    def __init__(
        self,
        net: nn.Module,
        *,
        num_outputs: int = TURNS,
        copies: Literal["all", "one"] = "all",
        seed: int = 0,
        **optimization: Unpack[Optimization],
    ) -> None:
        super().__init__(net, **optimization)
        if num_outputs != TURNS:
            raise ValueError(f"task.num_outputs is {num_outputs}, but there are {TURNS} quarter turns to tell apart.")
        self.num_outputs = num_outputs
        self.copies = copies
        self.seed = seed

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.copies == "all":
            pixels, turns = all_turns(batch["input"])
        else:
            drawn = uniform(self.seed, batch["epoch"], batch["id"], 1, ROTATION).squeeze(1)
            turns = (drawn * TURNS).long()
            pixels = turned(batch["input"], turns)
        scores = self(pixels).float()
        self.log("train/accuracy", (scores.argmax(1) == turns).float().mean(), prog_bar=True, batch_size=len(turns))
        return {"cross_entropy": cross_entropy(scores, turns)}

    def predict(self, batch: Batch) -> Tensor:
        """(B, 4): the probabilities of each turn, of the samples as they are."""
        probability: Tensor = self(square(batch["input"])).float().softmax(1)
        return probability

    def prediction(self, batch: Batch, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """By how much an image, or a clip, seems to be turned as it is."""
        return self.predictions([batch], class_names, top_k)[0]

    def predictions(self, batches: Sequence[Batch], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
        return ranked(together(batches, self.predict), CLASS_NAMES, top_k)

    def sample_outputs(self, batch: Batch) -> SampleOutputs:
        """`predicted` and `cross_entropy`, (B, 4): of each turn the class and the loss; and the label if there is one."""
        pixels, turns = all_turns(batch["input"])
        scores = self(pixels).float()
        count = len(batch["id"])
        kept: SampleOutputs = {
            "id": batch["id"],
            "view": batch["view"],
            "predicted": scores.argmax(1).reshape(TURNS, count).T,
            "cross_entropy": cross_entropy(scores, turns, reduction="none").reshape(TURNS, count).T,
        }
        if self.wanted:
            kept["probability"] = scores.softmax(1).reshape(TURNS, count, TURNS).transpose(0, 1)
        label = batch.get("label")
        return {**kept, "label": label} if isinstance(label, Tensor) else kept

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        right = outputs["predicted"] == torch.arange(TURNS)
        return {"accuracy": (Mean(), [(right,)]), "loss": (Mean(), [(outputs["cross_entropy"],)])}

    def pairs(self, outputs: SampleOutputs) -> list[tuple[Tensor, Tensor]]:
        """Probabilities (4 N, 4) and turns (4 N,)."""
        probability = outputs["probability"]
        return [(probability.flatten(0, 1), torch.arange(TURNS).repeat(len(probability)))]


def square(pixels: Tensor) -> Tensor:
    """The central square of (..., H, W); said once, for part of every image is lost."""
    height, width = pixels.shape[-2:]
    if height == width:
        return pixels
    edge = min(height, width)
    warn(f"Images of {height} x {width} are cut to their central {edge} x {edge}, to be turned.")
    top, left = (height - edge) // 2, (width - edge) // 2
    return pixels[..., top : top + edge, left : left + edge]


def all_turns(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, ..., H, W) -> (4 B, ..., H, H), all samples unturned, then all turned once, and so on; and the turns, (4 B,)."""
    pixels = square(pixels)
    copies = torch.cat([torch.rot90(pixels, turns, (-2, -1)) for turns in range(TURNS)])
    return copies, torch.arange(TURNS, device=pixels.device).repeat_interleave(len(pixels))


def turned(pixels: Tensor, turns: Tensor) -> Tensor:
    """Sample k turned by `turns[k]` quarter turns."""
    pixels = square(pixels)
    result = pixels.clone()
    for count in range(1, TURNS):
        mask = turns == count
        result[mask] = torch.rot90(pixels[mask], count, (-2, -1))
    return result


def confusion_by_class(outputs: SampleOutputs, num_classes: int) -> Tensor:
    """(num_classes, 4, 4): of each class's images turned i ways, the share that was told to be turned j ways.

    Raises ValueError where the outputs have no labels.
    """
    if "label" not in outputs:
        raise ValueError("The data have no labels, so the confusion cannot be told by class.")
    counts = torch.zeros(num_classes, TURNS, TURNS)
    truth = torch.arange(TURNS).expand_as(outputs["predicted"])
    label = outputs["label"][:, None].expand_as(truth)
    counts.index_put_((label, truth, outputs["predicted"]), torch.ones(()), accumulate=True)
    return counts / counts.sum(2, keepdim=True).clamp_min(1)
