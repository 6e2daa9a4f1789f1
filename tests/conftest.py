"""What the tests share: a data root of their own, real data where they are, and the verbs called as a user calls them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compositions import remember

if "PYTEST_XDIST_WORKER" in os.environ:  # there are as many as cores; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_USER_DATA = os.environ.pop("ZOO_DATA", None) or os.environ.get("ZOO_TEST_DATA")
"""No test reads the user's folder unless it asks for it. (Processes of xdist begin when the first one has taken it out.)"""
if _USER_DATA:
    os.environ["ZOO_TEST_DATA"] = _USER_DATA


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ZOO_TEST_SHARE=1/3 a third of the long proofs is left, and of each that goes over a list every third case; 0/3 and
    2/3 are the others. Proofs begin to count at different cases, or the first share would have all that stand alone."""
    turn, _, parts = os.environ.get("ZOO_TEST_SHARE", "").partition("/")
    if not parts:
        return
    proofs: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            proofs.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left = {
        item
        for name, cases in proofs.items()
        for number, item in enumerate(cases, start=zlib.crc32(name.encode()))
        if number % int(parts) != int(turn)
    }
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache folder for the whole session: what is rendered is rendered once, and nothing outside is touched."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "cache"  # of all processes of this session
        folder.mkdir(exist_ok=True)
    else:
        folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "compositions").mkdir(exist_ok=True)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "zoo"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights and tensors that a test draws are the same in every run, whichever tests ran before; and others where
    $ZOO_TEST_SEED says so, for a bound that holds for one seed alone is none."""
    import torch

    torch.manual_seed(int(os.environ.get("ZOO_TEST_SEED", "0")))


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command leaves in this variable which files of the user's it has imported; no other test is told of them."""
    monkeypatch.setenv("ZOO_FILES", "")


@pytest.fixture
def precise() -> Iterator[None]:
    """What a test makes is in double precision; see precision.py."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def compositions(cache: Path) -> Iterator[Callable[..., Any]]:
    """Composing in a moment; what comes out of here is Hydra's own way. See compositions.py."""
    with pytest.MonkeyPatch.context() as patch:
        yield remember(cache.with_name("compositions"), patch.setattr)


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


def module_of(verb: str) -> Any:
    """The module with a verb's `main`: `zoo.VERB`, or in a folder of that name `zoo.VERB.__main__`."""
    import importlib

    module = importlib.import_module(f"zoo.{verb}")
    return importlib.import_module(f"zoo.{verb}.__main__") if hasattr(module, "__path__") else module


@pytest.fixture
def verb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`verb("train", "model=c3d")` runs a verb as from the command line, in a fresh working folder: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"zoo.{name}", *map(str, arguments)])
        status = 0
        try:
            module_of(name).main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@dataclass
class Ended:
    """A run in processes of its own, when it is over."""

    statuses: list[int]
    out: list[str]
    err: list[str]
    calls: int
    """Of what is counted; see launcher.py."""
    order: list[list[object]]
    """[epoch, batch, ids] of each training step."""

    @property
    def status(self) -> int:
        return self.statuses[0]


class Launcher:
    """Runs verbs in processes of their own, by the server of launcher.py."""

    def __init__(self, folder: Path, compositions: Path) -> None:
        self.folder = folder
        self.number = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        words = [sys.executable, str(Path(__file__).with_name("launcher.py")), str(compositions)]
        self.server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"

    def __call__(
        self,
        *arguments: str,
        cwd: Path,
        module: str = "zoo.train",
        processes: int = 1,
        kill_at: int | None = None,
        number: int = signal.SIGKILL,
        count: bool = False,
        tiny: bool = False,
        code: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run to the end, or `code` in its place; in `env` RANK stands for each process's own."""
        self.number += 1
        record = self.folder / str(self.number)
        record.mkdir()
        if processes > 1:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), **(env or {})}
        request = {
            "module": module,
            "arguments": arguments,
            "cwd": str(cwd),
            "record": str(record),
            "processes": processes,
            "kill_at": kill_at,
            "number": int(number),
            "count": count or kill_at is not None,
            "tiny": tiny,
            "code": code,
            "env": dict(env or {}),
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        statuses = json.loads(self.server.stdout.readline())
        order = record / "calls.order"
        return Ended(
            statuses,
            *([(record / f"{name}{rank}").read_text() for rank in range(processes)] for name in ("out", "err")),
            calls=int((record / "calls").read_text()) if (record / "calls").is_file() else 0,
            order=[json.loads(line) for line in order.read_text().splitlines()] if order.is_file() else [],
        )


@pytest.fixture(scope="session")
def started(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """`started("model=mlp", cwd=folder)` runs `python -m zoo.train model=mlp` in a process of its own."""
    launcher = Launcher(tmp_path_factory.mktemp("started"), cache.with_name("compositions"))
    yield launcher
    assert launcher.server.stdin is not None
    launcher.server.stdin.close()
    launcher.server.wait(timeout=60)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`record(what, tried=20, lost=0)` notes what a long proof tried, in the folder $RELIABILITY if it is set; from there
    benchmarks/reliability.py makes its table."""

    def note(what: str, *, tried: int, lost: int, detail: str = "") -> None:
        if folder := os.environ.get("RELIABILITY"):
            content = {"what": what, "test": request.node.nodeid, "tried": tried, "lost": lost, "detail": detail}
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{re.sub(r'[^a-z0-9]+', '-', what.lower())}.json").write_text(json.dumps(content) + "\n")

    return note
