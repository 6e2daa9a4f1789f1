"""Tasks in a program of one's own: a network and a Trainer, loaders that are not ours, and back from the checkpoint."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from tests.tasks.test_base import quiet_trainer
from zoo.common.signature import parameters
from zoo.data import DataModule, Digits, DigitScenes, MotionDigits
from zoo.run.compose import composed
from zoo.run.network import arguments_of
from zoo.tasks import AutoencoderTask, ClassificationTask, DetectionTask, RotationTask, SegmentationTask, Task
from zoo.tasks.numbering import Numbering


def small(name: str, **changes: Any) -> nn.Module:
    """The light network of a name."""
    return zoo.create_model(name, **{**arguments_of(composed([f"model={name}"])), **changes})


def boxes() -> dict[str, Tensor]:
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40] = masks[1, 20:60, 20:60] = 1
    return {"boxes": torch.tensor([[8.0, 8, 40, 40], [20, 20, 60, 60]]), "labels": torch.tensor([1, 2]), "masks": masks}


KINDS: dict[type[Task], tuple[Callable[[], nn.Module], Any, Callable[[], Any]]] = {
    AutoencoderTask: (lambda: zoo.create_model("autoencoder", width=0.25), torch.rand(4, 1, 28, 28), lambda: None),
    ClassificationTask: (lambda: zoo.create_model("lenet5"), torch.rand(4, 1, 32, 32), lambda: torch.tensor([3, 1, 4, 1])),
    DetectionTask: (
        lambda: small("mask_rcnn", num_classes=3, heads=["box", "mask"]),
        torch.rand(2, 3, 64, 64),
        lambda: [boxes(), boxes()],
    ),
    RotationTask: (lambda: zoo.create_model("lenet5", num_classes=4), torch.rand(4, 1, 32, 32), lambda: None),
    SegmentationTask: (lambda: small("fcn32s", num_classes=3), torch.rand(2, 3, 64, 64), lambda: torch.ones(2, 64, 64).long()),
}
"""Of each task a network, an input, and what is learned from it."""


def test_every_task_is_tried() -> None:
    import zoo.tasks

    exported = {getattr(zoo.tasks, name) for name in zoo.tasks.__all__}
    assert {each for each in exported if isinstance(each, type) and issubclass(each, Task) and each is not Task} == set(KINDS)


class Batches(torch.utils.data.Dataset[Any]):
    """One batch, as often as it is asked for."""

    def __init__(self, batch: Any, count: int = 2) -> None:
        self.batch = batch
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        return self.batch


def loader(batch: Any, count: int = 2) -> "DataLoader[Any]":
    return DataLoader(Batches(batch, count), batch_size=None)


def batch_of(kind: type[Task]) -> Any:
    _, pixels, target = KINDS[kind]
    return pixels if target() is None else (pixels, target())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_task_needs_its_network_alone_and_takes_any_loader(kind: type[Task], tmp_path: Path) -> None:
    """Trained, validated, tested and asked; and a checkpoint of it gives the same figures without its network."""
    task = kind(KINDS[kind][0]())
    trainer = quiet_trainer(default_root_dir=tmp_path, num_sanity_val_steps=0)
    trainer.fit(task, loader(batch_of(kind)), loader(batch_of(kind)))
    scores = trainer.test(task, loader(batch_of(kind)), verbose=False)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    restored = kind.load_from_checkpoint(tmp_path / "plain.ckpt")
    assert trainer.test(restored, loader(batch_of(kind)), verbose=False) == scores
    (first, _) = trainer.predict(restored, loader(batch_of(kind)))  # type: ignore[misc]
    assert isinstance(first, dict)
    assert len(first["prediction"]) == len(first["id"]) == len(KINDS[kind][1])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_argument_is_kept_under_its_name(kind: type[Task]) -> None:
    """A checkpoint states what is there."""
    task = kind(KINDS[kind][0]())
    assert all(hasattr(task, name) for name in parameters(kind))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_dictionary_without_numbers_is_understood(kind: type[Task]) -> None:
    _, pixels, target = KINDS[kind]
    name = {"label": "label", "semantic": "mask", "instances": "instances"}.get(kind.target)
    batch = {"input": pixels, **({name: target()} if name else {})}
    quiet_trainer(fast_dev_run=True).fit(kind(KINDS[kind][0]()), loader(batch), loader(batch))


WRONG: dict[str, Any] = {
    "nothing": None,
    "a word": "batch",
    "the input alone": lambda pixels, target: (pixels,),
    "an empty pair": lambda pixels, target: (),
    "without an input": lambda pixels, target: {"pixels": pixels, "label": target},
    "whole numbers of 64 bits": lambda pixels, target: ((255 * pixels).long(), target),
    "one image": lambda pixels, target: (pixels[0], target),
    "lists of numbers": lambda pixels, target: (pixels.tolist(), target),
    "other channels": lambda pixels, target: (pixels.repeat(1, 2, 1, 1), target),
    "targets of fewer samples": lambda pixels, target: (pixels, target[:1]),
    "targets of floats": lambda pixels, target: (pixels, target.float() if isinstance(target, Tensor) else [0.5]),
    "targets below 0": lambda pixels, target: (pixels, -target if isinstance(target, Tensor) else None),
    "bytes without a mean": lambda pixels, target: ((255 * pixels).to(torch.uint8), target),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("kind", [ClassificationTask, SegmentationTask, DetectionTask], ids=lambda kind: kind.__name__)
def test_a_batch_that_is_not_understood_is_refused_with_the_form(kind: type[Task], what: str) -> None:
    make, pixels, target = KINDS[kind]
    wrong = WRONG[what](pixels, target()) if callable(WRONG[what]) else WRONG[what]
    with pytest.raises(ValueError, match=r"(input|floats)") as refused:
        quiet_trainer(num_sanity_val_steps=0).fit(kind(make()), loader(wrong), loader(wrong))
    said = str(refused.value)
    assert "\n" not in said
    assert re.search(r"reads \(input, (label|mask|instances)\)|Give it mean= and std=", said)


def test_samples_of_other_loaders_count_once_each() -> None:
    """Their numbers are their places, over the processes that share a split."""
    data = TensorDataset(torch.rand(10, 1, 32, 32), torch.arange(10))
    task = ClassificationTask(zoo.create_model("lenet5"))
    trainer = quiet_trainer()
    trainer.test(task, DataLoader(data, batch_size=4), verbose=False)
    assert task.scored == {"test": 10}

    class Half:
        """The second of two processes, which begins anew as it has too few."""

        current_epoch, world_size, global_rank, training, validating, sanity_checking = 0, 2, 1, False, False, False
        test_dataloaders = DataLoader(TensorDataset(torch.zeros(5)))

    numbering = Numbering()
    batches = [numbering.numbered({"input": torch.zeros(count)}, at, Half()) for at, count in enumerate((2, 1))]
    assert [batch["id"].tolist() for batch in batches] == [[1, 3], [0]]


@pytest.mark.parametrize(
    ("network", "data", "shape"),
    [("lenet5", Digits, (1, 32, 32)), ("lenet_wide", Digits, (1, 28, 28)), ("c3d", MotionDigits, (3, 16, 112, 112))],
)
def test_data_serve_what_the_network_reads(network: str, data: type[DataModule], shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = zoo.create_model(network)
    module = data()
    module.suit(ClassificationTask(net))
    assert module.shape == shape
    given = data(shape=(3, 32, 32) if len(shape) == 3 else (3, 16, 32, 32), batch_size=7)
    given.suit(ClassificationTask(net))
    assert given.shape[-1] == 32
    assert given.batch_size == 7


def test_a_network_of_another_library_is_a_network(tmp_path: Path) -> None:
    import torchvision

    task = ClassificationTask(torchvision.models.squeezenet1_1(num_classes=10))
    data = Digits(batch_size=8)
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=1)
    trainer.fit(task, data)
    assert data.shape == (3, 32, 32)
    assert task.num_outputs == 10
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    net = torchvision.models.squeezenet1_1(num_classes=10)
    assert ClassificationTask.load_from_checkpoint(tmp_path / "other.ckpt", map_location="cpu", net=net).normalizes


def test_data_serve_what_the_task_learns_from() -> None:
    scenes = DigitScenes()
    assert scenes.target == "semantic"
    scenes.suit(DetectionTask(KINDS[DetectionTask][0]()))
    assert scenes.target == "instances"
    assert scenes.class_names == tuple("0123456789")


def test_data_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Digits serves \(C, H, W\) images, but the network reads \(C, T, H, W\) clips"):
        Digits().suit(ClassificationTask(small("cnn_rnn")))


def test_fewer_outputs_than_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have 10 classes, but the network has 3 outputs. Build it with num_classes=10"):
        quiet_trainer(fast_dev_run=True).fit(ClassificationTask(zoo.create_model("lenet5", num_classes=3)), Digits())


def test_data_of_other_classes_are_refused() -> None:
    class Renamed(Digits):
        class_names = tuple("abcdefghij")

    task = ClassificationTask(zoo.create_model("lenet5"))
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=1, limit_test_batches=1)
    trainer.fit(task, DataLoader(TensorDataset(torch.rand(4, 1, 32, 32), torch.arange(4))))
    trainer.fit(task, Renamed())  # a loader has no names, so that these are the first
    with pytest.raises(
        ValueError, match=r"knows 10 classes \(a, b, c, d, e, ...\), but the data have 10 \(0, 1, 2, 3, 4, ...\)"
    ):
        trainer.test(task, Digits())
    trainer.test(task, Renamed(), verbose=False)


def test_facts_come_from_the_data_and_travel(tmp_path: Path) -> None:
    task = ClassificationTask(zoo.create_model("lenet5"))
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=1)
    trainer.fit(task, Digits())
    assert task.class_names == Digits.class_names
    assert torch.equal(task.mean, torch.tensor(Digits().mean))
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    restored = ClassificationTask.load_from_checkpoint(tmp_path / "plain.ckpt", label_smoothing=0.1)
    assert restored.class_names == Digits.class_names
    assert restored.label_smoothing == 0.1
    content = torch.load(tmp_path / "plain.ckpt", weights_only=True)["zoo"]
    assert content["names"] == {"model": "lenet5", "task": "classification", "data": "digits"}
    assert trainer.test(restored, Digits(), verbose=False) == trainer.test(task, Digits(), verbose=False)


RECORDS = Path(__file__).parents[1] / "data" / "records"


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ("linear-digits", ClassificationTask),
        ("cnn_rnn-motion_digits", ClassificationTask),
        ("fcn8s-digit_scenes", SegmentationTask),
    ],
)
def test_a_checkpoint_of_a_run_is_a_task(record: str, kind: type[Task]) -> None:
    """With its network, its weights and the facts of its data."""
    place = RECORDS / f"{record}.ckpt"
    task, content = kind.load_from_checkpoint(place), torch.load(place, weights_only=True)
    assert task.state_dict().keys() == content["state_dict"].keys()
    assert all(torch.equal(value, content["state_dict"][key]) for key, value in task.state_dict().items())
    assert list(task.class_names) == content["zoo"]["facts"]["class_names"]
    assert task.recipe == content["zoo"]


class Own(nn.Module):
    """A network that `zoo.create_model` knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


