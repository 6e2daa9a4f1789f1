"""A folder of class folders: its classes, its files, and its splits."""

import hashlib
from pathlib import Path

Labelled = list[tuple[Path, int]]


def labelled_splits(root: Path, suffixes: frozenset[str]) -> tuple[tuple[str, ...], dict[str, Labelled]]:
    """The classes and the splits of `root/CLASS/FILE`, or of `root/{train,val,test}/CLASS/FILE`.

    Without split folders, 10 % of each class are validation and 20 % test. With `train` and `test`, validation is 10 % of
    each class of train. With `train` and `val` alone, `val` is what is scored at the end, as test, and validation is
    carved out of train. Which file falls where depends on its own name alone, so that adding files moves no other.

    Raises:
        ValueError: an empty or unreadable folder, a class without files, classes that differ between the splits.
    """
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Set data.root to the folder that holds the class folders.")
    if not (root / "train").is_dir():
        names, files = _classes(root, suffixes)
        rest, test = _carve(root, files, 0.2)
        train, val = _carve(root, rest, 0.125)
        return names, {"train": train, "val": val, "test": test}
    given = {split: _classes(root / split, suffixes) for split in ("train", "val", "test") if (root / split).is_dir()}
    names = given["train"][0]
    for split, (others, _) in given.items():
        if others != names:
            odd = sorted(set(others) ^ set(names))
            raise ValueError(f"The classes of {root / split} and {root / 'train'} differ ({', '.join(odd)}). Make them equal.")
    splits = {split: files for split, (_, files) in given.items()}
    if "test" not in splits:
        if "val" not in splits:
            raise ValueError(f"{root} has a train folder, but neither val nor test. Add test, or remove the level of train.")
        splits["test"] = splits.pop("val")
    if "val" not in splits:
        splits["train"], splits["val"] = _carve(root, splits["train"], 0.1)
    return names, splits


def _classes(root: Path, suffixes: frozenset[str]) -> tuple[tuple[str, ...], Labelled]:
    """The class folders' names and all files with their labels, in the order of the names."""
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        found = [sorted(p for p in f.rglob("*") if p.suffix.lower() in suffixes and p.is_file()) for f in folders]
    except PermissionError as error:
        raise ValueError(f"The folder {error.filename} may not be read. Change its permissions, or data.root.") from None
    if not folders:
        raise ValueError(f"{root} has no class folders: one folder a class, with its files inside, is expected.")
    for folder, files in zip(folders, found, strict=True):
        if not files:
            kinds = " ".join(sorted(suffixes))
            others = sorted({p.suffix.lower() for p in folder.rglob("*") if p.is_file() and p.suffix})
            instead = (
                f", but files of the kinds {' '.join(others[:5])}; choose another data=, or fill or" if others else ". Fill or"
            )
            raise ValueError(f"The class folder {folder} holds no files of the kinds {kinds}{instead} remove it.")
    return tuple(f.name for f in folders), [(path, label) for label, files in enumerate(found) for path in files]


def _carve(root: Path, files: Labelled, share: float) -> tuple[Labelled, Labelled]:
    """What stays and what is carved out: of each class the share whose names hash lowest, at least one file of two."""
    taken: set[Path] = set()
    for label in {label for _, label in files}:
        members = [path for path, its in files if its == label]
        members.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        taken.update(members[:count])
    return [f for f in files if f[0] not in taken], [f for f in files if f[0] in taken]
