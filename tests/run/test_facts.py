"""What is known of the data stands in a node of its own, and a run is composed once."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from zoo.common.places import CONF
from zoo.run.build import build_data, build_task
from zoo.run.check import check_parts
from zoo.run.compose import choices_of, composed
from zoo.run.facts import facts_of, publish
from zoo.run.network import network_of
from zoo.run.recipe import recipe_of, settings_of
from zoo.run.settings import plain


def test_no_file_of_ours_takes_a_fact_for_an_argument() -> None:
    for path in (each for group in ("model", "task") for each in (CONF / group).rglob("*.yaml")):
        assert "${data." not in path.read_text(), path


def test_facts_are_apart_from_arguments() -> None:
    config = composed(["data=digits", "run_dir=."])
    before = OmegaConf.to_container(config.data)
    network_of(config)  # nothing is known yet but the shape
    data = build_data(config)
    data.prepare_data()
    data.setup()
    facts = facts_of(data)
    publish(config, facts)
    assert OmegaConf.to_container(config.data) == before
    assert OmegaConf.to_container(config.facts) == facts
    assert build_task(config).num_outputs == data.num_classes
    recipe = recipe_of(config, facts)
    assert recipe["facts"] == facts
    assert not {"num_classes", "class_names", "mean", "std"} & {*recipe["arguments"]["data"]}
    assert not [name for name in plain(config, choices_of(config)) if name.startswith("facts")]
    assert "mean" not in settings_of(config)["task"]


FORMER = """
# @package _global_
defaults: [lenet5, _self_]
model:
  num_classes: ${data.num_classes}
  input_shape: [1, "${data.shape[1]}", "${data.shape[2]}"]
task:
  class_names: ${data.class_names}
"""


def test_files_of_before_find_the_facts(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "with_former_facts.yaml").write_text(FORMER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = composed(["model=with_former_facts", "run_dir=.", "task=segmentation", "data=digit_scenes"], str(tmp_path))
    with pytest.warns(UserWarning, match=r"data.num_classes\} is \$\{facts.num_classes\} now"):
        check_parts(config)
    publish(config, {"num_classes": 7, "shape": [1, 32, 40], "class_names": list("abcdefg"), "mean": [0.5], "std": [0.2]})
    assert (config.model.num_classes, config.model.input_shape) == (7, [1, 32, 40])
    assert config.task.class_names == list("abcdefg")


def test_a_run_is_composed_once(verb: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    seen, compose = [], ConfigLoaderImpl.load_configuration

    def load(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return compose(self, *args, **kwargs)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    short = ("model=linear", "trainer.max_steps=1", "test=false", "callbacks=none", "logger=none")
    status, _, err = verb("train", *short, f"hydra.run.dir={tmp_path / 'run'}")
    assert status == 0, err
    assert len(seen) == 1


UNIONS = {
    ("callbacks=default",): {"savepoints", "checkpoint", "progress", "lines", "pictures", "learning_rate"},
    ("callbacks=none",): set(),
    ("callbacks=ema",): {"savepoints", "checkpoint", "progress", "lines", "pictures", "learning_rate", "average"},
    ("callbacks=[ema,early_stopping]", "callbacks.pictures=null"): {
        *("savepoints", "checkpoint", "progress", "lines", "learning_rate", "average", "early_stopping")
    },
    ("callbacks=[none,ema]",): {"average"},
    ("logger=[default,wandb]",): {"csv", "tensorboard", "wandb"},
    ("logger=[none,wandb]",): {"wandb"},
    ("logger=none",): set(),
}


@pytest.mark.parametrize("settings", UNIONS, ids=str)
def test_callbacks_and_loggers_combine(settings: tuple[str, ...]) -> None:
    config = composed([*settings, "run_dir=."])
    group = settings[0].partition("=")[0]
    assert {name for name, node in config[group].items() if node is not None} == UNIONS[settings]


@pytest.mark.parametrize("group", ["callbacks", "logger"])
def test_all_choices_of_a_group_combine(group: str) -> None:
    """Every pair: what is in one is in the union of it with another."""
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "none")
    alone = {name: set(composed([f"{group}={name}", "run_dir=."])[group]) for name in names}
    for one in names:
        for other in names:
            if one != other:
                both = set(composed([f"{group}=[{one},{other}]", "run_dir=."])[group])
                assert both == alone[one] | alone[other], (one, other)


def test_a_union_trains(verb: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = ("model=linear", "trainer.max_epochs=4", "trainer.limit_train_batches=1", "logger=[none,default]", "optimizer.lr=0")
    status, out, err = verb(
        "train", *short, "callbacks=[ema,early_stopping]", "callbacks.early_stopping.patience=1", f"hydra.run.dir={run}"
    )
    assert status == 0, err
    assert "averaged (EMAWeightAveraging)" in out
    assert "Epoch 2/4" in out + err
    assert "Epoch 3/4" not in out + err  # nothing becomes better at a rate of 0
    assert (run / "metrics.csv").is_file()


def test_a_logger_whose_package_is_missing_is_named(verb: Any, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    status, _, err = verb("train", "model=linear", "logger=[default,wandb]", f"hydra.run.dir={tmp_path / 'run'}")
    assert status == 1
    assert err.splitlines()[-1].startswith("Error: logger=wandb needs a package that is not installed")
    assert err.splitlines()[-1].endswith("Install it: pip install wandb.")


@pytest.mark.parametrize("group", ["callbacks", "logger"])
def test_a_choice_that_there_is_not_is_named_in_a_union_too(group: str) -> None:
    for setting in (f"{group}=defalt", f"{group}=[none,defalt]"):
        with pytest.raises(ValueError, match=f"There is no {group} 'defalt'; did you mean default"):
            composed([setting, "run_dir=."])
