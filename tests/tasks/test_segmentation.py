"""Segmentation: the metrics against a slow independent reference, void, test-time averaging, pictures and answers."""

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tests.precision import SINGLE
from zoo.batch import VOID, MaskBatch
from zoo.common import draw
from zoo.tasks import predictions
from zoo.tasks.gathering import gather
from zoo.tasks.metrics import Overlap
from zoo.tasks.segmentation import SegmentationTask, confusion

CLASSES = 4


class Colours(nn.Module):
    """Scores that are the image's channels, so that a test can paint them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def task(net: nn.Module | None = None, channels: int = CLASSES, **arguments: object) -> SegmentationTask:
    made = SegmentationTask(
        net or Colours(),
        num_outputs=CLASSES,
        class_names=("sky", "road", "tree", "car"),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=None,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        channels_last=False,
        **arguments,
    )
    return made.eval()


def random_batch(count: int = 5, size: tuple[int, int] = (9, 11), seed: int = 0) -> MaskBatch:
    draws = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, CLASSES, (count, *size), generator=draws)
    mask[torch.rand(mask.shape, generator=draws) < 0.2] = VOID
    ids = torch.arange(count)
    pixels = torch.randint(0, 256, (count, CLASSES, *size), generator=draws, dtype=torch.uint8)
    return MaskBatch(input=pixels, mask=mask.to(torch.uint8), id=ids, view=ids * 0, epoch=ids * 0)


def slow_metrics(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Pixel by pixel, straight from the words of Long et al. 2015, section 5."""
    pairs = [(t, g) for t, g in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True) if t != VOID]
    present = [c for c in range(CLASSES) if any(c in pair for pair in pairs)]
    iou, accuracy, weighted = [], [], 0.0
    for c in present:
        both = sum(1 for t, g in pairs if t == g == c)
        either = sum(1 for t, g in pairs if c in (t, g))
        true = sum(1 for t, _ in pairs if t == c)
        iou.append(both / either)
        if true:
            accuracy.append(both / true)
        weighted += true / len(pairs) * both / either
    return {
        "miou": sum(iou) / len(iou),
        "pixel_accuracy": sum(t == g for t, g in pairs) / len(pairs),
        "mean_accuracy": sum(accuracy) / len(accuracy),
        "fw_iou": weighted,
    }


@pytest.mark.numerical
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("missing", [None, 2])
def test_metrics_against_a_slow_reference(seed: int, missing: int | None) -> None:
    batch = random_batch(seed=seed)
    if missing is not None:
        batch["mask"][batch["mask"] == missing] = VOID
        batch["input"][:, missing] = 0
    model = task()
    guess = model.predict(batch)
    found = model.metrics(model.sample_outputs(batch))
    for name, value in slow_metrics(batch["mask"].numpy(), guess.numpy()).items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert ("iou/tree" in found) == (missing is None)


@pytest.mark.numerical
def test_the_mean_is_over_the_set_and_not_over_samples() -> None:
    """Two images: one all of class 0 and right, one with a single pixel of class 1 and wrong."""
    truth = torch.zeros(2, 2, 2, dtype=torch.long)
    truth[1] = VOID
    truth[1, 0, 0] = 1
    guess = torch.zeros_like(truth)
    measure = Overlap(2)
    measure.update(confusion(truth, guess, 2))
    assert measure.compute()["miou"].item() == pytest.approx((4 / 5 + 0) / 2)


@pytest.mark.numerical
def test_metrics_do_not_depend_on_batches_or_repeats() -> None:
    model, batch = task(), random_batch(6)
    whole = model.metrics(gather([model.sample_outputs(batch)]))
    one = [model.sample_outputs({key: value[at : at + 1] for key, value in batch.items()}) for at in (3, 1, 0, 5, 2, 4, 0, 3)]  # type: ignore[typeddict-item,index]
    # Counts are equal to the bit; the loss only to rounding, for a convolution may sum otherwise for another batch.
    assert model.metrics(gather(one)) == pytest.approx(whole, rel=SINGLE, abs=0)


@pytest.mark.numerical
def test_void_counts_for_nothing() -> None:
    model, batch = task(), random_batch()
    loss = model.losses(batch)["cross_entropy"]
    scores = model(batch["input"])
    expected = [
        -torch.log_softmax(scores[b, :, y, x], 0)[batch["mask"][b, y, x].long()]
        for b, y, x in itertools.product(*map(range, batch["mask"].shape))
        if batch["mask"][b, y, x] != VOID
    ]
    assert torch.allclose(loss, torch.stack(expected).mean(), rtol=SINGLE)
    before = model.metrics(model.sample_outputs(batch))
    batch["input"][(batch["mask"] == VOID)[:, None].expand_as(batch["input"])] = 0
    assert model.metrics(model.sample_outputs(batch)) == before
    assert before["loss"] == pytest.approx(loss.item(), rel=SINGLE)


