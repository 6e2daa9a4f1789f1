"""Small sets of images: held in memory as bytes, served by one gather a batch, augmented on the device."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from zoo.common.chance import FRACTION, VALIDATION
from zoo.common.crops import Crops, scales_of
from zoo.common.files import File, reason
from zoo.common.places import alone, data_root
from zoo.data.images import ImageFiles, PictureLoading, PictureSet, PixelDataset
from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading.stratified import stratified


class StoredLoading(PictureLoading, total=False):
    """What the constructor of every set in memory takes."""

    fraction: float
    crops: int
    scales: Sequence[int | Sequence[int]] | None


class Stored(PictureSet):
    """A set in memory. A subclass fills in the facts and `read`.

    Args:
        fraction: share of the training labels to use, of each class; which ones depends on the seed.
        crops, scales: the views of an image at validation and test; see `zoo.common.crops.Crops`.
    """

    spoken = frozenset(["shape", "crops", "scales", "interpolation", "antialias"])
    unscored = PictureSet.unscored | {"ground"}  # of the user's pictures; its own have no transparency
    source_mean: ClassVar[tuple[float, ...]]
    source_std: ClassVar[tuple[float, ...]]
    """Over the training split, of the channels that the source has: one or three."""
    default_arguments = PictureLoading(batch_size=64)

    def __init__(
        self,
        *,
        fraction: float = 1.0,
        crops: int = 1,
        scales: Sequence[int | Sequence[int]] | None = None,
        **loading: Unpack[PictureLoading],
    ) -> None:
        super().__init__(**loading)
        self.fraction = fraction
        self.crops = Crops(self.shape, scales_of(scales), crops, self.interpolation, self.antialias)
        self.protocol = str(self.crops)
        channels = self.shape[0]
        one = len(self.source_mean) != channels  # a gray source serves copies of itself, a colored one its brightness
        self.mean = (sum(self.source_mean) / len(self.source_mean),) * channels if one else self.source_mean
        self.std = (sum(self.source_std) / len(self.source_std),) * channels if one else self.source_std

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The splits: uint8 (N, C, H, W) at the size of the source, and int64 (N,)."""
        raise NotImplementedError

    def default_workers(self) -> int:
        return 0  # in memory

    def load(self) -> dict[str, SplitDataset]:
        splits: dict[str, SplitDataset] = {}
        for split, (images, labels) in self.read().items():
            if len(labels) != len(images) or int(labels.max()) >= self.num_classes:
                raise ValueError(f"The {split} split is damaged: {len(images)} images, labels up to {int(labels.max())}.")
            if split == "train" and self.fraction != 1:
                kept = stratified(labels, self.fraction, seed=self.seed, stream=FRACTION)
                images, labels = images[kept], labels[kept]
            crops = Crops(self.shape) if split == "train" else self.crops
            splits[split] = PixelDataset(images, labels, crops)
        return splits

    def files(self, paths: Sequence[File]) -> SplitDataset:
        return ImageFiles(paths, None, self.crops, ground=self.ground)


class TorchvisionSet(Stored):
    """A set whose files and reader are torchvision's, with train and test; validation is carved out of train, stratified.

    The carving does not depend on the seed, so that runs of several seeds are chosen by the same images.

    Args:
        root: the folder that holds torchvision's folder of the set; None is $ZOO_DATA or the cache folder.
        download: fetch the files where they are missing.
        val: share of the training images that are kept for validation.
    """

    dataset: ClassVar[str]
    """The class in torchvision.datasets."""
    source_size: ClassVar[tuple[int, int]] = (28, 28)
    """(H, W) of its images."""
    default_arguments = StoredLoading(batch_size=256)

    def __init__(
        self,
        *,
        root: str | None = None,
        download: bool = False,
        val: float = 0.1,
        **loading: Unpack[StoredLoading],
    ) -> None:
        super().__init__(**loading)
        self.root = data_root(root)
        self.download = download
        self.val = val

    def prepare_data(self) -> None:
        """Download what is missing, to a folder of its own first: what a kill leaves of a file is never taken for the file."""
        if not self.download:
            return
        with alone(self.root / self.dataset):
            try:
                for train in (False, True):
                    self._open(train)
            except ValueError:
                partial = self.root / f".{self.dataset}-partial"
                shutil.rmtree(partial, ignore_errors=True)
                self._fetch(partial)
                for path in [path for path in partial.rglob("*") if path.is_file()]:
                    target = self.root / path.relative_to(partial)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
                shutil.rmtree(partial)

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        images, labels = self._open(train=True)
        held = stratified(labels, self.val, seed=0, stream=VALIDATION)
        return {
            "train": (images[~held], labels[~held]),
            "val": (images[held], labels[held]),
            "test": self._open(train=False),
        }

    def _fetch(self, folder: Path) -> None:
        import torchvision

        try:
            getattr(torchvision.datasets, self.dataset)(str(folder), download=True)
        except (RuntimeError, OSError) as error:  # urllib's errors are OSErrors
            raise ValueError(f"{self.dataset} could not be downloaded ({str(error).splitlines()[0]}).") from None

    def _open(self, train: bool) -> tuple[Tensor, Tensor]:
        import torchvision

        try:
            found = getattr(torchvision.datasets, self.dataset)(str(self.root), train=train)
        except Exception as error:  # of a damaged file: whatever its reader, unpickling included, comes upon
            if not isinstance(error, RuntimeError) or "not found" not in str(error):
                raise self._damaged(reason(error)) from None
            raise ValueError(
                f"{self.dataset} is not complete in {self.root} ({reason(error)}). Set ZOO_DATA or data.root to the folder "
                f"that holds it, or data.download=true to fetch it."
            ) from None
        images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets, dtype=torch.int64)
        images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
        expected = (len(self.source_mean), *self.source_size)
        if images.shape[1:] != expected or images.dtype != torch.uint8:
            raise self._damaged(f"its images are {tuple(images.shape[1:])} of {images.dtype}, not {expected} of bytes")
        if len(images) != len(labels) or not len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise self._damaged(f"{len(images)} images, {len(labels)} labels of {self.num_classes} classes")
        return images, labels

    def _damaged(self, why: str) -> ValueError:
        return ValueError(
            f"A file of {self.dataset} in {self.root} is damaged ({why}). Remove the set's folder there, and set "
            f"data.download=true to fetch it."
        )
