"""Files of the user's own: `zoo train my_task.py task=my` imports the file, and its classes are chosen by name like the
package's.

A subclass of `Task` or `DataModule` and a builder that `register` was told are choices of `task=`, `data=` and `model=`; their
settings are their arguments. Which classes there are is asked of Python: an imported file needs no further step, in a program
neither.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from zoo.common.places import CONF
from zoo.common.signature import OPEN, hints, parameters
from zoo.common.trust import harmless
from zoo.common.words import choice

_FILES = "ZOO_FILES"
"""Variable that names the imported files for the processes that a verb begins."""


def taken(arguments: Sequence[str]) -> list[str]:
    """Import the Python files among the arguments; return the others. Raises ValueError where a file defines a choice that
    exists."""
    files = [each for each in arguments if each.endswith(".py") and Path(each).is_file()]
    known = [*filter(None, os.environ.get(_FILES, "").split(os.pathsep))]
    os.environ[_FILES] = os.pathsep.join(dict.fromkeys([*known, *(str(Path(each).absolute()) for each in files)]))
    imported()
    stems = {Path(each).stem for each in files}
    for group in GROUPS if files else ():
        for name, thing in own(group).items():
            if thing.__module__ in stems and (CONF / group / f"{name}.yaml").is_file():
                raise ValueError(
                    f"There is a {group} {name!r} already. Give {thing.__qualname__} in {thing.__module__} another name."
                )
    return [each for each in arguments if each not in files]


def imported() -> list[str]:
    """Import the files that this process, or the one that began it, was given; their names."""
    files = [*filter(None, os.environ.get(_FILES, "").split(os.pathsep))]
    for name in files:
        _import(Path(name))
    return files


def _import(path: Path) -> None:
    name = path.stem
    there = getattr(sys.modules.get(name), "__file__", None)
    if name in sys.modules and there is not None and Path(there) == path:
        return
    if name in sys.modules:
        raise ValueError(f"{path} is called as a module that there is already. Give the file another name.")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


GROUPS = ("task", "data", "model")


def own(group: str) -> dict[str, Any]:
    """The classes of tasks and data sets, and the builders of networks, that were defined outside of this package, by name."""
    found: dict[str, Any] = {}
    if group == "model":
        from zoo.models._registry import registered

        return {name: builder for name, builder in registered().items() if not _ours(builder)}
    base = {"task": ("zoo.tasks.base", "Task"), "data": ("zoo.data.base", "DataModule")}[group]
    module = sys.modules.get(base[0])  # where nothing has imported it, nothing is made of it
    for kind in _below(getattr(module, base[1])) if module else ():
        if not _ours(kind) and "<locals>" not in kind.__qualname__ and not kind.__name__.startswith("_"):
            found[choice(kind)] = kind
    return found


def own_heads() -> set[str]:
    """Names of the heads of detectors that were defined outside of this package."""
    module = sys.modules.get("zoo.models._heads")
    return {name for name, head in module.HEADS.items() if not _ours(head)} if module else set()


def _ours(thing: Any) -> bool:
    return str(thing.__module__).partition(".")[0] == "zoo"


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def offer() -> None:
    """Make choices of all that was defined outside; a choice of the same name that is here stays what it is. (Hydra would take
    the other for its schema.)"""
    for group, node in (("task", _task), ("data", _data), ("model", _model)):
        for name, thing in own(group).items():
            if (CONF / group / f"{name}.yaml").is_file():
                continue
            package = "_global_" if group == "model" else None
            ConfigStore.instance().store(group=group, name=name, node=node(name, thing), package=package)


def known(group: str, name: str) -> bool:
    """Whether there is such a choice."""
    return (CONF / group / f"{name}.yaml").is_file() or name in own(group)


def _arguments(thing: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that stand for the arguments: their defaults as far as they are plain values, or what is said."""
    node: dict[str, Any] = {}
    for name, parameter in parameters(thing).items():
        if name in ("net", OPEN):
            continue
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        if name in said:
            node[name] = said[name]
        elif default is parameter.empty:
            node[name] = MISSING
        elif harmless(default):
            node[name] = default
    return node


def _task(name: str, kind: Any) -> dict[str, Any]:
    facts = {fact: f"${{facts.{fact}}}" for fact in ("mean", "std", *kind.facts)}
    said = {"optimizer": "${optimizer}", "scheduler": "${scheduler}", "num_outputs": "${facts.num_classes}", "seed": "${seed}"}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **_arguments(kind, {**said, **facts})}


def _data(name: str, kind: Any) -> dict[str, Any]:
    said = {"shape": "${input_shape}", "seed": "${seed}", "augment": {}}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **_arguments(kind, said)}


def _model(name: str, builder: Any) -> dict[str, Any]:
    default = getattr(parameters(builder).get("input_shape"), "default", (3, 224, 224))
    shape: Any = list(default)
    said = {"num_classes": "${task.num_outputs}", "in_chans": "${facts.shape[0]}", "input_shape": "${facts.shape}"}
    task, data = ("video_classification", "motion_digits") if len(shape) == 4 else ("classification", "digits")
    kind = hints(builder).get("return")
    if getattr(kind, "__name__", "") == "Detector" and _ours(kind):
        task, data, shape = "detection", "digit_scenes", "${size:[3,128,128],[3,800,1333]}"
        said["num_classes"] = "${facts.num_classes}"
    return {
        "defaults": [
            {"override /task": task},
            {"override /data": data},
            {"override /optimizer": "adamw"},
            "_self_",
        ],
        "input_shape": shape,
        "model": {"_target_": "zoo.create_model", "name": name, "pretrained": None, **_arguments(builder, said)},
    }
