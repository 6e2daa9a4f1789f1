"""The files of a folder, and a folder of class folders: its classes, its files, and its splits."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Labeled = list[tuple[Path, int]]

_LEFT_BEHIND = frozenset(
    "$recycle.bin|#recycle|@eadir|__macosx|desktop.ini|ehthumbs.db|icon\r|lost+found|system volume information|thumbs.db".split(
        "|"
    )
)
"""Names, in small letters, that systems leave in every folder; hidden ones begin with a dot."""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder and the folders in it."""

    files: list[Path] = field(default_factory=list)
    """Of the wanted suffixes, in order; also what only looks like one (a pipe, a link to itself), which is refused by name if
    it is opened."""
    others: Counter[str] = field(default_factory=Counter)
    """How many there are of what else lies there and is not hidden, by suffix."""
    disguised: list[Path] = field(default_factory=list)
    """Folders with the suffix of a file; what lies in them is among the files."""
    closed: list[OSError] = field(default_factory=list)
    """Folders that could not be listed."""


def listing(folder: Path, suffixes: frozenset[str], depth: int | None = None) -> Listing:
    """The files of a folder, at every depth or so many folders deep. Hidden names are no data, at any depth; links to folders
    are not followed."""
    found = Listing()
    for place, folders, names in os.walk(folder, onerror=found.closed.append):
        inside = []
        for path in (Path(place, name) for name in folders if not name.startswith(".")):
            if path.name.lower() in _LEFT_BEHIND:
                found.others[path.name] += 1
            elif path.is_symlink():
                found.others["links to folders"] += 1
            else:
                inside.append(path.name)
                if path.suffix.lower() in suffixes:
                    found.disguised.append(path)
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.name.lower() in _LEFT_BEHIND:
                found.others[path.name.strip()] += 1
            elif path.suffix.lower() in suffixes:
                found.files.append(path)
            else:
                found.others[path.suffix.lower() or "no suffix"] += 1
        level = len(Path(place).relative_to(folder).parts)
        folders[:] = inside if depth is None or level < depth else []
    found.files.sort()
    return found


def counted(kinds: Mapping[str, int]) -> str:
    """`16 .txt, 2 Thumbs.db`."""
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items(), key=lambda each: (-each[1], each[0])))


