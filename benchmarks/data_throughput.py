"""Images a second, ours against torchvision's usual way: `ZOO_DATA=FOLDER python benchmarks/data_throughput.py`.

Both serve Fashion-MNIST, shuffled, in batches of 256, mirrored, moved and scaled at random (bilinear), as normalised
float32. Theirs: torchvision.datasets.FashionMNIST, PIL transforms, a DataLoader with two workers. Ours: the stored set, one
process, batches augmented at once. In turns, in one run; the workers' start is not counted.
"""

import statistics
import time
from collections.abc import Iterator

import torch
from _record import write
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from zoo.common.places import data_root
from zoo.data.fashion_mnist import FashionMnist
from zoo.data.loading.augment import Affine, Chance, Flip

BATCH, THEIR_BATCHES, OUR_BATCHES, ROUNDS = 256, 60, 200, 5
MEAN, STD = FashionMnist.source_mean, FashionMnist.source_std
CHOICES = ("mirrored", "mirrored, moved, scaled")


def theirs(moved: bool) -> Iterator[Tensor]:
    steps = [
        transforms.RandomHorizontalFlip(),
        *([transforms.RandomAffine(0, (0.07, 0.07), (0.9, 1.1), interpolation=transforms.InterpolationMode.BILINEAR)] * moved),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    dataset = datasets.FashionMNIST(str(data_root(None)), transform=transforms.Compose(steps))
    for images, _ in DataLoader(dataset, BATCH, shuffle=True, num_workers=2):
        yield images


def ours(moved: bool) -> Iterator[Tensor]:
    data = FashionMnist(shape=(1, 28, 28), batch_size=BATCH, val=0.01)
    data.setup()
    augments = [Flip(), *([Affine(scale=0.1, shift=0.07)] * moved)]
    mean, std = 255 * torch.tensor(MEAN).view(-1, 1, 1), 255 * torch.tensor(STD).view(-1, 1, 1)
    for batch in data.train_dataloader():
        pixels = batch["input"]
        for number, augment in enumerate(augments):
            pixels = augment(pixels, Chance(0, batch["epoch"], batch["id"], 1000 + number))
        yield pixels.float().sub_(mean).div_(std)


def rate(images: Iterator[Tensor], batches: int) -> float:
    """Images a second after the first batch."""
    next(images)
    start = time.perf_counter()
    for _ in range(batches):
        assert next(images).shape == (BATCH, 1, 28, 28)
    return BATCH * batches / (time.perf_counter() - start)


def main() -> None:
    rows = [["augmentation", "torchvision, PIL, 2 workers: images/s", "stored, batched: images/s", "ratio"]]
    for name in CHOICES:
        moved = "moved" in name
        pairs = [(rate(theirs(moved), THEIR_BATCHES), rate(ours(moved), OUR_BATCHES)) for _ in range(ROUNDS)]
        ratios = [b / a for a, b in pairs]
        low, high = min(ratios), max(ratios)
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append([name, f"{a:,.0f}", f"{b:,.0f}", f"{statistics.median(ratios):.1f} ({low:.1f} to {high:.1f})"])
    write(
        "data_throughput",
        "Data throughput on Fashion-MNIST, 28x28",
        f"{ROUNDS} rounds in turns, medians (least to most); theirs {THEIR_BATCHES} and ours {OUR_BATCHES} batches of {BATCH} "
        "a round after the first, to normalised float32",
        rows,
    )


if __name__ == "__main__":
    main()
