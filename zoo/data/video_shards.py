"""Videos in tar archives: more of them than a disk holds."""

from collections.abc import Sequence
from typing import Any, Unpack

from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading import shards
from zoo.data.reading.container import SUFFIXES, probe
from zoo.data.reading.folders import Labeled
from zoo.data.reading.prepared import PATIENCE
from zoo.data.reading.write_shards import write_missing
from zoo.data.video import ClipFiles
from zoo.data.video_folder import ClipLoading, FlowKind, VideoFolder


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
        source: str | None = None,
        shard_bytes: int = 1_000_000_000,
        cache_bytes: int = 100_000_000_000,
        **loading: Unpack[ClipLoading],
    ) -> None:
        super().__init__(root=root, **loading)
        self.store = shards.Store(root, cache_bytes)
        self.source = source
        self.shard_bytes = shard_bytes

    def prepare_data(self) -> None:
        """Write the archives that are missing, of the videos that can be demuxed."""
        write_missing(self.store, self.source, self.shard_bytes, SUFFIXES, self.sound)

    def sound(self, labeled: Labeled, split: str) -> Labeled:
        """Those of a split that can be demuxed."""
        return [labeled[at] for at, _ in self.readable([path for path, _ in labeled], probe, split)]

    def prepare(self, short_side: int | None = None, flow: FlowKind | None = None, patience: float = PATIENCE) -> None:
        """Archives are read as they are. Raises ValueError: more is asked for."""
        if short_side or flow:
            raise ValueError("Copies and flow are made of files, not of archives. Prepare their folder, by video_folder.")
        self.prepare_data()

    def load(self) -> dict[str, SplitDataset]:
        self.class_names, found = shards.read_contents(self.store)
        splits: dict[str, SplitDataset] = {}
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
