"""COCO: objects of eighty kinds in everyday pictures, in the layout of its release (Lin et al. 2014)."""

import functools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.cocoeval import Params
from torch import Tensor

from zoo.batch import VOID
from zoo.data._augment import Augment
from zoo.data._rle import check_segmentation, object_mask
from zoo.data.base import DataModule, Samples, Unreadable
from zoo.data.images import SUFFIXES
from zoo.data.instances import FACTS, BareImages, Scene, SceneFiles, Sizing, check_scene
from zoo.data.masks import Geometry, Looked, WholeImages, carved, mask_files
from zoo.places import data_root, inside


@dataclass(frozen=True)
class CocoPair:
    """An image and its annotations, which are drawn into a mask when it is asked for."""

    image: Path
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]
    classes: Mapping[int, int]
    """Category id to class; the background is 0."""
    number: int
    """COCO's id of the image."""

    def mask(self) -> Tensor:
        """Smaller objects are drawn over larger ones, crowds (which are not told apart) as void where no object is."""
        mask = torch.zeros(self.height, self.width, dtype=torch.uint8)
        order = sorted(self.annotations, key=lambda each: (not each.get("iscrowd", 0), -each["area"]))
        for each in order:
            try:
                inside = torch.from_numpy(object_mask(each.get("segmentation"), self.height, self.width).copy())
            except ValueError as error:
                raise Unreadable(self.image, f"of annotation {each['id']}, {error}") from None
            mask[inside] = VOID if each.get("iscrowd", 0) else self.classes[each["category_id"]]
        return mask

    def check(self) -> Looked:
        for each in self.annotations:
            if "category_id" not in each or not isinstance(each.get("area"), int | float):
                raise Unreadable(self.image, f"annotation {each['id']} has no category_id, or no number as its area")
            if each["category_id"] not in self.classes:
                raise Unreadable(self.image, f"annotation {each['id']} has the unlisted category {each['category_id']}")
        there = {self.classes[each["category_id"]] for each in self.annotations if not each.get("iscrowd", 0)}
        # A mask is drawn when it is asked for: all of COCO's would take an hour.
        return Looked(self.height, self.width, frozenset({0, *there}))

    def scene(self, num_keypoints: int) -> Scene:
        """The same as objects with boxes. Raises `Unreadable` for a box or keypoints of another form."""
        count = len(self.annotations)
        boxes, keypoints = np.zeros((count, 4)), np.zeros((count, num_keypoints, 3))
        for at, each in enumerate(self.annotations):
            try:
                left, top, width, height = (float(number) for number in each["bbox"])
                boxes[at] = left, top, left + width, top + height
                if num_keypoints:
                    keypoints[at] = np.reshape(each["keypoints"], (num_keypoints, 3))
            except (KeyError, TypeError, ValueError) as error:
                raise Unreadable(
                    self.image,
                    f"of image {self.number}, annotation {each['id']} has a box or keypoints that are not COCO's [x, y, width, "
                    f"height] and [x, y, visible, ...] ({type(error).__name__}: {error})",
                ) from None
        segmentations = [each.get("segmentation") for each in self.annotations]
        return Scene(
            image=self.image,
            number=self.number,
            height=self.height,
            width=self.width,
            boxes=boxes,
            labels=np.array([self.classes.get(each["category_id"], 0) for each in self.annotations], dtype=np.int64),
            crowd=np.array([bool(each.get("iscrowd", 0)) for each in self.annotations], dtype=bool),
            names=[f"annotation {each['id']}" for each in self.annotations],
            area=np.array([float(each["area"]) for each in self.annotations]),
            masks=functools.partial(_drawn, segmentations, self.height, self.width),
            keypoints=keypoints if num_keypoints else None,
        )


