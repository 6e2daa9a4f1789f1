"""Images with a class for every pixel: files, the checks before training, and the geometry that image and mask share."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from zoo.batch import VOID
from zoo.common.chance import CROP, uniform
from zoo.common.crops import Interpolation, Rounding, resized, size_by
from zoo.common.files import File, Unreadable
from zoo.common.pictures import LOSSLESS, SUFFIXES, WHITE, Ground, Header, picture, read_image, suffixes_of, upright_header
from zoo.data.images import PictureSet, UncutLoading, WholeSet, imagenet
from zoo.data.loading.dataset import DecodedDataset, SplitDataset
from zoo.data.reading.carving import Pictured
from zoo.data.reading.folders import counted, listing, some

MASK_SUFFIXES = suffixes_of(LOSSLESS)


def read_mask(path: Path, num_classes: int, void: int | None) -> Tensor:
    """A mask file as (H, W) uint8 classes; pixels of the class `void`, and of 255, become `VOID`.

    A palette's indices are the classes, its colors are not looked at. Raises `Unreadable`: a color picture, or a class
    out of range.
    """
    return _classes(path, _values(path), num_classes, void)


def _values(path: Path) -> NDArray[Any]:
    """(H, W), as they are in the file, in its own type of integers."""
    with picture(path, LOSSLESS) as opened:
        if opened.mode not in ("1", "L", "P", "I") and not opened.mode.startswith("I;16"):
            raise Unreadable(
                path,
                f"it is a color picture (mode {opened.mode}), but a mask holds one class index a pixel; save the indices "
                f"as a gray or palette PNG",
            )
        return np.asarray(opened).astype(np.uint8) if opened.mode == "1" else np.asarray(opened)


_AT_A_TIME = 2**22
"""Pixels: what is made of a large mask beside itself stays small."""


def _blocks(height: int, width: int) -> Iterator[slice]:
    """Rows of a mask, a few at a time."""
    step = max(1, _AT_A_TIME // max(1, width))
    return (slice(top, top + step) for top in range(0, height, step))


def _distinct(values: NDArray[Any]) -> set[int]:
    """The values of a mask's pixels."""
    found: set[int] = set()
    for rows in _blocks(*values.shape):
        block = values[rows]
        found |= set((np.bincount(block.ravel()).nonzero()[0] if block.dtype == np.uint8 else np.unique(block)).tolist())
    return found


