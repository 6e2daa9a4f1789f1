"""Activation checkpointing: a setting of the run, for every network with named blocks, whatever it was called before."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from tests.models.test_models import CLASSIFIERS, FIRST, small
from tests.precision import assert_same
from zoo.models import register
from zoo.models._base import Classifier
from zoo.models._registry import get_builder
from zoo.run import recipe as recipes
from zoo.run.check import settle_moved
from zoo.run.compose import composed
from zoo.run.network import network_of
from zoo.run.recipe import compose_recipe, configured, differences

Verb = Callable[..., tuple[int, str, str]]
SOON = ("lenet5", "mlp", "late_fusion", "cnn_rnn", "space_time_attention")
"""Those that are stepped in every run of the tests."""


def is_checkpointed(net: nn.Module) -> bool:
    assert isinstance(net, Classifier)
    return all("forward" in vars(net.features.get_submodule(name)) for name in net.blocks)


def stepped(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
    net.train()
    torch.manual_seed(1)  # of dropout, and of a frame that is drawn
    loss = net(x).square().mean()
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.numerical
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOON else pytest.mark.slow) for n in FIRST])
def test_a_step_is_the_same(name: str) -> None:
    """Also where it is asked for twice."""
    net, shape = small(name)
    other = copy.deepcopy(net)
    for _ in range(2):
        other.checkpoint_blocks()
    assert is_checkpointed(other)
    assert not is_checkpointed(net)
    x = torch.randn(2, *shape)
    (loss, gradients), (again, regained) = stepped(net, x), stepped(other, x)
    assert torch.equal(loss, again)
    assert any(gradient is not None for gradient in gradients.values())
    for key, gradient in gradients.items():
        if gradient is None:
            assert regained[key] is None, key
        else:
            assert_same(regained[key], gradient)
    for key, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("name", zoo.list_models())
def test_no_network_has_it_as_an_argument_and_a_run_asks_those_with_blocks(name: str) -> None:
    config = composed([f"model={name}", "size=small", "activation_checkpointing=true"])
    assert "checkpointing" not in config.model
    with torch.device("meta"):
        if name in CLASSIFIERS:
            assert is_checkpointed(network_of(config))
            return
        with pytest.raises(ValueError, match=f"activation_checkpointing needs a network with named blocks; {name} has none"):
            network_of(config)


@pytest.mark.parametrize("spelled", ["model.checkpointing", "+model.checkpointing", "++model.checkpointing"])
def test_the_former_name_of_the_setting_is_understood(spelled: str) -> None:
    with pytest.warns(UserWarning, match=r"^model\.checkpointing is called activation_checkpointing now"):
        config = composed(["model=i3d", f"{spelled}=true"])
    assert config.activation_checkpointing is True
    assert composed(["model=i3d"]).activation_checkpointing is False


@pytest.mark.parametrize("setting", ["activation_checkpointing=true", "model.checkpointing=true"])
def test_a_run_may_say_it_either_way(setting: str, verb: Verb, recwarn: pytest.WarningsRecorder) -> None:
    status, _, err = verb("train", "model=lenet5", setting, "data.fraction=0.1", "trainer.max_epochs=1", "test=false")
    assert status == 0, err
    told = [str(each.message) for each in recwarn if "called activation_checkpointing now" in str(each.message)]
    assert bool(told) == setting.startswith("model.")


def test_the_command_line_says_the_present_name_in_a_line(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person sees it, without the line of the source."""
    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *what: shown.append(warnings.formatwarning(*what[:4])))
        assert verb("train", "model=autoencoder", "model.checkpointing=true")[0] == 1
    assert "Warning: model.checkpointing is called activation_checkpointing now: it is a setting of the run.\n" in shown


def test_a_run_of_a_network_without_blocks_is_refused(verb: Verb) -> None:
    status, out, err = verb("train", "model=autoencoder", "activation_checkpointing=true")
    assert status == 1
    assert "Error: activation_checkpointing needs a network with named blocks; autoencoder has none." in out + err


