"""Forty and more mistakes of a user: no traceback, no library's advice to programmers, one sentence that names the setting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from zoo.flops import __main__ as flops
from zoo.run import cli, grammar
from zoo.run.check import _MEETING, check_fit, check_parts
from zoo.run.compose import composed, literal_paths
from zoo.tasks.base import Task

Verb = Callable[..., tuple[int, str, str]]

SMALL = ("model=linear", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "callbacks.pictures=null")

SETTINGS = [
    # (what is set, and what the sentence must name)
    ("optimizer.lr=abc", "optimizer.lr"),
    ("optimizer.lr=null", "optimizer.lr"),
    ("optimizer.lr=-1", "optimizer.lr"),
    ("optimizer.lr=[1]", "optimizer.lr"),
    ("optimizer.weight_decay=abc", "optimizer.weight_decay"),
    ("optimizer.betas=3", "optimizer.betas"),
    ("optimizer=adm", "did you mean adam"),
    ("optimizer._target_=foo", "foo"),
    ("scheduler.warmup=abc", "scheduler.warmup"),
    ("scheduler.warmup=null", "scheduler.warmup"),
    ("scheduler.warmup=2", "scheduler.warmup"),
    ("scheduler.final=x", "scheduler.final"),
    ("trainer.max_epochs=abc", "trainer.max_epochs"),
    ("trainer.max_steps=-7", "trainer.max_steps"),
    ("trainer.devices=abc", "trainer.devices"),
    ("trainer.accelerator=abc", "trainer.accelerator"),
    ("trainer.precision=abc", "trainer.precision"),
    ("trainer.strategy=abc", "trainer.strategy"),
    ("trainer.num_nodes=2", "MASTER_ADDR, MASTER_PORT and NODE_RANK"),
    ("trainer.limit_train_batches=abc", "trainer.limit_train_batches"),
    ("trainer.limit_train_batches=2.5", "trainer.limit_train_batches"),
    ("trainer.val_check_interval=3", "trainer.val_check_interval=3"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches"),
    ("trainer.gradient_clip_val=x", "trainer.gradient_clip_val"),
    ("trainer.val_check_interval=0", "trainer.val_check_interval"),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch"),
    ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps"),
    ("trainer.max_time=abc", "trainer.max_time"),
    ("trainer.profiler=abc", "trainer.profiler"),
    ("seed=abc", "seed"),
    ("seed=-1", "seed"),
    ("seed=99999999999999", "seed"),
    ("test=x", "test"),
    ("data.num_workers=-1", "data.num_workers"),
    ("data.max_bad=x", "data.max_bad"),
    ("data.fraction=2", "data.fraction"),
    ("data.shape=32", "data.shape"),
    ("data.shape=[1,-3,3]", "data.shape"),
    ("data.augment=x", "data.augment"),
    ("data.batch_size=1e3", "data.batch_size"),
    ("data._target_=foo.bar", "foo.bar"),
    ("input_shape=32", "input_shape"),
    ("input_shape=[a]", "input_shape"),
    ("unfreeze=x", "unfreeze"),
    ("freeze=3", "freeze"),
    ("freeze=abc", "freeze"),
    ("reference_batch=0", "reference_batch"),
    ("model.num_classes=0", "model.num_classes"),
    ("model.pretrained=true", "model.pretrained is true, but linear has no published weights; those that have some"),
    ("model.pretrained=nothing", "nothing"),
    ("model=lenet5,mlp", "model=lenet5,mlp"),
    ("task.label_smoothing=x", "task.label_smoothing"),
    ("task=detection", "detection learns from"),
    ("callbacks.savepoints.minutes=x", "callbacks.savepoints.minutes"),
    ("callbacks.checkpoint.save_top_k=x", "callbacks.checkpoint.save_top_k"),
    ("callbacks.checkpoint.monitor=val/foo", "callbacks.checkpoint.monitor"),
    ("task.metric=foo", "task.metric"),
    ("callbacks.progress=3", "callbacks.progress"),
    ("logger.csv.flush_every=x", "logger.csv.flush_every"),
    ("hydra.run.dir=file.txt", "file.txt"),
    ("resume=empty", "empty"),
    ("trainer.max_epoch=1", "max_epoch"),
    ("model.num_classes=3", "model.num_classes is 3"),
    ("task.num_outputs=3", "task.num_outputs is 3"),
    ("task.label_smoothing=3", "task.label_smoothing is 3"),
    ("task.mixup=-1", "task.mixup is -1"),
    ("task.margin=-1", "task.margin is -1"),
    ("unfreeze=[0.5]", "freeze is not set"),
    ("freeze=[0.5]", "freeze names"),
    ("freeze=head", "freeze holds all"),
]
"""Each alone is added to a command that would run."""

OTHERS = [
    ("train", ("data=image_folder",), "data.root"),
    ("train", ("data=image_folder", "data.root=nowhere"), "nowhere"),
    ("train", ("--foo",), "--foo"),
    ("train", (*SMALL, "model=resnet18", "data.shape=[1,4,4]", "data.batch_size=1"), "data.batch_size"),
    ("train", ("model",), "model"),
    ("train", ("model=lenet5", "model.pretrained=fashion"), "did you mean fashion_mnist"),
    ("train", ("model=slow_fusion", "model.pretrained=true"), "those that have some are alexnet, "),
    ("train", ("model=lenet5", "model.pretrained=empty"), "The folder empty holds no checkpoint"),
    ("evaluate", ("nowhere",), "nowhere"),
    ("evaluate", ("lenet5:fashion_mnist", "trainer.limit_test_batches=abc"), "limit_test_batches"),
    ("evaluate", ("lenet5:fashion_mnist", "split=x"), "split"),
    ("predict", ("lenet5:fashion_mnist", "nowhere.png"), "nowhere.png"),
    ("predict", ("lenet5:fashion_mnist", "pics", "top_k=x"), "top_k"),
    ("predict", ("lenet5:fashion_mnist", "pics", "top_k=-1"), "top_k is -1"),
    ("predict", ("lenet5:fashion_mnist", "pics", "max_bytes=-1"), "max_bytes is -1"),
    ("predict", ("lenet5:fashion_mnist", "pics", "top_q=3"), "did you mean top_k"),
    ("evaluate", ("lenet5:fashion_mnist", "splt=val"), "did you mean split"),
    ("verify", ("lenet5", "toleranc=1"), "did you mean tolerance"),
    ("publish", ("empty",), "empty"),
    ("publish", ("nowhere",), "nowhere"),
    ("publish", ("lenet5", "rpeo=a/b"), "did you mean repo"),
    ("prepare", ("image_foldr",), "image_folder"),
    ("prepare", ("image_folder", "nowhere"), "nowhere"),
    ("verify", ("lenet5", "tolerance=x"), "tolerance"),
    ("verify", ("empty",), "empty"),
    ("study", ("seeds=x",), "seeds"),
    ("study", ("model=resnet18", "input_shape=[1,4,4]", "data.batch_size=1", "seeds=0"), "data.batch_size"),
    ("study", ("shares=0",), "shares"),
    ("study", ("optimizer=adm",), "did you mean adam"),
    ("benchmark", ("nothing_like_it",), "nothing_like_it"),
    ("benchmark", ("linear", "batch=x"), "batch"),
    ("benchmark", ("empty",), "empty"),
    ("verify", ("file.txt",), "file.txt"),
    ("flops", ("nowhere",), "nowhere"),
    ("flops", ("model=linear", "clips=x"), "clips"),
    ("flops", ("model=linear", "model.hidden=3"), "hidden"),
]


def assert_one_sentence(found: tuple[int, str, str], said: str) -> None:
    status, out, err = found
    assert status == 1, out
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert said in lines[0]
    for foreign in ("Traceback", "HINT", "HYDRA_FULL_ERROR", "object_type"):
        assert foreign not in out + err


VALUES = ("abc", "-1", "[]", "null", "1e9")
RUNS = {
    "trainer": ("model=linear",),
    "callbacks": ("model=linear", "callbacks=ema"),
    "logger": ("model=linear",),
    "optimizer": ("model=linear", "optimizer=rmsprop"),
    "scheduler": ("model=linear", "scheduler=step"),
    "task": ("model=linear",),
    "data": ("model=c3d",),
    "model": ("model=resnet18",),
}
"""Groups of settings, and a run in which they are set."""


def settings_of(config: DictConfig, place: str) -> list[str]:
    """The names of all settings in a group."""
    found = []
    for key in map(str, config):
        if key.startswith("_"):
            continue
        name = f"{place}.{key}"
        found.append(name)
        missing = OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key)
        if not missing and isinstance(config[key], DictConfig):
            found += settings_of(config[key], name)
    return found


def wrong(group: str) -> list[str]:
    return [name for name in settings_of(composed([*RUNS[group], "run_dir=."])[group], group) if name not in ELSEWHERE]


ELSEWHERE = ("data.root", "model.pretrained")
"""What is said of a file that is not there names the file."""


@pytest.mark.parametrize("group", RUNS)
def test_a_value_that_no_setting_takes_is_refused_before_anything_is_made(group: str) -> None:
    """One of the values for each setting of the group, in turn: either it is taken, or one sentence names it."""
    for number, name in enumerate(wrong(group)):
        value = VALUES[number % len(VALUES)]
        try:
            config = composed([*RUNS[group], "run_dir=.", f"{name}={value}"])
            check_parts(config)
            check_fit(config)
        except Exception as error:
            said = cli.sentence(error)
            assert said is not None, (name, value)
            assert name in said, (value, said)


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("group", RUNS)
def test_every_value_of_every_setting_is_taken_or_refused_in_one_sentence(
    group: str, value: str, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs that begin are short, whatever their length is set to."""
    steps = 0
    step = Task.training_step

    def few(self: Task, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > 4:
            raise SystemExit(0)
        return step(self, *args)

    monkeypatch.setattr(Task, "training_step", few)
    batches = [f"trainer.limit_{split}_batches={number}" for split, number in (("train", 2), ("val", 1), ("test", 1))]
    for name in wrong(group):
        steps = 0
        rest = [each for each in (*RUNS[group], *SMALL[1:], *batches, "data.num_workers=0") if not each.startswith(f"{name}=")]
        status, out, err = verb("train", *rest, f"{name}={value}")
        if status:  # a value that is taken may still be too large to learn with
            assert_one_sentence((status, out, err), "The loss became" if "The loss became" in err else name)


LONG = "x" * 300
"""Longer than a file's name may be."""


@pytest.mark.parametrize("words", ["train resume=", "evaluate ", "flops ", "verify ", "benchmark ", "prepare ", "predict "])
def test_a_name_that_no_file_can_have_is_that_of_none(words: str, verb: Verb) -> None:
    name, *rest = f"{words}{LONG}".split()
    assert_one_sentence(verb(name, *rest, *["."] * (name == "predict")), LONG)


def test_a_long_list_of_settings_is_no_file() -> None:
    settings = [f"model.hidden=[{','.join(['1'] * 300)}]", f"data.class_names=[{LONG}]"]
    assert literal_paths(settings) == settings
    assert grammar.read(flops._main, settings, "flops") == {"overrides": tuple(settings)}


@pytest.fixture(autouse=True)
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _MEETING:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "pics").mkdir()
    (tmp_path / "file.txt").write_text("text")
    Image.new("L", (28, 28)).save(tmp_path / "pics" / "1.png")


@pytest.mark.parametrize(("setting", "said"), SETTINGS, ids=[setting for setting, _ in SETTINGS])
def test_a_mistaken_setting_is_one_sentence(setting: str, said: str, verb: Verb) -> None:
    assert_one_sentence(verb("train", *SMALL, setting), said)


@pytest.mark.parametrize(("name", "arguments", "said"), OTHERS, ids=[f"{name} {' '.join(rest)}" for name, rest, _ in OTHERS])
def test_every_verb_says_a_mistake_in_one_sentence(name: str, arguments: tuple[str, ...], said: str, verb: Verb) -> None:
    assert_one_sentence(verb(name, *arguments), said)
