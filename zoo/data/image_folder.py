"""One's own images, one folder a class."""

from collections.abc import Sequence
from typing import Unpack

from zoo.common.crops import Crops, scales_of
from zoo.common.files import File
from zoo.common.pictures import SUFFIXES, check_image
from zoo.common.places import data_root
from zoo.data.images import ImageFiles, PictureLoading, PictureSet, imagenet
from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading.folders import Labeled, labeled_splits


class FolderLoading(PictureLoading, total=False):
    """What sets take that are read as `ImageFolder` is."""

    short_side: Sequence[int] | None
    crops: int
    scales: Sequence[int | Sequence[int]] | None


class ImageFolder(PictureSet):
    """The images in `root/CLASS/` or `root/{train,val,test}/CLASS/`.

    Without split folders, 10 % of each class are validation and 20 % test; with `train` and `test`, validation is 10 % of
    train; with `train` and `val` alone, `val` is scored as the test. Which file falls where depends on its own name alone.

    Args:
        root: the folder; relative to the working folder.
        short_side: [low, high], pixels: a training image's shorter side is scaled to a length between them and the shape in
            use cut out at a random place (ResNet: [256, 480] for 224); None is the largest centered cut.
        crops, scales: the views of an image at validation and test; see `zoo.common.crops.Crops`.
    """

    spoken = frozenset(["shape", "crops", "scales", "interpolation", "antialias"])
    unscored = PictureSet.unscored | {"short_side"}
    default_arguments = PictureLoading(batch_size=64)

    def __init__(
        self,
        *,
        root: str,
        short_side: Sequence[int] | None = None,
        crops: int = 1,
        scales: Sequence[int | Sequence[int]] | None = None,
        **loading: Unpack[PictureLoading],
    ) -> None:
        super().__init__(**loading)
        self.root = data_root(root)
        if self.shape[0] not in (1, 3):
            raise ValueError(f"Image files are served in 1 or 3 channels, not in {self.shape[0]}; set data.shape.")
        if short_side is not None and not (len(short_side) == 2 and max(self.shape[1:]) <= short_side[0] <= short_side[1]):
            raise ValueError(
                f"data.short_side is {list(short_side)}; it is [low, high] with low at least {max(self.shape[1:])}, so that a "
                f"crop of data.shape fits."
            )
        self.short_side = (short_side[0], short_side[1]) if short_side else None
        self.crops = Crops(self.shape, scales_of(scales), crops, self.interpolation, self.antialias)
        self.protocol = str(self.crops)
        self.mean, self.std = imagenet(self.shape[0])

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        """The classes, and the labeled files of each split."""
        return labeled_splits(self.root, SUFFIXES, self.notes)

    def sound(self, labeled: Labeled, split: str) -> Labeled:
        """Those of a split whose headers can be read."""
        found = list(self.readable([path for path, _ in labeled], check_image, split))
        self.wide.update(header.wide for _, header in found if header.wide)
        return [labeled[at] for at, _ in found]

    def load(self) -> dict[str, SplitDataset]:
        self.class_names, files = self.find()
        splits: dict[str, SplitDataset] = {}
        for split, labeled in files.items():
            good = self.sound(labeled, split)
            splits[split] = self.samples([path for path, _ in good], [label for _, label in good], train=split == "train")
        return splits

    def samples(self, paths: Sequence[File], labels: Sequence[int], *, train: bool) -> ImageFiles:
        """The samples of a split: in training cut at a random place and scale if wished, else the views of `crops`."""
        crops = Crops(self.shape) if train else self.crops
        short_side = self.short_side if train else None
        return ImageFiles(paths, labels, crops, short_side=short_side, seed=self.seed, ground=self.ground)

    def files(self, paths: Sequence[File]) -> SplitDataset:
        return ImageFiles(paths, None, self.crops, ground=self.ground)
