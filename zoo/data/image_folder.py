"""One's own images, one folder a class."""

from collections.abc import Mapping, Sequence

from zoo.common.crops import Crops
from zoo.common.files import File
from zoo.common.pictures import SUFFIXES, check_image
from zoo.common.places import data_root
from zoo.data.base import Samples
from zoo.data.images import ImageFiles, PictureSet
from zoo.data.loading.augment import Augment
from zoo.data.reading.folders import Labelled, labelled_splits


class ImageFolder(PictureSet):
    """The images in `root/CLASS/` or `root/{train,val,test}/CLASS/`.

    Without split folders, 10 % of each class are validation and 20 % test; with `train` and `test`, validation is 10 % of
    train; with `train` and `val` alone, `val` is scored as the test. Which file falls where depends on its own name alone.

    Args:
        root: the folder; relative to the working folder.
        short_side: [low, high], pixels: a training image's shorter side is scaled to a length between them and the shape in
            use cut out at a random place (ResNet: [256, 480] for 224); None is the largest centred cut.
        crops, scales: the views of an image at validation and test; see `zoo.common.crops.Crops`.
    """

    spoken = frozenset(["shape", "crops", "scales"])
    unscored = PictureSet.unscored | {"short_side"}

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int] | None = None,
        short_side: Sequence[int] | None = None,
        crops: int = 1,
        scales: Sequence[int] | None = None,
        ground: str | Sequence[int] = "white",
        batch_size: int = 64,
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
        if self.shape[0] not in (1, 3):
            raise ValueError(f"Image files are served in 1 or 3 channels, not in {self.shape[0]}; set data.shape.")
        if short_side is not None and not (len(short_side) == 2 and max(self.shape[1:]) <= short_side[0] <= short_side[1]):
            raise ValueError(
                f"data.short_side is {list(short_side)}; it is [low, high] with low at least {max(self.shape[1:])}, so that a "
                f"crop of data.shape fits."
            )
        self.short_side = (short_side[0], short_side[1]) if short_side else None
        self.crops = Crops(self.shape, tuple(scales) if scales else None, crops)
        self.protocol = str(self.crops)
        # ImageNet's, the field's usual numbers; a grey image takes their mean.
        grey = self.shape[0] == 1
        self.mean = (0.449,) if grey else (0.485, 0.456, 0.406)
        self.std = (0.226,) if grey else (0.229, 0.224, 0.225)

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        """The classes, and the labelled files of each split."""
        return labelled_splits(self.root, SUFFIXES, self.notes)

    def sound(self, labelled: Labelled, split: str) -> Labelled:
        """Those of a split whose headers can be read."""
        found = list(self.readable([path for path, _ in labelled], check_image, split))
        self.wide.update(header.wide for _, header in found if header.wide)
        return [labelled[at] for at, _ in found]

    def load(self) -> dict[str, Samples]:
        self.class_names, files = self.find()
        splits: dict[str, Samples] = {}
        for split, labelled in files.items():
            good = self.sound(labelled, split)
            train = split == "train"
            splits[split] = ImageFiles(
                [path for path, _ in good],
                [label for _, label in good],
                Crops(self.shape) if train else self.crops,
                short_side=self.short_side if train else None,
                seed=self.seed,
                ground=self.ground,
            )
        return splits

    def files(self, paths: Sequence[File]) -> Samples:
        return ImageFiles(paths, None, self.crops, ground=self.ground)
