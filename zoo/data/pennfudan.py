"""Penn-Fudan: pedestrians with masks, in the layout of its release (Wang et al. 2007)."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable
from zoo.common.pictures import LOSSLESS, SUFFIXES, picture
from zoo.common.places import data_root
from zoo.data.images import WholeLoading
from zoo.data.instances import Scene, SceneSet
from zoo.data.reading.carving import completed
from zoo.data.reading.folders import listing


@dataclass(frozen=True)
class MaskedFile:
    """An image and the picture whose values number its objects, from 1."""

    image: Path
    mask: Path
    number: int


class PennFudan(SceneSet):
    """`root/FOLDER/PNGImages/NAME.png` with `root/FOLDER/PedMasks/NAME_mask.png`: boxes and masks of one class.

    One's own images in this layout will do as well. 20 % are test and 10 % validation, chosen by the names alone.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        folder: in it.
        class_name: of all objects.
        short_side: pixels to which the shorter side is scaled; None is the shorter side of `shape`, whose longer one limits
            an image's longer side. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    category_ids = (1,)
    fields = ("boxes", "masks")

    def __init__(
        self,
        *,
        root: str | None = None,
        folder: str = "PennFudanPed",
        class_name: str = "pedestrian",
        **loading: Unpack[WholeLoading],
    ) -> None:
        super().__init__(**loading)
        self.folder = data_root(root) / folder
        self.class_names = (class_name,)

    def find(self) -> dict[str, list[MaskedFile]]:
        images, masks = self.folder / "PNGImages", self.folder / "PedMasks"
        if not images.is_dir() or not masks.is_dir():
            raise ValueError(f"There is no {images} with {masks}. Unpack PennFudanPed.zip in the data root, or set data.root.")
        found = listing(images, SUFFIXES, depth=0).files
        files = [MaskedFile(path, masks / f"{path.stem}_mask.png", number) for number, path in enumerate(found, start=1)]
        return completed({"train": files})

    def scene(self, file: MaskedFile) -> Scene:
        """The objects that its mask numbers."""
        numbers = _numbers(file.mask)
        y, x = np.nonzero(numbers)
        values, owner = np.unique(numbers[y, x], return_inverse=True)
        boxes = np.zeros((len(values), 4))
        boxes[:, :2] = numbers.shape[::-1]
        for edge, places, extreme in ((0, x, np.minimum), (1, y, np.minimum), (2, x + 1, np.maximum), (3, y + 1, np.maximum)):
            extreme.at(boxes[:, edge], owner, places)
        return Scene(
            image=file.image,
            number=file.number,
            height=numbers.shape[0],
            width=numbers.shape[1],
            boxes=boxes,
            labels=np.ones(len(values), np.int64),
            crowd=np.zeros(len(values), bool),
            names=[f"object {number}" for number in range(1, len(values) + 1)],
            masks=functools.partial(_masks, file.mask),
        )


def _masks(path: Path) -> NDArray[np.bool_]:
    """(N, H, W). Raises `Unreadable`."""
    numbers = _numbers(path)
    return np.asarray(numbers == np.unique(numbers[numbers > 0])[:, None, None])


def _numbers(path: Path) -> NDArray[np.int64]:
    """(H, W), 0 where no object is. Raises `Unreadable`."""
    with picture(path, LOSSLESS) as opened:
        if opened.mode not in ("1", "L", "P", "I") and not opened.mode.startswith("I;16"):
            raise Unreadable(path, f"it is a color picture (mode {opened.mode}), but its values must number the objects")
        numbers = np.asarray(opened).astype(np.int64)
    if (numbers < 0).any():
        raise Unreadable(path, f"it holds the value {numbers.min()}, but objects are numbered from 1")
    return numbers
