"""What a name is made into: the network, its recipe, its weights."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from tests.models.test_models import CLASSIFIERS, small
from zoo.models import _registry

FEW = ("lenet5", "c3d", "cnn_rnn")
MARKED = [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in zoo.list_models()]


@pytest.mark.parametrize("name", MARKED)
def test_a_network_is_built_again_from_its_recipe(name: str) -> None:
    with torch.device("meta"):
        net = small(name)[0] if name in CLASSIFIERS else zoo.create_model(name)
        recipe = vars(net)["recipe"]
        again = zoo.create_model(recipe["name"], **recipe["arguments"])
    assert json.loads(json.dumps(recipe)) == recipe == vars(again)["recipe"]
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (net, again)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_recipe_has_every_argument_as_a_plain_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    builder: Any = _registry.get_builder(name)
    known = inspect.signature(builder)

    def build(**arguments: Any) -> nn.Module:
        return nn.Identity()

    vars(build)["__signature__"] = known
    monkeypatch.setitem(_registry._BUILDERS, name, build)
    recipe = vars(zoo.create_model(name))["recipe"]
    assert recipe["arguments"].keys() == known.parameters.keys()
    assert json.loads(json.dumps(recipe)) == recipe


def test_a_recipe_states_what_the_network_is(tmp_path: Path) -> None:
    net = zoo.create_model("lenet5", pretrained="Fashion_MNIST")
    assert vars(net)["recipe"]["weights"] == "lenet5:fashion_mnist"
    assert vars(net)["recipe"]["arguments"]["input_shape"] == [1, 32, 32]
    net.reset_classifier(3)  # type: ignore[operator]
    assert vars(net)["recipe"]["arguments"]["num_classes"] == 3
    torch.save(net.state_dict(), tmp_path / "net.pt")
    assert vars(zoo.create_model("lenet5", num_classes=3, pretrained=tmp_path / "net.pt"))["recipe"]["weights"] is None
    frames = zoo.create_model("single_frame", backbone=net, in_chans=1, num_classes=3)
    assert "recipe" not in vars(frames)
