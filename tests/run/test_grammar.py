"""The options of all verbs, read from the signatures of their functions."""

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from tests.conftest import module_of
from zoo.__main__ import verbs
from zoo.run import cli, grammar
from zoo.run.grammar import Further, Named, Plain, Within

Verb = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Limits:
    most: int = 3
    """The most."""
    least: float = 0.5


def work(
    place: str | Path,
    others: Sequence[str | Path],
    overrides: Sequence[str] = (),
    kind: Literal["val", "test"] = "test",
    number: int = 5,
    share: float | None = None,
    seeds: Sequence[int] = (0, 1),
    words: tuple[Literal["a", "b"], ...] = ("a",),
    draw: bool = False,
    epochs: Annotated[int, Named("pretext.max_epochs")] = 10,
    folder: str | Path = "there",
    json: str | None = None,
    limits: Limits = Limits(),
) -> None:
    """Work.

    Args:
        place: a place; of several
            lines.
        others: at least one of the others.
        number: how many.
    """


def read(*arguments: str) -> dict[str, Any]:
    return grammar.read(work, arguments, "work")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b, c").mkdir()


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("kind=val", "kind", "val"),
        ("number=-7", "number", -7),
        ("share=0.25", "share", 0.25),
        ("share=null", "share", None),
        ("seeds=3,4", "seeds", (3, 4)),
        ("seeds=7", "seeds", (7,)),
        ("seeds=[3,4]", "seeds", (3, 4)),
        ("words=b,a", "words", ("b", "a")),
        ("draw=true", "draw", True),
        ("pretext.max_epochs=2", "epochs", 2),
        ("folder=x=y, z", "folder", Path("x=y, z")),
        ("folder=~/x", "folder", Path.home() / "x"),
        ("json=-", "json", "-"),
        ("most=9", "limits", Limits(most=9)),
        ("least=1", "limits", Limits(least=1.0)),
        ("model.depth=3", "overrides", ("model.depth=3",)),
        ("data.root=a=b, c", "overrides", ("data.root='a=b, c'",)),
        ("+trainer.x=3", "overrides", ("+trainer.x=3",)),
        ("~callbacks.ema=", "overrides", ("~callbacks.ema=",)),
    ],
)
def test_an_option_is_read_as_its_annotation_says(argument: str, name: str, value: object) -> None:
    found = read("p", "q", argument)
    assert found[name] == value
    assert type(found[name]) is type(value)
    assert found.keys() == {"place", "others", "overrides", name}, "what is not said keeps the function's default"