def test_an_all_void_image_costs_nothing_and_scores_nothing() -> None:
    model, batch = task(), random_batch(2)
    batch["mask"][:] = VOID
    loss = model.losses(batch)["cross_entropy"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    with pytest.raises(ValueError, match="Every pixel of the split is void"):
        model.metrics(model.sample_outputs(batch))


def test_scores_are_enlarged_to_the_masks_size() -> None:
    model, batch = task(), random_batch(1, (8, 12))
    batch["mask"] = torch.zeros(1, 16, 24, dtype=torch.uint8)
    scores = F.interpolate(batch["input"] / 255, (16, 24), mode="bilinear", align_corners=False)
    assert torch.equal(model.predict(batch).long(), scores.argmax(1))
    assert model.sample_outputs(batch)["confusion"].sum() == 16 * 24


@pytest.mark.numerical
def test_flip_and_scales_are_averaged() -> None:
    net = nn.Conv2d(CLASSES, CLASSES, 3, padding=1)
    batch = random_batch(2, (16, 20))
    x = batch["input"] / 255
    parts = []
    for scale in (0.5, 1.0, 1.5):
        resized = (
            x
            if scale == 1
            else F.interpolate(x, (round(16 * scale), round(20 * scale)), mode="bilinear", antialias=True, align_corners=False)
        )
        for mirrored in (False, True):
            scores = net(resized.flip(-1)).flip(-1) if mirrored else net(resized)
            parts.append(F.interpolate(scores, (16, 20), mode="bilinear", align_corners=False).softmax(1))
    model = task(net, scales=[0.5, 1.0, 1.5], flip=True)
    assert torch.allclose(model.probability(batch["input"], (16, 20)), torch.stack(parts).mean(0), atol=SINGLE)
    mirrored = model.probability(batch["input"].flip(-1), (16, 20)).flip(-1)
    assert torch.allclose(model.probability(batch["input"], (16, 20)), mirrored, atol=SINGLE)


@pytest.mark.parametrize("scales", [[], [0.0], [-1.0, 1.0]])
def test_scales_that_are_none_are_refused(scales: list[float]) -> None:
    with pytest.raises(ValueError, match=r"task\.scales is"):
        task(scales=scales)


@pytest.mark.numerical
def test_answer_gives_an_overlay_and_the_classes_by_index() -> None:
    model, batch = task(nn.Conv2d(3, CLASSES, 1), channels=3), random_batch(1, (10, 14))
    batch["input"] = batch["input"][:, :3]
    with torch.inference_mode():
        answer = model.prediction(batch, model.class_names, 2)
    mask = model.predict(batch)[0]
    classes = answer.pictures["classes"]
    assert classes.mode == "P"
    assert np.array_equal(np.asarray(classes), mask.numpy())
    assert answer.pictures["overlay"].size == (14, 10)
    share = np.bincount(mask.numpy().ravel(), minlength=CLASSES) / mask.numel()
    assert list(answer.fields["shares"].values()) == pytest.approx(sorted(share[share > 0], reverse=True)[:2], rel=SINGLE)
    assert answer.text.startswith(next(iter(answer.fields["shares"])))


def test_the_contact_sheet_shows_truth_beside_prediction(tmp_path: Path) -> None:
    model, batch = task(nn.Conv2d(3, CLASSES, 1), channels=3), random_batch(3)
    batch["input"] = batch["input"][:, :3]
    samples = [{key: value[at : at + 1] for key, value in batch.items()} for at in range(3)]  # type: ignore[index]
    model.draw(samples, tmp_path)  # type: ignore[arg-type]
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.width > 4 * 160
        assert sheet.height > 3 * 160


def test_the_palette_is_pascals() -> None:
    """The first colours of the VOC2012 devkit's table, and void's."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 15: (192, 128, 128), 255: (224, 224, 192)}
    assert {number: tuple(draw.palette()[number].tolist()) for number in known} == known
    assert len({tuple(colour) for colour in draw.palette().tolist()}) == 256


def test_a_saved_index_picture_reads_back(tmp_path: Path) -> None:
    mask = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    draw.save(draw.index_picture(mask), tmp_path / "deep" / "mask.png")
    with Image.open(tmp_path / "deep" / "mask.png") as opened:
        assert np.array_equal(np.asarray(opened), mask.numpy())
    assert math.isclose(draw.overlay(torch.zeros(1, 16, 16, dtype=torch.uint8), mask)[0, 0, 1].item(), 64)


def _of_colors(batch: MaskBatch) -> dict[str, Any]:
    return {**batch, "input": batch["input"][:, :3]}


@pytest.mark.parametrize("masked", [True, False])
def test_files_of_one_size_are_asked_about_together(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few at a time, and each is told what it is told alone."""
    torch.manual_seed(0)
    made = task(nn.Conv2d(3, CLASSES, 3, padding=1), channels=3)
    rows: list[int] = []
    made.net.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    batches: list[Any] = []
    for size, file in itertools.product([(9, 11), (8, 5)], range(5)):
        batch = _of_colors(random_batch(1, size, file))
        batches.append(batch if masked else {key: value for key, value in batch.items() if key != "mask"})
    batches[3] = _of_colors(random_batch(1, (9, 11), 3)) | {"mask": torch.zeros(1, 18, 22, dtype=torch.uint8)}  # wanted larger
    alone = [made.prediction(batch, made.class_names, 9) for batch in batches]
    rows.clear()
    monkeypatch.setattr(predictions, "_VALUES", 3 * 3 * 9 * 11)
    together = made.predictions(batches, made.class_names, 9)
    assert max(rows) == 5  # of the smaller ones
    assert sorted(rows) == [1, 1, 3, 5]
    for one, other in zip(alone, together, strict=True):
        assert one.fields == other.fields
        for name, picture in one.pictures.items():
            assert np.array_equal(np.asarray(picture), np.asarray(other.pictures[name]))
