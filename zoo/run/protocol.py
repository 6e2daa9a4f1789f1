"""The line beside a figure: everything in the configuration that the figure depends on.

It is not kept by hand. The line names every argument of the data set and of the task that differs from its default, except
those that a class declares `unscored`; so a new argument is named until somebody states that no figure depends on it.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from zoo.common.nested import flat
from zoo.common.renaming import in_place
from zoo.run.check import located
from zoo.run.compose import choices_of

if TYPE_CHECKING:
    from zoo.data.base import DataModule


def protocol(config: DictConfig, data: "DataModule", recipe: Mapping[str, Any], precision: str) -> str:
    """The protocol of a figure of this configuration, as one line.

    Args:
        recipe: of the checkpoint. Where `model` differs from it (detections an image, thresholds), the answers do too.
        precision: the Trainer's.
    """
    kind = located(config.data._target_)
    task = located(config.task._target_)
    stated = in_place(recipe["arguments"]["model"], config.model)
    own = flat({key: _plain(config.model[key]) for key in stated if key in config.model and key != "name"})
    model = flat(stated)
    parts = [
        data.protocol,
        f"data={choices_of(config)['data']}",
        data.scored_at_end and f"test is the set's {data.scored_at_end}",
        *(f"data.{each}" for each in _set_here(config.data, kind, kind.unscored | kind.spoken, {})),
        *(f"task.{each}" for each in _set_here(config.task, task, task.unscored, config.facts)),
        *(f"model.{key}={_spoken(value)}" for key, value in own.items() if key in model and value != model[key]),
        "" if precision == "32-true" else f"precision {precision}",
    ]
    return ", ".join(part for part in parts if part)


def _set_here(node: DictConfig, target: Callable[..., Any], known: frozenset[str], facts: Mapping[Any, Any]) -> Iterator[str]:
    """`name=value` of what differs from the signature's default, and from the data set's fact of that name."""
    for name, parameter in inspect.signature(target).parameters.items():
        if name in known or name not in node:
            continue
        value, fact = _plain(node[name]), _plain(facts.get(name))
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        if value not in (default, fact):
            yield f"{name}={_spoken(value)}"


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