def test_a_file_of_the_users_may_say_it(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: lenet5\nmodel:\n  checkpointing: true\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    config = composed(["experiment=mine"], str(tmp_path))
    assert configured(config)["activation_checkpointing"] is True
    settle_moved(config)
    assert config.activation_checkpointing is True
    assert "checkpointing" not in config.model


RECIPE: dict[str, Any] = {
    "version": "0.1",
    "names": {"model": "r3d_18", "task": "video_classification", "data": "motion_digits"},
    "arguments": {
        "model": {"name": "r3d_18", "num_classes": 10, "stem": "small", "checkpointing": True},
        "task": {},
        "data": {},
    },
    "facts": {"num_classes": 10, "class_names": list("0123456789"), "mean": [0.3], "std": [0.3], "shape": [3, 8, 32, 32]},
}


def test_a_checkpoint_of_before_is_loaded(tmp_path: Path) -> None:
    config = compose_recipe(RECIPE, [])
    assert config.model.stem == "small"
    assert config.activation_checkpointing is False
    recipe = copy.deepcopy(RECIPE)
    recipe["arguments"]["model"]["checkpoint"] = True
    with pytest.raises(ValueError, match=r"sets model\.checkpoint to True, which this version does not know"):
        compose_recipe(recipe, [])
    own = {"name": "lenet5", "num_classes": 4, "in_chans": 1, "input_shape": [1, 32, 32], "checkpointing": True}
    net = zoo.create_model("lenet5", num_classes=4)
    recipe = RECIPE | {"names": RECIPE["names"] | {"model": "lenet5"}, "arguments": {"model": own, "task": {}, "data": {}}}
    torch.save(
        {"state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}, "zoo": recipe}, tmp_path / "a.ckpt"
    )
    assert vars(zoo.create_model("lenet5", pretrained=tmp_path / "a.ckpt"))["num_classes"] == 4


@pytest.mark.parametrize("was", [False, True])
@pytest.mark.parametrize("known", ["settings", "arguments"])
def test_a_run_of_before_is_taken_up(was: bool, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(["model=r3d_18"])
    now = configured(config)
    before = {name: value for name, value in now.items() if name != "activation_checkpointing"} | {"model.checkpointing": was}
    recipe = RECIPE | {"arguments": {"model": {"checkpointing": was}}, **({"settings": before} if known == "settings" else {})}
    recipe["size"] = "small"
    monkeypatch.setattr(recipes, "read_checkpoint", lambda path: {"zoo": recipe})
    assert differences(config, "last.ckpt") == ({"activation_checkpointing": "was true, is false"} if was else {})


def test_the_former_argument_is_understood() -> None:
    with torch.device("meta"), pytest.warns(UserWarning, match=r"checkpoint_blocks\(\), or set activation_checkpointing"):
        net = zoo.create_model("r3d_18", checkpointing=True)
    assert is_checkpointed(net)
    assert "checkpointing" not in vars(net)["recipe"]["arguments"]
    with torch.device("meta"), pytest.warns(UserWarning, match="checkpointing is no argument of a network"):
        assert not is_checkpointed(zoo.create_model("x3d_s", checkpointing=False))


def test_a_builder_of_ones_own_may_call_an_argument_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.models import _registry

    get_builder("lenet5")
    monkeypatch.setattr(_registry, "_BUILDERS", dict(_registry._BUILDERS))
    given = []

    @register
    def mine(num_classes: int = 10, checkpointing: bool = False) -> nn.Module:
        """Mine."""
        given.append(checkpointing)
        return nn.Linear(1, num_classes)

    zoo.create_model("mine", checkpointing=True)
    assert given == [True]
    config = composed(["model=mine", "model.checkpointing=true"])
    assert config.model.checkpointing is True
    assert config.activation_checkpointing is False