def test_paths_are_plain_arguments_in_any_place() -> None:
    found = read("number=1", "a=b, c", "one", "debug=true", "two", "number=2", "data.seed=1")
    assert found == {"place": "a=b, c", "others": ["one", "two"], "number": 2, "overrides": ("data.seed=1",)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("p", "q", "kind=tset"), "kind is 'tset', but it must be 'val' or 'test'."),
        (("p", "q", "number=many"), "number is 'many', but it must be a whole number."),
        (("p", "q", "number=1_000"), "number is '1_000', but it must be a whole number."),
        (("p", "q", "number="), "number is '', but it must be a whole number."),
        (("p", "q", "share=x"), "share is 'x', but it must be a number or null."),
        (("p", "q", "share=nan"), "share is 'nan', but it must be a number or null."),
        (("p", "q", "seeds=1,x"), "seeds is '1,x', but it must be whole numbers separated by commas."),
        (("p", "q", "words=a,c"), "words is 'a,c', but it must be one or several of a, b."),
        (("p", "q", "draw=yes"), "draw is 'yes', but it must be true or false."),
        (("p", "q", "most=x"), "most is 'x', but it must be a whole number."),
        (("p", "q", "nubmer=3"), "There is no setting 'nubmer' of zoo work; did you mean number"),
        (("p", "q", "pretext.max_epoch=3"), "'pretext.max_epoch' of zoo work; did you mean pretext.max_epochs?"),
        (("p", "q", "modle=c3d"), "There is no setting 'modle' of zoo work; did you mean model"),
        (("p", "q", "modle.depth=3"), "There is no setting 'modle.depth' of zoo work; did you mean model"),
        (("p", "q", "--number"), "There is no option --number; options are written name=value."),
        ((), "Name a place: zoo work PLACE"),
        (("p",), "Name at least one of the others: zoo work OTHER"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read(*arguments)


def test_plain_arguments_with_a_default_and_options_of_another_function() -> None:
    def other(self: object, side: int | None = None, flow: Literal["dis", "raft"] | None = None) -> None: ...

    def make(
        name: Annotated[str, Named("data")],
        root: Annotated[str | None, Plain()] = None,
        overrides: Annotated[Sequence[str], Within(("data",))] = (),
        **options: Annotated[Any, Further({"films": other}.__getitem__)],
    ) -> None:
        """Make.

        Args:
            options: those of the data.
        """

    assert grammar.read(make, ["films"]) == {"name": "films", "overrides": ()}
    found = grammar.read(make, ["films", "side=3", "place", "flow=dis", "data.x=1"])
    assert found == {"name": "films", "root": "place", "side": 3, "flow": "dis", "overrides": ("data.x=1",)}
    for argument, said in (
        ("flow=x", "flow is 'x', but it must be 'dis' or 'raft' or null"),
        ("sid=3", "did you mean side"),
        ("model=c3d", "There is no setting 'model' of zoo make"),
        ("more", "more is not a setting"),
    ):
        with pytest.raises(ValueError, match=said):
            grammar.read(make, ["films", "place", argument], "make")
    assert "usage: zoo make DATA [ROOT] [option=value ...] [key=value ...]" in grammar.usage(make, "make", "Make.")


def test_help_is_made_of_the_signature_and_the_docstring() -> None:
    said = grammar.usage(work, "work", "About it.").splitlines()
    assert said[0] == "usage: zoo work PLACE OTHER ... [option=value ...] [key=value ...]"
    assert said[2] == "About it."
    for line in ("PLACE  A place; of several lines", "number=5  How many", "most=3  The most", "seeds=0,1", "share=null"):
        assert [each for each in said if " ".join(each.split()) == " ".join(line.split())], line


# The verbs

FUNCTIONS = {
    "evaluate": ("evaluate", "evaluate"),
    "predict": ("predict", "_main"),
    "prepare": ("prepare", "prepare"),
    "publish": ("publish", "publish"),
    "verify": ("verify", "_main"),
    "study": ("study", "_main"),
    "benchmark": ("benchmark", "_main"),
    "flops": ("profile", "_main"),
}
"""Of each verb the function in Python, and the one whose signature is the command line's. Training's options are settings."""


def of(name: str, which: int) -> Any:
    return getattr(module_of(name) if which else importlib.import_module(f"zoo.{name}"), FUNCTIONS[name][which])


def test_every_verb_but_training_reads_its_options_so() -> None:
    assert {*FUNCTIONS, "train"} == verbs().keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_has_a_text_and_a_type(name: str) -> None:
    for each in grammar.parameters(of(name, 1)):
        assert each.text or each.is_settings, each.name
        assert each.hint not in (Any, inspect.Parameter.empty), each.name
        assert not each.has_default or each.is_settings or grammar.spoken(each.hint), each.name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_misspelt_option_of_every_verb_is_recognised(name: str) -> None:
    """The last letters exchanged: the option that is meant is named."""
    plain = [each.name for each in grammar.parameters(of(name, 1)) if each.is_plain and not each.has_default]
    for each in grammar.parameters(of(name, 1)):
        if each.is_plain or each.is_settings or len(each.name) < 4:
            continue
        wrong = each.name[:-2] + each.name[-1] + each.name[-2] if each.name[-1] != each.name[-2] else each.name[:-1]
        if wrong.startswith("data."):  # a setting's name by its beginning; its end is looked for when the run is composed
            continue
        with pytest.raises(ValueError, match=rf"There is no setting '{wrong}' of zoo {name}; did you mean .*\b{each.name}\b"):
            grammar.read(of(name, 1), ["digits" for _ in plain] + [f"{wrong}=1"], name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_of_every_verb(name: str, verb: Verb) -> None:
    status, out, err = verb(name, "--help")
    assert (status, err) == (0, "")
    assert verb(name, "a=b", "--help") == (0, out, "")
    assert out.startswith(f"usage: zoo {name} ")
    for each in grammar.parameters(of(name, 1)):
        assert each.is_settings or each.is_plain or f"  {each.name}=" in out


@pytest.mark.parametrize("name", [*FUNCTIONS, "train"])
def test_every_verb_is_a_documented_function(name: str) -> None:
    """Its idea, its arguments, what it returns and what it raises."""
    function = of(name, 0) if name in FUNCTIONS else importlib.import_module("zoo.train").train
    text = inspect.getdoc(function) or ""
    assert len(text.splitlines()[0]) > 40
    assert "ValueError" in text
    for each in inspect.signature(function).parameters:
        assert f"{each}: " in text or f"{each}, " in text, each
    returns = inspect.signature(function).return_annotation
    assert returns in (None, "None") or "eturn" in text or returns.__name__ == "Profile"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("train", (["modle=c3d"],), "There is no setting 'modle'; did you mean model"),
        ("train", (["model=linear", "trainer.max_epochs=x"],), "trainer.max_epochs is 'x'"),
        ("train", ("model=c3d",), "settings is 'model=c3d'; it is a list of settings: ['model=c3d']"),
        ("evaluate", ("lenet5:fashion_mnist", "data.root=x"), "overrides is 'data.root=x'; it is a list"),
        ("evaluate", ("lenet5:fashion_mnist", ["data.root=a=b, c"]), "a=b, c has no class folders"),
        ("train", (["-m", "seed=1,2"],), "-m is not a setting of one run"),
        ("train", (["seed=1,2"],), "names several values"),
        ("train", (["hydra.mode=MULTIRUN", "seed=1,2"],), "is not a setting of one run"),
        ("train", (["data=image_folder"],), "data.root is not set"),
        ("train", (["seed=x"],), "seed: Value 'x'"),
        ("evaluate", ("nowhere",), "There is no checkpoint nowhere"),
        ("evaluate", ("lenet5:fashion_mnist", ["data.rot=x"]), "data has no setting 'rot'; did you mean root"),
        ("prepare", ("digit",), "did you mean digits"),
        ("prepare", ("image_folder",), "data.root is not set"),
        ("verify", ("lenet5:fashion",), "did you mean fashion_mnist"),
        ("study", (["optimizer=adm"],), "did you mean adam"),
        ("study", ([], [0], [0]), "shares are percentages"),
        ("study", ([], [-1]), "seeds are whole numbers from 0 on, not -1"),
        ("study", ([], []), "seeds are whole numbers from 0 on, not none"),
        ("study", ([], [0], [1], 0), "pretext.max_epochs is 0"),
        ("verify", ("lenet5", [], -1.0), "tolerance is -1"),
        ("benchmark", (["c3dd"],), "did you mean c3d"),
    ],
)
def test_in_python_a_mistake_is_a_value_error(name: str, arguments: tuple[Any, ...], said: str) -> None:
    module = importlib.import_module(f"zoo.{name}")
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        getattr(module, name)(*arguments)
    assert "\n" not in str(error.value)
    assert cli.sentence(error.value) is not None
