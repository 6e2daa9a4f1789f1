"""One's own videos, listed in a table."""

from zoo.data.reading.folders import Labeled
from zoo.data.reading.table import table_splits
from zoo.data.video_folder import VideoFolder


class VideoCsv(VideoFolder):
    """The videos of a CSV file, `data.root`, with the columns `path` and `label`, and if wanted `group` and `split`.

    Paths are relative to the table's folder, or absolute. A label is any text; `split` is train, val or test, and is drawn
    where there is no such column. Files of one `group` stay together.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        return table_splits(self.root, "video", self.notes)
