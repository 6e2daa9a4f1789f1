"""Video sets with three official splits into train and test."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from zoo.common.places import data_root
from zoo.data.loading.augment import Augment
from zoo.data.reading.folders import Labelled, unscored
from zoo.data.reading.groups import Listed, grouped_splits
from zoo.data.video_folder import FlowKind, VideoFolder


class Folds(VideoFolder):
    """A subclass says where the set lies and reads its lists. Validation is carved out of train by group.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        fold: 1, 2 or 3, the official split. Figures are usually the mean over the three.
        rate, segments, clips, crops, short_side, flip, decoder, prepared, flow: see `video_folder.VideoFolder`.
    """

    place: ClassVar[str]
    """Of the set in the data root."""

    def __init__(
        self,
        *,
        shape: Sequence[int] | None = None,
        root: str | None = None,
        fold: int = 1,
        rate: float | None = 5,
        segments: bool = False,
        clips: int = 4,
        crops: int = 1,
        short_side: int | None = None,
        flip: bool = True,
        decoder: Literal["pyav", "torchcodec"] = "pyav",
        prepared: int | None = None,
        flow: FlowKind | None = None,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            root=str(data_root(root) / self.place),
            shape=shape,
            rate=rate,
            segments=segments,
            clips=clips,
            crops=crops,
            short_side=short_side,
            flip=flip,
            decoder=decoder,
            prepared=prepared,
            flow=flow,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            max_bad=max_bad,
            augment=augment,
        )
        if fold not in (1, 2, 3):
            raise ValueError(f"data.fold is {fold}; there are the official splits 1, 2 and 3.")
        self.fold = fold
        self.given_root = root

    def lists(self) -> tuple[tuple[str, ...], list[Listed], list[Listed]]:
        """The classes, the training list, the test list."""
        raise NotImplementedError

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        names, train, test = self.lists()
        splits, self.withheld = grouped_splits(train, test)
        self.notes += unscored(names, splits)
        return names, splits
