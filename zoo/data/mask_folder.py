"""One's own images with masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.common.files import File
from zoo.common.places import data_root
from zoo.data.base import SPLITS, Samples
from zoo.data.images import PictureSet
from zoo.data.loading.augment import Augment
from zoo.data.masks import FilePair, Geometry, WholeImages, carved, mask_files, paired
from zoo.data.reading.lists import lines


class MaskFolder(PictureSet):
    """`root/images/NAME.jpg` with `root/masks/NAME.png`, or the same inside `root/{train,val,test}/`.

    A mask is a grey or palette picture whose values are classes, counted from 0; `void` counts for nothing. Class names
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

    default_shape = (3, 500, 500)
    targets = ("semantic",)
    full_size = True

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        void: int | None = 255,
        short_side: int | None = None,
        scale: Sequence[float] = (0.5, 2.0),
        flip: bool = True,
        ground: str | Sequence[int] = "white",
        batch_size: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape,
            ground=ground,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            max_bad=max_bad,
            augment=augment,
        )
        self.root = data_root(root)
        self.classes = classes
        self.void = void
        # ImageNet's, the field's usual numbers; a grey image takes their mean.
        grey = self.shape[0] == 1
        self.mean = (0.449,) if grey else (0.485, 0.456, 0.406)
        self.std = (0.226,) if grey else (0.229, 0.224, 0.225)
        self.geometry = Geometry(self.shape, short_side, scale, flip, self.mean)

    def load(self) -> dict[str, Samples]:
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
            rest, test = carved(self._pairs(self.root), 0.2)
            train, val = carved(rest, 0.125)
            splits = {"train": train, "val": val, "test": test}
        if "test" not in splits:
            if "val" not in splits:
                raise ValueError(f"{self.root} has a train folder, but neither val nor test. Add one.")
            splits["test"] = splits.pop("val")
            self.scored_at_end = "val"
        if "val" not in splits:
            splits["train"], splits["val"] = carved(splits["train"], 0.1)
        return mask_files(self, splits, self.geometry, self.void)

    def _pairs(self, folder: Path) -> list[FilePair]:
        return paired(folder / "images", folder / "masks", self.num_classes, self.void, self.notes)

    def files(self, paths: Sequence[File]) -> Samples:
        return WholeImages(paths, self.shape[0], self.geometry, self.ground)
