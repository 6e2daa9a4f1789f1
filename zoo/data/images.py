"""Images: splits held in memory, and files decoded where they are asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from zoo.batch import Batch, LabelBatch
from zoo.common.chance import CROP, uniform
from zoo.common.crops import Crops, Interpolation, Rounding, region, with_channels
from zoo.common.files import File, Unreadable
from zoo.common.pictures import SUFFIXES, WHITE, Ground, conversions, ground_of, read_image
from zoo.common.pixels import Pixels
from zoo.data.base import DataModule, Loading
from zoo.data.loading.dataset import DecodedDataset, Draw, SplitDataset, labeled


class PictureLoading(Loading, total=False):
    """What the constructor of every data set of pictures takes."""

    ground: str | Sequence[int]
    interpolation: Interpolation
    antialias: bool


class UncutLoading(PictureLoading, total=False):
    """What the constructor of every set takes whose images are scored whole."""

    rounding: Rounding


class WholeLoading(UncutLoading, total=False):
    """What such sets take that are served by their base."""

    short_side: int | None
    scale: Sequence[float]
    flip: bool


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of each channel over ImageNet: the field's usual numbers."""


def imagenet(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same of images of so many channels; a gray image takes the mean of the three."""
    return ((0.449,), (0.226,)) if channels == 1 else IMAGENET


class PictureSet(DataModule):
    """A data set of pictures, or of arrays like them, that reads the user's pictures too.

    Args:
        ground: what transparent pictures lie on: a color's word (CSS's, `white`) or its red, green and blue, 0 to 255. What
            is hidden below transparent pixels is no matter. A new picture is laid on that of the run.
        interpolation: of the scaling, where a picture is scored: nearest, bilinear or bicubic.
        antialias: widen its kernel where a picture is made smaller.
    """

    default_shape = (3, 224, 224)
    layout = 3
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        ground: str | Sequence[int] = "white",
        interpolation: Interpolation = "bilinear",
        antialias: bool = True,
        **loading: Unpack[Loading],
    ) -> None:
        super().__init__(**loading)
        self.ground = ground_of(ground)
        self.interpolation: Interpolation = interpolation
        self.antialias = antialias
        self.wide: Counter[str] = Counter()
        """How many pictures are of numbers wider than bytes, by `Header.wide`."""

    def setup(self, stage: str | None = None) -> None:
        new = not self.splits
        super().setup(stage)
        if new:
            self.notes += conversions(self.wide)


class WholeSet(PictureSet):
    """A set whose images are scored whole, at their own sizes. A subclass says in `find` what there is, and is served by
    `serve`, which its base has.

    Args:
        rounding: how the size of an image that is scaled is made whole: nearest, or down.
    """

    full_size = True
    default_arguments = WholeLoading(batch_size=8)

    def __init__(self, *, rounding: Rounding = "nearest", **loading: Unpack[PictureLoading]) -> None:
        super().__init__(**loading)
        self.rounding: Rounding = rounding

    def find(self) -> Mapping[str, Sequence[Any]]:
        """Split to its images, each with what is known of it or with its place; the facts that files tell are set. Raises
        ValueError."""
        raise NotImplementedError

    def serve(self, found: Mapping[str, Sequence[Any]]) -> dict[str, SplitDataset]:
        """The splits, every image checked with what is known of it. Raises ValueError: too many cannot be read."""
        raise NotImplementedError

    def load(self) -> dict[str, SplitDataset]:
        return self.serve(self.find())


class PixelDataset(SplitDataset):
    """Images in memory at the size of their source: a batch is one gather, and one scaling where another size is served.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        crops: what is served of an image; None is the image as it is.
    """

    def __init__(self, images: Tensor, labels: Tensor, crops: Crops | None = None) -> None:
        self.images = images
        self.labels = labels
        self.crops = crops or Crops(tuple(images.shape[1:]))
        self.views = self.crops.views

    def __len__(self) -> int:
        return len(self.images) * self.views

    def batch(self, draws: Sequence[Draw], /) -> Batch:
        epoch, index = torch.from_numpy(np.array(draws, dtype=np.int64).reshape(-1, 2)).unbind(1)
        ids, view = index // self.views, index % self.views
        if self.views == 1:
            pixels = self.crops.cut(self.images.index_select(0, ids), 0)  # faster than indexing
        else:
            pixels = torch.cat(
                [self.crops.cut(self.images[i : i + 1], v) for i, v in zip(ids.tolist(), view.tolist(), strict=True)]
            )
        return LabelBatch(input=pixels, label=self.labels[ids], id=ids, view=view, epoch=epoch)


class ImageFiles(DecodedDataset):
    """Image files, labeled or not, decoded where they are asked for.

    Args:
        short_side: for training: the shorter side is scaled to a length drawn from this range and H x W cut out at a
            random place (ResNet: 256 to 480); None takes the views of `crops`.
    """

    def __init__(
        self,
        paths: Sequence[File],
        labels: Sequence[int] | None,
        crops: Crops,
        *,
        short_side: tuple[int, int] | None = None,
        seed: int = 0,
        ground: Ground = WHITE,
    ) -> None:
        super().__init__(len(paths), 1 if short_side else crops.views)
        self.ground = ground
        self.paths = paths
        self.labels = labels
        self.crops = crops
        self.short_side = short_side
        self.seed = seed

    def name(self, number: int) -> str:
        return str(self.paths[number])

    def blank(self) -> dict[str, Tensor]:
        return labeled(torch.zeros(self.crops.shape, dtype=torch.uint8), self.labels, 0)

    def _outcomes(self, wishes: Sequence[tuple[int, int, int]]) -> Iterable[Mapping[str, Any] | Unreadable]:
        """Pixels in memory of one size are scaled together."""
        paths = [self.paths[number] for _, number, _ in wishes]
        sizes = {path.shape if isinstance(path, Pixels) else () for path in paths}
        if self.short_side is not None or self.views > 1 or len(sizes) != 1 or () in sizes:
            return super()._outcomes(wishes)
        box, channels = self.crops.box(0), self.crops.shape[0]
        cut = self.crops.scaled(torch.cat([read_image(path, channels, self.ground, box) for path in paths]), 0)
        return [labeled(pixels, self.labels, number) for pixels, (_, number, _) in zip(cut, wishes, strict=True)]

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        path, channels = self.paths[number], self.crops.shape[0]
        if self.short_side is None:
            image = read_image(path, channels, self.ground, self.crops.box(view))
            return labeled(self.crops.scaled(image, view)[0], self.labels, number)
        image = read_image(path, channels, self.ground)
        length, top, left = uniform(self.seed, epoch, torch.tensor([number]), 3, CROP)[0].tolist()
        low, high = self.short_side
        height, width = self.crops.shape[1:]
        # Cut first and scaled once: the scaled image is never needed whole.
        scale = min(image.shape[2:]) / (low + length * (high - low))
        cut = region(image, top, left, scale, (height, width))
        return labeled(with_channels(cut, self.crops.shape[0])[0], self.labels, number)
