"""What a run starts from: weights that exist, and nothing frozen that nobody trained."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zoo.run.size import PAPER

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import nn

    from zoo.run.freeze import Freeze

_SHOWN = 3


def check_frozen(net: "nn.Module", model: Mapping[str, Any], freeze: "Freeze | None" = None) -> None:
    """Refuse a run that would keep random weights, or statistics that nobody measured, as they are.

    Args:
        model: its settings: what it starts from, and a detector's `norm` and `trained`, which freeze as it is built.
        freeze: which holds parts of the network already.

    Raises:
        ValueError: the sentence names what is random and the ways out.
    """
    from zoo.models._weights import fresh_tensors
    from zoo.run.freeze import names_of, still

    fresh = fresh_tensors(net)
    if freeze:
        random = {part: [name for name in names_of(net, freeze.parts[part]) if name in fresh] for part in freeze.frozen}
        parts = [part for part, names in random.items() if names]
        rest = [part for part in freeze.frozen if part not in parts]
        _refuse(
            f"freeze={freeze} would keep {', '.join(parts)}",
            [name for part in parts for name in random[part]],
            f"freeze={'[' + ', '.join(rest) + ']' if rest else 'null'}",
            model,
        )
    if remedy := _thawed(model):
        frozen = [f"model.{name}={model[name]}" for name in ("norm", "trained") if f"model.{name}=" in remedy]
        names = [name for name in names_of(net, still(net)) if name in fresh]
        _refuse(f"{' and '.join(frozen)} would keep {len(names)} tensors", names, remedy, model)


def _refuse(what: str, names: list[str], remedy: str, model: Mapping[str, Any]) -> None:
    if not names:
        return
    named = ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    key = _key(model)
    why = f"{key}={start} does not hold them in their shape" if (start := model.get(key[6:])) else f"{key} is null"
    raise ValueError(
        f"{what} at values that nobody trained ({named}), as {why}. Set model.pretrained to weights that fit, or {remedy}."
    )


def _key(model: Mapping[str, Any]) -> str:
    """The setting that says what a network starts from."""
    return "model.backbone_weights" if model.get("backbone_weights") else "model.pretrained"


def _thawed(model: Mapping[str, Any]) -> str:
    """The settings that free what a detector freezes as it is built."""
    frozen = {"model.norm=batch": model.get("norm") == "frozen", "model.trained=null": model.get("trained") is not None}
    return " and ".join(setting for setting, needed in frozen.items() if needed)


@contextlib.contextmanager
def ways_out(config: "DictConfig") -> Iterator[None]:
    """Where published weights cannot be downloaded, say how a run does without them."""
    from zoo.common.download import NotThereError

    model = config.model
    try:
        yield
    except NotThereError as error:
        key = _key(model)
        thawed = " and ".join(each for each in (_thawed(model), "freeze=null" if config.freeze else "") if each)
        frozen = f" (with {thawed}, for what nobody trained is not frozen)" if thawed else ""
        small = ", or size=small, which is a network for small data and starts from none" if config.size == PAPER else ""
        raise ValueError(f"{error} Or set {key}=null, which trains from random weights{frozen}{small}.") from None


def fetch_weights(config: "DictConfig") -> None:
    """Download the published weights that a run starts from, before anything is built. Raises ValueError."""
    from zoo.models._entry import Weights
    from zoo.models._start import start_of

    with ways_out(config):
        if isinstance(start := start_of(config.model.name, config.model), Weights):
            start.path()
