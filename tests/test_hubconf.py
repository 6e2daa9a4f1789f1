"""torch.hub: every network is an entry point of the checkout."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def hubconf() -> Any:
    spec = importlib.util.spec_from_file_location("hubconf_here", CHECKOUT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_network_is_listed_with_its_documentation(hubconf: Any) -> None:
    """As `torch.hub.list` and `torch.hub.help` find them, which look at repositories alone."""
    found = {name: getattr(hubconf, name) for name in dir(hubconf) if not name.startswith("_")}
    entries = {name: each for name, each in found.items() if callable(each)}
    builtin = [name for name in zoo.list_models() if name in entries]
    assert builtin == sorted(entries)
    assert len(builtin) > 40
    assert all(each.__doc__ for each in entries.values())
    assert all(importlib.util.find_spec(name) for name in hubconf.dependencies)


def test_networks_are_built_with_weights_and_arguments() -> None:
    def load(*arguments: Any, **named: Any) -> Any:
        return torch.hub.load(str(CHECKOUT), *arguments, source="local", trust_repo=True, **named)

    net = load("lenet5", pretrained=True)
    assert torch.equal(net.head.weight, zoo.create_model("lenet5", pretrained=True).head.weight)
    net = load("single_frame", backbone="lenet5", num_classes=4, input_shape=(3, 2, 32, 32))
    assert net.eval()(torch.zeros(1, 3, 2, 32, 32)).shape == (1, 4)
    with pytest.raises(ValueError, match="lenet5 takes no argument 'clasess'"):
        load("lenet5", clasess=3)
