"""What a shell offers, held against what there is."""

import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from tests.conftest import module_of
from zoo.__main__ import verbs
from zoo.common.places import CONF
from zoo.run import completion, grammar
from zoo.run.compose import composed

Verb = Callable[..., tuple[int, str, str]]
VERBS = list(verbs())
FUNCTIONS = {"evaluate": "evaluate", "prepare": "prepare", "publish": "publish"} | dict.fromkeys(
    ("predict", "verify", "study", "benchmark", "flops"), "_main"
)


def offered(*words: str) -> list[str]:
    return completion.candidates(words, VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_the_options_are_those_of_the_signature(name: str) -> None:
    if name == "train":
        assert completion.own_options(name) == {}
        return
    known = grammar.parameters(getattr(module_of(name), FUNCTIONS[name]))
    options = {each.name: each.hint for each in known if not each.is_plain and not each.is_settings}
    found = completion.own_options(name)
    assert found.keys() == options.keys()
    for option, hint in options.items():
        kind = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        words = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
        assert tuple(found[option]) == words, option


def leaves(config: DictConfig, place: str = "") -> list[str]:
    """The names of all settings."""
    found = []
    for key in map(str, config):
        if key.startswith("_") or (not place and key == "hydra"):
            continue
        whole = not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key)
        if whole and isinstance(config[key], DictConfig):
            found += leaves(config[key], f"{place}{key}.")
        else:
            found.append(f"{place}{key}")
    return found


def reached(place: str, settings: tuple[str, ...]) -> list[str]:
    found = []
    for each in completion.keys(place, settings):
        if each.endswith("."):
            found += reached(each, settings)
        elif place or not (CONF / each[:-1]).is_dir():
            found.append(each[:-1])
    return found


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model=c3d",),
        ("model=vgg13_bn",),
        ("model=fcn8s",),
        ("model=keypoint_rcnn", "callbacks=ema", "trainer=ddp"),
        ("model=resnet18", "data=image_folder", "optimizer=sgd"),
        ("model=c3d", "data=ucf101", "logger=none", "scheduler=step"),
        ("callbacks=[ema,early_stopping]", "logger=[default,wandb]"),
        ("callbacks=none",),
        ("callbacks=[none,ema]",),
        ("experiment=mask_rcnn_coco",),
    ],
)
def test_every_key_of_a_run_is_offered_and_no_other(settings: tuple[str, ...]) -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    config = composed([*settings, "run_dir=."])
    del config.facts  # the data say them
    assert {*reached("", settings)} - groups == {*leaves(config)} - groups


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("tr",), ["train"]),
        (("--v",), ["--version"]),
        (("train", "mod"), ["model.", "model="]),
        (("train", "model=c3"), ["model=c3d"]),
        (("train", "model=bas"), []),
        (("train", "model=lenet5,c3"), ["model=lenet5,c3d"]),
        (("train", "model=c3d", "model.pool"), ["model.pool5_padding="]),
        (("train", "model.pool"), []),
        (("train", "trainer.max_"), ["trainer.max_epochs=", "trainer.max_steps=", "trainer.max_time="]),
        (("train", "test="), ["test=false", "test=true"]),
        (("train", "size="), ["size=paper", "size=small"]),
        (("train", "data.root="), []),
        (("evaluate", "run", "sp"), ["split="]),
        (("evaluate", "run", "split="), ["split=test", "split=val"]),
        (("evaluate", ""), []),
        (("predict", "run", "max_"), ["max_bytes=", "max_frames=", "max_pixels="]),
        (("prepare", "motion"), ["motion_digits"]),
        (("benchmark", "c3d", "mode=eager,"), ["mode=eager,compiled", "mode=eager,eager"]),
        (("study", "pre"), ["pretext.max_epochs="]),
        (("nothing", "mod"), []),
    ],
)
def test_what_is_offered(words: tuple[str, ...], found: list[str]) -> None:
    assert offered(*words) == found


def test_at_the_beginning_all_verbs_are_offered() -> None:
    assert {*offered("")} == {*offered()} == {*VERBS, "--help", "--version"}


def test_it_is_quick_for_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom zoo.__main__ import main\n"
        "sys.argv = ['zoo', '--complete', 'train', 'model=c3d', 'trainer.max_e']\nmain()\n"
        "assert not {'torch', 'lightning', 'hydra', 'omegaconf', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "trainer.max_epochs=\n"), done.stderr


def test_bash_completes(tmp_path: Path) -> None:
    """The script, with the words as bash hands them over: behind an equals sign begins another."""
    asks = f'zoo() {{ {sys.executable} -m zoo "$@"; }}\n'
    tries = {
        ("zoo tra", "tra"): ["train "],
        ("zoo train model=c3", "c3"): ["c3d "],
        ("zoo train optimizer.mom", "optimizer.mom"): [],
        ("zoo evaluate run split=", ""): ["test ", "val "],
    }
    lines = [
        f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _zoo zoo '{word}' ''; printf '[%s]' \"${{COMPREPLY[@]}}\"; echo"
        for line, word in tries
    ]
    script = asks + completion.SCRIPTS["bash"] + "\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["".join(f"[{each}]" for each in found or [""]) for found in tries.values()]


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_each_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(completion.SCRIPTS[shell])
    subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_hydras_own_completion_is_let_through(shell: str, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """`zoo train -sc install=bash` prints Hydra's script, and its question is answered."""
    status, out, err = verb("train", "-sc", f"install={shell}")
    assert (status, err) == (0, "")
    assert f"hydra_{shell}_completion" in out
    monkeypatch.setenv("COMP_LINE", "zoo.train model=c3")
    status, out, err = verb("train", "-sc", f"query={shell}")
    assert (status, out.strip(), err) == (0, "model=c3d", "")
