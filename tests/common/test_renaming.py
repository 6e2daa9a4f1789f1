"""Old names of public classes, methods and attributes: they work, and say the new one."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import zoo.data
import zoo.tasks
from zoo.common.renaming import Renamed
from zoo.data import Digits
from zoo.tasks import ClassificationTask, FilePrediction, RotationTask, Task

FACES = {
    (zoo.data, "Samples"): "SplitDataset",
    (zoo.data, "Decoded"): "DecodedDataset",
    (zoo.data, "Pixels"): "PixelDataset",
    (zoo.tasks, "Answer"): "FilePrediction",
    (zoo.tasks, "Records"): "SampleOutputs",
}
BATCH = {"input": torch.rand(2, 3), "id": torch.arange(2), "view": torch.zeros(2).long(), "label": torch.tensor([0, 1])}


def said(old: str, new: str) -> Any:
    return pytest.warns(UserWarning, match=re.escape(f"{old} is called {new} now"))


@pytest.mark.parametrize(("face", "old"), FACES)
def test_a_class_has_its_old_name(face: Any, old: str) -> None:
    new = FACES[face, old]
    with said(f"{face.__name__}.{old}", new):
        assert getattr(face, old) is getattr(face, new)
    assert old not in face.__all__
    assert new in face.__all__


CLASSES = [
    found
    for face in (zoo.data, zoo.tasks)
    for name in face.__all__
    if isinstance(found := getattr(face, name), type) and issubclass(found, Renamed)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_class_of_this_package_uses_an_old_name(kind: type[Renamed], recwarn: pytest.WarningsRecorder) -> None:
    for old, new in kind.old_names.items():
        assert getattr(kind, old, None) is not None
        assert getattr(kind, old) is getattr(kind, new, getattr(kind, old))
    assert not recwarn.list


def test_an_override_under_the_old_name_counts() -> None:
    with said("Mine.records", "sample_outputs"):

        class Mine(ClassificationTask):
            def records(self, batch: Any) -> Any:
                return {**super().records(batch), "more": batch["id"]}

    with said("Further.records", "sample_outputs"):

        class Further(Mine):
            def records(self, batch: Any) -> Any:
                return {**super().records(batch), "most": batch["id"]}

    task = Further(nn.Linear(3, 2), mean=[0.5], std=[0.5])
    with said("Further.records", "sample_outputs"):
        kept = task.sample_outputs(BATCH)
    assert {"probability", "more", "most"} <= kept.keys()
    with said("Further.records", "sample_outputs"):
        assert task.records(BATCH).keys() == kept.keys()


@pytest.mark.parametrize(
    ("old", "new", "call"),
    [
        ("answer", "prediction", lambda method: method(BATCH, ("a", "b"), 1)),
        ("answers", "predictions", lambda method: method([BATCH], ("a", "b"), 1)[0]),
    ],
)
def test_a_call_under_the_old_name_is_the_new_one(old: str, new: str, call: Callable[[Any], FilePrediction]) -> None:
    task = ClassificationTask(nn.Linear(3, 2), mean=[0.5], std=[0.5])
    with said(f"ClassificationTask.{old}", new):
        assert call(getattr(task, old)).fields == call(getattr(task, new)).fields


def test_an_attribute_has_its_old_name() -> None:
    data = Digits()
    for old, new in {"bad": "skipped", "left_out": "skipped_counts", "withheld": "skipped_groups"}.items():
        with said(f"Digits.{old}", new):
            setattr(data, old, {"a": "b"})
        assert getattr(data, new) == {"a": "b"}
        with said(f"Digits.{old}", new):
            assert getattr(data, old) is getattr(data, new)


def test_new_names_warn_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    class Mine(RotationTask):
        def sample_outputs(self, batch: Any) -> Any:
            return super().sample_outputs(batch)

    assert Mine(nn.Linear(3, 4)).old_names == Task.old_names
    assert not recwarn.list
