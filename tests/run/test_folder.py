"""Run folders: one run in each, held while it lives; and what a run that is taken up says of other settings."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch
from omegaconf import OmegaConf

from zoo.run import folder, resume, settings, trainer
from zoo.run.build import build_data
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.recipe import configured, differences, recipe_of

Verb = Callable[..., tuple[int, str, str]]
QUICK = ("model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "~logger.tensorboard", "~callbacks.pictures")


def test_two_runs_begun_in_one_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "noon")
    made = []
    for _ in range(3):
        folder.forget()
        made.append(folder.unique(f"{tmp_path}/mlp-digits"))
        assert folder.unique(f"{tmp_path}/mlp-digits") == made[-1], "a run has one, however often it asks"
    assert [Path(each).name for each in made] == ["noon", "noon-2", "noon-3"]
    assert all(Path(each).is_dir() for each in made)


def test_a_run_makes_its_own_folder_and_no_other(verb: Verb, tmp_path: Path) -> None:
    status, _, err = verb("train", *QUICK, "test=false")
    assert status == 0, err
    (made,) = tmp_path.glob("*/*/*")
    assert made.parent == tmp_path / "runs" / "linear-digits"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["linear-digits"]


def test_a_folder_is_one_runs_while_it_lives(verb: Verb, tmp_path: Path) -> None:
    """Another process holds it as a run does; when it is killed, the folder is free."""
    (tmp_path / "r").mkdir()
    code = (
        "import fcntl, time\nstream = open('r/.lock', 'ab')\nfcntl.lockf(stream, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\ntime.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    status, _, err = verb("train", *QUICK, "hydra.run.dir=r")
    assert status == 1
    assert "Another run is writing into" in err
    assert [path.name for path in (tmp_path / "r").iterdir()] == [".lock"], "nothing of the other run is touched"
    other.kill()
    other.wait()
    assert verb("train", *QUICK, "hydra.run.dir=r")[0] == 0


def test_a_used_folder_is_refused_and_overwritten_only_where_that_is_said(verb: Verb, tmp_path: Path) -> None:
    assert verb("train", *QUICK, "hydra.run.dir=r")[0] == 0
    (tmp_path / "r" / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    status, _, err = verb("train", *QUICK, "seed=1", "hydra.run.dir=r")
    assert status == 1
    assert "holds a run already" in err
    assert all(remedy in err for remedy in ("resume=", "hydra.run.dir=", "overwrite=true"))
    assert before == {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    status, _, err = verb("train", *QUICK, "seed=1", "hydra.run.dir=r", "overwrite=true", "test=false")
    assert status == 0, err
    assert not (tmp_path / "r" / "result.json").exists(), "of the run before nothing is left"
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "result.json", "metrics.csv"])
def test_what_a_killed_run_left_counts(name: str, tmp_path: Path) -> None:
    folder.refuse_used(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="holds a run already"):
        folder.refuse_used(tmp_path)
    folder.clear(tmp_path)
    folder.refuse_used(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "checkpoints").write_text("no folder")
    status, out, err = verb("train", *QUICK, "hydra.run.dir=r")
    assert status == 1
    assert "cannot be written to" in err
    assert err.count("\n") == 1
    assert "parameters" not in out


# Taken up with other settings

OTHERS = [
    (["data.batch_size=64"], "data.batch_size was 32, is 64"),
    (["data.fraction=0.5"], "data.fraction was 1, is 0.5"),
    (["seed=3"], "seed was 0, is 3"),
    (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches was 1, is 2"),
    (["scheduler=step"], "scheduler was cosine, is step"),
    (["scheduler.warmup=0.5"], "scheduler.warmup was 0.05, is 0.5"),
    (["optimizer=sgd"], "optimizer was adamw, is sgd"),
    (["optimizer.lr=0.1"], "optimizer.lr was 0.001, is 0.1"),
    (["callbacks=ema"], "callbacks.average was null, is EMAWeightAveraging"),
    (["data.augment.affine.degrees=3"], "data.augment.affine.degrees was 10, is 3"),
    (["model=mlp"], "model was linear, is mlp"),
    (["+trainer.gradient_clip_algorithm=value"], "trainer.gradient_clip_algorithm was null, is value"),
]
GOES_ON = [
    (["trainer.max_epochs=20"], "trainer.max_epochs was 30, is 20"),
    (["data.num_workers=2"], "data.num_workers was null, is 2"),
    (["logger=none"], "logger.csv was MetricsCsv, is null"),
    (["trainer.devices=1"], "trainer.devices was auto, is 1"),
    (["callbacks.savepoints.minutes=1"], "callbacks.savepoints.minutes was 10, is 1"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `model=linear` on digits leaves, without its tensors."""
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    config = composed(["model=linear", "run_dir=."])
    recipe = {"names": {"model": "linear", "task": "classification", "data": "digits"}, "arguments": {}, "facts": {}}
    torch.save({"zoo": {**recipe, "settings": configured(config)}}, path)
    return path


