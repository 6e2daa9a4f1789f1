"""What a head says of itself: its own metric, words and drawing, on any number of processes and where its truth lacks."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as run_lengths
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.detection import MeanAveragePrecision

from tests.tasks.test_detection import NUMBERS, batch_of, guess_of, task, truth_of
from zoo.common import coco
from zoo.common.coco_metric import CocoMetric
from zoo.models import BoxHead, Detections, Head, MaskHead, Scoring
from zoo.run import report
from zoo.tasks.gathering import gather


class Seen(Metric):
    """Keeps what it is told."""

    full_state_update = False

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value, self.told = value, list[Any]()

    def update(self, found: list[Any], truth: list[Any]) -> None:
        self.told.append((found, truth))

    def compute(self) -> Any:
        return self.value


class Own(Head):
    name = "own"

    def __init__(self, value: Any = 0.25, needs: tuple[str, ...] = (), words: str | None = "grey") -> None:
        self.value, self.spoken = value, words
        self.needs = needs  # type: ignore[misc]
        self.metrics: list[Seen] = []
        self.scoring: Scoring | None = None

    def metric(self, scoring: Scoring) -> Seen | None:
        self.scoring = scoring
        if self.value is None:
            return None
        self.metrics.append(Seen(self.value))
        return self.metrics[-1]

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [] if self.spoken is None else [f"{self.spoken} {shade:.1f}" for shade in found["shade"].tolist()]


class Sky(Head):
    name = "sky"
    dense = True

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [f"{found['sky'].sum():.0f} pixels of sky, and {len(class_names)} classes"]

    def kept(self, found: Detections) -> dict[str, Any]:
        return {"sky": coco.run_lengths(found["sky"].numpy())}

    def draw(self, image: Tensor, found: Detections) -> Tensor:
        return image + 7 * found["sky"].to(torch.uint8)


def found_of(number: int) -> dict[str, Tensor]:
    found = guess_of(truth_of(number), number)
    sky = torch.zeros(120, 160, dtype=torch.uint8)
    sky[:10] = 1
    return {**found, "shade": torch.linspace(0, 1, len(found["boxes"])), "sky": sky}


def with_heads(numbers: Sequence[int], *heads: Head, **more: Any) -> Any:
    found = [found_of(number) for number in numbers]
    if not any(head.dense for head in heads):
        found = [{name: value for name, value in each.items() if name != "sky"} for each in found]
    model = task(found, **more)
    model.net.heads = (BoxHead(), MaskHead(), *heads)  # type: ignore[assignment]
    return model


@pytest.mark.parametrize(
    ("value", "figures"),
    [
        (0.25, {"own": 0.25}),
        (torch.tensor(3.0), {"own": 3.0}),
        ({"a": 1.0, "b": torch.tensor(2.0)}, {"own_a": 1.0, "own_b": 2.0}),
    ],
)
def test_a_heads_metric_is_beside_cocos(value: Any, figures: dict[str, float]) -> None:
    head = Own(value)
    plain, model = with_heads(NUMBERS), with_heads(NUMBERS, head)
    expected = plain.metrics(gather([plain.sample_outputs(batch_of(NUMBERS))]))
    found = model.metrics(gather([model.sample_outputs(batch_of(NUMBERS))]))
    assert found == {**expected, **figures}
    assert list(found)[-len(figures) :] == list(figures)
    assert head.scoring == Scoring(("cat", "dog", "bird"), (3, 17, 90), model.keypoint_sigmas, 100)


def test_a_head_without_a_metric_has_no_figure() -> None:
    model = with_heads([1], Own(None))
    assert not [name for name in model.metrics(model.sample_outputs(batch_of([1]))) if name.startswith("own")]


def test_each_image_is_told_once_in_torchmetrics_form() -> None:
    """Whatever the batches, and though some repeat, as they do where processes share a split."""
    head = Own()
    order = [5, 2, 7, 0, 3, 1, 6, 4, 5, 0]
    model = with_heads(order, head)
    model.metrics(gather([model.sample_outputs(batch_of(order[at : at + 3])) for at in range(0, len(order), 3)]))
    ((found, truth),) = head.metrics[0].told
    assert [each["image_id"] for each in truth] == [1000 + number for number in NUMBERS]
    for number, mine, there in zip(NUMBERS, found, truth, strict=True):
        expected, guess = truth_of(number), found_of(number)
        assert all(torch.equal(there[name], expected[name]) for name in ("boxes", "labels", "keypoints"))
        assert torch.equal(there["iscrowd"], expected["crowd"])
        assert torch.equal(there["area"], expected["masks"].flatten(1).sum(1))
        assert all(torch.equal(mine[name], guess[name]) for name in ("boxes", "labels", "scores", "shade"))
        for told, masks in ((there, expected["masks"]), (mine, guess["masks"][:, 0] > 0.5)):
            assert [run_lengths.decode(mask).tolist() for mask in told["masks"]] == masks.int().tolist()


def test_torchmetrics_own_metric_reads_the_same() -> None:
    class Library(Head):
        name = "library"

        def metric(self, scoring: Scoring) -> Metric:
            return MeanAveragePrecision()

    model = with_heads(NUMBERS, Library())
    outputs = model.sample_outputs(batch_of(NUMBERS))
    metric = MeanAveragePrecision()
    metric.update(*model.pairs(outputs)[0])
    found = model.metrics(outputs)
    assert found["library_map"] == metric.compute()["map"].item()
    assert "library_classes" not in found  # a list of them is no figure
    assert found["library_map"] == pytest.approx(found["box_ap"], abs=0.01)  # it measures objects of a size otherwise


def test_without_its_truth_a_head_says_nothing() -> None:
    """Of images that have it, it is scored as if they were alone."""
    for lacking in ([], [0, 2], NUMBERS):
        head = Own(needs=("keypoints",))
        model = with_heads(NUMBERS, head)
        batch = batch_of(NUMBERS)
        for at in lacking:
            del batch["instances"][at]["keypoints"], batch["instances"][at]["masks"]
        found = model.metrics(model.sample_outputs(batch))
        assert "box_ap" in found
        assert ("own" in found) == ("mask_ap" in found) == (len(lacking) < len(NUMBERS))
        told = [each["image_id"] - 1000 for metric in head.metrics for each in metric.told[0][1]]
        assert told == [number for number in NUMBERS if number not in lacking]


def test_a_monitored_metric_without_its_truth_is_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_heads([0, 1], metric="mask_ap")
    batch = batch_of([0, 1])
    for each in batch["instances"]:
        del each["masks"], each["keypoints"]
    found = {f"test/{name}": value for name, value in model.metrics(model.sample_outputs(batch)).items()}
    model.scored["test"] = 2
    data: Any = SimpleNamespace(splits={"test": None}, skipped_counts={}, limited={})
    monkeypatch.setattr(report, "counted", lambda *_: "2 of 2 test samples")
    report.scores(model, data, "test", found, SimpleNamespace(weights="best.ckpt", protocol="data=own"))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "mask_ap" not in said
    assert "test box_ap 0." in said


def test_no_metric_talks_to_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all have gathered would be counted as often as there are processes."""

    class Averaged(Head):
        name = "averaged"

        def metric(self, scoring: Scoring) -> Metric:
            class Count(MeanMetric):
                def update(self, found: Any, truth: Any) -> None:
                    super().update(torch.tensor([float(len(each["boxes"])) for each in truth]))

            return Count()

    monkeypatch.setattr("torch.distributed.is_available", lambda: True)
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: pytest.fail("it asks for others"))
    model = with_heads(NUMBERS, Averaged())
    assert model.metrics(model.sample_outputs(batch_of(NUMBERS)))["averaged"] == pytest.approx(35 / 8)


