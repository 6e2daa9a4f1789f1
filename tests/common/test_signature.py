"""Arguments that constructors hand on: stated once, shown and checked as if each class wrote them out."""

import inspect
import itertools
import pydoc
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any, Unpack

import pytest
from torch import nn

import zoo
import zoo.data
import zoo.tasks
from zoo.common.signature import OPEN, hints, parameters
from zoo.data import DataModule, Digits, Loading, MotionDigits, Stored, StoredLoading, VideoShards
from zoo.tasks import ClassificationTask, Optimization, Task

CLASSES = [
    found
    for face in (zoo.data, zoo.tasks)
    for name in face.__all__
    if inspect.isclass(found := getattr(face, name)) and issubclass(found, DataModule | Task)
]


def stated(written: Any) -> dict[str, Any]:
    """The types of what a constructor takes as `**shared: Unpack[Shared]`."""
    known = typing.get_type_hints(written).values()
    return {
        key: hint
        for each in known
        if typing.get_origin(each) is Unpack
        for key, hint in typing.get_type_hints(typing.get_args(each)[0]).items()
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_argument_is_shown_with_its_type_and_default(kind: type) -> None:
    shown = inspect.signature(kind).parameters
    assert dict(shown) == dict(parameters(kind))
    assert OPEN not in parameters(kind)
    assert set(shown) >= set(Loading.__annotations__ if issubclass(kind, DataModule) else Optimization.__annotations__)
    for name, each in shown.items():
        assert each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
        assert each.annotation == hints(kind)[name]
    abstract = kind in (DataModule, zoo.data.PictureSet, Task)
    needed = {name for name, each in shown.items() if each.default is each.empty} - {"net", "root"}
    assert bool(needed) == abstract, needed
    page = pydoc.plain(pydoc.render_doc(kind))
    assert all(f"{name}:" in page for name in shown)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_what_is_handed_on_is_taken_under_the_same_type(kind: type) -> None:
    """A group of arguments stands in a TypedDict and, but for the first, in the constructor that takes them."""
    written = [vars(each)["__init__"] for each in kind.__mro__ if inspect.isfunction(vars(each).get("__init__"))]
    for own, base in itertools.pairwise(written):
        if group := stated(own):
            taken = {**typing.get_type_hints(base), **stated(base)}
            assert group.items() <= taken.items() or not stated(base)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_argument_that_there_is_not_is_refused(kind: Any) -> None:
    net = [nn.Linear(1, 2)] if issubclass(kind, Task) else []
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'batch_sise'"):
        kind(*net, batch_sise=3)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(MotionDigits, {"segments": True}), (MotionDigits, {"rate": 3}), (VideoShards, {"root": "x", "crops": 3})],
)
def test_what_a_class_decides_by_itself_cannot_be_said(kind: Any, arguments: dict[str, Any]) -> None:
    assert not {*arguments} - {"root"} & parameters(kind).keys()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        kind(**arguments)


def test_what_has_no_default_is_asked_for() -> None:
    class Bare(DataModule):
        layout = 3
        default_shape = (1, 8, 8)

    with pytest.raises(TypeError, match="missing the required keyword argument 'batch_size'"):
        Bare()
    assert Bare(batch_size=3).batch_size == 3


def test_a_class_of_ones_own_shows_all_of_its_arguments() -> None:
    class Open(Stored):
        def __init__(self, *, contrast: float = 40.0, **arguments: Any) -> None:
            super().__init__(**arguments)

    class Stated(Stored):
        default_arguments = StoredLoading(batch_size=5, crops=10)

        def __init__(self, *, contrast: float = 40.0, **loading: Unpack[StoredLoading]) -> None:
            super().__init__(**loading)

    class Closed(Digits):
        def __init__(self, batch_size: int = 7) -> None:
            super().__init__(batch_size=batch_size)

    for kind in (Open, Stated):
        assert [*inspect.signature(kind).parameters][:3] == ["shape", "contrast", "fraction"]
        assert inspect.signature(kind).parameters.keys() == {"contrast", *inspect.signature(Stored).parameters}
    assert inspect.signature(Open).parameters["batch_size"].default == 64
    assert inspect.signature(Stated).parameters["batch_size"].default == 5
    assert [*inspect.signature(Closed).parameters] == ["batch_size"]
    assert inspect.signature(Closed).parameters["batch_size"].default == Closed().batch_size == 7


def test_the_nearest_default_holds() -> None:
    class Mine(ClassificationTask):
        default_arguments = Optimization(metric="loss", mode="min")

    class Explicit(Mine):
        def __init__(self, net: nn.Module, *, mode: str = "max", **rest: Any) -> None:
            super().__init__(net, mode=mode, **rest)

    for kind in (Mine, Explicit):
        task, shown = kind(nn.Linear(1, 2)), inspect.signature(kind).parameters
        for name in ("metric", "mode", "channels_last", "optimizer"):
            assert getattr(task, name) == shown[name].default


def test_an_object_has_a_signature_of_its_own() -> None:
    """That of a call, which is not the constructor's."""
    task = ClassificationTask(nn.Linear(1, 2))
    assert [*inspect.signature(task).parameters] == ["args", "kwargs"]


WRONG = {
    "zoo.data.Digits(batch_sise=3)": "batch_sise",
    'zoo.data.CamVid(grund="white")': "grund",
    "zoo.data.MotionDigits(segments=True)": "segments",
    'zoo.data.Digits(seed="one")': "seed",
    "zoo.tasks.ClassificationTask(nn.Linear(1, 2), optimiser=None)": "optimiser",
}
"""Calls, each with the word that a type checker must say of it."""


@pytest.mark.slow
def test_a_type_checker_flags_a_wrong_argument(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    right = ["import zoo.data, zoo.tasks", "from torch import nn", "zoo.data.Digits(batch_size=3, crops=10)"]
    script.write_text("\n".join([*right, *WRONG]))
    command = [sys.executable, "-m", "mypy", "--strict", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    lines = [line for line in done.stdout.splitlines() if f"{script.name}:" in line and "error:" in line]
    assert len(lines) == len(WRONG), done.stdout
    for number, (line, word) in enumerate(zip(lines, WRONG.values(), strict=True), start=1 + len(right)):
        assert f"{script.name}:{number}: error:" in line
        assert word in line
