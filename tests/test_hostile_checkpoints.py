"""A hostile value in every key of a checkpoint, at every verb that takes one: nothing is read, written, fetched or started but
what the user named, the run's and the cache's folders."""

import copy
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

Verb = Callable[..., tuple[int, str, str]]
Keys = tuple[Any, ...]
SMALL = ("model=linear", "data=digits", "+trainer.limit_train_batches=2", "trainer.max_epochs=1", "callbacks.pictures=null")
PLACES = {
    "arguments data": {"root": None, "source": None, "folder": None, "download": True, "train_list": None, "annotations": None},
    "arguments model": {"pretrained": None, "backbone_weights": None, "backbone": None},
    "arguments task": {"results": None, "metric": None},
    "settings": dict.fromkeys(
        "data.root data.source data.folder model.pretrained task.results run_dir resume trainer.default_root_dir "
        "trainer.logger callbacks.savepoint.folder callbacks.checkpoint.dirpath logger.csv.save_dir logger.table.save_dir "
        "hydra.run.dir".split()
    ),
    "facts": {"results": None, "category_ids": None},
    "": {"hyper_parameters": None, "datamodule": None, "hparams_name": None, "run_dir": None},
}
"""What might lead somewhere, by where it is put; None stands for the hostile value."""


def leaves(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every plain value in a checkpoint, and the keys that lead to it."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*keys, key))
    elif not isinstance(value, torch.Tensor):
        yield keys, value


def put(content: Any, keys: Keys, value: Any) -> None:
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


def sections(content: dict[str, Any]) -> dict[str, list[Keys]]:
    """The keys of texts, and those that might lead somewhere, by the part of a checkpoint in which they are."""
    found: dict[str, list[Keys]] = {}
    for keys, value in leaves(content):
        if isinstance(value, str):
            found.setdefault(
                " ".join(str(key)[:12] for key in keys[: 3 if keys[0] == "zoo" else 2][:-1]) or keys[0], []
            ).append(keys)
    for place, names in PLACES.items():
        found[f"places {place}"] = [("zoo", *place.split(), name) if place else (name,) for name in names]
    return found


def hostile(folder: Path) -> dict[str, Any]:
    return {
        "a place": str(folder / "victim"),
        "a file": str(folder / "victim" / "thesis.ckpt"),
        "a way out": "../../victim/thesis.ckpt",
        "an address": "http://169.254.169.254/latest/weights.pth",
        "a command": f"pipe:touch {folder}/victim/pwned",
        "a class": {"_target_": "os.system", "_args_": [f"touch {folder}/victim/pwned"]},
        "Hydra's": "${oc.env:HOME}",
    }


_seen: list[tuple[str, tuple[Any, ...]]] | None = None
_STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.startfile", "socket.connect", "urllib.Request")
_TOUCHES = "open os.listdir os.scandir os.remove os.rename os.mkdir os.rmdir os.chmod os.link os.symlink os.truncate".split()
_TWO = ("os.rename", "os.link", "os.symlink", "shutil.copyfile", "shutil.move")
_TOUCHES += ["os.utime", "shutil.rmtree", "shutil.copyfile", "shutil.move"]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and (event in _STARTS or event in _TOUCHES):
        _seen.append((event, arguments))


@pytest.fixture(scope="module", autouse=True)
def watched() -> None:
    sys.addaudithook(_watch)  # for good: a hook cannot be taken back


@contextmanager
def watching() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def trespasses(seen: list[tuple[str, tuple[Any, ...]]], victim: Path, allowed: list[Path]) -> list[str]:
    """What was started or fetched, whatever was done to the victim, and what was written outside of the allowed folders."""
    found = []
    for event, arguments in seen:
        if event in _STARTS:
            found.append(f"{event} {arguments[:2]}")
            continue
        count = 2 if event in _TWO else 1
        named = [each for each in arguments[:count] if isinstance(each, str | bytes | os.PathLike)]
        places = [Path(os.path.abspath(os.fsdecode(each))) for each in named]  # noqa: PTH100 (links are not followed)
        if any(victim in (place, *place.parents) for place in places):
            found.append(f"{event} {places[0]}")
        flags = arguments[2] if event == "open" and len(arguments) > 2 and isinstance(arguments[2], int) else 0
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) if event == "open" else "scandir" not in event
        writes = writes and event != "os.listdir"
        if writes and not all(any(folder in (place, *place.parents) for folder in allowed) for place in places):
            found.append(f"{event} {places}")
    return found