def test_cocos_metric_can_be_updated_and_reset() -> None:
    model = with_heads(NUMBERS)
    outputs = model.sample_outputs(batch_of(NUMBERS))
    metric = CocoMetric("mask", Scoring(category_ids=(3, 17, 90)))
    for _ in range(2):
        for mine, there in zip(outputs["found"], outputs["truth"], strict=True):
            metric.update([mine], [there])
        found = {f"mask_{name}": value for name, value in metric.compute().items()}
        assert found.items() <= model.metrics(outputs).items()
        assert {each["image_id"] for each in metric.results()} <= {1000 + number for number in NUMBERS}
        metric.reset()
        assert not metric.results()


# Words and pictures


def test_words_stand_beside_the_class_and_those_of_the_image_after_all() -> None:
    model = with_heads([1], Own(), Own(words=None), Sky(), threshold=0.0)
    said = model.prediction(batch_of([1]), model.class_names, 2)
    score = found_of(1)["scores"][0]
    first, second, last = said.text.split(", ", 2)
    assert first.endswith(f"{score:.3f} grey 0.0")
    assert second.split(" and ")[0].endswith("grey 0.2")
    assert last == "and 3 classes" or said.text.endswith("; 1600 pixels of sky, and 3 classes")
    assert len(said.fields["objects"]) == 5
    assert said.fields["objects"][1]["shade"] == 0.25
    assert "sky" not in said.fields["objects"][0]
    assert said.fields["sky"]["size"] == [120, 160]


def test_nothing_found_still_says_what_is_seen_of_the_image() -> None:
    model = with_heads([1], Own(), Sky(), threshold=1.5)
    said = model.prediction(batch_of([1]), model.class_names, 2)
    assert said.text == "nothing; 1600 pixels of sky, and 3 classes"
    assert said.fields["objects"] == []


def test_a_head_draws_below_the_objects(tmp_path: Path) -> None:
    pictures = []
    for heads in ((), (Sky(),)):
        model = with_heads([1], *heads, threshold=1.5)
        pictures.append(np.asarray(model.prediction(batch_of([1]), model.class_names, 2).pictures["objects"]))
        model = with_heads([1], *heads, threshold=0.0)
        model.draw([batch_of([1])], tmp_path / str(len(heads)))
    plain, drawn = pictures
    assert plain.shape == drawn.shape
    assert not plain.any()
    assert (drawn[: 10 * drawn.shape[0] // 120] == 7).all()
    assert not drawn[10 * drawn.shape[0] // 120 :].any()
    sheets = [np.asarray(Image.open(tmp_path / name / "predictions.png")) for name in "01"]
    assert (sheets[0] != sheets[1]).any()


def test_a_network_without_a_head_of_boxes_is_scored_by_boxes_too() -> None:
    model = with_heads(NUMBERS)
    expected = model.metrics(model.sample_outputs(batch_of(NUMBERS)))
    other = with_heads(NUMBERS)
    other.net.heads = (SimpleNamespace(name="odd", needs=(), dense=False, kept=lambda _: {}, metric=lambda _: None), MaskHead())
    assert other.metrics(other.sample_outputs(batch_of(NUMBERS))) == expected
