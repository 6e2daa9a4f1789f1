"""Time of a training image, Mask R-CNN here against torchvision's reference loop: `python benchmarks/detection_step.py`.

The same network (the tensors of one are loaded into the other, name by name), the same scenes, the same size and the same
optimiser. Theirs is the loop of torchvision's references/detection (engine.py): samples one by one, a loader that makes
lists, losses summed, backward, step. Ours is `python -m zoo.train model=mask_rcnn`. Rounds of both alternate in one process;
the ratio is that of neighbours. Written to results/detection_step.md.
"""

import argparse
import statistics
import tempfile
import time
from typing import Any

import lightning
import torch
from _record import write
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from zoo.run import report
from zoo.run.build import build_data, make
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.trainer import build_trainer

WARM = 5
"""Steps of a round before the clock starts."""


def theirs(config: DictConfig) -> MaskRCNN:
    """torchvision's own classes at the sizes of the configuration."""
    own = config.model
    levels, channels = own.levels, own.channels
    first, box, widths = own.rpn_options, own.head_options.box, own.head_options.mask.widths
    names = [str(at) for at in range(levels)]
    depths = [64 * 2**level for level in range(levels)]
    body = BackboneWithFPN(
        resnet18(norm_layer=torch.nn.BatchNorm2d), {f"layer{at + 1}": str(at) for at in range(levels)}, depths, channels
    )
    anchors = AnchorGenerator(tuple((edge,) for edge in first.anchors), (tuple(first.ratios),) * len(first.anchors))
    return MaskRCNN(
        body,
        min_size=min(config.data.shape[1:]),
        max_size=max(config.data.shape[1:]),
        image_mean=list(config.data.mean),
        image_std=list(config.data.std),
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=first.train_proposals,
        rpn_post_nms_top_n_train=first.train_proposals,
        rpn_pre_nms_top_n_test=first.proposals,
        rpn_post_nms_top_n_test=first.proposals,
        box_roi_pool=MultiScaleRoIAlign(names, 7, box.sampling_ratio),
        mask_roi_pool=MultiScaleRoIAlign(names, 14, box.sampling_ratio),
        box_batch_size_per_image=box.regions,
        box_head=TwoMLPHead(channels * 49, box.width),
        box_predictor=FastRCNNPredictor(box.width, own.num_classes + 1),
        mask_head=MaskRCNNHeads(channels, tuple(widths), 1),
        mask_predictor=MaskRCNNPredictor(widths[-1], widths[-1], own.num_classes + 1),
    )


class OneByOne(Dataset[Any]):
    """Scenes as torchvision's reference reads its data: a float image and its target at a time."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        batch = self.samples.__getitems__([(0, index)])
        return batch["input"][0].float() / 255, batch["instances"][0]


def their_seconds(net: MaskRCNN, loader: DataLoader[Any], config: DictConfig, steps: int) -> float:
    """A step of the reference loop: lists of images and targets, a sum of losses, a schedule, gradients clipped as ours are."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.optimizer.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001, total_iters=steps)
    net.train()
    for step, (images, targets) in enumerate(loader):
        if step == WARM:
            start = time.perf_counter()
        losses = net(list(images), [dict(target) for target in targets])
        loss = sum(losses.values())
        if not torch.isfinite(loss):
            raise SystemExit(f"theirs diverged: {losses}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.trainer.gradient_clip_val)
        optimizer.step()
        schedule.step()
        if step + 1 == WARM + steps:
            break
    return (time.perf_counter() - start) / steps


class Stopwatch(Callback):
    """The seconds from the end of step `WARM` to the end of the last one."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == WARM:
            self.start = time.perf_counter()
        self.end = time.perf_counter()


def our_seconds(net: torch.nn.Module, data: Any, config: DictConfig, steps: int) -> float:
    task = make(config.task, "task")(net=net)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        changes = {"callbacks": [watch], "logger": False, "enable_checkpointing": False, "default_root_dir": folder}
        silent = {"max_steps": WARM + steps, "limit_val_batches": 0, "enable_progress_bar": False}
        build_trainer(config, **changes, **silent).fit(task, datamodule=data)
    return (watch.end - watch.start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("settings", nargs="*", help="as of zoo.train")
    arguments = parser.parse_args()
    report.quiet()
    config = composed(["model=mask_rcnn", "run_dir=.", "trainer.precision=32-true", *arguments.settings])
    data = build_data(config)
    data.prepare_data()
    data.setup()
    publish(config, facts_of(data))
    lightning.seed_everything(0, verbose=False)
    net = make(config.model, "model")()
    their_net = theirs(config)
    their_net.load_state_dict(net.state_dict())  # the same network, or this fails
    size = config.data.batch_size
    loader = DataLoader(
        OneByOne(data.splits["train"]), batch_size=size, shuffle=True, collate_fn=lambda batch: tuple(zip(*batch, strict=True))
    )
    rows, ratios = [["round", "torchvision, ms an image", "zoo, ms an image", "ratio"]], []
    for number in range(1, arguments.rounds + 1):
        times = {}
        for who in ("theirs", "ours") if number % 2 else ("ours", "theirs"):  # neither is always the first
            times[who] = (
                their_seconds(their_net, loader, config, arguments.steps)
                if who == "theirs"
                else our_seconds(net, data, config, arguments.steps)
            )
        ratios.append(times["ours"] / times["theirs"])
        rows.append([str(number), *(f"{1000 * times[who] / size:.1f}" for who in ("theirs", "ours")), f"{ratios[-1]:.3f}"])
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    rows.append(["median", "", "", f"{statistics.median(ratios):.3f} ({spread})"])
    write(
        "detection_step",
        "Mask R-CNN: time of a training image",
        f"batches of {size} scenes at {' x '.join(map(str, config.data.shape))}, {arguments.steps} steps a round after {WARM}, "
        f"rounds of both in turn, data loading included, no validation, float32, "
        + (" ".join(arguments.settings) or "default settings"),
        rows,
    )


if __name__ == "__main__":
    main()