@pytest.fixture
def handed(verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small run."""
    status, _, err = verb("train", *SMALL, "hydra.run.dir=handed", "test=false")
    assert status == 0, err
    (tmp_path / "victim").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    for name in ("thesis.ckpt", "notes.txt"):
        (tmp_path / "victim" / name).write_text("years of work")
    return tmp_path / "handed"


def verbs(checkpoint: str, picture: str) -> dict[str, tuple[str, ...]]:
    return {
        "evaluate": ("evaluate", checkpoint),
        "publish": ("publish", checkpoint, "out=answers"),
        "predict": ("predict", checkpoint, picture, "out=answers"),
        "resume a folder": ("train", *SMALL, "resume=gift", "trainer.max_epochs=2", "hydra.run.dir=gift", "test=false"),
        "resume a file": ("train", *SMALL, f"resume={checkpoint}", "trainer.max_epochs=2", "hydra.run.dir=other", "test=false"),
        "pretrained": ("train", *SMALL, f"model.pretrained={checkpoint}", "hydra.run.dir=third", "test=false"),
        "flops": ("flops", checkpoint),
        "benchmark": ("benchmark", checkpoint, "measure=accuracy"),  # the others are measured in processes of their own
        "verify": ("verify", checkpoint),
        "zoo.load": ("python", "zoo.load", checkpoint),
        "load_from_checkpoint": ("python", "zoo.tasks.ClassificationTask.load_from_checkpoint", checkpoint),
        "study": ("study", "model=linear", f"model.pretrained={checkpoint}", "seeds=0", "shares=100", "pretext.max_epochs=1"),
    }


def tried(verb: Verb, handed: Path, content: dict[str, Any], which: str, allowed: list[Path]) -> str:
    """What a verb did that it may not, given such a checkpoint; empty if nothing."""
    folder = handed.parent
    for name in ("gift", "other", "third", "answers", "runs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(handed, folder / "gift")
    for name in ("last", "best"):
        torch.save(content, folder / "gift" / "checkpoints" / f"{name}.ckpt")
    with watching() as seen:
        name, *arguments = verbs("gift/checkpoints/last.ckpt", "picture.png")[which]
        status, out, err = in_python(*arguments) if name == "python" else verb(name, *arguments)
    found = trespasses(seen, folder / "victim", allowed)
    if sorted(path.name for path in (folder / "victim").iterdir()) != ["notes.txt", "thesis.ckpt"]:
        found.append("the victim is another")
    if status not in (0, 1) or "Traceback" in out + err or (status == 1 and not err.startswith("Error: ")):
        found.append(f"status {status}: {err[-300:]}")
    return "; ".join(dict.fromkeys(found))


def in_python(function: str, checkpoint: str) -> tuple[int, str, str]:
    """What a function makes of a checkpoint, as a verb would end."""
    import operator

    import zoo.tasks

    try:
        operator.attrgetter(function.removeprefix("zoo."))(zoo)(checkpoint)
    except ValueError as error:
        return 1, "", f"Error: {error}"
    except Exception as error:
        return 2, "", f"Traceback: {error!r}"
    return 0, "", ""


@pytest.mark.slow
@pytest.mark.parametrize("which", verbs("x", "x"))
def test_a_hostile_value_in_any_key_leads_nowhere(
    which: str, verb: Verb, handed: Path, cache: Path, tmp_path: Path, record: Callable[..., None]
) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "picture.png")
    sound = torch.load(handed / "checkpoints" / "last.ckpt", weights_only=True)
    allowed = [tmp_path / name for name in ("gift", "other", "third", "answers", "runs")]
    allowed += [cache, cache.parent / "compositions", Path("/dev"), tmp_path / "scratch"]
    assert not tried(verb, handed, sound, which, allowed), "as it is, it does nothing else"
    wrong = {}
    number = 0
    for section, places in sections(sound).items():
        for kind, value in hostile(tmp_path).items():
            content = copy.deepcopy(sound)
            for keys in places:
                put(content, keys, True if keys[-1] == "download" else value)
            number += 1
            if said := tried(verb, handed, content, which, allowed):
                wrong[f"{section}: {kind}"] = said
    record(f"hostile checkpoints at {which}", tried=number, lost=len(wrong))
    assert not wrong, "\n".join(f"{place}: {said}" for place, said in wrong.items())


@pytest.mark.slow
def test_every_place_at_once_leads_nowhere(verb: Verb, handed: Path, cache: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "picture.png")
    content = torch.load(handed / "checkpoints" / "last.ckpt", weights_only=True)
    for places in sections(content).values():
        for keys in places:
            if keys[:2] not in (("zoo", "names"), ("zoo", "facts")) and keys[0] != "pytorch-lightning_version":
                put(content, keys, str(tmp_path / "victim" / "thesis.ckpt"))
    allowed = [tmp_path / name for name in ("gift", "other", "third", "answers", "runs", "scratch")]
    for which in ("evaluate", "resume a folder", "pretrained"):
        assert not tried(verb, handed, content, which, [*allowed, cache, cache.parent / "compositions", Path("/dev")]), which


@pytest.mark.parametrize(
    "value", [torch.zeros(3), torch.zeros(3, dtype=torch.int8), "x", None], ids=["3", "bytes", "x", "none"]
)
def test_an_optimizers_state_that_does_not_fit_is_a_sentence(
    value: Any, verb: Verb, handed: Path, cache: Path, tmp_path: Path
) -> None:
    content = torch.load(handed / "checkpoints" / "last.ckpt", weights_only=True)
    put(content, ("optimizer_states", 0, "state", 0, "exp_avg"), value)
    assert not tried(verb, handed, content, "resume a folder", [tmp_path, cache, Path("/dev")])


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, "x", -1, 1.5, 10**30], ids=str)
def test_what_a_checkpoint_has_counted_is_counts(value: Any, verb: Verb, handed: Path, cache: Path, tmp_path: Path) -> None:
    """Some of Lightning's counters, and the optimizer's settings: it goes on, or ends in a sentence."""
    sound = torch.load(handed / "checkpoints" / "last.ckpt", weights_only=True)
    counters = [keys for keys, _ in leaves(sound["loops"], ("loops",)) if keys[-1] in ("ready", "started", "completed")]
    settings = [("optimizer_states", 0, "param_groups", 0, name) for name in ("lr", "betas", "weight_decay")]
    assert len(counters) > 20
    for keys in [*counters[:: len(counters) // 5], *settings]:
        content = copy.deepcopy(sound)
        put(content, keys, value)
        assert not tried(verb, handed, content, "resume a folder", [tmp_path, cache, Path("/dev")]), keys
