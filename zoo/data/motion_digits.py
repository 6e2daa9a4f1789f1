"""Six motions of a handwritten digit, as real video files: the label is in the order of the frames and nowhere else."""

from pathlib import Path
from types import MappingProxyType
from typing import Unpack

from zoo.common.files import Unreadable
from zoo.common.places import rendered_root
from zoo.data.base import Loading
from zoo.data.reading.container import Video
from zoo.data.reading.fields import FlowFile
from zoo.data.reading.folders import Labeled
from zoo.data.reading.ledger import Store
from zoo.data.rendered import motion
from zoo.data.rendered.synth import render_files, renewed
from zoo.data.video_folder import FlowKind, VideoFolder


class MotionDigits(VideoFolder):
    """2,400 train, 600 val and 600 test clips of 24 frames, 32x32, 8 frames a second.

    Chance is 1/6 and one frame alone says nothing; the classes are three time-reversed pairs, so that a model blind to
    order can expect 1/2 at best. The files are rendered once, under `root`.

    Args:
        root: where the set is rendered. None, or what cannot be written to, is the cache folder; $ZOO_DATA stays as it is.
        clips: clips a video at test time, their predictions averaged.
        flow: "dis" or "raft", as `zoo.prepare` extracted it; None where the network reads pictures alone.
    """

    default_shape = (3, 16, 32, 32)
    class_names = motion.CLASSES
    landmarks = MappingProxyType({"one frame": 1 / 6, "blind to order": 1 / 2})

    def __init__(
        self,
        *,
        root: str | None = None,
        clips: int = 1,
        flow: FlowKind | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        super().__init__(
            root=str(rendered_root(root) / "motion_digits" / motion.EDITION),
            rate=motion.RATE,
            clips=clips,
            flip=False,
            flow=flow,
            **loading,
        )
        self.given_root = root
        if self.clips.has_pictures:
            # Over the decoded training clips, as the files' bytes.
            self.mean = (0.208, 0.204, 0.206, *self.mean[3:])
            self.std = (0.197, 0.197, 0.197, *self.std[3:])

    def prepare_data(self) -> None:
        """Render what is missing."""
        paths = [path for split in motion.CLIPS for path in self._paths(split)]
        render_files(motion.render, paths, f"Rendering motion_digits to {self.root}")

    def _check(self, store: Store, path: Path) -> tuple[Video, FlowFile | None]:
        """A file that is not the rendered clip (empty, cut, another video in its place) is rendered anew."""
        try:
            rendered = motion.is_clip(store.video(path))
        except Unreadable:
            rendered = False
        if not rendered:
            renewed(motion.render, path)
        return super()._check(store, path)

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        classes = motion.CLASSES
        return classes, {
            split: [(path, number % len(classes)) for number, path in enumerate(self._paths(split))] for split in motion.CLIPS
        }

    def _paths(self, split: str) -> list[Path]:
        return [motion.clip_path(self.root, split, number) for number in range(motion.CLIPS[split])]