def saved(task: Task, place: Path) -> Path:
    trainer = quiet_trainer(fast_dev_run=True)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(place)
    return place


def test_another_network_is_asked_for(tmp_path: Path) -> None:
    task = ClassificationTask(Own())
    assert task.num_outputs == 10
    place = saved(task, tmp_path / "own.ckpt")
    with pytest.raises(ValueError, match=r"does not say how its network is built.*load_from_checkpoint\(..., net=...\)"):
        ClassificationTask.load_from_checkpoint(place)
    restored = ClassificationTask.load_from_checkpoint(place, net=Own())
    assert all(torch.equal(a, b) for a, b in zip(task.parameters(), restored.parameters(), strict=True))
    with pytest.raises(ValueError, match="does not say how its network is built"):
        zoo.load(place)


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda place: SegmentationTask.load_from_checkpoint(place), "is of the task 'classification'"),
        (lambda place: Task.load_from_checkpoint(place), "is of the task 'classification'"),
        (lambda place: ClassificationTask.load_from_checkpoint(place, label_smothing=0), "did you mean label_smoothing?"),
        (lambda place: ClassificationTask.load_from_checkpoint(place, net=nn.Linear(2, 10)), "weights of another network"),
        (lambda place: ClassificationTask.load_from_checkpoint(place.parent / "no.ckpt"), "There is no checkpoint"),
        (lambda place: ClassificationTask.load_from_checkpoint(place.parent), "holds no checkpoint"),
        (lambda place: zoo.load(place), "states no mean and no std"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_refused_in_a_sentence(load: Any, said: str, tmp_path: Path) -> None:
    place = saved(ClassificationTask(zoo.create_model("lenet5")), tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        load(place)
    assert "\n" not in str(refused.value)


def test_published_weights_bring_their_normalization() -> None:
    """As a run has it that starts from them: they win over the data's own."""
    entry = zoo.get_weights("lenet5", "fashion_mnist")
    task = ClassificationTask(zoo.create_model("lenet5:fashion_mnist"))
    task.adopt(Digits())
    assert torch.equal(task.mean, torch.tensor(entry.mean))
    assert torch.equal(task.std, torch.tensor(entry.std))
    assert ClassificationTask(zoo.create_model("lenet5")).normalizes is False


def test_mean_and_deviation_belong_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        ClassificationTask(Own(), mean=(0.5,))


def test_floats_are_what_the_network_reads() -> None:
    task = ClassificationTask(Own(), mean=(0.25,), std=(0.5,))
    pixels = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(task.normalized(task.normalized(pixels)), task.normalized(pixels))


SCRIPT = """
import json, sys
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset
import zoo
from zoo.data import Digits
from zoo.tasks import ClassificationTask

if __name__ == "__main__":
    torch.manual_seed(0)
    task = ClassificationTask(zoo.create_model("lenet5"))
    several = {"devices": 2, "strategy": "ddp"} if sys.argv[1] == "2" else {"devices": 1}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(accelerator="cpu", **several, **quiet)
    pairs = TensorDataset(torch.rand(33, 1, 32, 32, generator=torch.Generator().manual_seed(1)), torch.arange(33) % 10)
    said = []
    for data in (Digits(), DataLoader(pairs, batch_size=8)):
        (scores,) = trainer.test(task, data, verbose=False)
        said += [scores, dict(task.scored)]
    predicted = trainer.predict(task, Digits())
    ids = [number for batch in predicted for number in batch["id"].tolist()]
    if trainer.global_rank == 0:
        print("SAID", json.dumps([said, sorted(set(ids))[:3]]))
"""


@pytest.mark.slow
def test_a_plain_trainer_scores_each_sample_once_on_any_number_of_processes(tmp_path: Path) -> None:
    """Lightning deals out other loaders' samples, and leaves ours, which deal out themselves."""
    (tmp_path / "plain.py").write_text(SCRIPT)
    found = []
    for count in ("1", "2"):
        done = subprocess.run([sys.executable, "plain.py", count], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        found.append(json.loads(re.findall(r"SAID (.*)", done.stdout)[0]))
    (one, first), (two, alternate) = found
    assert one[1]["test"] == two[1]["test"] == 359
    assert one[3]["test"] == two[3]["test"] == 33
    for at in (0, 2):
        assert two[at] == pytest.approx(one[at], rel=1e-5)
    assert (first, alternate) == ([0, 1, 2], [0, 2, 4])
