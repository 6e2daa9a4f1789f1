"""One's own images, one folder a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.data._augment import Augment
from zoo.data._files import data_root
from zoo.data._folders import labelled_splits
from zoo.data.base import DataModule, Samples
from zoo.data.images import SUFFIXES, ImageFiles, check_image


class ImageFolder(DataModule):
    """The images in `root/CLASS/` or `root/{train,val,test}/CLASS/`; see `_folders.labelled_splits`.

    Args:
        root: the folder; relative to the working folder.
    """

    layout = 3
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int],
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        self.root = data_root(root)
        # ImageNet's, the field's usual numbers; a grey image takes their mean.
        grey = self.shape[0] == 1
        self.mean = (0.449,) if grey else (0.485, 0.456, 0.406)
        self.std = (0.226,) if grey else (0.229, 0.224, 0.225)

    def load(self) -> dict[str, Samples]:
        self.class_names, files = labelled_splits(self.root, SUFFIXES)
        splits: dict[str, Samples] = {}
        for split, labelled in files.items():
            good = [labelled[at] for at, _ in self.readable([path for path, _ in labelled], check_image)]
            splits[split] = ImageFiles([path for path, _ in good], [label for _, label in good], self.shape)
        return splits

    def files(self, paths: Sequence[Path]) -> Samples:
        return ImageFiles(paths, None, self.shape)
