"""A table of labelled files: a CSV with the columns path and label, and if wanted split and group."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from zoo.chance import HELD_OUT, VALIDATION
from zoo.data._folders import Labelled
from zoo.data._stratified import stratified
from zoo.data.base import SPLITS
from zoo.places import inside


def table_splits(table: Path, what: str) -> tuple[tuple[str, ...], dict[str, Labelled]]:
    """The classes and the splits of a table of `what` ("image", "video").

    Paths are relative to the table's folder; a label is any text, and the classes are the labels in order (by number where
    all are whole numbers); `split` is train, val or test. Without the column, 20 % of each class are test and 10 %
    validation. With train and test, validation is 10 % of each class of train; with train and val alone, val is what is
    scored at the end, as test, and validation is carved out of train. Files of one `group` (frames of a film, clips of a
    video, pictures of a person) stay together.

    Raises:
        ValueError: columns, paths or labels that are missing, a split of another name, an empty one, a class that train
            lacks, a group or a file in two splits.
    """
    rows = _rows(table, what)
    labels = {row["label"] for row in rows}
    numbers = all(label.isdecimal() for label in labels)
    names = sorted(labels, key=int) if numbers else sorted(labels)
    files = [(inside(table.parent, row["path"]), names.index(row["label"])) for row in rows]
    splits = _splits(rows, torch.tensor([label for _, label in files]))
    for split in SPLITS:
        if split not in splits:
            raise ValueError(f"{table} lists no {what} of the split {split}. Add some, or drop the column split.")
    for column in ("group", "path"):
        _check_apart(table, column, [row.get(column, "") for row in rows], splits)
    absent = set(names) - {rows[at]["label"] for at, split in enumerate(splits) if split == "train"}
    if absent:
        raise ValueError(f"{table} has no training {what} of {', '.join(sorted(absent))}. Add some, or drop the class.")
    return tuple(names), {split: [file for file, its in zip(files, splits, strict=True) if its == split] for split in SPLITS}


def _rows(table: Path, what: str) -> list[dict[str, str]]:
    if not table.is_file():
        raise ValueError(f"There is no table {table}. Set data.root to a CSV file with the columns path and label.")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} cannot be read as a CSV file in UTF-8: {error}.") from None
    missing = [column for column in ("path", "label") if column not in columns]
    if missing or not rows:
        lacks = f"has no column {' and '.join(missing)}" if missing else f"lists no {what}"
        raise ValueError(f"{table} {lacks}. Its first line must name the columns path and label, one {what} a line follows.")
    for number, row in enumerate(rows, start=2):
        if not row["path"] or not row["label"]:
            raise ValueError(f"Line {number} of {table} lacks its path or its label. Complete or remove it.")
        if row.get("split", "train") not in SPLITS:
            raise ValueError(f"Line {number} of {table} has the split {row['split']!r}; there are train, val and test.")
    return rows


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


def _check_apart(table: Path, column: str, values: Sequence[str], splits: Sequence[str]) -> None:
    """Refuse a value of the column in two splits: what is scored would have been trained on."""
    where: dict[str, str] = {}
    for value, split in zip(values, splits, strict=True):
        other = where.setdefault(value, split) if value else split
        if other != split:
            raise ValueError(
                f"The {column} {value!r} of {table} is in two splits, {other} and {split}. Put all of its rows into one."
            )