class Coco(DataModule):
    """`root/FOLDER/{train2017,val2017}/*.jpg` and `root/FOLDER/annotations/ANNOTATIONS_{train2017,val2017}.json`.

    `val2017` is what is scored at the end, as test; validation is a tenth of train2017, chosen by the files' names. Images
    without objects are kept. Classes are the categories in the order of their ids, which may have gaps; results are
    written with the ids.

    As `semantic`: the background and the categories. As `instances`: boxes, masks and, where the annotations have them,
    keypoints. Crowds are left out in training, and what is found there counts neither way. A box that reaches out of its
    image by up to a pixel is cut to it. An image with a box of no area, further outside or not of numbers, or with a mask
    of another size, is left out and named.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        target: what is served with the images.
        folder: in the root.
        annotations: which of the files: `instances`, or `person_keypoints`.
        short_side: pixels to which the shorter side is scaled. None leaves it, as `semantic`; as `instances` it is the
            shorter side of `shape`, and the longer one the limit of an image's longer side. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two; None is 0.5 to 2, or 1 as `instances`.
        flip: mirror half of the training images.
    """

    layout = 3
    suffixes = SUFFIXES
    targets = ("semantic", "instances")
    facts = FACTS
    full_size = True
    scored_at_end = "val2017"
    # ImageNet's, the field's usual numbers.
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        *,
        shape: Sequence[int],
        root: str | None = None,
        target: Literal["semantic", "instances"] = "semantic",
        folder: str = "coco",
        annotations: str = "instances",
        short_side: int | None = None,
        scale: Sequence[float] | None = None,
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
        self.target = target
        self.annotations = annotations
        self.geometry = Geometry(self.shape, short_side, scale or (0.5, 2.0), flip, self.mean)
        self.sizing = Sizing(self.shape, short_side, scale or (1.0, 1.0), flip)
        self.category_ids: tuple[int, ...] = ()
        self.keypoint_names: tuple[str, ...] = ()

    # Known once the annotations were read

    @property
    def fields(self) -> tuple[str, ...]:
        return ("boxes", "masks", "keypoints") if self.keypoint_names else ("boxes", "masks")

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoint_names)

    @property
    def keypoint_sigmas(self) -> tuple[float, ...]:
        """COCO's of its persons' 17; of other keypoints 0.1 each, about a hip's."""
        persons = tuple(Params("keypoints").kpt_oks_sigmas.tolist())
        return persons if len(persons) == self.num_keypoints else (0.1,) * self.num_keypoints

    def load(self) -> dict[str, Samples]:
        train, val = carved(self._pairs("train2017"), 0.1)
        splits = {"train": train, "val": val, "test": self._pairs("val2017")}
        if self.target == "instances":
            sizing = replace(self.sizing, mirrored=mirrored(self.keypoint_names))
            return {
                split: SceneFiles(
                    [scene for _, scene in self.readable(pairs, self._scene, split)],
                    sizing,
                    train=split == "train",
                    seed=self.seed,
                )
                for split, pairs in splits.items()
            }
        return mask_files(self, splits, self.geometry)

    def _pairs(self, part: str) -> list[CocoPair]:
        path = self.folder / "annotations" / f"{self.annotations}_{part}.json"
        if not path.is_file():
            raise ValueError(f"There is no {path}. Set data.root and data.folder to where COCO's annotations and images are.")
        try:
            content = json.loads(path.read_text())
            categories = sorted(content["categories"], key=lambda each: each["id"])
            for kind in ("categories", "images", "annotations"):
                (number, times), *_ = Counter(each["id"] for each in content[kind]).most_common(1) or [(0, 0)]
                if times > 1:
                    raise ValueError(f"{path} has {times} {kind} with the id {number}. Give each an id of its own.")
            images = {each["id"]: each for each in content["images"]}
            annotations: dict[int, list[dict[str, Any]]] = {number: [] for number in images}
            for each in content["annotations"]:
                if each["image_id"] not in images:
                    raise ValueError(
                        f"{path} has an annotation {each['id']} of image {each['image_id']}, which it does not list."
                    )
                annotations[each["image_id"]].append(each)
            classes = {each["id"]: number for number, each in enumerate(categories, start=1)}
            names = tuple(each["name"] for each in categories)
            images_of = self.folder / part
            pairs = [
                CocoPair(inside(images_of, each["file_name"]), each["height"], each["width"], tuple(found), classes, number)
                for number, found in sorted(annotations.items())
                for each in (images[number],)
            ]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a file of COCO's annotations ({type(error).__name__}: {error}).") from None
        self.class_names = ("background", *names) if self.target == "semantic" else names
        self.category_ids = tuple(classes)
        self.keypoint_names = next((tuple(each["keypoints"]) for each in categories if "keypoints" in each), ())
        return pairs

    def _scene(self, pair: CocoPair) -> Scene:
        """What is in an image, every annotation looked at. Raises `Unreadable`."""
        scene = check_scene(pair.scene(self.num_keypoints))
        pair.check()
        for each in pair.annotations:
            try:
                check_segmentation(each.get("segmentation"), pair.height, pair.width)
            except ValueError as error:
                raise scene.refused(f"of annotation {each['id']}, {error}") from None
        return scene

    def files(self, paths: Sequence[Path]) -> Samples:
        if self.target == "instances":
            return BareImages(paths, self.sizing)
        return WholeImages(paths, self.shape[0], self.geometry)


def mirrored(names: Sequence[str]) -> list[int]:
    """Of each keypoint the one that it becomes in a mirror, by its name: left_eye and right_eye change places."""
    other = {"left": "right", "right": "left"}
    swapped = [re.sub(r"left|right", lambda side: other[side[0]], name) for name in names]
    return [names.index(name) if name in names else at for at, name in enumerate(swapped)]


def _drawn(segmentations: Sequence[Any], height: int, width: int) -> NDArray[np.bool_]:
    masks = [object_mask(each, height, width) for each in segmentations]
    return np.stack(masks) if masks else np.zeros((0, height, width), bool)
