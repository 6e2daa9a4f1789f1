"""What the tests share: a data root of their own, real data where they are, and the verbs called as a user calls them."""

import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # there are as many as cores; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_USER_DATA = os.environ.pop("ZOO_DATA", None)  # no test reads the user's folder unless it asks for it


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache folder for the whole session: what is rendered is rendered once, and nothing outside is touched."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "cache"  # of all processes of this session
        folder.mkdir(exist_ok=True)
    else:
        folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "zoo"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights and tensors that a test draws are the same in every run, whichever tests ran before; and others where
    $ZOO_TEST_SEED says so, for a bound that holds for one seed alone is none."""
    import torch

    torch.manual_seed(int(os.environ.get("ZOO_TEST_SEED", "0")))


@pytest.fixture
def precise() -> Iterator[None]:
    """What a test makes is in double precision; see precision.py."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def compositions() -> Iterator[Callable[..., Any]]:
    """Of the files of a configuration the same are chosen again and again: they are read and merged once for each choice, and
    Hydra sets the values of a command line in a copy. `test_a_composition_is_the_same_at_its_second_time` compares. What comes
    out of here is Hydra's own way."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override, OverrideType
    from hydra.core.utils import JobRuntime

    known: dict[tuple[object, ...], bytes] = {}
    whole = ConfigLoaderImpl._load_configuration_impl

    def is_value(loader: Any, override: Override) -> bool:
        plain = override.type == OverrideType.CHANGE and not override.is_sweep_override()
        return plain and not override.is_hydra_override() and not loader.repository.group_exists(override.key_or_group)

    def load(self: Any, config_name: str | None, overrides: list[str], run_mode: Any, *args: Any, **kwargs: Any) -> Any:
        parsed = OverridesParser.create().parse_overrides(overrides)
        values = [each for each in parsed if is_value(self, each)]
        choices = [str(each.input_line) for each in parsed if each not in values]
        places = [(each.provider, each.path) for each in self.repository.get_sources()]
        key = (config_name, run_mode, str(JobRuntime.instance().conf), *choices, *places)
        if key not in known:
            known[key] = pickle.dumps(whole(self, config_name, choices, run_mode, *args, **kwargs))
        config = pickle.loads(known[key])
        self._apply_overrides_to_config(values, config)
        job, tasks = config.hydra.job, [each for each in parsed if not each.is_hydra_override()]
        config.hydra.overrides.task = [each.input_line for each in tasks]
        config.hydra.runtime.cwd = str(Path.cwd())
        job.override_dirname = get_overrides_dirname(tasks, **job.config.override_dirname)
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigLoaderImpl, "_load_configuration_impl", load)
        yield whole


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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        script = str(Path(__file__).with_name("launcher.py"))
        self.server = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
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
    launcher = Launcher(tmp_path_factory.mktemp("started"))
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
