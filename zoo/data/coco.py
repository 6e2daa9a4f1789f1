"""COCO: objects of eighty kinds in everyday pictures, in the layout of its release (Lin et al. 2014)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.batch import VOID
from zoo.data._augment import Augment
from zoo.data._files import data_root, inside
from zoo.data._rle import object_mask
from zoo.data.base import DataModule, Samples, Unreadable
from zoo.data.images import SUFFIXES
from zoo.data.masks import Geometry, MaskFiles, WholeImages, carved, check_pair


@dataclass(frozen=True)
class CocoPair:
    """An image and its annotations, which are drawn into a mask when it is asked for."""

    image: Path
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]
    classes: Mapping[int, int]
    """Category id to class; the background is 0."""

    def mask(self) -> Tensor:
        """Smaller objects are drawn over larger ones, crowds (which are not told apart) as void where no object is."""
        mask = torch.zeros(self.height, self.width, dtype=torch.uint8)
        order = sorted(self.annotations, key=lambda each: (not each.get("iscrowd", 0), -each["area"]))
        for each in order:
            try:
                inside = torch.from_numpy(object_mask(each["segmentation"], self.height, self.width).copy())
            except ValueError as error:
                raise Unreadable(self.image, f"of annotation {each['id']}, {error}") from None
            mask[inside] = VOID if each.get("iscrowd", 0) else self.classes[each["category_id"]]
        return mask

    def check(self) -> tuple[int, int]:
        for each in self.annotations:
            if each["category_id"] not in self.classes:
                raise Unreadable(self.image, f"annotation {each['id']} has the unlisted category {each['category_id']}")
        return self.height, self.width  # a mask is drawn when it is asked for: all of COCO's would take an hour


class Coco(DataModule):
    """`root/FOLDER/{train2017,val2017}/*.jpg` and `root/FOLDER/annotations/instances_{train2017,val2017}.json`.

    As `semantic`: the background and the categories, in the order of their ids. `val2017` is what is scored at the end, as
    test; validation is a tenth of train2017, chosen by the files' names. Images without objects are kept.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        folder: in it.
        short_side: pixels to which the shorter side is scaled; None leaves it. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    layout = 3
    suffixes = SUFFIXES
    targets = ("semantic",)
    full_size = True
    # ImageNet's, the field's usual numbers.
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        *,
        shape: Sequence[int],
        root: str | None = None,
        folder: str = "coco",
        short_side: int | None = None,
        scale: Sequence[float] = (0.5, 2.0),
        flip: bool = True,
        batch_size: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        self.folder = data_root(root) / folder
        self.geometry = Geometry(self.shape, short_side, scale, flip, self.mean)

    def load(self) -> dict[str, Samples]:
        train, val = carved(self._pairs("train2017"), 0.1)
        splits = {"train": train, "val": val, "test": self._pairs("val2017")}
        return {
            split: MaskFiles(
                [pair for _, pair in self.readable(pairs, check_pair, split)],
                self.geometry,
                train=split == "train",
                seed=self.seed,
            )
            for split, pairs in splits.items()
        }

    def _pairs(self, part: str) -> list[CocoPair]:
        path = self.folder / "annotations" / f"instances_{part}.json"
        if not path.is_file():
            raise ValueError(f"There is no {path}. Set data.root and data.folder to where COCO's annotations and images are.")
        try:
            content = json.loads(path.read_text())
            categories = sorted(content["categories"], key=lambda each: each["id"])
            images = {each["id"]: each for each in content["images"]}
            annotations: dict[int, list[dict[str, Any]]] = {number: [] for number in images}
            for each in content["annotations"]:
                annotations[each["image_id"]].append(each)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a file of COCO's annotations ({type(error).__name__}: {error}).") from None
        self.class_names = ("background", *(each["name"] for each in categories))
        classes = {each["id"]: number for number, each in enumerate(categories, start=1)}
        images_of = self.folder / part
        return [
            CocoPair(inside(images_of, each["file_name"]), each["height"], each["width"], tuple(annotations[number]), classes)
            for number, each in sorted(images.items())
        ]

    def files(self, paths: Sequence[Path]) -> Samples:
        return WholeImages(paths, self.shape[0], self.geometry)
