"""The facts of a run's data: what the data set owns, and others read.

They are a node of the configuration, `facts`, which is filled when the data are known: `${facts.num_classes}` in the file of a
network or a task. A checkpoint carries them.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, open_dict

from zoo.common import trust
from zoo.common.words import warn

if TYPE_CHECKING:
    from zoo.data.base import DataModule


def facts_of(data: "DataModule") -> dict[str, Any]:
    """The facts of a data module that is set up. Raises ValueError for a class whose name Hydra would read as a reference."""
    for name in data.class_names:
        if not trust.harmless(name):  # it would be read as a reference to a setting, or to the environment
            raise ValueError(f"A class is called {name!r}; a name may not hold ${{. Rename it.")
    return {
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "mean": list(data.mean),
        "std": list(data.std),
        "shape": list(data.shape),
        **{name: _listed(getattr(data, name)) for name in data.facts},
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def pretrained_facts(config: DictConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """The mean and deviation that published weights were trained with, where the run starts from some; else nothing."""
    from zoo.models._entry import Weights
    from zoo.models._start import start_of

    start = start_of(config.model.name, config.model)
    return start.normalization(int(config.data.shape[0]), own) if isinstance(start, Weights) else {}


def publish(config: DictConfig, facts: Mapping[str, Any]) -> None:
    """Fill the node."""
    with open_dict(config.facts):
        config.facts.update(facts)


def settle(config: DictConfig) -> None:
    """Let the files of a user's own refer to facts where they stand now; they stood among the arguments of the data."""
    for group in ("model", "task"):
        _settle(config[group], frozenset(map(str, config.data)) - {"shape"})


def _settle(node: DictConfig | ListConfig, arguments: frozenset[str]) -> None:
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        value = written(node, key)
        if isinstance(value, DictConfig | ListConfig):
            _settle(value, arguments)
        elif isinstance(value, str) and (named := {*re.findall(r"\$\{data\.(\w+)", value)} - arguments):
            for name in sorted(named):
                if name != "shape":  # which is an argument too
                    warn(f"${{data.{name}}} is ${{facts.{name}}} now: what is known of the data stands in a node of its own.")
                value = re.sub(rf"\$\{{data\.{name}\b", f"${{facts.{name}", value)
            node[key] = value


def written(node: DictConfig | ListConfig, key: Any) -> Any:
    """What stands in a node as it is written, a reference for itself."""
    found: Any = node._get_node(key)
    return found if isinstance(found, DictConfig | ListConfig) and not found._is_interpolation() else found._value()
