"""COCO: objects of eighty kinds in everyday pictures, in the layout of its release (Lin et al. 2014)."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.cocoeval import Params
from torch import Tensor

from zoo.batch import VOID
from zoo.common.files import File, Unreadable
from zoo.common.places import data_root, safe_join
from zoo.data.images import IMAGENET, UncutLoading, WholeSet
from zoo.data.instances import FACTS, BareImages, Scene, Sizing, check_scene, scene_splits
from zoo.data.loading.dataset import SplitDataset
from zoo.data.masks import Geometry, MaskFacts, WholeImages, mask_files
from zoo.data.reading.annotations import Annotation, Category, Picture, Runs, by_image, read_annotations
from zoo.data.reading.carving import completed
from zoo.data.reading.rle import check_segmentation, object_mask

NOBODY = "N/A"
"""What torchvision calls the numbers below 90 that no category has."""
_MOST = 10_000


@dataclass(frozen=True)
class CocoPair:
    """An image and its annotations, which are drawn into a mask when it is asked for."""

    image: Path
    height: int
    width: int
    annotations: tuple[Annotation, ...]
    classes: Mapping[int, int]
    """Category id to class; the background is 0."""
    number: int
    """COCO's id of the image."""
    problem: str = ""
    """What is wrong with an annotation of it that could not be taken."""

    def mask(self) -> Tensor:
        """Smaller objects are drawn over larger ones, crowds (which are not told apart) as void where no object is."""
        mask = torch.zeros(self.height, self.width, dtype=torch.uint8)

        def area(each: Annotation) -> float:
            return float(self._mask(each).sum()) if each.area is msgspec.UNSET else each.area

        for each in sorted(self.annotations, key=lambda each: (not each.iscrowd, -area(each))):
            mask[torch.from_numpy(self._mask(each).copy())] = VOID if each.iscrowd else self.classes[each.category_id]
        return mask

    def _mask(self, each: Annotation) -> NDArray[np.bool_]:
        try:
            return object_mask(_segmentation(each), self.height, self.width)
        except ValueError as error:
            raise Unreadable(self.image, f"of annotation {each.id}, {error}") from None

    def check(self) -> MaskFacts:
        """Look at every annotation, without drawing: all of COCO's masks would take an hour."""
        self.check_fields()
        for each in self.annotations:
            self.check_mask(each)
        there = {self.classes[each.category_id] for each in self.annotations if not each.iscrowd}
        return MaskFacts(self.height, self.width, frozenset({0, *there}))

    def check_fields(self) -> None:
        if self.problem:
            raise Unreadable(self.image, f"of image {self.number}, {self.problem}")
        for each in self.annotations:
            if each.category_id not in self.classes:
                raise Unreadable(self.image, f"annotation {each.id} has the unlisted category {each.category_id}")
            most = (self.height + 1) * (self.width + 1)
            if each.area is not msgspec.UNSET and not each.area <= most:
                raise Unreadable(
                    self.image,
                    f"of image {self.number}, annotation {each.id} has an area of {each.area:g}, more than its "
                    f"{self.width} x {self.height} pixels",
                )

    def check_mask(self, each: Annotation) -> None:
        try:
            check_segmentation(_segmentation(each), self.height, self.width)
        except ValueError as error:
            raise Unreadable(self.image, f"of image {self.number}, of annotation {each.id}, {error}") from None

    def scene(self, num_keypoints: int, masked: bool) -> Scene:
        """The same as objects with boxes. Raises `Unreadable` for a box or keypoints of another form."""
        count = len(self.annotations)
        boxes, keypoints = np.zeros((count, 4)), np.zeros((count, num_keypoints, 3))
        for at, each in enumerate(self.annotations):
            if each.bbox is None:
                raise Unreadable(self.image, f"of image {self.number}, annotation {each.id} has no bbox")
            left, top, width, height = each.bbox
            boxes[at] = left, top, left + width, top + height
            if num_keypoints and each.keypoints:
                if len(each.keypoints) != 3 * num_keypoints:
                    raise Unreadable(
                        self.image,
                        f"of image {self.number}, annotation {each.id} has {len(each.keypoints)} numbers as keypoints, not x, "
                        f"y and visibility of {num_keypoints}",
                    )
                keypoints[at] = np.reshape(each.keypoints, (num_keypoints, 3))
        areas = [np.nan if each.area is msgspec.UNSET else each.area for each in self.annotations]
        segmentations = [_segmentation(each) for each in self.annotations]
        return Scene(
            image=self.image,
            number=self.number,
            height=self.height,
            width=self.width,
            boxes=boxes,
            labels=np.array([self.classes.get(each.category_id, 0) for each in self.annotations], dtype=np.int64),
            crowd=np.array([bool(each.iscrowd) for each in self.annotations], dtype=bool),
            names=[f"annotation {each.id}" for each in self.annotations],
            area=np.array(areas, dtype=np.float64),
            masks=functools.partial(_drawn, segmentations, self.height, self.width) if masked else None,
            keypoints=keypoints if num_keypoints else None,
        )


