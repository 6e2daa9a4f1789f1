"""One's own images, listed in a table."""

import csv

import torch

from zoo.chance import HELD_OUT, VALIDATION
from zoo.data._files import inside
from zoo.data._folders import Labelled
from zoo.data._stratified import stratified
from zoo.data.base import SPLITS
from zoo.data.image_folder import ImageFolder


class ImageCsv(ImageFolder):
    """The images of a CSV file with the columns `path` and `label`, and if wanted `split` and `group`.

    `data.root` is the table. Paths are relative to its folder; a label is any text, and the classes are the labels in
    order (by number where all are whole numbers); `split` is train, val or test. Without the column, 20 % of each class are
    test and 10 % validation; without val, 10 % of each class of train are. Images of one `group` (frames of a film, pictures of
    a person) stay together.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        rows = self._rows()
        labels = {row["label"] for row in rows}
        numbers = all(label.isdecimal() for label in labels)
        names = sorted(labels, key=int) if numbers else sorted(labels)
        files = [(inside(self.root.parent, row["path"]), names.index(row["label"])) for row in rows]
        splits = self._splits(rows, torch.tensor([label for _, label in files]))
        for split in SPLITS:
            if split not in splits:
                raise ValueError(f"{self.root} lists no image of the split {split}. Add some, or drop the column split.")
        absent = set(names) - {rows[at]["label"] for at, split in enumerate(splits) if split == "train"}
        if absent:
            raise ValueError(f"{self.root} has no training image of {', '.join(sorted(absent))}. Add some, or drop the class.")
        return tuple(names), {
            split: [file for file, its in zip(files, splits, strict=True) if its == split] for split in SPLITS
        }

    def _rows(self) -> list[dict[str, str]]:
        if not self.root.is_file():
            raise ValueError(f"There is no table {self.root}. Set data.root to a CSV file with the columns path and label.")
        try:
            with self.root.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
                columns = reader.fieldnames or []
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{self.root} cannot be read as a CSV file in UTF-8: {error}.") from None
        missing = [column for column in ("path", "label") if column not in columns]
        if missing or not rows:
            what = f"has no column {' and '.join(missing)}" if missing else "lists no image"
            raise ValueError(
                f"{self.root} {what}. Its first line must name the columns path and label, one image a line follows."
            )
        for number, row in enumerate(rows, start=2):
            if not row["path"] or not row["label"]:
                raise ValueError(f"Line {number} of {self.root} lacks its path or its label. Complete or remove it.")
            if row.get("split", "train") not in SPLITS:
                raise ValueError(f"Line {number} of {self.root} has the split {row['split']!r}; there are train, val and test.")
        return rows

    def _splits(self, rows: list[dict[str, str]], labels: torch.Tensor) -> list[str]:
        """Each row's split: the column's, else carved out by a hash of the row's number or its group."""
        names = sorted({row.get("group", "") for row in rows})
        groups = torch.tensor([names.index(row.get("group", "")) for row in rows]) if len(names) > 1 else None
        splits = [row.get("split", "train") for row in rows]
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
