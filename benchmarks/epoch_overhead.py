"""What a training step costs beyond a loop written by hand, and beyond the plain Lightning Trainer:
`ZOO_DATA=FOLDER python benchmarks/epoch_overhead.py [NAME ...] [--rounds 9] [--steps N]`.

Ours is the default run: its data module, task, trainer, loggers and callbacks. The others are what one would write for the
same network, optimiser and samples: a PyTorch loop, and a LightningModule of a dozen lines under `lightning.Trainer` with
its defaults. Sets in memory they index directly; clips come from the same loader. In turns, in one run. Without NAME and
options the result is recorded.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning
import torch
from _record import write
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.functional import cross_entropy

import zoo
from zoo.run.build import build_data, build_task
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.report import quiet
from zoo.run.trainer import build_trainer
from zoo.tasks.normalizing import CHANNELS_LAST


@dataclass(frozen=True)
class Case:
    model: str
    settings: tuple[str, ...]
    steps: int


CASES = {
    "lenet_wide": Case("lenet_wide", ("data=fashion_mnist", "data.batch_size=256", "data.augment.flip=null"), 60),
    "resnet18": Case("resnet18", (), 15),
    "c3d": Case("c3d", (), 8),
    "mask_rcnn": Case("mask_rcnn", (), 15),
}
SAME = (
    "trainer.max_epochs=1",
    "trainer.gradient_clip_val=null",
    "trainer.limit_val_batches=1",
    "trainer.precision=32-true",
    "scheduler=constant",
)


class Stopwatch(Callback):
    """Seconds from the end of the first batch, which warms up, to that of the last."""

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


class Run:
    """A configured run of a case: what all three contenders are made of."""

    def __init__(self, case: Case, steps: int, folder: str) -> None:
        limit = f"trainer.limit_train_batches={steps + 1}"
        self.config = composed([f"model={case.model}", *case.settings, *SAME, limit, f"run_dir={folder}"])
        self.steps = steps
        self.data = build_data(self.config)
        self.data.prepare_data()
        self.data.setup()
        publish(self.config, facts_of(self.data))
        self.task: Any = build_task(self.config)

    def batches(self) -> Iterator[dict[str, Any]]:
        """Bytes, and what is learned from: straight from memory where they are there, else from our loader."""
        samples: Any = self.data.splits["train"]
        if not hasattr(samples, "crops"):  # not labelled images in memory
            yield from self.data.train_dataloader()
            return
        order, size = torch.randperm(len(samples)), self.data.batch_size
        for at in range(0, len(order) - size + 1, size):
            index = order[at : at + size]
            yield {"input": samples.crops.cut(samples.images[index], 0), "label": samples.labels[index]}

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Normalisation, network and loss, written out."""
        task, pixels = self.task, batch["input"]
        shape = (-1, *(1,) * (pixels.dim() - 2))
        x = (pixels.float() / 255 - task.mean.view(shape)) / task.std.view(shape)
        if task.channels_last:
            x = x.contiguous(memory_format=CHANNELS_LAST[x.dim()])
        if task.target == "instances":
            return torch.stack(list(task.net(x, batch["instances"]).values())).sum()
        return cross_entropy(task.net(x), batch["label"])


def ours(case: Case, steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        made = Run(case, steps, folder)
        trainer, watch = build_trainer(made.config), Stopwatch()
        trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        trainer.fit(made.task, datamodule=made.data)
    return watch.seconds


def by_hand(case: Case, steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        made = Run(case, steps, folder)
        net = made.task.net.train()
        optimizer = made.task.optimizer(net.parameters())
        start = 0.0
        for step, batch in enumerate(islice(made.batches(), steps + 1)):
            loss = made.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            if step == 0:
                start = time.perf_counter()
        return time.perf_counter() - start


class Plain(lightning.LightningModule):
    def __init__(self, made: Run) -> None:
        super().__init__()
        self.net, self.made = made.task.net, made

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.made.loss(batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["input"]))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.made.task.optimizer(self.net.parameters())


class Batches(torch.utils.data.IterableDataset[dict[str, Any]]):
    def __init__(self, made: Run) -> None:
        self.made = made

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.made.batches()


def by_lightning(case: Case, steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        made, watch = Run(case, steps, folder), Stopwatch()
        trainer = lightning.Trainer(
            max_epochs=1, limit_train_batches=steps + 1, callbacks=[watch], default_root_dir=folder, accelerator="auto"
        )
        trainer.fit(Plain(made), torch.utils.data.DataLoader(Batches(made), batch_size=None))
    return watch.seconds


CONTENDERS = {"zoo": ours, "by hand": by_hand, "plain Lightning": by_lightning}


def ratio(a: list[float], b: list[float]) -> str:
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    quiet()
    if unknown := [name for name in given.names if name not in CASES]:
        parser.error(f"there is no case {unknown[0]}; there are {', '.join(CASES)}")
    cases = {name: case for name, case in CASES.items() if case.model in zoo.list_models()}
    if absent := sorted(CASES.keys() - cases.keys()):
        print(f"No model of that name, so left out: {', '.join(absent)}")
    rounds = given.rounds or 9
    head = [
        "network",
        "batch",
        "by hand, ms a step",
        "plain Lightning, ms",
        "zoo, ms",
        "zoo over by hand",
        "zoo over Lightning",
    ]
    rows = [head]
    for name in [name for name in given.names or cases if name in cases]:
        case = cases[name]
        steps = given.steps or case.steps
        taken: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(rounds):
            for contender, measure in CONTENDERS.items():
                with contextlib.redirect_stdout(io.StringIO()):
                    taken[contender].append(measure(case, steps))
        medians = {contender: f"{1000 * statistics.median(each) / steps:.1f}" for contender, each in taken.items()}
        size = composed([f"model={case.model}", *case.settings]).data.batch_size
        against = [ratio(taken["zoo"], taken[other]) for other in ("by hand", "plain Lightning")]
        rows.append([name, str(size), medians["by hand"], medians["plain Lightning"], medians["zoo"], *against])
        print(dict(zip(head, rows[-1], strict=True)), flush=True)
    if not (given.names or given.rounds or given.steps):
        counts = ", ".join(f"{name} {case.steps}" for name, case in cases.items())
        write(
            "epoch_overhead",
            "A training step of the default run against a loop written by hand and the plain Lightning Trainer",
            f"{rounds} rounds in turns; steps a round after one to warm up: {counts}; no augmentation; float32; "
            "the networks and shapes "
            "of `python -m zoo.train`, lenet_wide on Fashion-MNIST; medians (least to most)",
            rows,
        )


if __name__ == "__main__":
    main()