def _classes(path: Path, values: NDArray[Any], num_classes: int, void: int | None) -> Tensor:
    wrong = sorted(_distinct(values) - {*range(num_classes), VOID, void})
    if wrong:
        raise Unreadable(
            path, f"it holds the class {', '.join(map(str, wrong[:5]))}, but the classes are 0 to {num_classes - 1} and void"
        )
    classes = np.empty(values.shape, dtype=np.uint8)
    for rows in _blocks(*values.shape):
        classes[rows] = np.where(values[rows] == void, VOID, values[rows])
    return torch.from_numpy(classes)


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask before training."""

    height: int
    width: int
    classes: frozenset[int]
    """Those of which it has pixels; void is none."""
    values: frozenset[int] | None = None
    """What its pixels are in the file, if there is one."""


class Pair(Pictured, Protocol):
    """An image and where its mask comes from."""

    def mask(self) -> Tensor:
        """(H, W) uint8. Raises `Unreadable`."""
        ...

    def check(self) -> MaskFacts:
        """Find what is wrong with the mask before training. Raises `Unreadable`."""
        ...


@dataclass(frozen=True)
class FilePair:
    """An image file and a mask file."""

    image: Path
    mask_file: Path
    num_classes: int
    void: int | None

    def mask(self) -> Tensor:
        return read_mask(self.mask_file, self.num_classes, self.void)

    def check(self) -> MaskFacts:
        values = _values(self.mask_file)  # only the pixels tell whether a class is out of range
        _classes(self.mask_file, values, self.num_classes, self.void)
        found, (height, width) = frozenset(_distinct(values)), values.shape
        return MaskFacts(height, width, found - {VOID, self.void}, found)


SomePair = TypeVar("SomePair", bound=Pair)


def check_pair(pair: SomePair) -> tuple[SomePair, MaskFacts, Header]:
    """Look at the image's header and at the mask: what would end the training in its middle is found before. Raises
    `Unreadable`."""
    if not pair.image.exists():
        raise Unreadable(pair.image, "the image of a mask is missing")
    found = pair.check()
    header = upright_header(pair.image)
    check_size(pair, (header.height, header.width), (found.height, found.width))
    return pair, found, header


def mask_files(
    data: PictureSet, splits: Mapping[str, Sequence[SomePair]], geometry: "Geometry", void: int | None = None
) -> dict[str, SplitDataset]:
    """The splits of a data set, every pair checked. Raises ValueError: too many cannot be read, or the masks of a split hold
    one class alone, of which nothing can be learned and any answer is perfect."""
    samples: dict[str, SplitDataset] = {}
    for split, pairs in splits.items():
        found = [outcome for _, outcome in data.readable(pairs, check_pair, split)]
        _check_there(data, split, [looked for _, looked, _ in found], void)
        data.wide.update(header.wide for *_, header in found if header.wide)
        kept = [pair for pair, *_ in found]
        samples[split] = MaskFiles(kept, geometry, train=split == "train", seed=data.seed, ground=data.ground)
    return samples


def _check_there(data: PictureSet, split: str, found: Sequence[MaskFacts], void: int | None) -> None:
    """Say which classes have no pixel in training; refuse masks of one class."""
    there = frozenset[int]().union(*(looked.classes for looked in found))
    values = sorted(frozenset[int]().union(*(looked.values or () for looked in found)))
    said = ""
    if values:
        first = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
        nothing = " and ".join(str(value) for value in sorted({VOID, void} - {None}) if value in values)  # type: ignore[type-var]
        said = f" The values found in them are {first}" + (
            f", of which {nothing} counts for nothing (void)." if nothing else "."
        )
    if values and len(there) < 2 and found:
        only = f"one class alone, {data.class_names[min(there)]}" if there else "no class"
        raise ValueError(
            f"The masks of the {split} split hold {only}.{said} Write each class as its number, counted from 0: "
            f"{', '.join(f'{at} {name}' for at, name in enumerate(data.class_names[:3]))}, ..."
        )
    absent = [name for at, name in enumerate(data.class_names) if at not in there]
    if absent and found and split == "train":
        data.notes.append(f"No pixel of the training masks is of the class {some(absent)}: it cannot be learned.{said}")


def check_size(pair: Pair, image: Sequence[int], mask: Sequence[int]) -> None:
    if tuple(image) != tuple(mask):
        (height, width), (rows, columns) = image, mask
        raise Unreadable(pair.image, f"it is {width} x {height} pixels, but its mask is {columns} x {rows}")


def paired(images: Path, masks: Path, num_classes: int, void: int | None, notes: list[str]) -> list[FilePair]:
    """The images of a folder and the masks of another, by the names without suffixes; a name of one side only makes a
    pair too, which `check_pair` refuses by name. What else lies there is counted in the notes. Raises ValueError: a folder
    that is missing or empty, two files of one name."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}. Images and masks are expected in {images} and {masks}.")
    pictures, answers = (_by_name(*place, notes) for place in ((images, SUFFIXES), (masks, MASK_SUFFIXES)))
    if not pictures:
        raise ValueError(f"The folder {images} holds no images ({' '.join(sorted(SUFFIXES))}).")
    return [
        FilePair(pictures.get(name, images / f"{name}.jpg"), answers.get(name, masks / f"{name}.png"), num_classes, void)
        for name in sorted({*pictures, *answers})
    ]


def _by_name(folder: Path, suffixes: frozenset[str], notes: list[str]) -> dict[str, Path]:
    found = listing(folder, suffixes, depth=0)
    others = found.others + Counter({f"{path.name} (a folder)": 1 for path in found.disguised})
    if others:
        notes.append(f"Not taken from {folder}: {counted(others)}.")
    named: dict[str, Path] = {}
    for path in found.files:
        other = named.setdefault(path.stem, path)
        if other != path:
            raise ValueError(f"{folder} holds {other.name} and {path.name}. Images and masks meet by their names: keep one.")
    return named


