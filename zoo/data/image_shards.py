"""Images in tar archives: more of them than a disk holds, or than a file system likes."""

from collections import Counter
from typing import Unpack

from zoo.common.pictures import SUFFIXES
from zoo.data.image_folder import FolderLoading, ImageFolder
from zoo.data.images import ImageFiles
from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading import shards
from zoo.data.reading.write_shards import write_missing


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
        source: str | None = None,
        shard_bytes: int = 1_000_000_000,
        cache_bytes: int = 100_000_000_000,
        **loading: Unpack[FolderLoading],
    ) -> None:
        super().__init__(root=root, **loading)
        self.store = shards.Store(root, cache_bytes)
        self.source = source
        self.shard_bytes = shard_bytes

    def prepare_data(self) -> None:
        """Write the archives that are missing, of the images whose headers can be read."""
        write_missing(self.store, self.source, self.shard_bytes, SUFFIXES, self.sound, self.wide)

    def load(self) -> dict[str, SplitDataset]:
        self.class_names, found = shards.read_contents(self.store)
        self.wide = Counter(shards.wide_of(self.store))
        return {split: self._members(members, train=split == "train") for split, members in found.items()}

    def _members(self, members: shards.Split, *, train: bool) -> ImageFiles:
        samples = self.samples(members, members.places.label.tolist(), train=train)
        samples.blocks = [count * samples.views for count in members.places.blocks()]
        return samples
