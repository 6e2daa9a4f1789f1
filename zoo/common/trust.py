"""What a checkpoint, which anybody may have made, may decide, and what the user alone decides.

A checkpoint chooses among our networks, tasks and data sets, fills in their numbers, and states facts. Where data lie, what is
fetched, written or started is never read from it. So that the user's own runs are scored without naming their data again, the
places that a run was given are kept on this machine, in the cache folder, under the run's number: a number drawn by lot, which
a checkpoint carries. This machine has none for a stranger's checkpoint; those of the user's own, changed by a stranger, are the
user's own.
"""

import contextlib
import functools
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from zoo.common.nested import deep, flat
from zoo.common.places import cache_folder, write_whole
from zoo.common.renaming import in_place

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

NUMBERS = frozenset(
    "antialias batch_size clips crops fold fraction flip gaps ground prepared rate resize scale scales seed segments shape "
    "short_side val void year".split()
)
"""Arguments of data sets that say which samples are served, and how they are cut: numbers, or lists of numbers."""
WORDS = {
    "model": frozenset(
        "name backbone block cell channel_order fusion average heads motion norm padding slow_frames stem streams".split()
    ),
    "task": frozenset("metric metrics mode loss copies".split()),
    "data": frozenset(
        "annotations decoder flow ground interpolation rounding sampling target test_list train_list val_sequence".split()
    ),
}
"""Arguments that are told by a word; what is no word names a place, an address, a command."""
NAMES = {"model": frozenset[str](), "task": frozenset({"class_names", "fields"}), "data": frozenset({"class_name", "classes"})}
"""Arguments that are shown and compared, and never opened: any text."""
OPTIONS = ("head_options", "rpn_options")
"""A network's arguments that hold those of its parts by name; of them too a checkpoint decides, numbers and plain words."""
FACTS = frozenset(
    "num_classes class_names mean std shape fields category_ids keypoint_names keypoint_sigmas num_keypoints".split()
)
"""What a checkpoint may state of its data."""
USERS = {
    "model": frozenset({"pretrained", "backbone_weights"}),
    "task": frozenset({"results"}),
    "data": frozenset("root source folder download num_workers max_bad cache_bytes shard_bytes".split()),
}
"""What only the user says. (A network's and a task's other arguments are numbers.)"""
FORMER = {"model": frozenset({"checkpointing"}), "task": frozenset[str](), "data": frozenset[str]()}
"""Arguments of earlier versions that decide nothing about a network: a checkpoint may state them, and they are passed over."""
PLACES = ("root", "source", "folder")
"""Arguments of the data without which other files would be read; they are asked for."""


def may(group: str, key: str, value: Any, *, own: bool = False) -> bool:
    """Whether a checkpoint decides this argument. Raises ValueError where it does, but not with such a value.

    Args:
        own: whether it is of a class of the user's, whose arguments are not known here: of its numbers a checkpoint decides.
    """
    if key in USERS[group]:
        return False
    if key in NAMES[group]:
        return all(isinstance(each, str) for each in _items(value))
    if key == "name" and not isinstance(value, str):
        raise ValueError(f"The checkpoint names the {group} {value!r}, which is no name.")
    texts = [each for each in _items(value) if isinstance(each, str)]
    if not texts:
        return group != "data" or key in NUMBERS or value is None or own
    options = key.partition(".")[0] in OPTIONS
    if not (options or key in WORDS[group]) or not all(_word(each, "options" if options else group) for each in texts):
        raise ValueError(
            f"The checkpoint sets {group}.{key} to {value!r}, which is not for a checkpoint to say. If you trust it, say it "
            f"yourself: {group}.{key}=..."
        )
    return True


def check_facts(facts: Mapping[Any, Any]) -> None:
    """Raises ValueError where a checkpoint states more than facts, or they are not plain."""
    for key, value in facts.items():
        if key not in FACTS or not harmless(value):
            raise ValueError(f"The checkpoint states {key!r} as {value!r}, which is no plain fact.")
    names, count = facts.get("class_names"), facts.get("num_classes")
    named = names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
    if not named or not (count is None or (type(count) is int and 0 <= count <= 1_000_000)):
        raise ValueError(f"The checkpoint states {count!r} classes of the names {str(names)[:100]}, which are none.")


def harmless(value: Any) -> bool:
    """Plain, and free of Hydra's and OmegaConf's own words."""
    if isinstance(value, list):
        return all(harmless(item) for item in value)
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "${" not in value)


