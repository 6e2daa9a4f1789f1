"""What the tests share: a data root of their own, real data where they are, and the verbs called as a user calls them."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_USER_DATA = os.environ.pop("ZOO_DATA", None)  # no test reads the user's folder unless it asks for it


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache folder for the whole session: what is rendered is rendered once, and nothing outside is touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "zoo"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights and tensors that a test draws are the same in every run, whichever tests ran before."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set under the user's $ZOO_DATA; the test skips where it is not."""

    def find(name: str) -> Path:
        if _USER_DATA is None:
            pytest.skip("ZOO_DATA is not set; it names the folder of the real data sets")
        folder = Path(_USER_DATA) / name
        if not folder.is_dir():
            pytest.skip(f"{name} is not in ZOO_DATA")
        return folder

    return find


@pytest.fixture
def verb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`verb("train", "model=c3d")` runs a verb as from the command line, in a fresh working folder: status, stdout, stderr."""
    import importlib

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"zoo.{name}", *arguments])
        status = 0
        try:
            importlib.import_module(f"zoo.{name}").main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
