"""PASCAL VOC 2012 segmentation, in the layout of its release (Everingham et al. 2015)."""

from pathlib import Path
from typing import Unpack

from zoo.batch import VOID
from zoo.common.places import data_root
from zoo.data.images import IMAGENET, WholeLoading
from zoo.data.masks import FilePair, MaskSet
from zoo.data.reading.carving import apart, completed
from zoo.data.reading.lists import lines, once, placed


class VocSegmentation(MaskSet):
    """`root/VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`: the background and twenty classes.

    The list `val` is what is scored at the end, as test; validation is a tenth of the training list, chosen by the names
    alone. An image of both lists is scored, and not trained on. The borders of objects, 255 in the masks, are void.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        train_list: the training images' list, as `train` or one of your own (the 10,582 of SBD) in ImageSets/Segmentation.
        short_side: pixels to which the shorter side is scaled; None leaves it. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    scored_at_end = "val"
    class_names = tuple(
        (
            "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
            "pottedplant sheep sofa train tvmonitor"
        ).split()
    )
    mean, std = IMAGENET

    def __init__(
        self,
        *,
        root: str | None = None,
        train_list: str = "train",
        **loading: Unpack[WholeLoading],
    ) -> None:
        super().__init__(**loading)
        self.folder = data_root(root) / "VOCdevkit" / "VOC2012"
        self.train_list = train_list

    def find(self) -> dict[str, list[FilePair]]:
        learned, scored = self._listed(self.train_list), self._listed("val")
        learned = apart(learned, scored, f"{self.train_list}.txt and val.txt", self.notes)
        return completed({"train": learned, "test": scored})

    def _listed(self, name: str) -> list[FilePair]:
        path = self.folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        remedy = "Unpack VOCtrainval_11-May-2012.tar in the data root, or set data.root."
        masks = self.folder / "SegmentationClass"
        return [FilePair(*files, self.num_classes, VOID) for files in listed(path, masks, ".png", remedy, self.notes)]


def listed(path: Path, others: Path, suffix: str, remedy: str, notes: list[str]) -> list[tuple[Path, Path]]:
    """The images of a list in `ImageSets/KIND`, each with its file in another folder."""
    images = path.parents[2] / "JPEGImages"
    return [
        (placed(path, row, images, f"{row['line']}.jpg"), placed(path, row, others, f"{row['line']}{suffix}"))
        for row in once(path, lines(path, remedy), "line", notes)
    ]
