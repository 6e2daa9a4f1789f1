"""One's own images with masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from zoo.common.places import data_root
from zoo.data.base import SPLITS
from zoo.data.images import WholeLoading
from zoo.data.masks import FilePair, MaskSet
from zoo.data.reading.carving import completed
from zoo.data.reading.lists import lines


class MaskFolder(MaskSet):
    """`root/images/NAME.jpg` with `root/masks/NAME.png`, or the same inside `root/{train,val,test}/`.

    A mask is a gray or palette picture whose values are classes, counted from 0; `void` counts for nothing. Class names
    are the lines of `root/classes.txt`, or the argument. Without split folders, 20 % are test and 10 % validation; without
    `val`, 10 % of train are; with `val` but no `test`, `val` is scored at the end, as test, and validation is 10 % of train.
    Which file falls where depends on its own name alone.

    Args:
        root: the folder; relative to the working folder.
        classes: names of the classes; None reads classes.txt.
        void: the class that counts for nothing, besides 255.
        short_side: pixels to which the shorter side is scaled; None leaves it. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    def __init__(
        self,
        *,
        root: str,
        classes: Sequence[str] | None = None,
        void: int | None = 255,
        **loading: Unpack[WholeLoading],
    ) -> None:
        super().__init__(**loading)
        self.root = data_root(root)
        self.classes = classes
        self.void = void

    def find(self) -> dict[str, list[FilePair]]:
        path = self.root / "classes.txt"
        remedy = "Write one class a line in it, or set data.classes=[background,...]."
        names = self.classes or [row["line"] for row in lines(path, remedy)]
        if not 1 < len(names) < 255:
            raise ValueError(f"{len(names)} classes are named in {path} or data.classes; there must be 2 to 254 of them.")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"The class {twice!r} is named twice in {path} or data.classes. Give each a name of its own.")
        self.class_names = tuple(names)
        splits = {split: self._pairs(self.root / split) for split in SPLITS if (self.root / split).is_dir()}
        if "train" not in splits:
            return completed({"train": self._pairs(self.root)})
        if "test" not in splits:
            if "val" not in splits:
                raise ValueError(f"{self.root} has a train folder, but neither val nor test. Add one.")
            self.scored_at_end = "val"
        return completed(splits)

    def _pairs(self, folder: Path) -> list[FilePair]:
        return self.paired(folder / "images", folder / "masks")
