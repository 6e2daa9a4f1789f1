"""Images in tar archives: more of them than a disk holds, or than a file system likes."""

from collections import Counter
from collections.abc import Mapping, Sequence

from zoo.common.crops import Crops
from zoo.common.files import File
from zoo.common.pictures import SUFFIXES
from zoo.common.places import data_root
from zoo.data.base import Samples
from zoo.data.image_folder import ImageFolder
from zoo.data.images import ImageFiles
from zoo.data.loading.augment import Augment
from zoo.data.reading import shards
from zoo.data.reading.folders import labelled_splits


class ImageShards(ImageFolder):
    """The images of `ROOT/{train,val,test}/*.tar`, in WebDataset's layout; see `zoo.data.reading.shards`.

    Args:
        root: the folder of the archives, or its address: https://, s3://, gs:// or az:// (as fsspec reads them).
        source: a folder as `image_folder` reads it. Where there are no archives yet, `prepare` writes them from it.
        shard_bytes: the size that an archive is filled to.
        cache_bytes: of archives that came over a network, how many bytes are kept on this machine.
        short_side, crops, scales: as of `image_folder`.
    """

    unscored = ImageFolder.unscored | {"source", "shard_bytes", "cache_bytes"}

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int] | None = None,
        source: str | None = None,
        shard_bytes: int = 1_000_000_000,
        cache_bytes: int = 100_000_000_000,
        short_side: Sequence[int] | None = None,
        crops: int = 1,
        scales: Sequence[int] | None = None,
        ground: str | Sequence[int] = "white",
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            root=root,
            shape=shape,
            short_side=short_side,
            crops=crops,
            scales=scales,
            ground=ground,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            max_bad=max_bad,
            augment=augment,
        )
        self.store = shards.Store(root, cache_bytes)
        self.source = source
        self.shard_bytes = shard_bytes

    def prepare_data(self) -> None:
        """Write the archives that are missing, of the images whose headers can be read."""
        if self.source is None or self.store.remote or (self.store.folder / shards.CONTENTS).is_file():
            return
        shards.check_writer()
        names, files = labelled_splits(data_root(self.source), SUFFIXES)
        good = {split: self.sound(found, split) for split, found in files.items()}
        shards.write(self.store.folder, names, good, self.shard_bytes, self.wide)

    def load(self) -> dict[str, Samples]:
        self.class_names, found = shards.read_contents(self.store)
        self.wide = Counter(shards.wide_of(self.store))
        return {split: self._samples(members, train=split == "train") for split, members in found.items()}

    def _samples(self, members: shards.Split, *, train: bool) -> ImageFiles:
        samples = ImageFiles(
            members,
            members.places.label.tolist(),
            Crops(self.shape) if train else self.crops,
            short_side=self.short_side if train else None,
            seed=self.seed,
            ground=self.ground,
        )
        samples.blocks = [count * samples.views for count in members.places.blocks()]
        return samples

    def files(self, paths: Sequence[File]) -> Samples:
        return ImageFiles(paths, None, self.crops, ground=self.ground)