@dataclass(frozen=True)
class Geometry:
    """How image and mask are scaled, cut and mirrored, both alike.

    Args:
        shape: (C, H, W) of a training sample.
        short_side: pixels to which an image's shorter side is scaled first; None leaves it.
        scale: in training, scaled further by a factor between these two, all ratios equally likely.
        flip: mirror half of the training samples.
        fill: the color, 0 to 1 by channel, of what a training sample has beyond the image's edge; there the mask is void.
        interpolation, antialias: of the scaling of images.
        rounding: how the size of a scaled image is made whole.
    """

    shape: tuple[int, ...]
    short_side: int | None
    scale: Sequence[float]
    flip: bool
    fill: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        if len(self.fill) != self.shape[0]:
            raise ValueError(f"These images have {len(self.fill)} channels, but the shape asked for is {list(self.shape)}.")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"data.scale is {list(self.scale)}; it must be two rising factors above 0, as [0.5, 2.0].")
        if self.short_side is not None and self.short_side < 1:
            raise ValueError(f"data.short_side is {self.short_side}; it must be at least 1, or null for the file's own size.")

    def scaled(self, image: Tensor, factor: float = 1.0) -> Tensor:
        """(C, H, W) uint8 with the short side in place, times a factor."""
        size = self._size(image.shape[1], image.shape[2], factor)
        return resized(image[None], size, self.interpolation, self.antialias)[0]

    def _size(self, height: int, width: int, factor: float) -> tuple[int, int]:
        if self.rounding == "down":
            if self.short_side is not None:
                height, width = size_by(self.short_side, height, width)
            return max(1, int(height * factor)), max(1, int(width * factor))
        if self.short_side is not None:
            factor *= self.short_side / min(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def cut(self, image: Tensor, mask: Tensor, chances: Sequence[float]) -> tuple[Tensor, Tensor]:
        """A training sample of (C, H, W) and (H, W), by four numbers in [0, 1): scale, top, left, mirror."""
        zoom, top, left, mirror = chances
        low, high = self.scale
        image = self.scaled(image, low * (high / low) ** zoom)
        # Classes cannot be mixed: a pixel takes that of the source pixel under its middle.
        mask = interpolate(mask[None, None], image.shape[1:], mode="nearest-exact")[0, 0]
        margins: list[int] = []
        for extent, wish, chance in zip(image.shape[1:], self.shape[1:], (top, left), strict=True):
            start = int(chance * (abs(extent - wish) + 1))
            start = -start if extent >= wish else start
            margins = [start, wish - extent - start, *margins]  # `pad` counts the axes from the last; below 0 it cuts
        inside = pad(torch.ones_like(mask), margins)
        color = (255 * torch.tensor(self.fill)).round().to(torch.uint8)[:, None, None]
        image = torch.where(inside.bool(), pad(image, margins), color)
        mask = pad(mask, margins, value=VOID)
        return (image.flip(-1), mask.flip(-1)) if self.flip and mirror < 0.5 else (image, mask)


class MaskFiles(DecodedDataset):
    """Images with masks, read where they are asked for: cut to one size in training, else whole and one at a time."""

    def __init__(self, pairs: Sequence[Pair], geometry: Geometry, *, train: bool, seed: int, ground: Ground = WHITE) -> None:
        super().__init__(len(pairs))
        self.pairs = pairs
        self.geometry = geometry
        self.train = train
        self.seed = seed
        self.ground = ground

    def name(self, number: int) -> str:
        return str(self.pairs[number].image)

    def blank(self) -> dict[str, Tensor]:
        image = torch.zeros(self.geometry.shape, dtype=torch.uint8)
        return {"input": image, "mask": image[0]}

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        pair = self.pairs[number]
        image, mask = read_image(pair.image, self.geometry.shape[0], self.ground)[0], pair.mask()
        check_size(pair, image.shape[1:], mask.shape)
        if not self.train:
            return {"input": self.geometry.scaled(image), "mask": mask}
        chances = uniform(self.seed, epoch, torch.tensor([number]), 4, CROP)[0].tolist()
        image, mask = self.geometry.cut(image, mask, chances)
        return {"input": image, "mask": mask}


class MaskSet(WholeSet):
    """A data set of images with masks. A subclass fills in the facts and `find`, whose items are `Pair`s.

    Args:
        short_side: pixels to which the shorter side is scaled; None leaves it. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    default_shape = (3, 500, 500)
    targets = ("semantic",)
    void: int | None = None
    """The class in its files that counts for nothing, besides 255."""

    def __init__(
        self,
        *,
        short_side: int | None = None,
        scale: Sequence[float] = (0.5, 2.0),
        flip: bool = True,
        **loading: Unpack[UncutLoading],
    ) -> None:
        super().__init__(**loading)
        if not hasattr(self, "mean"):  # a subclass that states none takes ImageNet's
            self.mean, self.std = imagenet(self.shape[0])
        self.geometry = Geometry(
            self.shape, short_side, scale, flip, self.mean, self.interpolation, self.antialias, self.rounding
        )

    def serve(self, found: Mapping[str, Sequence[Pair]]) -> dict[str, SplitDataset]:
        return mask_files(self, found, self.geometry, self.void)

    def paired(self, images: Path, masks: Path) -> list["FilePair"]:
        """The images of a folder and the masks of another; see `paired`."""
        return paired(images, masks, self.num_classes, self.void, self.notes)

    def files(self, paths: Sequence[File]) -> SplitDataset:
        return WholeImages(paths, self.shape[0], self.geometry, self.ground)


class WholeImages(DecodedDataset):
    """The user's own images, whole, scaled as for a test; several of one size make a batch."""

    def __init__(self, paths: Sequence[File], channels: int, geometry: Geometry | None = None, ground: Ground = WHITE) -> None:
        super().__init__(len(paths))
        self.paths = paths
        self.ground = ground
        self.channels = channels
        self.geometry = geometry

    def name(self, number: int) -> str:
        return str(self.paths[number])

    def blank(self) -> dict[str, Tensor]:
        return {"input": torch.zeros(self.channels, 1, 1, dtype=torch.uint8), "mask": torch.zeros(1, 1, dtype=torch.uint8)}

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        image = read_image(self.paths[number], self.channels, self.ground)[0]
        mask = torch.full(image.shape[1:], VOID, dtype=torch.uint8)  # nothing is known, but what is asked for has a size
        return {"input": (self.geometry.scaled(image) if self.geometry else image).contiguous(), "mask": mask}