def some(names: Sequence[str]) -> str:
    """The first five, and how many more."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def labeled_splits(
    root: Path, suffixes: frozenset[str], notes: list[str] | None = None
) -> tuple[tuple[str, ...], dict[str, Labeled]]:
    """The classes and the splits of `root/CLASS/FILE`, or of `root/{train,val,test}/CLASS/FILE`.

    Without split folders, 10 % of each class are validation and 20 % test. With `train` and `test`, validation is 10 % of
    each class of train. With `train` and `val` alone, `val` is what is scored at the end, as test, and validation is
    carved out of train. Which file falls where depends on its own name alone, so that adding files moves no other. The
    classes are those of train; what is scored may lack some of them.

    Args:
        notes: gets a sentence about each thing that a user would not expect: other files, files of several kinds, classes
            of which nothing is scored.

    Raises:
        ValueError: an empty or unreadable folder, a class without training files, a class that train lacks.
    """
    notes = [] if notes is None else notes
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Set data.root to the folder that holds the class folders.")
    parts = [split for split in ("train", "val", "test") if (root / split).is_dir()]
    parts = parts if "train" in parts else [""]
    found = {part: _classes(root / part, suffixes) for part in parts}
    names = tuple(found[parts[0]])
    for part, folders in found.items():
        _check_classes(root / part, folders, names, root / parts[0], suffixes)
    splits = {
        part: [(path, names.index(name)) for name, inside in folders.items() for path in inside.files]
        for part, folders in found.items()
    }
    notes += _oddities(root, [inside for folders in found.values() for inside in folders.values()])
    if parts == [""]:
        rest, splits["test"] = _carve(root, splits.pop(""), 0.2)
        splits["train"], splits["val"] = _carve(root, rest, 0.125)
    if "test" not in splits:
        if "val" not in splits:
            raise ValueError(f"{root} has a train folder, but neither val nor test. Add test, or remove the level of train.")
        splits["test"] = splits.pop("val")
    if "val" not in splits:
        splits["train"], splits["val"] = _carve(root, splits["train"], 0.1)
    notes += unscored(names, splits)
    return names, {split: splits[split] for split in ("train", "val", "test")}


def unscored(names: Sequence[str], splits: Mapping[str, Labeled]) -> list[str]:
    """A sentence for each split that lacks classes."""
    said = []
    for split in ("val", "test"):
        there = {label for _, label in splits[split]}
        absent = [name for label, name in enumerate(names) if label not in there]
        if absent:
            said.append(f"The {split} split has no files of {some(absent)}: what it scores says nothing of them.")
    return said


def _classes(root: Path, suffixes: frozenset[str]) -> dict[str, Listing]:
    """The class folders by name, in order, and what is in them."""
    try:
        folders = sorted(
            entry
            for entry in root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".") and entry.name.lower() not in _LEFT_BEHIND
        )
    except OSError as error:
        raise _closed(error) from None
    found = {folder.name: listing(folder, suffixes) for folder in folders}
    for inside in found.values():
        if inside.closed:
            raise _closed(inside.closed[0])
    return found


def _closed(error: OSError) -> ValueError:
    return ValueError(f"The folder {error.filename} may not be read ({error.strerror}). Change its permissions, or data.root.")


def _check_classes(
    root: Path, folders: Mapping[str, Listing], names: Sequence[str], train: Path, suffixes: frozenset[str]
) -> None:
    if not folders:
        raise ValueError(f"{root} has no class folders: one folder a class, with its files inside, is expected.")
    if root == train:
        empty = [name for name, inside in folders.items() if not inside.files]
    else:
        odd = [name for name, inside in folders.items() if inside.files and name not in names]
        if odd:
            raise ValueError(
                f"The classes of {root} and {train} differ ({', '.join(odd)}): what was not learned cannot be scored. Add "
                f"their files to {train}, or remove them."
            )
        empty = [] if any(inside.files for inside in folders.values()) else list(folders)
    for name in empty:
        others = sorted(kind for kind in folders[name].others if kind.startswith("."))
        lacks = f"The class folder {root / name} holds no files of the kinds {' '.join(sorted(suffixes))}"
        if others:
            lacks += f", but files of the kinds {' '.join(others[:5])}; choose another data=, or fill or remove it."
        raise ValueError(lacks if others else f"{lacks}. Fill or remove it.")


def _oddities(root: Path, folders: Sequence[Listing]) -> list[str]:
    others = sum((inside.others for inside in folders), Counter[str]())
    said = [f"Not taken from the class folders of {root}: {counted(others)}."] if others else []
    if disguised := [str(path.relative_to(root)) for inside in folders for path in inside.disguised]:
        said.append(f"Folders named like files are taken for folders: {', '.join(disguised[:5])} ({len(disguised)}).")
    files = [path for inside in folders for path in inside.files]
    kinds = Counter(path.suffix.lower() for path in files)
    rare = [path for path in files if 20 * kinds[path.suffix.lower()] < len(files)]
    if len(kinds) > 1:
        some = f"; the few are {', '.join(str(path.relative_to(root)) for path in rare[:5])}" if rare else ""
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        said.append(f"The files in {root} are of several kinds, and all are used: {counted(kinds)}{some}{more}.")
    return said


def _carve(root: Path, files: Labeled, share: float) -> tuple[Labeled, Labeled]:
    """What stays and what is carved out: of each class the share whose names hash lowest, at least one file of two."""
    taken: set[Path] = set()
    for label in {label for _, label in files}:
        members = [path for path, its in files if its == label]
        members.sort(key=lambda path: hashlib.sha256(os.fsencode(path.relative_to(root).as_posix())).digest())
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        taken.update(members[:count])
    return [f for f in files if f[0] not in taken], [f for f in files if f[0] in taken]
