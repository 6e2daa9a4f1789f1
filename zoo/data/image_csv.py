"""One's own images, listed in a table."""

from zoo.data.image_folder import ImageFolder
from zoo.data.reading.folders import Labeled
from zoo.data.reading.table import table_splits


class ImageCsv(ImageFolder):
    """The images of a CSV file, `data.root`, with the columns `path` and `label`, and if wanted `split` and `group`.

    Paths are relative to the table's folder, or absolute. A label is any text; `split` is train, val or test, and is drawn
    where there is no such column. Files of one `group` stay together.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        return table_splits(self.root, "image", self.notes)
