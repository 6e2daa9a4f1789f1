"""A table of labeled files: a CSV with the columns path and label, and if wanted split and group."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from zoo.common.chance import HELD_OUT, VALIDATION
from zoo.data.base import SPLITS
from zoo.data.reading.folders import Labeled, unscored
from zoo.data.reading.lists import Row, once, rows
from zoo.data.reading.stratified import stratified


def table_splits(table: Path, what: str, notes: list[str] | None = None) -> tuple[tuple[str, ...], dict[str, Labeled]]:
    """The classes and the splits of a table of `what` ("image", "video").

    Paths are relative to the table's folder, or absolute: the table is its user's own, and names any file. A label is any text,
    and the classes are the labels in order (by number where all are whole numbers). `split` is train, val or test. Without the
    column, 20 % of each class are test and 10 % validation. With train and test, validation is 10 % of each class of train;
    with train and val alone, val is what is scored at the end, as test, and validation is carved out of train. Files of one
    `group` (frames of a film, clips of a video, pictures of a person) stay together.

    Args:
        notes: gets a sentence about rows that are listed twice, and about classes of which nothing is scored.

    Raises:
        ValueError: what is no table; columns, paths or labels that are missing, a split of another name, an empty one, a
            class that train lacks, a file with two labels or in two splits, a group in two splits.
    """
    notes = [] if notes is None else notes
    listed = _rows(table, what, notes)
    labels = {row["label"] for row in listed}
    numbers = all(label.isascii() and label.isdecimal() and len(label) < 19 for label in labels)
    names = sorted(labels, key=lambda label: (int(label) if numbers else 0, label))
    places = {name: number for number, name in enumerate(names)}
    files = [(Path(row["path"]), places[row["label"]]) for row in listed]
    its = _splits([row.values for row in listed], torch.tensor([label for _, label in files]))
    for split in SPLITS:
        if split not in its:
            raise ValueError(f"{table} lists no {what} of the split {split}. Add some, or drop the column split.")
    _check_groups(table, listed, its)
    absent = set(names) - {row["label"] for row, split in zip(listed, its, strict=True) if split == "train"}
    if absent:
        raise ValueError(f"{table} has no training {what} of {', '.join(sorted(absent))}. Add some, or drop the class.")
    splits = {split: [file for file, where in zip(files, its, strict=True) if where == split] for split in SPLITS}
    notes += unscored(names, splits)
    return tuple(names), splits


def _rows(table: Path, what: str, notes: list[str]) -> list[Row]:
    """Each file once, by its place on this machine."""
    remedy = f"Set data.root to a CSV file whose first line names the columns path and label; one {what} a line follows."
    found, _ = rows(table, ("path", "label"), ("split", "group"), remedy)
    if not found:
        raise ValueError(f"{table} lists no {what}. {remedy}")
    for row in found:
        if not row["path"] or not row["label"]:
            raise ValueError(f"Line {row.number} of {table} lacks its path or its label. Complete or remove it.")
        split = row.values.get("split", "train")
        if split not in SPLITS:
            raise ValueError(f"Line {row.number} of {table} has the split {split[:60]!r}; there are train, val and test.")
    files = [Row(row.number, {**row.values, "path": os.path.normpath(table.parent / row["path"])}) for row in found]
    return once(table, files, "path", notes)


def _splits(rows: Sequence[dict[str, str]], labels: torch.Tensor) -> list[str]:
    """Each row's split: the column's, else carved out by a hash of the row's number or its group."""
    names = sorted({row.get("group", "") for row in rows})
    groups = torch.tensor([names.index(row.get("group", "")) for row in rows]) if len(names) > 1 else None
    splits = [row.get("split", "train") for row in rows]
    if "val" in splits and "test" not in splits:
        splits = ["test" if split == "val" else split for split in splits]
    for split, share, stream in (("test", 0.2, HELD_OUT), ("val", 0.1, VALIDATION)):
        if split not in splits and (split == "val" or "split" not in rows[0]):
            at = torch.tensor([index for index, its in enumerate(splits) if its == "train"], dtype=torch.int64)
            if not len(at):
                continue
            inside = groups[at] if groups is not None else None
            held = at[stratified(labels[at], share, seed=0, stream=stream, groups=inside)]
            for index in held.tolist():
                splits[index] = split
    return splits


def _check_groups(table: Path, listed: Sequence[Row], splits: Sequence[str]) -> None:
    """Refuse a group in two splits: what is scored would have been trained on."""
    where: dict[str, tuple[str, int]] = {}
    for row, split in zip(listed, splits, strict=True):
        if group := row.values.get("group", ""):
            other, number = where.setdefault(group, (split, row.number))
            if other != split:
                raise ValueError(
                    f"The group {group[:60]!r} of {table} is in two splits, {other} (line {number}) and {split} (line "
                    f"{row.number}). Put all of its rows into one."
                )
