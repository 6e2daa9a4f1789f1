"""Six motions of a handwritten digit, as real video files: the label is in the order of the frames and nowhere else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from zoo.data import _motion
from zoo.data._augment import Augment
from zoo.data._files import writable_root
from zoo.data._synth import render_files
from zoo.data.base import DataModule, Samples
from zoo.data.video import SUFFIXES, ClipFiles, Clips, probe


class MotionDigits(DataModule):
    """2,400 train, 600 val and 600 test clips of 24 frames, 32x32, 8 frames a second; see `_motion.draw_clip`.

    Chance is 1/6 and one frame alone says nothing; the classes are three time-reversed pairs, so that a model blind to
    order can expect 1/2 at best. The files are rendered once, under `root`.

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder. Where it cannot be written to, the cache folder is used.
        clips: clips a video at test time, their predictions averaged.
    """

    layout = 4
    suffixes = SUFFIXES
    class_names = _motion.CLASSES
    landmarks = MappingProxyType({"one frame": 1 / 6, "blind to order": 1 / 2})
    # Over the decoded training clips, as the files' bytes.
    mean = (0.208, 0.204, 0.206)
    std = (0.197, 0.197, 0.197)

    def __init__(
        self,
        *,
        shape: Sequence[int],
        root: str | None = None,
        clips: int = 1,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        self.folder = writable_root(root) / "motion_digits" / _motion.EDITION
        frames, *size = self.shape[1:]
        # Mirroring would swap left and right, so `flip` is not for the user to set here.
        self.clips = Clips(frames, (size[0], size[1]), _motion.RATE, clips, short_side=None, flip=False)

    def prepare_data(self) -> None:
        """Render what is missing."""
        paths = [_motion.clip_path(self.folder, split, k) for split, count in _motion.CLIPS.items() for k in range(count)]
        render_files(_motion.render, paths, f"Rendering motion_digits to {self.folder}")

    def load(self) -> dict[str, Samples]:
        splits: dict[str, Samples] = {}
        for split, count in _motion.CLIPS.items():
            paths = [_motion.clip_path(self.folder, split, k) for k in range(count)]
            good = list(self.readable(paths, probe, split))
            labels = [at % self.num_classes for at, _ in good]
            videos = [video for _, video in good]
            splits[split] = ClipFiles(videos, labels, self.clips, train=split == "train", seed=self.seed)
        return splits

    def files(self, paths: Sequence[Path]) -> Samples:
        return ClipFiles([probe(path) for path in paths], None, self.clips, train=False, seed=self.seed)
