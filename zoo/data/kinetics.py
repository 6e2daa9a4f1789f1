"""Kinetics-400, -600 and -700: moments of ten seconds of YouTube's videos, one action each (Kay et al. 2017)."""

from pathlib import Path

from zoo.data.reading.folders import Labeled, listing, unscored
from zoo.data.reading.groups import Listed, grouped_splits
from zoo.data.reading.lists import Row, number_of, once, placed, rows
from zoo.data.video_folder import VideoFolder

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class Kinetics(VideoFolder):
    """`data.root` with `annotations/{train,val,test}.csv` as they are published (label, youtube_id, time_start, time_end,
    split) and the videos in `{train,val,test}/`, each in the folder of its label or in none, named
    `ID_START_END.mp4` with six digits of seconds.

    Without labels for test, as of Kinetics-400, val is what is scored at the end, as test, and validation is carved out of
    train. Clips of one YouTube video are one group. What is listed and not there is left out and named, up to `data.max_bad`.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
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
        for split, listed in tables.items():
            unknown = {row["label"] for row in listed} - set(names)
            if unknown:
                raise ValueError(f"annotations/{split}.csv has classes that train.csv lacks: {', '.join(sorted(unknown)[:5])}.")
            path = self._table(split)
            lists[split] = [
                Listed(
                    there[split].get(row["name"]) or placed(path, row, self.root / split, f"{row['label']}/{row['name']}"),
                    place[row["label"]],
                    row["youtube_id"],
                )
                for row in listed
            ]
        if lists["test"]:
            splits, self.skipped_groups = grouped_splits(lists["train"], lists["test"], lists["val"])
        else:
            splits, self.skipped_groups = grouped_splits(lists["train"], lists["val"])
            self.scored_at_end = "val"
        self.notes += unscored(names, splits)
        return names, splits

    def _table(self, split: str) -> Path:
        return self.root / "annotations" / f"{split}.csv"

    def _rows(self, split: str) -> list[Row]:
        """The labeled lines of a split's table, each video once; none where there is no such table."""
        path = self._table(split)
        if not path.exists() and not path.is_symlink():
            return []
        needed = _COLUMNS[1:] if split == "test" else _COLUMNS
        found, _ = rows(path, needed, ("label",) if split == "test" else (), f"Its columns must be {', '.join(_COLUMNS)}.")
        labeled = []
        for row in found:
            if row.values.get("label"):
                start, end = (number_of(path, row, column) for column in ("time_start", "time_end"))
                labeled.append(
                    Row(
                        row.number,
                        {
                            "name": f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4",
                            "youtube_id": row["youtube_id"],
                            "label": row["label"],
                        },
                    )
                )
        return once(path, labeled, "name", self.notes)

    def _there(self, split: str) -> dict[str, Path]:
        """The videos of a split by their names, in folders of labels (with blanks, or underscores for them) or in none."""
        return {path.name: path for path in listing(self.root / split, frozenset([".mp4"])).files}
