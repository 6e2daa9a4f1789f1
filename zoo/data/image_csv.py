"""One's own images, listed in a table."""

from zoo.data._folders import Labelled
from zoo.data._table import table_splits
from zoo.data.image_folder import ImageFolder


class ImageCsv(ImageFolder):
    """The images of a CSV file, `data.root`, with the columns `path` and `label`, and if wanted `split` and `group`; see
    `_table.table_splits`.
    """

    def find(self) -> tuple[tuple[str, ...], dict[str, Labelled]]:
        return table_splits(self.root, "image", self.notes)
