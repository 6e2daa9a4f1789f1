"""Old names of public classes, methods, attributes and arguments: they go on working, with a warning that states the new."""

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from zoo.common.nested import deep, flat, merged
from zoo.common.words import warn

ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"rpn_options.{name}" for name in ("anchors", "ratios", "train_proposals", "proposals")},
        **{name: f"head_options.box.{name}" for name in ("regions", "detections", "score_threshold", "sampling_ratio")},
        "box_width": "head_options.box.width",
        "mask_widths": "head_options.mask.widths",
        "keypoint_widths": "head_options.keypoint.widths",
        "keypoint_margin": "head_options.keypoint.margin",
        "num_keypoints": "head_options.keypoint.num_keypoints",
    }
)
"""Arguments of networks, detectors, that stood beside all others, and where they stand now."""


def in_place(arguments: Mapping[str, Any], known: Container[str], *, told: str = "") -> dict[str, Any]:
    """A network's arguments where they stand now: `{"box_width": 8}` is `{"head_options": {"box": {"width": 8}}}`.

    Args:
        known: the network's own arguments; what is called as one of them stays.
        told: whose arguments they are, for a warning; none is given without.

    Raises:
        ValueError: one is given under both names.
    """
    former = {name: ARGUMENTS[name] for name in arguments if name in ARGUMENTS and name not in known}
    former = {name: new for name, new in former.items() if new.partition(".")[0] in known}
    rest = {name: value for name, value in arguments.items() if name not in former}
    given = flat(rest)
    for old, new in former.items():
        if new in given:
            raise ValueError(f"{old} is called {new} now, and both are given. Leave {old} out.")
        if told:
            _say(f"{told}'s {old}", new)
    return merged(deep({new: arguments[old] for old, new in former.items()}), rest) if former else rest


def with_old_names(found: Callable[[str], Any], face: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that knows old names too.

    Args:
        found: its own `__getattr__`.
        names: old name to new.
    """

    def known(name: str) -> Any:
        if name in names:
            _say(f"{face}.{name}", names[name])
        return found(names.get(name, name))

    return known


class Renamed:
    """A base of classes whose methods and attributes have `old_names`. A subclass may override a method under either name."""

    old_names: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = dict(vars(cls))
        for old, new in cls.old_names.items():
            if old in own and new not in own:
                _say(f"{cls.__name__}.{old}", new)
                setattr(cls, new, own[old])
            if old in own or new in own or "old_names" in own:
                # One alias a class, so that super().OLD is the base's method.
                setattr(cls, old, _Alias(old, new, vars(cls).get(new)))


class _Alias:
    """A name that stands for another one: for a method of the class, or for an attribute of the object."""

    def __init__(self, old: str, new: str, method: Any) -> None:
        self.old = old
        self.new = new
        self.method = method

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self if self.method is None else self.method
        _say(f"{type(instance).__name__}.{self.old}", self.new)
        return getattr(instance, self.new) if self.method is None else self.method.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        _say(f"{type(instance).__name__}.{self.old}", self.new)
        setattr(instance, self.new, value)


def _say(old: str, new: str) -> None:
    warn(f"{old} is called {new} now; the old name will be gone in a later version.")
