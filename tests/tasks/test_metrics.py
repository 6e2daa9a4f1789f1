"""Metrics: torchmetrics' by name, one's own, and ours against torchmetrics'."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score, MulticlassRecall
from torchmetrics.text import Perplexity

import zoo
from tests.precision import SINGLE
from zoo.batch import VOID, example_batch
from zoo.tasks import AutoencoderTask, ClassificationTask, RotationTask, SegmentationTask, Task
from zoo.tasks.gathering import gather
from zoo.tasks.metrics import ClassOverlap, Mean, MeanLoss, Overlap, TopAccuracy

CLASSES, SAMPLES = 5, 40


def labels_and_probabilities() -> tuple[Tensor, Tensor]:
    label = torch.arange(SAMPLES) % CLASSES
    return label, (2 * torch.randn(SAMPLES, CLASSES) + 2 * nn.functional.one_hot(label, CLASSES)).softmax(1)


class Painted(nn.Module):
    """Scores that are the image's channels."""

    num_classes = CLASSES

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[-1] > 1 else x.flatten(1)


class Copy(nn.Module):
    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, x: Tensor) -> Tensor:
        return x * 0.9


TASKS: dict[str, tuple[Callable[..., Task], tuple[int, ...], str]] = {
    "classification": (lambda **more: ClassificationTask(Painted(), **more), (CLASSES, 1, 1), "label"),
    "rotation": (
        lambda **more: RotationTask(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)), **more),
        (3, 12, 12),
        "none",
    ),
    "segmentation": (lambda **more: SegmentationTask(Painted(), **more), (CLASSES, 12, 14), "semantic"),
    "autoencoder": (lambda **more: AutoencoderTask(Copy(), **more), (3, 32, 32), "none"),
}


def figures(name: str, asked: list[Any], parts: int = 1) -> tuple[Task, dict[str, float]]:
    """The figures of a task on an example, its samples evaluated in so many batches, some of them twice."""
    make, shape, target = TASKS[name]
    torch.manual_seed(0)
    task = make(metrics=asked, mean=[0.5] * shape[0], std=[0.25] * shape[0]).eval()
    task.class_names = tuple(map(str, range(getattr(task, "num_outputs", 0))))
    batch = example_batch(target, shape, CLASSES, SAMPLES)
    rows = [torch.arange(SAMPLES)] if parts == 1 else [*torch.arange(SAMPLES).flip(0).chunk(parts), torch.tensor([3, 0])]
    with torch.inference_mode():
        outputs = [task.sample_outputs({key: value[at] for key, value in batch.items()}) for at in rows]
        return task, task.metrics(gather(outputs))


@pytest.mark.parametrize("name", TASKS)
def test_every_name_is_a_metric_of_the_whole_split(name: str) -> None:
    task, alone = figures(name, [])
    own = {*alone}
    assert task.available
    _, found = figures(name, [*task.available])
    assert set(found) == own | set(task.available)
    assert all(value == value for value in found.values())
    _, parted = figures(name, [*task.available], parts=3)
    assert parted == pytest.approx(found, rel=SINGLE)


