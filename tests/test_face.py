"""The faces of the packages: what is exported is there, explained, annotated, and imported when it is asked for."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.models._registry import get_builder

CHECKOUT = Path(__file__).parent.parent
FACES = ["zoo", "zoo.data", "zoo.models", "zoo.tasks"]
EXPORTED = [(face, name) for face in FACES for name in importlib.import_module(face).__all__]


def exported(face: str, name: str) -> Any:
    return getattr(importlib.import_module(face), name)


@pytest.mark.parametrize("face", FACES)
def test_a_face_is_its_stub(face: str) -> None:
    module = importlib.import_module(face)
    tree = ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text())
    stated = [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert module.__all__ == sorted(module.__all__)
    assert set(stated) <= set(module.__all__) <= {*stated, "__version__"}
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize(("face", "name"), EXPORTED)
def test_what_is_exported_is_public_and_explained(face: str, name: str) -> None:
    found = exported(face, name)
    assert not name.startswith("_") or name == "__version__"
    if inspect.isclass(found) or inspect.isfunction(found):
        assert inspect.getdoc(found), "a docstring"
        assert found.__name__ == name


PRIVATE = re.compile(r"`_[a-z]\w*|\bzoo\.(\w+\.)*_[a-z]|(?<![\w.`])_[a-z]\w*\.[A-Za-z]")


@pytest.mark.parametrize(("face", "name"), [*EXPORTED, *(("zoo", f"model {name}") for name in zoo.list_models())])
def test_what_is_shown_names_nothing_private(face: str, name: str) -> None:
    found = get_builder(name.removeprefix("model ")) if " " in name else exported(face, name)
    shown = [found, *functions(found)] if inspect.isclass(found) or inspect.isfunction(found) else []
    for each in shown:
        assert not PRIVATE.search(inspect.getdoc(each) or ""), each


@pytest.mark.parametrize("text", ["`_base.Classifier`", "zoo.models._base", "see _base.Classifier", "zoo.models._weights.fit"])
def test_a_private_name_is_found(text: str) -> None:
    assert PRIVATE.search(text)


@pytest.mark.parametrize("path", [*CHECKOUT.glob("examples/*.py"), *CHECKOUT.glob("docs/*.md"), CHECKOUT / "README.md"])
def test_examples_and_documents_name_nothing_private(path: Path) -> None:
    assert not PRIVATE.search(path.read_text())


def functions(value: Any) -> list[Any]:
    """A function, or what a class of this package defines under public names."""
    if not inspect.isclass(value):
        return [value] if inspect.isfunction(value) else []
    own = [kind for kind in value.__mro__ if kind.__module__.startswith("zoo.")]
    return [each for kind in own for key, each in vars(kind).items() if inspect.isfunction(each) and not key.startswith("_")]


@pytest.mark.parametrize(("face", "name"), EXPORTED)
def test_what_is_exported_is_annotated(face: str, name: str) -> None:
    for function in functions(exported(face, name)):
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, function.__qualname__
        for key, parameter in signature.parameters.items():
            assert key == "self" or parameter.annotation is not inspect.Parameter.empty, (function.__qualname__, key)


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = f"import sys; import {', '.join(FACES)}; assert not {{'torch', 'numpy', 'lightning', 'hydra'}} & {{*sys.modules}}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_front_door_and_the_rooms_export_the_same() -> None:
    for face, name in EXPORTED:
        if name in zoo.__all__:
            assert getattr(zoo, name) is exported(face, name)


CHECKOUT = Path(__file__).parent.parent
SHOWN = [
    CHECKOUT / "README.md",
    *(path for room in ("docs", "examples", "conf") for path in sorted((CHECKOUT / room).rglob("*.*"))),
]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_what_users_read_names_nothing_private(path: Path) -> None:
    assert not re.findall(r"\bzoo(?:[./]\w+)*[./]_[a-z]\w*", path.read_text())


FORMER = {
    ("zoo.models", "Found"): "Detections",
    ("zoo.data", "Samples"): "SplitDataset",
    ("zoo.data", "Decoded"): "DecodedDataset",
    ("zoo.data", "Pixels"): "PixelDataset",
    ("zoo.tasks", "Answer"): "FilePrediction",
    ("zoo.tasks", "Records"): "SampleOutputs",
}


@pytest.mark.parametrize(("face", "former"), FORMER)
def test_a_former_name_is_found_and_a_warning_says_the_present_one(face: str, former: str) -> None:
    module, name = importlib.import_module(face), FORMER[face, former]
    with pytest.warns(UserWarning, match=rf"^{re.escape(face)}\.{former} is called {name} now;") as told:
        assert getattr(module, former) is getattr(module, name)
    assert told[0].filename == __file__
    assert former not in {*module.__all__, *dir(module)}
