"""Images with objects: files, the checks before training, and the geometry that image, boxes, masks and keypoints share."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from zoo.batch import Instances
from zoo.common.chance import CROP, uniform
from zoo.common.crops import Interpolation, Rounding, rescaled
from zoo.common.files import File, Unreadable
from zoo.common.pictures import WHITE, Ground, read_image, upright_header
from zoo.data.images import IMAGENET, PictureSet, UncutLoading, WholeSet
from zoo.data.loading.dataset import DecodedDataset, Item, SplitDataset
from zoo.data.reading.folders import some

FACTS = ("fields", "category_ids", "keypoint_names", "keypoint_sigmas", "num_keypoints")
"""What a data set of objects publishes besides what all do."""

_SLACK = 1.0
"""Pixels by which a box may lie outside of its image, as those of many sets do by rounding; it is cut to the image."""

_MOST = 2_000_000_000
"""Pixels of all masks of an image, a byte each: a photograph taken for a mask would number tens of thousands of objects."""


@dataclass(frozen=True)
class Scene:
    """An image and the N objects in it; N may be 0. Boxes are checked and cut to the image by `check_scene`.

    `number` is the data set's own of the image, or our running one; no two images have the same. `boxes` are float64 (N, 4):
    x0, y0, x1, y1; `names` say in an error which object is meant. `area` is NaN where the data set states none: then it is
    the mask's, or the box's. `masks`, if there are any, makes (N, H, W) bool when it is asked for.
    """

    image: Path
    number: int
    height: int
    width: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    names: Sequence[str]
    area: NDArray[np.float64] | None = None
    masks: Callable[[], NDArray[np.bool_]] | None = None
    keypoints: NDArray[np.float64] | None = None
    strange: Sequence[str] = ()
    """What its other objects are called, which are of no class of the data set's and are left out: there is background."""
    wide: str = ""
    """As of the image's `Header`."""

    def refused(self, reason: str) -> Unreadable:
        return Unreadable(self.image, f"of image {self.number}, {reason}")

    def drawn(self) -> NDArray[np.bool_]:
        """The masks. Raises `Unreadable` where they do not fit the image."""
        assert self.masks is not None
        try:
            masks = self.masks()
        except ValueError as error:
            raise error if isinstance(error, Unreadable) else self.refused(str(error)) from None
        if masks.shape != (len(self.boxes), self.height, self.width):
            raise self.refused(f"the masks are {masks.shape[2]} x {masks.shape[1]} pixels, not {self.width} x {self.height}")
        return masks

    def instances(self) -> Instances:
        """All objects, in pixels of the file."""
        found = Instances(
            boxes=torch.from_numpy(np.clip(self.boxes, 0, [self.width, self.height] * 2)).float().reshape(-1, 4),
            labels=torch.from_numpy(self.labels),
            crowd=torch.from_numpy(self.crowd),
        )
        if self.area is not None:
            found["area"] = torch.from_numpy(self.area)
        if self.masks is not None:
            found["masks"] = torch.from_numpy(self.drawn()).to(torch.uint8)
        if self.area is not None and np.isnan(self.area).any():
            sizes = (
                found["masks"].flatten(1).sum(1) if self.masks is not None else (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
            )
            found["area"] = torch.where(found["area"].isnan(), torch.as_tensor(sizes, dtype=torch.float64), found["area"])
        if self.keypoints is not None:
            found["keypoints"] = torch.from_numpy(self.keypoints).float()
        return found


def check_scene(scene: Scene) -> Scene:
    """Look at the image's header and at every box: what would end the training in its middle, or teach it nonsense, is
    found before. Raises `Unreadable`, which names image and object."""
    if not scene.image.exists():
        raise Unreadable(scene.image, f"the file of image {scene.number} is missing")
    header = upright_header(scene.image)
    height, width = header.height, header.width
    if (height, width) != (scene.height, scene.width):
        raise scene.refused(f"the file is {width} x {height} pixels, but its annotations say {scene.width} x {scene.height}")
    if scene.masks is not None and len(scene.boxes) * height * width > _MOST:
        raise scene.refused(f"it has {len(scene.boxes):,} masks of {width} x {height} pixels, more than the memory is for")
    for box, name in zip(scene.boxes, scene.names, strict=True):
        x0, y0, x1, y1 = (float(edge) for edge in box)
        if not np.isfinite(box).all():
            raise scene.refused(f"{name} has a box with {', '.join(f'{edge:g}' for edge in box)}, which are not all numbers")
        if x1 <= x0 or y1 <= y0:
            raise scene.refused(f"{name} has a box of no area, {x1 - x0:g} x {y1 - y0:g}")
        if min(x0, y0) < -_SLACK or x1 > width + _SLACK or y1 > height + _SLACK:
            raise scene.refused(
                f"{name} has a box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}), outside of its {width} x {height} pixels; are "
                f"its numbers in the data set's own format"
            )
        if min(x1, width) <= max(x0, 0) or min(y1, height) <= max(y0, 0):
            raise scene.refused(f"{name} has a box outside of the image")
    if scene.keypoints is not None and not np.isfinite(scene.keypoints).all():
        raise scene.refused("a keypoint is not a number")
    return replace(scene, wide=header.wide)


@dataclass(frozen=True)
class Sizing:
    """How images are scaled, never cut: the shorter side to a length, unless the longer one would pass its limit.

    Args:
        shape: (C, H, W); the shorter of H and W is the short side's length, the longer one the limit of the long side.
        short_side: pixels, in place of the shorter of H and W; the limit changes with it.
        scale: in training, times a factor between these two, all ratios equally likely.
        flip: mirror half of the training images.
        mirrored: of each keypoint, the one that it becomes in a mirror: left for right.
        interpolation, antialias: of the scaling.
        rounding: how the size of a scaled image is made whole.
    """

    shape: tuple[int, ...]
    short_side: int | None = None
    scale: Sequence[float] = (1.0, 1.0)
    flip: bool = True
    mirrored: Sequence[int] = ()
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    rounding: Rounding = "nearest"

    def size(self, height: int, width: int, factor: float = 1.0) -> tuple[int, int]:
        short, long = sorted(self.shape[1:])
        wish = self.short_side or short
        factor *= min(wish / min(height, width), long * wish / short / max(height, width))
        whole = round if self.rounding == "nearest" else int
        return max(1, whole(height * factor)), max(1, whole(width * factor))

    def scaled(self, part: Any, size: tuple[int, int]) -> Any:
        """An image (C, h, w) -> (C, H, W), or what torchvision scales with it."""
        if not self.antialias and type(part) is Tensor:  # torchvision's kernel for bytes does not round here
            return rescaled(part[None], size, self.interpolation, self.antialias)[0]
        return functional.resize(part, list(size), InterpolationMode(self.interpolation), antialias=self.antialias)

    def moved(self, image: Tensor, objects: Instances, chances: Sequence[float]) -> tuple[Tensor, Instances]:
        """A training sample of (C, H, W) and its objects, by two numbers in [0, 1): scale and mirror."""
        zoom, mirror = chances
        low, high = self.scale
        full = (image.shape[1], image.shape[2])
        size = self.size(*full, low * (high / low) ** zoom)
        parts: dict[str, Any] = {"image": tv_tensors.Image(image), **_as_tv(objects, full)}
        visible = objects["keypoints"][..., 2:] if "keypoints" in objects else None
        parts = {name: self.scaled(part, size) for name, part in parts.items()}
        if self.flip and mirror < 0.5:
            parts = {name: functional.horizontal_flip(part) for name, part in parts.items()}
            if "keypoints" in parts:
                parts["keypoints"][..., 0] += 1  # torchvision mirrors indices of pixels, x -> W - 1 - x; these are places
                order = list(self.mirrored) or slice(None)
                parts["keypoints"] = parts["keypoints"][:, order]
                visible = visible[:, order] if visible is not None else None
        moved: dict[str, Any] = {name: value.as_subclass(Tensor) for name, value in parts.items()}
        image = moved.pop("image")
        if visible is not None:
            moved["keypoints"] = torch.cat([moved["keypoints"], visible], dim=-1)
        return image, cast(Instances, {"labels": objects["labels"], **moved})


def _as_tv(objects: Instances, full: tuple[int, int]) -> dict[str, Any]:
    """Boxes, masks and keypoints as torchvision's tensors that transforms know."""
    parts: dict[str, Any] = {"boxes": tv_tensors.BoundingBoxes(objects["boxes"], format="XYXY", canvas_size=full)}
    if "masks" in objects:
        parts["masks"] = tv_tensors.Mask(objects["masks"])
    if "keypoints" in objects:
        parts["keypoints"] = tv_tensors.KeyPoints(objects["keypoints"][..., :2], canvas_size=full)
    return parts


class SceneFiles(DecodedDataset):
    """Images with objects, read where they are asked for; crowds are left out in training."""

    def __init__(self, scenes: Sequence[Scene], sizing: Sizing, *, train: bool, seed: int, ground: Ground = WHITE) -> None:
        super().__init__(len(scenes))
        self.scenes = scenes
        self.sizing = sizing
        self.train = train
        self.seed = seed
        self.ground = ground
        self.groups = torch.tensor([scene.height > scene.width for scene in scenes])
        """Upright or not: a batch of one kind has little padding."""

    def name(self, number: int) -> str:
        return f"{self.scenes[number].image} (image {self.scenes[number].number})"

    def blank(self) -> dict[str, Any]:
        return _blank(self.sizing)

    def read(self, epoch: int, number: int, view: int) -> dict[str, Any]:
        scene = self.scenes[number]
        image = read_image(scene.image, self.sizing.shape[0], self.ground)[0]
        objects = scene.instances()
        if not self.train:
            small = self.sizing.scaled(image, self.sizing.size(scene.height, scene.width))
            return _sample(small, objects, (scene.height, scene.width), scene.number, str(scene.image))
        whole: dict[str, Any] = {**objects}
        kept = {name: value[~whole["crowd"]] for name, value in whole.items() if name not in ("crowd", "area")}
        chances = uniform(self.seed, epoch, torch.tensor([number]), 2, CROP)[0].tolist()
        image, moved = self.sizing.moved(image, cast(Instances, kept), chances)
        return _sample(image, moved, image.shape[1:], scene.number, str(scene.image))


def scene_splits(
    data: PictureSet, splits: Mapping[str, Sequence[Item]], scene: Callable[[Item], Scene], sizing: Sizing
) -> dict[str, SplitDataset]:
    """What every data set of objects serves of what it found: of each split the images that can be read, and a word about
    those in which nothing is, and about classes that cannot be learned. Raises ValueError: too many cannot be read, or no
    training image has an object."""
    served: dict[str, SplitDataset] = {}
    strange: Counter[str] = Counter()
    for split, items in splits.items():
        scenes = [found for _, found in data.readable(items, scene, split)]
        if empty := sum(not len(each.boxes) for each in scenes):
            data.notes.append(f"{empty:,} of {len(scenes):,} {split} images have no objects; they are kept.")
        strange.update(name for each in scenes for name in each.strange)
        if split == "train" and scenes:
            _check_there(data, scenes, strange)
        data.wide.update(each.wide for each in scenes if each.wide)
        served[split] = SceneFiles(scenes, sizing, train=split == "train", seed=data.seed, ground=data.ground)
    if strange:
        data.notes.append(f"{_left_out(strange)} Their images are kept, and where they are is background.")
    return served


def _check_there(data: PictureSet, scenes: Sequence[Scene], strange: Mapping[str, int]) -> None:
    """Say which classes no training image holds; refuse a training split that holds none."""
    there = {label for each in scenes for label in each.labels[~each.crowd].tolist()}
    absent = [name for label, name in enumerate(data.class_names, start=1) if label not in there]
    if not there:
        found = f" {_left_out(strange)}" if strange else ""
        raise ValueError(
            f"Not one of {len(scenes):,} training images has an object to learn.{found} The classes are "
            f"{some(data.class_names)}. Look at the annotations."
        )
    if absent:
        data.notes.append(f"No object of the training images is of the class {some(absent)}: it cannot be learned.")


def _left_out(strange: Mapping[str, int]) -> str:
    kinds = [f"{name[:60]} ({count:,})" for name, count in sorted(strange.items(), key=lambda each: (-each[1], each[0]))]
    total = sum(strange.values())
    verb = "s of no class of this data set are" if total > 1 else " of no class of this data set is"
    return f"{total:,} object{verb} left out: {some(kinds)}."


def _sample(image: Tensor, objects: Instances, full: Sequence[int], number: int, file: str = "") -> dict[str, Any]:
    return {
        "file": file,
        "input": image,
        "size": torch.tensor(image.shape[1:]),
        "full": torch.tensor(full),
        "image_id": torch.tensor(number),
        "instances": objects,
    }


def _no_objects() -> Instances:
    return Instances(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))