@pytest.mark.parametrize(("changed", "said"), OTHERS)
def test_what_would_be_another_run_is_refused(changed: list[str], said: str, checkpoint: Path) -> None:
    config = composed([*([] if changed[0].startswith("model=") else ["model=linear"]), "run_dir=.", *changed])
    with pytest.raises(ValueError, match="of a run with other settings") as refused:
        differences(config, str(checkpoint))
    assert said in str(refused.value)
    assert "model.pretrained=" in str(refused.value), "the remedy"


@pytest.mark.parametrize(("changed", "said"), GOES_ON)
def test_what_is_the_same_run_goes_on_and_is_said(changed: list[str], said: str, checkpoint: Path) -> None:
    config = composed(["model=linear", "run_dir=.", *changed])
    found = differences(config, str(checkpoint))
    assert f"{next(iter(found))} {next(iter(found.values()))}" == said
    assert differences(composed(["model=linear", "run_dir=."]), str(checkpoint)) == {}


def test_a_setting_that_the_older_version_did_not_have_is_no_difference(checkpoint: Path) -> None:
    config = composed(["model=linear", "run_dir=."])
    now = configured(config)
    was = {name: each for name, each in now.items() if name != "trainer.gradient_clip_val"}
    assert settings.differences(was, config, now, []) == {}


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same run by a version that kept the arguments of model, task and data alone."""
    path = tmp_path_factory.mktemp("older") / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    config = composed(["model=linear", "run_dir=."])
    facts = facts_of(build_data(config))
    publish(config, facts)
    recipe = recipe_of(config, facts)
    recipe["arguments"]["data"].pop("ground")  # an argument that it did not have
    torch.save({"zoo": recipe}, path)
    return path


@pytest.mark.parametrize(
    ("changed", "said"), [each for each in OTHERS if each[0][0].startswith(("data.batch", "data.fraction", "model=", "seed="))]
)
def test_what_an_older_version_knew_is_compared(changed: list[str], said: str, older: Path) -> None:
    config = composed([*([] if changed[0].startswith("model=") else ["model=linear"]), "run_dir=.", *changed])
    with pytest.raises(ValueError, match="of a run with other settings") as refused:
        differences(config, str(older))
    expected = f"data.{said}" if said.startswith("seed") else said
    assert f"other settings: {expected}." in str(refused.value), "and nothing else"


def test_what_an_older_version_did_not_keep_is_no_difference(older: Path) -> None:
    for same in ([], ["optimizer.lr=0.1"], ["scheduler=step"], ["trainer.max_epochs=20"], ["callbacks=ema"]):
        assert differences(composed(["model=linear", "run_dir=.", *same]), str(older)) == {}, same
    config = composed(["model=linear", "run_dir=.", "data.num_workers=2"])
    assert differences(config, str(older)) == {"data.num_workers": "was null, is 2"}


# The end of a run


def test_a_finished_runs_result_stays(verb: Verb, tmp_path: Path) -> None:
    assert verb("train", *QUICK, "hydra.run.dir=r")[0] == 0
    path = tmp_path / "r" / "result.json"
    before = path.read_bytes()
    for again in ("resume=auto", "resume=r"):
        status, out, err = verb("train", *QUICK, "hydra.run.dir=r", again)
        assert status == 0, err
        assert "This run is finished: test accuracy" in out
        assert path.read_bytes() == before
    status, out, err = verb("train", *QUICK, "hydra.run.dir=r", "resume=auto", "trainer.max_epochs=2")
    assert status == 0, err
    assert "trainer.max_epochs was 1, is 2" in out
    assert json.loads(path.read_text())["length"]["max_epochs"] == 2


def later(path: Path) -> None:
    """A checkpoint that states a thousand seconds more than it took."""
    content = torch.load(path, weights_only=True)
    assert content["savepoint"]["seconds"] < 600
    content["savepoint"]["seconds"] += 1000
    torch.save(content, path)


def test_time_is_the_runs_whatever_processes_it_took(verb: Verb, tmp_path: Path) -> None:
    def seconds() -> float:
        return float(json.loads((tmp_path / "r" / "result.json").read_text())["seconds"])

    begun = time.monotonic()
    assert verb("train", *QUICK, "hydra.run.dir=r", "test=false")[0] == 0
    later(tmp_path / "r" / "checkpoints" / "last.ckpt")
    status, out, err = verb("train", *QUICK, "hydra.run.dir=r", "resume=r", "trainer.max_epochs=2")
    assert status == 0, err
    assert "time 16 min" in out or "time 17 min" in out
    assert 1000 < seconds() < 1000 + time.monotonic() - begun


def test_the_best_checkpoint_is_scored_and_its_time_not_counted(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It states the time up to its own epoch, which is part of the run's already."""
    chosen = trainer.chosen_checkpoint

    def changed(of: lightning.Trainer) -> str | None:
        later(tmp_path / "r" / "checkpoints" / "best.ckpt")
        return chosen(of)

    monkeypatch.setattr(trainer, "chosen_checkpoint", changed)
    assert verb("train", *QUICK, "hydra.run.dir=r")[0] == 0
    assert json.loads((tmp_path / "r" / "result.json").read_text())["seconds"] < 1000


