"""Autoencoding: an image through a short vector and back."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.batch import Batch
from zoo.common import draw
from zoo.tasks.base import Optimization, Task
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import IMAGES, Mean, Measure
from zoo.tasks.predictions import FilePrediction


class AutoencoderTask(Task):
    """Mean squared error between image and reconstruction, pixels counted from 0 to 1. Labels are not looked at.

    The network has `encode` and `decode`, and works in normalized pixels; the error is taken after undoing that.
    Metric: `mse`, the mean over images.
    """

    target = "none"
    available = IMAGES
    default_arguments = Optimization(metric="mse", mode="min", channels_last=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> (B, embedding)."""
        network: Any = self.net
        embedding: Tensor = network.encode(self.normalized(pixels)).float()
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, embedding) -> (B, C, H, W), about 0 to 1."""
        network: Any = self.net
        image: Tensor = network.decode(embedding).float()
        return image * self.std[:, None, None] + self.mean[:, None, None]

    def images(self, pixels: Tensor) -> Tensor:
        """uint8, or normalized (B, C, H, W) -> 0 to 1."""
        return pixels * self.std[:, None, None] + self.mean[:, None, None] if pixels.is_floating_point() else pixels / 255

    def errors(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> the mean squared error of each image, (B,)."""
        return (self.decode(self.encode(pixels)) - self.images(pixels)).square().flatten(1).mean(1)

    def predict(self, batch: Batch) -> Tensor:
        """(B, C, H, W): the reconstructions, about 0 to 1."""
        return self.decode(self.encode(batch["input"]))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"mse": self.errors(batch["input"]).mean()}

    def sample_outputs(self, batch: Batch) -> SampleOutputs:
        kept = {"id": batch["id"], "view": batch["view"], "error": self.errors(batch["input"]).double()}
        if self.wanted:
            kept |= {"reconstruction": self.predict(batch), "image": self.images(batch["input"])}
        return kept

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        return {"mse": (Mean(), [(outputs["error"],)])}

    def pairs(self, outputs: SampleOutputs) -> list[tuple[Tensor, Tensor]]:
        """Reconstructions and images (N, C, H, W), 0 to 1."""
        return [(outputs["reconstruction"], outputs["image"])]

    def prediction(self, batch: Batch, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """The reconstruction, its error and the embedding."""
        embedding = self.encode(batch["input"])
        error = self.errors(batch["input"]).item()
        return FilePrediction(
            text=f"mse {error:.4g}",
            fields={"mse": error, "embedding": embedding[0].tolist()},
            pictures={"reconstruction": draw.to_pil(_picture(self.decode(embedding)[0]))},
        )

    def draw(self, samples: Sequence[Any], folder: Path) -> None:
        """`reconstructions.png`, `interpolation.png` (straight lines between two embeddings, decoded) and
        `embedding.png` (the plane of the embeddings' first two principal components)."""
        batches = [batch for batch in (samples[at] for at in range(min(1000, len(samples)))) if len(batch["id"])]
        shown = batches[:8]
        images = [_picture(batch["input"][0] / 255) for batch in shown]
        again = [_picture(self.decode(self.encode(batch["input"]))[0]) for batch in shown]
        sheet = draw.sheet([[a, b] for a, b in zip(images, again, strict=True)], ["image", "reconstruction"], edge=96)
        draw.save(sheet, folder / "reconstructions.png")

        embeddings = torch.cat([self.encode(batch["input"]) for batch in batches])
        weights = torch.linspace(0, 1, 9, device=embeddings.device)[:, None]
        lines = [self.decode(start + weights * (end - start)) for start, end in pairwise(embeddings[:7])]
        titles = [f"{weight:.3f}" for weight in weights[:, 0].tolist()]
        sheet = draw.sheet([[_picture(image) for image in line] for line in lines], titles, edge=64)
        draw.save(sheet, folder / "interpolation.png")

        labels = [int(batch.get("label", torch.zeros(1))[0]) for batch in batches]
        _draw_plane(embeddings.cpu(), labels, folder / "embedding.png")


def _picture(image: Tensor) -> Tensor:
    """(1 or 3, H, W), 0 to 1 -> (3, H, W) uint8, on the CPU."""
    return (255 * image.detach().cpu()).round().clamp(0, 255).to(torch.uint8).expand(3, -1, -1)


def _draw_plane(embeddings: Tensor, labels: Sequence[int], path: Path) -> None:
    """Embeddings (N, D) on their first two principal components, colored by label."""
    from matplotlib.figure import Figure

    centered = embeddings - embeddings.mean(0)
    directions = torch.linalg.svd(centered, full_matrices=False).Vh[:2]
    plane = torch.nn.functional.pad(centered @ directions.T, (0, 2 - len(directions)))  # an embedding of one number is a line
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    points = axes.scatter(plane[:, 0], plane[:, 1], c=labels, cmap="tab10", s=8)
    axes.set(title=f"{len(labels)} validation images", xlabel="first component", ylabel="second component")
    if len(set(labels)) > 1:
        figure.colorbar(points, ax=axes, label="label")
    draw.save(figure, path, dpi=120)
