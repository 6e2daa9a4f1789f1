"""Every network as an entry point of torch.hub: `torch.hub.load("ORG/zoo", "c3d", pretrained=True)`, or of a checkout,
`torch.hub.load(FOLDER, "c3d", source="local")`. Arguments are those of `zoo.create_model`."""

from collections import abc as _abc
from typing import Any as _Any

from torch import nn as _nn

from zoo.models._create import create_model as _create_model
from zoo.models._list import list_models as _list_models
from zoo.models._registry import get_builder as _get_builder

dependencies = ["torch", "torchvision", "timm", "numpy", "PIL", "safetensors", "lazy_loader"]


def _entry(name: str) -> _abc.Callable[..., _nn.Module]:
    def entry(pretrained: _Any = None, **arguments: _Any) -> _nn.Module:
        return _create_model(name, pretrained=pretrained, **arguments)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = _get_builder(name).__doc__
    return entry


globals().update({_name: _entry(_name) for _name in _list_models()})