# A folder that was handed over


@pytest.mark.parametrize("place", ["../../keep/thesis.ckpt", "/KEEP/thesis.ckpt", "../../keep", "..", "last.ckpt", "link.ckpt"])
def test_what_a_checkpoint_calls_its_best_is_a_file_of_its_folder_or_nothing(place: str, tmp_path: Path) -> None:
    from types import SimpleNamespace
    from typing import Any

    own, keep = tmp_path / "run" / "checkpoints", tmp_path / "keep"
    for each in (own, keep):
        each.mkdir(parents=True)
    (keep / "thesis.ckpt").write_text("years")
    for name in ("best.ckpt", "last.ckpt"):
        (own / name).write_text(name)
    (own / "link.ckpt").symlink_to(keep / "thesis.ckpt")
    bad = place.replace("/KEEP", str(keep)) if place.startswith("/") else str(own / place)
    callback = resume.Best(dirpath=str(own), filename="best", monitor="x")
    keys = ("best_model_path", "kth_best_model_path", "last_model_path")
    state: dict[str, Any] = {**dict.fromkeys(keys, bad), "best_k_models": {bad: 0.0}, "best_model_score": 0.0}
    state["dirpath"] = str(own)
    trainer: Any = SimpleNamespace(ckpt_path=str(own / "last.ckpt"), is_global_zero=True)
    content = {"callbacks": {callback.state_key: state}}
    callback.on_load_checkpoint(trainer, None, content)  # type: ignore[arg-type]
    assert [state[key] for key in keys] == ["", "", ""]
    assert state["best_k_models"] == {}
    assert state["best_model_score"] is None
    good = str(tmp_path / "elsewhere" / "checkpoints" / "best.ckpt")
    state |= {"best_model_path": good, "best_k_models": {good: 0.5}, "kth_best_model_path": good, "best_model_score": 0.5}
    callback.on_load_checkpoint(trainer, None, content)  # type: ignore[arg-type]
    assert state["best_model_path"] == state["kth_best_model_path"] == str(own / "best.ckpt")


def test_a_place_with_a_dot_is_no_class() -> None:
    """Settings that name a class are compared by the class alone; a folder may be called as a class in a module."""
    config = OmegaConf.create({"data": {"root": "photos.Big"}, "logger": {"csv": None}})
    was = {"data.root": "photos.Big", "logger.csv": "zoo.run.logs.MetricsCsv"}
    assert not settings.differences(was, config, {"data.root": "photos.Big", "logger.csv": "MetricsCsv"}, ["data.root"])
    assert settings.differences(was, config, {"data.root": "Other.Big"}, [])
