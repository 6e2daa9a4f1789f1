"""What a training epoch costs beyond a loop written by hand: `ZOO_DATA=FOLDER python benchmarks/epoch_overhead.py`.

lenet_wide, Fashion-MNIST, batches of 256, AdamW: the default run's trainer, loggers and callbacks, against a plain PyTorch
loop over the same tensors in memory. In turns, in one run.
"""

import statistics
import tempfile
import time
from typing import Any

import lightning
import torch
from _record import write
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import cross_entropy

import zoo
from zoo import config as run
from zoo.data.fashion_mnist import FashionMnist
from zoo.train import build_trainer

BATCH, BATCHES, ROUNDS = 256, 60, 5


class Stopwatch(Callback):
    """Seconds from the first batch of the epoch, after one to warm up, to the last."""

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


def ours() -> float:
    settings = ["model=lenet_wide", "data=fashion_mnist", f"data.batch_size={BATCH}", "data.augment.flip=null"]
    with tempfile.TemporaryDirectory() as folder:
        limits = ["trainer.max_epochs=1", f"trainer.limit_train_batches={BATCHES + 1}", "trainer.limit_val_batches=1"]
        config = run.composed([*settings, *limits, f"run_dir={folder}"])
        data = run.build_data(config)
        data.setup()
        run.publish(config, run.facts_of(data))
        task = run.build_task(config)
        trainer = build_trainer(config)
        watch = Stopwatch()
        trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        trainer.fit(task, datamodule=data)
    return watch.seconds


def by_hand() -> float:
    data = FashionMnist(shape=(1, 28, 28))
    data.setup()
    samples: Any = data.splits["train"]
    images, labels = samples.images, samples.labels
    net = zoo.create_model("lenet_wide")
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    order = torch.randperm(len(images))
    start = 0.0
    for step in range(BATCHES + 1):
        index = order[step * BATCH : (step + 1) * BATCH]
        x = (images[index].float() / 255 - data.mean[0]) / data.std[0]
        loss = cross_entropy(net(x), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if step == 0:
            start = time.perf_counter()
    return time.perf_counter() - start


def main() -> None:
    from zoo.report import quiet

    quiet()
    pairs = [(by_hand(), ours()) for _ in range(ROUNDS)]
    ratios = [b / a for a, b in pairs]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    epoch = 60_000 / BATCH / BATCHES
    write(
        "epoch_overhead",
        "A training epoch against a loop written by hand: lenet_wide, Fashion-MNIST, batch 256",
        f"{ROUNDS} rounds in turns of {BATCHES} steps after one to warm up, no augmentation; seconds scaled to 60,000 images; "
        "medians (least to most)",
        [["by hand, s an epoch", "zoo, s an epoch", "ratio"], [f"{a * epoch:.1f}", f"{b * epoch:.1f}", ratio]],
    )


if __name__ == "__main__":
    main()
