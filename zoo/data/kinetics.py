"""Kinetics-400, -600 and -700: moments of ten seconds of YouTube's videos, one action each (Kay et al. 2017)."""

import csv
from pathlib import Path

from zoo.data._folders import Labelled
from zoo.data._groups import Listed, grouped_splits
from zoo.data.video_folder import VideoFolder
from zoo.places import inside

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class Kinetics(VideoFolder):
    """`data.root` with `annotations/{train,val,test}.csv` as they are published (label, youtube_id, time_start, time_end,
    split) and the videos in `{train,val,test}/`, each in the folder of its label or in none, named
    `ID_START_END.mp4` with six digits of seconds.

    Without labels for test, as of Kinetics-400, val is what is scored at the end, as test, and validation is carved out of
    train. Clips of one YouTube video are one group. What is listed and not there is left out and named, up to `data.max_bad`.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        tables = {split: self._rows(split) for split in ("train", "val", "test")}
        if not tables["train"] or not (tables["val"] or tables["test"]):
            raise ValueError(
                f"{self.root} has no annotations/train.csv and annotations/val.csv with the columns {', '.join(_COLUMNS)}. Set "
                f"data.root to the folder of Kinetics."
            )
        names = tuple(sorted({row["label"] for row in tables["train"]}))
        place = {name: number for number, name in enumerate(names)}
        there = {split: self._there(split) for split in tables}
        lists: dict[str, list[Listed]] = {}
        for split, rows in tables.items():
            unknown = {row["label"] for row in rows} - set(names)
            if unknown:
                raise ValueError(f"annotations/{split}.csv has classes that train.csv lacks: {', '.join(sorted(unknown)[:5])}.")
            lists[split] = []
            for row in rows:
                name = f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"
                path = there[split].get(name) or inside(self.root / split, f"{row['label']}/{name}")
                lists[split].append(Listed(path, place[row["label"]], row["youtube_id"]))
        if lists["test"]:
            splits, self.withheld = grouped_splits(lists["train"], lists["test"], lists["val"])
        else:
            splits, self.withheld = grouped_splits(lists["train"], lists["val"])
            self.scored_at_end = "val"
        return names, splits

    def _rows(self, split: str) -> list[dict[str, str]]:
        """The labelled lines of a split's table; none where there is no such table."""
        path = self.root / "annotations" / f"{split}.csv"
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                rows = list(csv.DictReader(stream))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read as a CSV file in UTF-8: {error}.") from None
        if rows and any(column not in rows[0] for column in _COLUMNS[1:]):
            raise ValueError(f"{path} lacks one of the columns {', '.join(_COLUMNS)}.")
        labelled = [row for row in rows if row.get("label")]
        for row in labelled:
            if not all((row[column] or "").isdecimal() for column in ("time_start", "time_end")):
                raise ValueError(f"{path} has the line {list(row.values())}; time_start and time_end are whole seconds.")
        return labelled

    def _there(self, split: str) -> dict[str, Path]:
        """The videos of a split by their names, in folders of labels (with blanks, or underscores for them) or in none."""
        return {path.name: path for path in sorted((self.root / split).rglob("*.mp4"))}