@pytest.mark.numerical
def test_names_mean_what_scikit_learn_means_by_them() -> None:
    from sklearn import metrics as known

    label, probability = labels_and_probabilities()
    names = [*ClassificationTask.available]
    outputs = {"id": torch.arange(SAMPLES), "view": torch.zeros(SAMPLES), "label": label, "probability": probability}
    found = ClassificationTask(Painted(), metrics=names).metrics(outputs)
    guess = probability.argmax(1)
    truth = nn.functional.one_hot(label, CLASSES)
    expected = {
        "f1": known.f1_score(label, guess, average="macro"),
        "precision": known.precision_score(label, guess, average="macro"),
        "recall": known.recall_score(label, guess, average="macro"),
        "balanced_accuracy": known.balanced_accuracy_score(label, guess),
        "cohen_kappa": known.cohen_kappa_score(label, guess),
        "matthews": known.matthews_corrcoef(label, guess),
        "auroc": known.roc_auc_score(label, probability, multi_class="ovr", average="macro"),
        "average_precision": known.average_precision_score(truth, probability, average="macro"),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.numerical
def test_our_metrics_against_torchmetrics() -> None:
    """Where both mean the same, they give the same; `Overlap` and torchmetrics' mean of images do not."""
    label, probability = labels_and_probabilities()
    for ours, theirs in (
        (TopAccuracy(), MulticlassAccuracy(CLASSES, average="micro")),
        (TopAccuracy(3), MulticlassAccuracy(CLASSES, top_k=3, average="micro")),
    ):
        for rows in torch.arange(SAMPLES).chunk(3):
            ours.update(probability[rows], label[rows])
            theirs.update(probability[rows], label[rows])
        assert ours.compute().item() == pytest.approx(theirs.compute().item(), rel=SINGLE)
    loss, perplexity = MeanLoss(), Perplexity()
    loss.update(probability, label)
    perplexity.update(probability.log()[None], label[None])
    assert loss.compute().exp().item() == pytest.approx(perplexity.compute().item(), rel=1e-5)
    overlap, classes, counts = Overlap(CLASSES), ClassOverlap(CLASSES), MulticlassConfusionMatrix(CLASSES, ignore_index=VOID)
    for _ in range(3):
        truth, guess = torch.randint(0, CLASSES, (2, 9, 9)), torch.randint(0, CLASSES, (2, 9, 9))
        truth[0, 0] = VOID
        counts.reset()
        counts.update(guess, truth)
        matrix = counts.compute()[None]
        overlap.update(matrix)
        classes.update(matrix)
    assert overlap.compute()["miou"] == classes.compute().mean()
    mean = Mean()
    mean.update(torch.tensor([1.0, 3.0]), torch.tensor([1, 3]))
    assert mean.compute() == 1.0


class Doubt(torchmetrics.Metric):
    """A metric of one's own: the mean probability of what is not the label."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, probability: Tensor, label: Tensor) -> None:
        self.total += (1 - probability.gather(1, label[:, None])).sum()
        self.count += len(label)

    def compute(self) -> Tensor:
        return self.total / self.count


def test_metrics_are_asked_for_by_name_class_partial_or_object() -> None:
    kinds = [
        "doubt",
        MulticlassF1Score,
        torchmetrics.Accuracy,
        MulticlassRecall(CLASSES, average=None),
        torchmetrics.MetricCollection([MulticlassAccuracy(CLASSES), MulticlassF1Score(CLASSES)]),
    ]
    task, found = figures("classification", kinds)
    assert [*found] == [
        "accuracy",  # the task's own, and torchmetrics' of the same name is not asked
        "loss",
        "doubt",
        "multiclass_f1_score",
        *(f"multiclass_recall/{name}" for name in task.class_names),
        "metric_collection_MulticlassAccuracy",
        "metric_collection_MulticlassF1Score",
    ]
    assert found["metric_collection_MulticlassF1Score"] == found["multiclass_f1_score"]
    assert figures("classification", kinds)[1] == found  # an object is asked anew each time


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task.metrics names 'f2'; did you mean f1"):
        ClassificationTask(Painted(), metrics=["f2"])
    with pytest.raises(ValueError, match=r"task.metrics has 3; it names metrics"):
        ClassificationTask(Painted(), metrics=[3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"cwd of task.metrics makes a PosixPath, which is no metric"):
        figures("classification", [Path.cwd])
    with pytest.raises(ValueError, match=r"computes \(5, 5\) numbers; it must be one"):
        figures("classification", [MulticlassConfusionMatrix])


OWN = """
import torch
from torchmetrics import Metric


class Halves(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("seen", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, probability, label):
        self.seen += len(label)

    def compute(self):
        return self.seen / 2
"""


def test_a_metric_of_ones_own_is_logged_monitored_drawn_and_in_the_result(verb: Any, tmp_path: Path) -> None:
    (tmp_path / "halves_file.py").write_text(OWN)
    run, described = tmp_path / "run", "{_target_: torchmetrics.classification.MulticlassFBetaScore, beta: 2.0}"
    status, out, err = verb(
        "train",
        str(tmp_path / "halves_file.py"),
        f"hydra.run.dir={run}",
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=2",
        f"task.metrics=[f1,halves,{described}]",
        "task.metric=f1",
    )
    assert status == 0, err
    result = json.loads((run / "result.json").read_text())
    assert result["metric"] == "f1"
    assert {"f1", "accuracy", "halves", "multiclass_f_beta_score"} <= set(result["tests"])
    assert result["test"] == result["tests"]["f1"]
    assert result["tests"]["halves"] == result["scored"] / 2
    with (run / "metrics.csv").open() as stream:
        logged = [float(row["val/f1"]) for row in csv.DictReader(stream) if row["val/f1"]]
    assert len(logged) == 2
    assert result["val"] == pytest.approx(max(logged))
    assert f"best val f1 {max(logged):.3f}" in out
    assert (run / "curves.png").is_file()
    # A checkpoint names the metrics that have names; one that was described is the user's to describe again.
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["zoo"]["arguments"]["task"]
    assert state["metrics"] == ["f1", "halves"]
    status, out, err = verb("evaluate", str(run), str(tmp_path / "halves_file.py"))
    assert status == 0, err
    assert f"test halves {result['tests']['halves']:.4g}" in out
    assert f"test f1 {result['tests']['f1']:.3f}" in out


EVERY_TASK = {
    "classification": ("model=linear",),
    "video_classification": ("model=single_frame",),
    "rotation": ("model=linear", "task=rotation"),
    "autoencoder": ("model=autoencoder",),
    "segmentation": ("model=fcn32s", "model.width=0.0625"),
    "detection": ("model=faster_rcnn", "data.batch_size=2"),
}
"""Settings of a run of each task."""


class UpdatesSeen(torchmetrics.Metric):
    """How many samples there were."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, said: Any, truth: Any) -> None:
        self.seen += len(truth)

    def compute(self) -> Tensor:
        return self.seen


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_TASK)
def test_every_task_takes_a_metric_of_ones_own_by_one_key(name: str, verb: Any, tmp_path: Path) -> None:
    """Logged, monitored and in the result; each sample of a split is in it once (each of its turns, of rotations)."""
    short = (
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=3",
    )
    own = ("task.metrics=[updates_seen]", "task.metric=updates_seen", "data.num_workers=0", "seed=1")
    run = tmp_path / "run"
    status, out, err = verb("train", *EVERY_TASK[name], *short, *own, f"hydra.run.dir={run}")
    assert status == 0, err
    result = json.loads((run / "result.json").read_text())
    assert result["metric"] == "updates_seen"
    assert result["test"] == result["scored"] * (4 if name == "rotation" else 1)
    assert "best val updates_seen " in out
    with (run / "metrics.csv").open() as stream:
        assert [float(row["val/updates_seen"]) for row in csv.DictReader(stream) if row["val/updates_seen"]] == [result["val"]]


def test_the_metrics_of_every_task_are_tried() -> None:
    from zoo.common.places import CONF

    assert {*EVERY_TASK} == {path.stem for path in (CONF / "task").glob("*.yaml")}


def test_a_metric_that_there_is_not_is_refused_before_training(verb: Any, tmp_path: Path) -> None:
    status, _, err = verb("train", f"hydra.run.dir={tmp_path / 'run'}", "task.metrics=[f3]")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("Error: task.metrics names 'f3'; did you mean f1")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_metric_that_cannot_be_made_is_refused_before_training(verb: Any, tmp_path: Path) -> None:
    described = "{_target_: torchmetrics.classification.MulticlassFBetaScore}"  # without its beta
    status, out, err = verb("train", f"hydra.run.dir={tmp_path / 'run'}", f"task.metrics=[{described}]")
    assert status == 1
    assert err.splitlines()[-1].startswith("Error: The metric multiclass_f_beta_score of task.metrics cannot be made: ")
    assert "Epoch" not in out + err


def test_a_monitored_metric_need_not_be_asked_for_twice() -> None:
    task = ClassificationTask(zoo.create_model("linear", input_shape=(1, 8, 8)), metric="f1")
    assert [*task.wanted] == ["f1"]


@pytest.mark.slow
def test_metrics_are_those_of_one_process_on_two(verb: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "task.metrics=[f1,auroc,calibration_error]")
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.num_workers=0", f"hydra.run.dir={run}")
    done = subprocess.run([sys.executable, "-m", "zoo.train", *settings, *two], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tests = json.loads((run / "result.json").read_text())["tests"]
    status, out, err = verb("evaluate", str(run), "trainer=auto", "trainer.devices=1")
    assert status == 0, err
    for name in ("f1", "auroc", "calibration_error", "loss"):
        assert f"test {name} {tests[name]:.4g}" in out
