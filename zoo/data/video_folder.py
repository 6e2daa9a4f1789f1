"""One's own videos, one folder a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.data._augment import Augment
from zoo.data._files import data_root
from zoo.data._folders import labelled_splits
from zoo.data.base import DataModule, Samples
from zoo.data.video import SUFFIXES, ClipFiles, Clips, probe


class VideoFolder(DataModule):
    """Clips of the videos in `root/CLASS/` or `root/{train,val,test}/CLASS/`; see `_folders.labelled_splits`.

    Args:
        root: the folder; relative to the working folder.
        rate: frames a second of a clip; None is each file's own.
        clips: clips a video at test time, their predictions averaged.
        short_side: pixels to which the shorter side is scaled before the cut; None cuts the largest region there is.
        flip: mirror half of the training clips.
    """

    layout = 4
    suffixes = SUFFIXES
    # Kinetics-400's, the field's usual numbers (pytorchvideo, torchvision).
    mean = (0.432, 0.395, 0.376)
    std = (0.228, 0.221, 0.217)

    def __init__(
        self,
        *,
        root: str,
        shape: Sequence[int],
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
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        self.root = data_root(root)
        frames, *size = self.shape[1:]
        self.clips = Clips(frames, (size[0], size[1]), rate, clips, short_side, flip)

    def load(self) -> dict[str, Samples]:
        self.class_names, files = labelled_splits(self.root, SUFFIXES)
        splits: dict[str, Samples] = {}
        for split, labelled in files.items():
            good = list(self.readable([path for path, _ in labelled], probe, split))
            labels = [labelled[at][1] for at, _ in good]
            splits[split] = ClipFiles([video for _, video in good], labels, self.clips, train=split == "train", seed=self.seed)
        return splits

    def files(self, paths: Sequence[Path]) -> Samples:
        return ClipFiles([probe(path) for path in paths], None, self.clips, train=False, seed=self.seed)
