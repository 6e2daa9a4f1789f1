"""Video sets with three official splits into train and test."""

from typing import ClassVar, Unpack

from zoo.common.places import data_root
from zoo.data.reading.folders import Labeled, unscored
from zoo.data.reading.groups import Listed, grouped_splits
from zoo.data.video_folder import VideoFolder, VideoLoading


class Folds(VideoFolder):
    """A subclass says where the set lies and reads its lists. Validation is carved out of train by group.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        fold: 1, 2 or 3, the official split. Figures are usually the mean over the three.
        rate, segments, clips, crops, short_side, flip, decoder, prepared, flow, resize, antialias, sampling: see
            `video_folder.VideoFolder`.
    """

    place: ClassVar[str]
    """The folder of the set in the data root."""

    def __init__(
        self,
        *,
        root: str | None = None,
        fold: int = 1,
        **loading: Unpack[VideoLoading],
    ) -> None:
        super().__init__(root=str(data_root(root) / self.place), **loading)
        if fold not in (1, 2, 3):
            raise ValueError(f"data.fold is {fold}; there are the official splits 1, 2 and 3.")
        self.fold = fold
        self.given_root = root

    def lists(self) -> tuple[tuple[str, ...], list[Listed], list[Listed]]:
        """The classes, the training list, the test list."""
        raise NotImplementedError

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        names, train, test = self.lists()
        splits, self.skipped_groups = grouped_splits(train, test)
        self.notes += unscored(names, splits)
        return names, splits