def _segmentation(each: Annotation) -> Any:
    """As COCO's own code takes it."""
    if isinstance(each.segmentation, Runs):
        return {"size": each.segmentation.size, "counts": each.segmentation.counts}
    return each.segmentation


def _placed(path: Path, folder: Path, image: Picture) -> Path:
    """Raises ValueError: its name leads out of the folder."""
    try:
        return safe_join(folder, image.file_name)
    except ValueError as error:
        raise ValueError(f"Image {image.id} of {path}: {error}") from None


class Coco(WholeSet):
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
        gaps: count numbers that no category has as classes too, called N/A, so that a class's number is its category's id, as
            torchvision's weights have it.
    """

    default_shape = (3, 800, 1333)
    targets = ("semantic", "instances")
    facts = FACTS
    scored_at_end = "val2017"
    mean, std = IMAGENET

    def __init__(
        self,
        *,
        root: str | None = None,
        target: Literal["semantic", "instances"] = "semantic",
        folder: str = "coco",
        annotations: str = "instances",
        short_side: int | None = None,
        scale: Sequence[float] | None = None,
        flip: bool = True,
        gaps: bool = False,
        **loading: Unpack[UncutLoading],
    ) -> None:
        super().__init__(**loading)
        self.folder = data_root(root) / folder
        self.target = target
        self.annotations = annotations
        how = (self.interpolation, self.antialias, self.rounding)
        self.geometry = Geometry(self.shape, short_side, scale or (0.5, 2.0), flip, self.mean, *how)
        self.sizing = Sizing(self.shape, short_side, scale or (1.0, 1.0), flip, (), *how)
        self.gaps = gaps
        self.masked = True
        self.category_ids: tuple[int, ...] = ()
        self.keypoint_names: tuple[str, ...] = ()

    # Known once the annotations were read

    @property
    def fields(self) -> tuple[str, ...]:
        return ("boxes", *(("masks",) if self.masked else ()), *(("keypoints",) if self.keypoint_names else ()))

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoint_names)

    @property
    def keypoint_sigmas(self) -> tuple[float, ...]:
        """COCO's of its persons' 17; of other keypoints 0.1 each, about a hip's."""
        persons = tuple(Params("keypoints").kpt_oks_sigmas.tolist())
        return persons if len(persons) == self.num_keypoints else (0.1,) * self.num_keypoints

    def find(self) -> dict[str, list[CocoPair]]:
        self.category_ids = ()
        splits = completed({"train": self._pairs("train2017"), "test": self._pairs("val2017")})
        self._look(splits)
        return splits

    def serve(self, found: Mapping[str, Sequence[CocoPair]]) -> dict[str, SplitDataset]:
        if self.target == "instances":
            return scene_splits(self, found, self._scene, replace(self.sizing, mirrored=mirrored(self.keypoint_names)))
        return mask_files(self, found, self.geometry)

    def _pairs(self, part: str) -> list[CocoPair]:
        path = self.folder / "annotations" / f"{self.annotations}_{part}.json"
        if not path.is_file():
            raise ValueError(f"There is no {path}. Set data.root and data.folder to where COCO's annotations and images are.")
        content = read_annotations(path)
        categories = sorted(content.categories, key=lambda each: each.id)
        if not categories:
            raise ValueError(f"{path} lists no categories. Name the classes there, each with its id.")
        found, problems = by_image(path, content)
        classes = {each.id: each.id if self.gaps else number for number, each in enumerate(categories, start=1)}
        self._publish(path, _with_gaps(categories) if self.gaps else categories)
        return [
            CocoPair(
                _placed(path, self.folder / part, each),
                each.height,
                each.width,
                tuple(found[each.id]),
                classes,
                each.id,
                problems.get(each.id, ""),
            )
            for each in sorted(content.images, key=lambda each: each.id)
        ]

    def _publish(self, path: Path, categories: Sequence[Category]) -> None:
        """Set the facts, which are the training file's; the other's must be the same, or what is scored was never learned."""
        names = tuple(each.name for each in categories)
        facts = (
            ("background", *names) if self.target == "semantic" else names,
            tuple(each.id for each in categories),
            next((tuple(each.keypoints) for each in categories if each.keypoints), ()),
        )
        if self.category_ids and facts != (self.class_names, self.category_ids, self.keypoint_names):
            raise ValueError(f"The categories of {path} are not those of the training images. Give both files the same ones.")
        self.class_names, self.category_ids, self.keypoint_names = facts

    def _look(self, splits: Mapping[str, Sequence[CocoPair]]) -> None:
        """Find out whether the annotations have masks, and say what of the images a user would not expect."""
        objects = [each for pairs in splits.values() for pair in pairs for each in pair.annotations]
        self.masked = not objects or any(each.segmentation for each in objects)
        if self.target == "semantic" and not self.masked:
            raise ValueError(
                f"The annotations in {self.folder} are boxes alone, without a segmentation, so no pixel's class is known. "
                f"Choose a detector of boxes (model=faster_rcnn), or annotations with masks."
            )

    def _scene(self, pair: CocoPair) -> Scene:
        """What is in an image, every annotation looked at. Raises `Unreadable`."""
        pair.check_fields()
        scene = check_scene(pair.scene(self.num_keypoints, self.masked))
        for each in pair.annotations if self.masked else ():
            pair.check_mask(each)
            if not each.segmentation:
                raise scene.refused(f"annotation {each.id} has an empty segmentation, though others have one")
        return scene

    def files(self, paths: Sequence[File]) -> SplitDataset:
        if self.target == "instances":
            return BareImages(paths, self.sizing, self.ground)
        return WholeImages(paths, self.shape[0], self.geometry, self.ground)


def _with_gaps(categories: Sequence[Category]) -> list[Category]:
    """One for each number from 1 on. Raises ValueError for ids that are no such numbers."""
    known = {each.id: each for each in categories}
    for wrong in [number for number in known if not 1 <= number <= _MOST]:
        raise ValueError(
            f"data.gaps=true takes the categories' ids, 1 to {_MOST}, as classes, but one is {wrong}. Leave it out."
        )
    return [known.get(number) or Category(id=number, name=NOBODY) for number in range(1, 1 + max(known))]


def mirrored(names: Sequence[str]) -> list[int]:
    """The keypoint that each becomes in a mirror, by its name: left_eye and right_eye change places."""
    other = {"left": "right", "right": "left"}
    swapped = [re.sub(r"left|right", lambda side: other[side[0]], name) for name in names]
    return [names.index(name) if name in names else at for at, name in enumerate(swapped)]


def _drawn(segmentations: Sequence[Any], height: int, width: int) -> NDArray[np.bool_]:
    masks = [object_mask(each, height, width) for each in segmentations]
    return np.stack(masks) if masks else np.zeros((0, height, width), bool)
