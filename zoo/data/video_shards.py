"""Videos in tar archives: more of them than a disk holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.common.places import data_root
from zoo.data.base import Samples
from zoo.data.loading.augment import Augment
from zoo.data.reading import shards
from zoo.data.reading.decode import SUFFIXES, probe
from zoo.data.reading.folders import labelled_splits
from zoo.data.reading.prepared import PATIENCE
from zoo.data.video import ClipFiles
from zoo.data.video_folder import FlowKind, VideoFolder


class VideoShards(VideoFolder):
    """Clips of the videos in `ROOT/{train,val,test}/*.tar`, in WebDataset's layout; see `zoo.data.reading.shards`.

    Args:
        root: the folder of the archives, or its address: https://, s3://, gs:// or az:// (as fsspec reads them).
        source: a folder as `video_folder` reads it. Where there are no archives yet, `prepare` writes them from it.
        shard_bytes: the size that an archive is filled to.
        cache_bytes: of archives that came over a network, how many bytes are kept on this machine.
        rate, clips, short_side, flip: as of `video_folder`.
    """

    unscored = VideoFolder.unscored | {"source", "shard_bytes", "cache_bytes"}

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int] | None = None,
        source: str | None = None,
        shard_bytes: int = 1_000_000_000,
        cache_bytes: int = 100_000_000_000,
        rate: float | None = 5,
        clips: int = 4,
        short_side: int | None = None,
        flip: bool = True,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            root=root,
            shape=shape,
            rate=rate,
            clips=clips,
            short_side=short_side,
            flip=flip,
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
        """Write the archives that are missing, of the videos that can be demuxed."""
        if self.source is None or self.store.remote or (self.store.folder / shards.CONTENTS).is_file():
            return
        shards.check_writer()
        names, files = labelled_splits(data_root(self.source), SUFFIXES)
        good = {
            split: [found[at] for at, _ in self.readable([path for path, _ in found], probe, split)]
            for split, found in files.items()
        }
        shards.write(self.store.folder, names, good, self.shard_bytes)

    def prepare(self, short_side: int | None = None, flow: FlowKind | None = None, patience: float = PATIENCE) -> None:
        """Archives are read as they are. Raises ValueError: more is asked for."""
        if short_side or flow:
            raise ValueError("Copies and flow are made of files, not of archives. Prepare their folder, by video_folder.")
        self.prepare_data()

    def load(self) -> dict[str, Samples]:
        self.class_names, found = shards.read_contents(self.store)
        splits: dict[str, Samples] = {}
        for split, members in found.items():
            labels = members.places.label.tolist()
            samples = _Clips(_Probed(members), labels, self.clips, train=split == "train", seed=self.seed)
            samples.threads = 1  # the archives are shared
            samples.blocks = [count * samples.views for count in members.places.blocks()]
            splits[split] = samples
        return splits


class _Clips(ClipFiles):
    def name(self, number: int) -> str:
        assert isinstance(self.videos, _Probed)
        return str(self.videos.members[number])


class _Probed(Sequence[Any]):
    """The videos of a split, each looked at when it is wanted: its bytes are at hand then, and demuxing them is quick."""

    def __init__(self, members: shards.Split) -> None:
        self.members = members

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, number: Any) -> Any:
        return probe(self.members[number])
