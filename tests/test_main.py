"""The command `zoo`, and that it is `python -m zoo.VERB` in all respects."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.conftest import module_of
from zoo import __main__ as command

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`said("--help")` is what `zoo --help` does."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
        status = 0
        try:
            command.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return call


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_verb_with_a_line(arguments: tuple[str, ...], said: Verb) -> None:
    status, out, err = said(*arguments)
    assert (status, err) == (0, "")
    for name, line in command.verbs().items():
        assert f"  {name} " in out
        assert line in out
        assert line[:1].isupper(), name
        assert 20 < len(line) < 120, name


def test_the_line_of_a_verb_is_its_docstrings_first() -> None:
    for name, line in command.verbs().items():
        assert (module_of(name).__doc__ or "").splitlines()[0] == line


def test_verbs_are_found_by_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module or a folder with `__main__` that has a `main`; nothing is imported for it."""
    (tmp_path / "sing.py").write_text('"""Sing a song.\n\nLoud."""\nraise SystemError\n\ndef main() -> None: ...\n')
    (tmp_path / "words.py").write_text('"""No verb."""\n')
    (tmp_path / "_hidden.py").write_text('"""No verb either."""\n\ndef main(): ...\n')
    (tmp_path / "dance").mkdir()
    (tmp_path / "dance" / "__main__.py").write_text('"""Dance."""\nraise SystemError\n\ndef main() -> None: ...\n')
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(command, "_FOLDER", tmp_path)
    assert command.verbs() == {"dance": "Dance.", "sing": "Sing a song."}


def test_help_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom zoo.__main__ import main\n"
        "for each in ('--help', '--version'):\n    sys.argv = ['zoo', each]\n    main()\n"
        "assert not {'torch', 'lightning', 'hydra', 'omegaconf', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_ours(said: Verb, verb: Verb) -> None:
    assert said("--version") == (0, f"zoo {zoo.__version__}\n", "")
    for name in command.verbs():
        assert verb(name, "--version") == (0, f"zoo {zoo.__version__}\n", ""), name
    for spelt in ("--version", "--vers", "--v"):  # Hydra would take the beginning of the word too
        assert verb("train", "model=linear", spelt) == (0, f"zoo {zoo.__version__}\n", "")


@pytest.mark.parametrize(("wrong", "right"), [("trian", "train"), ("eval", "evaluate"), ("predcit", "predict")])
def test_an_unknown_verb_is_one_sentence(wrong: str, right: str, said: Verb) -> None:
    status, out, err = said(wrong, "model=c3d")
    assert (status, out) == (1, "")
    assert err == f"Error: There is no verb {wrong!r}; did you mean {right}?\n"


def test_a_setting_is_no_verb(said: Verb) -> None:
    assert said("model=c3d")[2] == "Error: model=c3d is a setting, and a verb stands before it: zoo train model=c3d\n"


@pytest.mark.parametrize("name", command.verbs())
def test_the_command_runs_the_module(name: str, said: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `python -m zoo.VERB`, with the working folder among the places of modules."""
    run: list[Any] = []
    monkeypatch.setattr(runpy, "run_module", lambda *args, **kwargs: run.append((args, kwargs, sys.argv[1:])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    assert said(name, "a=1", "b c")[0] == 0
    assert run == [((f"zoo.{name}",), {"run_name": "__main__", "alter_sys": True}, ["a=1", "b c"])]
    assert sys.path == [str(tmp_path), "elsewhere"]


def test_a_safe_path_stays_safe(said: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python -P` keeps the working folder out."""
    monkeypatch.setattr(runpy, "run_module", lambda *args, **kwargs: None)
    monkeypatch.setattr(sys, "flags", type("Flags", (), {"safe_path": True}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    said("train")
    assert sys.path == ["elsewhere"]


OWN = '''
from zoo.data.digits import Digits


class Mine(Digits):
    """A data set in a single file of the user's."""
'''
SHORT = ("model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "callbacks.pictures=null", "logger=none")
AS_SCRIPT = "import sys\nfrom zoo.__main__ import main\nsys.path[0] = '/nowhere'\nmain()"
"""What the console script does, which lies in a folder of its own."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [("-c", AS_SCRIPT, "train"), ("-m", "zoo", "train"), ("-m", "zoo.train")], ids=["zoo", "-m zoo", "-m zoo.train"]
)
def test_ones_own_file_and_further_processes(start: tuple[str, ...], tmp_path: Path) -> None:
    """However it is started: a class of the working folder is found, by the process that Lightning starts as well."""
    (tmp_path / "mine.py").write_text(OWN)
    own = ("data._target_=mine.Mine", "trainer.devices=2", "trainer.accelerator=cpu", "hydra.run.dir=run", "data.num_workers=0")
    done = subprocess.run([sys.executable, *start, *SHORT, *own], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "scored 359 of 359" in done.stdout
    assert result["metric"] == "accuracy"


@pytest.mark.slow
def test_further_processes_of_a_script_in_python(tmp_path: Path) -> None:
    """Lightning starts the user's script again; both processes are of one run, in one folder."""
    own = [*SHORT, "trainer.devices=2", "trainer.accelerator=cpu", "data.num_workers=0"]
    (tmp_path / "script.py").write_text(f"from zoo.train import train\nprint(sorted(train({own!r})))\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "scored 359 of 359" in done.stdout
    assert "'test/accuracy'" in done.stdout
    assert len(list((tmp_path / "runs" / "linear-digits").iterdir())) == 1