def _items(value: Any) -> list[Any]:
    """What is in a list, however deep, or the value alone."""
    return [inner for each in value for inner in _items(each)] if isinstance(value, list) else [value]


def _word(text: str, group: str) -> bool:
    """`timm/resnet18.a1_in1k` is a network's name; of a file's name nothing but a plain word may be told."""
    part = r"\w[\w.-]*"
    return re.fullmatch(rf"{part}(/{part})?" if group == "model" else r"\w[\w-]*", text) is not None


def decided(
    group: str, values: Any, known: Collection[str], said: Collection[str] = (), *, own: bool = False
) -> dict[str, Any]:
    """The arguments of a group that a checkpoint decides.

    Args:
        known: the arguments that there are.
        said: those of them that the user has said.
        own: as of `may`.

    Raises:
        ValueError: they are no names with plain values, or such as are not for a checkpoint to say.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"The checkpoint's arguments of its {group} are not names with values.")
    values = {key: value for key, value in values.items() if key in known or key not in FORMER[group]}
    values = in_place(values, known) if group == "model" else values
    for key, value in values.items():
        options = group == "model" and key not in WORDS[group] and isinstance(value, dict)
        if not (_harmless_options(value) if options else harmless(value)) or key not in known or key.startswith("_"):
            raise ValueError(f"The checkpoint sets {group}.{key} to {value!r}, which this version does not know.")
    return deep({key: value for key, value in flat(values).items() if key not in said and may(group, key, value, own=own)})


def _harmless_options(value: Any) -> bool:
    """Whether all that is in it is plain: values by plain names, perhaps of parts by theirs."""
    if not isinstance(value, dict):
        return harmless(value)
    named = all(isinstance(key, str) and re.fullmatch(r"[^\W_]\w*", key) for key in value)
    return named and all(_harmless_options(each) for each in value.values())


def later_version(recipe: object) -> str | None:
    """The version that wrote a checkpoint, where it is a later one than this, which may not know all that it states."""
    from zoo import __version__

    stated = str(recipe.get("version")) if isinstance(recipe, Mapping) else ""
    here, there = ([int(part) for part in re.findall(r"\d+", each)[:3]] for each in (__version__, stated))
    return stated if re.fullmatch(r"\d+(\.\w+){1,5}", stated) and there > here else None


@contextlib.contextmanager
def naming_later_version(recipe: object, place: str | Path = "The checkpoint") -> Iterator[None]:
    """Where a checkpoint of a later version cannot be used, say that it is one."""
    try:
        yield
    except ValueError as error:
        if (later := later_version(recipe)) is None:
            raise
        raise ValueError(
            f"{place} was written by version {later} of zoo, a later one than this. Update it. ({error})"
        ) from None


def of_any_version(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`naming_later_version` as a decorator of functions of a checkpoint's content, or of its recipe."""

    @functools.wraps(function)
    def named(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        content: Any = args[0]
        with naming_later_version(content.get("zoo", content)):
            return function(*args, **kwargs)

    return named


# Own runs


def number() -> str:
    """A random number that identifies a run's checkpoints."""
    return uuid.uuid4().hex


def remember(run: str, data: str, arguments: Mapping[str, Any]) -> None:
    """Keep what the user said of a run's data, where only the user writes."""
    said = {key: _absolute(arguments[key]) for key in arguments if key in USERS["data"] - {"download"}}
    with contextlib.suppress(OSError):  # a cache that cannot be written to: the places will have to be named
        _entry(run).parent.mkdir(parents=True, exist_ok=True)
        write_whole(_entry(run), (json.dumps({"data": data, "arguments": said}) + "\n").encode())


def remembered(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the user said of the data of a run that was trained here; nothing of any other."""
    run = recipe.get("run")
    if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{32}", run):
        return {}
    try:
        kept = json.loads(_entry(run).read_text())
    except (OSError, ValueError):
        return {}
    return dict(kept["arguments"]) if kept["data"] == recipe["names"].get("data") else {}


def _entry(run: str) -> Path:
    return cache_folder() / "runs" / f"{run}.json"


def _absolute(value: Any) -> Any:
    """A path as it is found from any working folder; an address as it is."""
    if isinstance(value, str) and "://" not in value and (path := Path(value).expanduser()).exists():
        return str(path.absolute())
    return value
