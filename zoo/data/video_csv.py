"""One's own videos, listed in a table."""

from zoo.data._folders import Labelled
from zoo.data._table import table_splits
from zoo.data.video_folder import VideoFolder


class VideoCsv(VideoFolder):
    """The videos of a CSV file, `data.root`, with the columns `path` and `label`, and if wanted `group` and `split`; see
    `_table.table_splits`.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        return table_splits(self.root, "video", self.notes)
