"""The front door: networks, their weights and their cost. Nothing heavy is imported before it is asked for (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.flops import profile as profile
    from zoo.models import create_model as create_model
    from zoo.models._entries import get_weights as get_weights
    from zoo.models._inflate import inflate as inflate
    from zoo.models._registry import list_models as list_models

__version__ = "0.1.0"

_HOME = {
    "create_model": "zoo.models",
    "get_weights": "zoo.models._entries",
    "inflate": "zoo.models._inflate",
    "list_models": "zoo.models._registry",
    "profile": "zoo.flops",
}
__all__ = ["__version__", "create_model", "get_weights", "inflate", "list_models", "profile"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
