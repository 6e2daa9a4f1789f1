"""What turning images costs: `ZOO_DATA=FOLDER python benchmarks/rotation_throughput.py`.

First, training steps of lenet_wide on Fashion-MNIST: the rotation task on batches of 64, which it turns into 256, against plain
classification on 256 images that lie there. Second, serving the four copies of each image: turned in batches, against PIL
turning each of them in a Dataset under a DataLoader with two workers, as normalised float32. In turns, in one run; the
workers' start and a first batch are not counted.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _record import write
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets
from torchvision.transforms import functional as F

from zoo.common.places import data_root
from zoo.data.fashion_mnist import FashionMnist
from zoo.run.build import build_data, build_task
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.tasks.rotation import all_turns

BATCH, STEPS, THEIR_BATCHES, OUR_BATCHES, ROUNDS = 64, 60, 60, 300, 7
MEAN, STD = FashionMnist.source_mean, FashionMnist.source_std


def training(task: str) -> float:
    """Images a second of training steps on four-fold batches, after one to warm up."""
    batch = BATCH if task == "rotation" else 4 * BATCH
    config = composed(
        [
            "model=lenet_wide",
            "data=fashion_mnist",
            f"task={task}",
            f"data.batch_size={batch}",
            "data.augment.flip=null",
            "run_dir=.",
        ]
    )
    data = build_data(config)
    data.setup()
    publish(config, facts_of(data))
    learner: Any = build_task(config).train()
    optimizer = torch.optim.AdamW(learner.net.parameters(), 1e-3)
    start = 0.0
    for step, samples in enumerate(itertools.islice(data.train_dataloader(), STEPS + 1)):
        loss, _ = learner.total_loss(samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if step == 0:
            start = time.perf_counter()
    return 4 * BATCH * STEPS / (time.perf_counter() - start)


class Turned(Dataset[Tensor]):
    """Four copies of each image, the usual way."""

    def __init__(self) -> None:
        self.images = datasets.FashionMNIST(str(data_root(None)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image: Image.Image = self.images[index][0]
        turned = (image.rotate(angle) for angle in (0, 90, 180, 270))
        return torch.stack([F.normalize(F.to_tensor(each), MEAN, STD) for each in turned])


def theirs() -> Iterator[Tensor]:
    for images in DataLoader(Turned(), BATCH, shuffle=True, num_workers=2):
        yield images.flatten(0, 1)


def ours() -> Iterator[Tensor]:
    data = FashionMnist(shape=(1, 28, 28), batch_size=BATCH, val=0.01)
    data.setup()
    mean, std = 255 * torch.tensor(MEAN).view(-1, 1, 1), 255 * torch.tensor(STD).view(-1, 1, 1)
    for batch in data.train_dataloader():
        yield all_turns(batch["input"])[0].float().sub_(mean).div_(std)


def serving(images: Iterator[Tensor], batches: int) -> float:
    """Turned images a second after the first batch."""
    next(images)
    start = time.perf_counter()
    for _ in range(batches):
        assert next(images).shape == (4 * BATCH, 1, 28, 28)
    return 4 * BATCH * batches / (time.perf_counter() - start)


def row(name: str, one: Callable[[], float], other: Callable[[], float]) -> list[str]:
    pairs = [(one(), other()) for _ in range(ROUNDS)]
    ratios = [b / a for a, b in pairs]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [name, f"{a:,.0f}", f"{b:,.0f}", f"{statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"]


def main() -> None:
    rows = [
        ["what", "without: images/s", "zoo: images/s", "ratio"],
        row(
            "a training step on 256 images: classification, and 64 turned four ways",
            lambda: training("classification"),
            lambda: training("rotation"),
        ),
        row(
            "serving: PIL, 2 workers, and in batches",
            lambda: serving(theirs(), THEIR_BATCHES),
            lambda: serving(ours(), OUR_BATCHES),
        ),
    ]
    write(
        "rotation_throughput",
        "What turning images costs: Fashion-MNIST, 28x28",
        f"{ROUNDS} rounds in turns, medians (least to most); {STEPS} training steps, {THEIR_BATCHES} and {OUR_BATCHES} "
        f"batches of {BATCH} images, four copies of each, served a round",
        rows,
    )


if __name__ == "__main__":
    main()