def _blank(sizing: Sizing) -> dict[str, Any]:
    image = torch.zeros(sizing.shape, dtype=torch.uint8)
    return _sample(image, _no_objects(), image.shape[1:], 0)


class SceneSet(WholeSet):
    """A data set of images with objects. A subclass fills in the facts, `find` and `scene`; it knows of no keypoints if it
    says nothing.

    Args:
        short_side: pixels to which the shorter side is scaled; None is the shorter side of `shape`, whose longer one limits
            an image's longer side. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    default_shape = (3, 800, 1333)
    targets = ("instances",)
    facts = FACTS
    keypoint_names: tuple[str, ...] = ()
    keypoint_sigmas: tuple[float, ...] = ()
    num_keypoints = 0
    mean, std = IMAGENET

    def __init__(
        self,
        *,
        short_side: int | None = None,
        scale: Sequence[float] = (1.0, 1.0),
        flip: bool = True,
        **loading: Unpack[UncutLoading],
    ) -> None:
        super().__init__(**loading)
        self.sizing = Sizing(self.shape, short_side, scale, flip, (), self.interpolation, self.antialias, self.rounding)

    def scene(self, item: Any) -> Scene:
        """What is known of an item of `find`. Raises `Unreadable`."""
        raise NotImplementedError

    def serve(self, found: Mapping[str, Sequence[Any]]) -> dict[str, SplitDataset]:
        return scene_splits(self, found, lambda item: check_scene(self.scene(item)), self.sizing)

    def files(self, paths: Sequence[File]) -> SplitDataset:
        return BareImages(paths, self.sizing, self.ground)


class BareImages(DecodedDataset):
    """The user's own images, whole, scaled as for a test; nothing is known of their objects."""

    def __init__(self, paths: Sequence[File], sizing: Sizing, ground: Ground = WHITE) -> None:
        super().__init__(len(paths))
        self.paths = paths
        self.ground = ground
        self.sizing = sizing

    def name(self, number: int) -> str:
        return str(self.paths[number])

    def blank(self) -> dict[str, Any]:
        return _blank(self.sizing)

    def read(self, epoch: int, number: int, view: int) -> dict[str, Any]:
        image = read_image(self.paths[number], self.sizing.shape[0], self.ground)[0]
        full = image.shape[1:]
        small = self.sizing.scaled(image, self.sizing.size(*full))
        return _sample(small, _no_objects(), full, number)
