"""What a run makes of its settings: optimisers, schedules, rates, frozen parts, averaged weights, published statistics."""

import json
import logging
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import zoo
from zoo.benchmark.measure import Options, benchmark
from zoo.common.places import CONF
from zoo.evaluate import evaluate
from zoo.predict import predict
from zoo.prepare import prepare
from zoo.run import cli, signals
from zoo.run.build import make
from zoo.run.compose import composed
from zoo.run.facts import pretrained_facts
from zoo.run.recipe import read_checkpoint
from zoo.tasks.base import Task
from zoo.train import train
from zoo.verify import verify

Verb = Callable[..., tuple[int, str, str]]
SHORT = ["model=mlp", "trainer.max_epochs=1", "trainer.limit_train_batches=4", "trainer.limit_val_batches=1", "test=false"]
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml"))


def trained(folder: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    return {key.removeprefix("net."): value for key, value in content["state_dict"].items() if key.startswith("net.")}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_steps(optimizer: str, verb: Verb, tmp_path: Path) -> None:
    status, out, err = verb("train", *SHORT, f"optimizer={optimizer}", f"run_dir={tmp_path}")
    assert status == 0, err
    assert "learning rate" in out
    fresh = zoo.create_model("mlp")
    assert not torch.equal(trained(tmp_path)["head.weight"], fresh.state_dict()["head.weight"])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_schedule_begins_with_its_warm_up(scheduler: str) -> None:
    config = composed(["model=linear", f"scheduler={scheduler}", "scheduler.warmup=0.5"])
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    made = make(config.scheduler, "scheduler")(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    assert rates[:50] == sorted(rates[:50])
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1, abs=0.02)


def test_the_rate_is_scaled_once_by_the_effective_batch(verb: Verb, tmp_path: Path) -> None:
    scaled = ["reference_batch=256", "optimizer.lr=0.8", "data.batch_size=16", "trainer.accumulate_grad_batches=2"]
    status, out, err = verb("train", *SHORT, *scaled, f"run_dir={tmp_path}")
    assert status == 0, err
    assert "learning rate  0.1 (AdamW), scaled from the recipe's batch of 256 to 32" in out
    recorded = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["zoo"]["training"]
    assert recorded == {"batch": 32, "reference_batch": 256, "lr": pytest.approx(0.1)}
    again = verb("train", *SHORT, *scaled, f"run_dir={tmp_path / 'b'}", f"resume={tmp_path / 'checkpoints' / 'last.ckpt'}")
    assert "learning rate  0.1 (AdamW)" in again[1], "a resumed run does not scale what was scaled"


def test_what_trains_is_shown_and_what_does_not_stays(verb: Verb, tmp_path: Path) -> None:
    torch.save(zoo.create_model("mlp", input_shape=(1, 28, 28)).state_dict(), tmp_path / "start.pt")
    status, out, err = verb("train", *SHORT, "freeze=all", "model.pretrained=start.pt", "seed=3", f"run_dir={tmp_path}")
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["relu1", "401,920", "frozen"] in lines
    assert ["relu2", "131,328", "frozen"] in lines
    assert ["head", "2,570", "trains"] in lines
    status, _, err = verb("train", *SHORT, "freeze=[relu9]")
    assert status == 1
    assert "freeze names 'relu9', but the network's parts are relu1, relu2, head" in err


def test_averaged_weights_are_what_is_kept(verb: Verb, tmp_path: Path) -> None:
    for name in ("default", "ema"):
        status, _, err = verb("train", *SHORT, f"callbacks={name}", f"run_dir={tmp_path / name}", "optimizer.lr=0.1")
        assert status == 0, err
    plain, averaged = trained(tmp_path / "default"), trained(tmp_path / "ema")
    assert plain.keys() == averaged.keys(), "no prefix of the averaging's own"
    assert not torch.equal(plain["head.weight"], averaged["head.weight"])
    status, out, err = verb("evaluate", str(tmp_path / "ema"))
    assert status == 0, err
    assert "scored 359 of 359 test samples" in out


def test_published_weights_bring_their_statistics() -> None:
    config = composed(["model=resnet18", "model.pretrained=imagenet1k_v1", "data.shape=[3,32,32]"])
    theirs = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert pretrained_facts(config, {}) == theirs
    config.data.shape = [1, 32, 32]
    assert pretrained_facts(config, {})["mean"] == [pytest.approx(0.449, abs=1e-3)]
    assert pretrained_facts(composed(["model=resnet18"]), {}) == {}
    config = composed(["model=two_stream", "model.pretrained=resnet18:imagenet1k_v1", "data.shape=[3,11,32,32]"])
    assert pretrained_facts(config, {}) == theirs, "another network's"
    own = {"mean": [0.4, 0.4, 0.4, 0.5, 0.5], "std": [0.2, 0.2, 0.2, 0.1, 0.1]}
    config.data.shape = [5, 10, 32, 32]
    assert pretrained_facts(config, own) == {"mean": [*theirs["mean"], 0.5, 0.5], "std": [*theirs["std"], 0.1, 0.1]}
    config.data.shape = [2, 10, 32, 32]
    assert pretrained_facts(config, {"mean": [0.5, 0.5], "std": [0.1, 0.1]}) == {}, "flow alone"


@pytest.mark.slow
def test_hinge_mixing_and_every_view(verb: Verb, tmp_path: Path) -> None:
    for number, settings in enumerate((["task.loss=hinge"], ["task.mixup=0.2", "task.cutmix=1.0"])):
        status, _, err = verb("train", *SHORT, *settings, f"run_dir={tmp_path / str(number)}")
        assert status == 0, err
    status, out, err = verb("evaluate", str(tmp_path / "0"), "data.crops=10", "data.scales=[28,32,36,40,44]")
    assert status == 0, err
    assert "scored 359 of 359 test samples" in out
    assert "protocol 10 crops (centre, corners, mirrored) at short sides 28, 32, 36, 40, 44, 28 x 28" in out
    assert "test view_accuracy" in out


# From Python

QUICK = ["model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "callbacks.pictures=null", "logger=none"]


def test_a_run_from_python_is_that_of_the_command_line(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores, by name, as result.json has them; twice in a process, whatever the process was started with."""
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher", "-f", "kernel.json"])

    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in ("zoo", "lightning.pytorch", "lightning.fabric")]
        heard = [(each.level, each.propagate, [*each.handlers]) for each in loggers]
        return [heard, [signal.getsignal(each) for each in signals.STOPPING], warnings.formatwarning, [*warnings.filters]]

    before = state()
    scores = train([*QUICK, "hydra.run.dir=one"])
    said = capsys.readouterr().out
    again = train([*QUICK, "hydra.run.dir=other"])
    assert again == scores
    capsys.readouterr()
    assert state() == before
    assert sys.argv == ["ipykernel_launcher", "-f", "kernel.json"]
    assert {"train/loss", "val/accuracy", "test/accuracy", "test/loss"} <= scores.keys()
    assert all(type(value) is float for value in scores.values())
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    assert result["test"] == scores["test/accuracy"]
    status, out, err = verb("train", *QUICK, "hydra.run.dir=third")
    assert status == 0, err
    assert [line for line in out.splitlines() if line.startswith(("test ", "best ", "model ", "scored "))] == [
        line for line in said.splitlines() if line.startswith(("test ", "best ", "model ", "scored "))
    ]
    with pytest.raises(ValueError, match="holds a run already"):
        train([*QUICK, "hydra.run.dir=one"])
    assert train([*QUICK, "resume=one"]) == {}, "it has been at its end"


def test_a_run_from_python_that_is_interrupted_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher", "-f", "kernel.json"])
    step = Task.training_step

    def interrupted(self: Task, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Task, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train([*QUICK, "hydra.run.dir=run"])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("python -m zoo.train model=linear ")
    assert shlex.split(said)[-1].startswith("resume=")
    assert "kernel.json" not in said
    monkeypatch.setattr(Task, "training_step", step)
    assert "test/accuracy" in train(shlex.split(said)[3:])


def test_a_configuration_that_is_composed_already_is_trained(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Hydra hands it to a job."""
    monkeypatch.setattr("zoo.train._fit", lambda config, resume: {"model": config.model.name})
    assert cli.launch_here(train, [*QUICK, "hydra.run.dir=run"]) == {"model": "linear"}


def test_the_verbs_are_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one run: what was scored is scored again, predicted, verified and counted, and nothing but a result comes back."""
    monkeypatch.chdir(tmp_path)
    scores = train([*QUICK, "data.num_workers=0", "hydra.run.dir=run"])
    assert evaluate("run")["test/accuracy"] == scores["test/accuracy"]
    assert evaluate(Path("run"), ["data.batch_size=64"], split="val")["val/accuracy"] == pytest.approx(scores["val/accuracy"])
    with pytest.raises(ValueError, match="split is 'tset'"):
        evaluate("run", split="tset")  # type: ignore[arg-type]
    assert all(verdict.holds for verdict in verify("run", ["data.num_workers=0"]))
    Image.new("L", (28, 28)).save("a.png")
    (prediction,) = predict("run", ["a.png"], top_k=2)
    assert prediction.result is not None
    assert len(prediction.result.fields["top"]) == 2
    (row,) = benchmark(["run"], Options(measure=("accuracy",), folder=Path("costs")))
    assert row.accuracy == pytest.approx(100 * scores["test/accuracy"], abs=0.01)
    prepare("digits")
    assert capsys.readouterr().out.splitlines()[-1] == "digits: 1,258 train, 180 val, 359 test, 10 classes"


def test_a_warning_of_a_run_from_python_names_the_users_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Hydra, which begins the run, and what builds it."""
    monkeypatch.chdir(tmp_path)
    torch.save(zoo.create_model("mlp", num_classes=3).state_dict(), "three.pth")
    with pytest.warns(UserWarning, match="head") as found:
        train(["model=mlp", *QUICK[1:], "model.pretrained=three.pth", "test=false", "hydra.run.dir=run"])
    assert {each.filename for each in found if "head" in str(each.message)} == {__file__}
