"""One's own videos, one folder a class; and what all sets of video files share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

import torch

from zoo.common.crops import sides_of
from zoo.common.draw import save, sheet
from zoo.common.files import File, Unreadable
from zoo.common.flow import from_bytes, picture, wheel
from zoo.common.places import data_root
from zoo.common.progress import log
from zoo.common.words import printable, shell_word
from zoo.data.base import DataModule, Loading
from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading.container import SUFFIXES, Video, probe
from zoo.data.reading.decode import read_frames
from zoo.data.reading.fields import FlowFile, FlowNow, FlowOf, open_fields
from zoo.data.reading.folders import Labeled, labeled_splits
from zoo.data.reading.ledger import Store
from zoo.data.reading.prepared import PATIENCE, prepare
from zoo.data.video import ClipFiles, Clips, Sampling

FlowKind = Literal["dis", "raft"]


class ClipLoading(Loading, total=False):
    """What the constructor of every set of video files takes."""

    rate: float | None
    clips: int
    short_side: int | None
    flip: bool


class VideoLoading(ClipLoading, total=False):
    """What sets take that are read as `VideoFolder` is."""

    segments: bool
    crops: int
    decoder: Literal["pyav", "torchcodec"]
    prepared: int | None
    flow: FlowKind | None
    resize: int | Sequence[int] | None
    antialias: bool
    sampling: Sampling


class VideoFolder(DataModule):
    """Clips of the videos in `root/CLASS/` or `root/{train,val,test}/CLASS/`.

    Without split folders, 10 % of each class are validation and 20 % test; with `train` and `test`, validation is 10 % of
    train; with `train` and `val` alone, `val` is scored as the test. Which file falls where depends on its own name alone.

    A clip of C x T x H x W holds T frames at a rate, at a random time and place in training. C is 3; or 5, the flow from each
    frame to the next in the file behind its picture; or 2, the flow alone. Flow is extracted once, by `zoo.prepare`.

    Args:
        root: the folder; relative to the working folder.
        rate: frames a second of a clip; None takes every frame of the file. A clip that is longer than the video holds its
            last frame.
        segments: one frame from each of T equal parts of the video instead.
        clips: clips a video at test time, spread evenly, their predictions averaged.
        crops: of each clip 1, 3 or 10; see `zoo.common.crops.Crops`.
        short_side: pixels to which the shorter side is scaled before the cut; None cuts the largest region there is.
        flip: mirror half of the training clips.
        decoder: "pyav"; or "torchcodec", where it is installed.
        prepared: read the copies with a shorter side of so many pixels that `zoo.prepare` made; None the videos.
        flow: "dis" or "raft", as `zoo.prepare` extracted it; None where the network reads pictures alone. Displacements are
            scaled with the pictures and served in steps of `zoo.common.flow.STEP` pixels: in small shapes slow motion is lost.
        resize: in place of `short_side`: scale the whole frame before the cut, its shorter side to so many pixels, or both
            sides to [H, W], as published protocols do.
        antialias: widen the kernel where a frame is made smaller.
        sampling: "rate", frames at even times and clips from the video's start to its end; or "linspace", the frames of
            T / rate seconds from the first to the last, and clips from the starts of equal parts, as pytorchvideo samples.
    """

    default_shape = (3, 16, 112, 112)
    layout = 4
    suffixes = SUFFIXES
    spoken = frozenset(
        ["shape", "rate", "segments", "clips", "crops", "short_side", "decoder", "resize", "antialias", "sampling"]
    )
    default_arguments = Loading(batch_size=16)

    def __init__(
        self,
        *,
        root: str,
        rate: float | None = 5,
        segments: bool = False,
        clips: int = 4,
        crops: int = 1,
        short_side: int | None = None,
        flip: bool = True,
        decoder: Literal["pyav", "torchcodec"] = "pyav",
        prepared: int | None = None,
        flow: FlowKind | None = None,
        resize: int | Sequence[int] | None = None,
        antialias: bool = True,
        sampling: Sampling = "rate",
        **loading: Unpack[Loading],
    ) -> None:
        super().__init__(**loading)
        self.root = data_root(root)
        self.given_root: str | None = root
        """As on the command line; None where the set has a place of its own."""
        sides = None if resize is None else sides_of(resize, "data.resize")
        self.clips = Clips(self.shape, rate, segments, clips, crops, short_side, flip, decoder, sides, antialias, sampling)
        self.prepared = prepared
        self.flow = flow
        self.protocol = str(self.clips)
        if self.clips.has_flow and flow is None:
            raise ValueError(
                f"The network reads clips of {self.shape[0]} channels, with optical flow. Set data.flow to dis or raft, or "
                f"choose another model=."
            )
        if flow is not None and not self.clips.has_flow:
            raise ValueError(
                f"data.flow is {flow}, but the network reads clips of {self.shape[0]} channels, pictures alone. Choose a model "
                f"that reads 5 (or 2: flow alone), or set data.flow=null."
            )
        if flow is not None and self.augment:
            raise ValueError("data.augment changes pictures, and knows nothing of flow. Set data.augment={} with data.flow.")
        # Kinetics-400's, the field's usual numbers (pytorchvideo, torchvision); of flow, 10 % of its range: 4 pixels.
        pictures, fields = self.clips.has_pictures, self.clips.has_flow
        self.mean = (*(0.432, 0.395, 0.376) * pictures, *(0.5, 0.5) * fields)
        self.std = (*(0.228, 0.221, 0.217) * pictures, *(0.1, 0.1) * fields)

    def find(self) -> tuple[tuple[str, ...], dict[str, Labeled]]:
        """The classes, and the labeled files of each split."""
        return labeled_splits(self.root, SUFFIXES, self.notes)

    @property
    def folder(self) -> Path:
        """Where the videos lie, and what is prepared of them."""
        return self.root.parent if self.root.is_file() else self.root

    def prepare(self, short_side: int | None = None, flow: FlowKind | None = None, patience: float = PATIENCE) -> None:
        """Scan every video into a ledger, once.

        Args:
            short_side: make copies with a shorter side of so many pixels (128, 256) of key frames alone: clips of them are
                found and decoded many times as fast. `data.prepared` reads them.
            flow: extract the flow of the copies, or of the videos where none are asked for. `data.flow` reads it.
            patience: seconds that a file may take; then, or where a process crashes over it, it counts as unreadable.
        """
        self.prepare_data()
        if short_side is not None and short_side < 16:
            raise ValueError(f"short_side is {short_side}; it is a number of pixels, for instance 128 or 256.")
        paths = [path for labeled in self.find()[1].values() for path, _ in labeled]
        prepare(Store(self.folder), paths, short_side, flow, patience)
        store = Store(self.folder)
        log.info("ledger %s", printable(store.ledger))
        if flow:
            log.info("flow   %s", printable(_draw_flow(store, paths, short_side, flow)))

    def load(self) -> dict[str, SplitDataset]:
        self.class_names, files = self.find()
        store = Store(self.folder)
        splits: dict[str, SplitDataset] = {}
        for split, labeled in files.items():
            found = list(self.readable([path for path, _ in labeled], lambda path: self._check(store, path), split))
            splits[split] = ClipFiles(
                [video for _, (video, _) in found],
                [labeled[at][1] for at, _ in found],
                self.clips,
                train=split == "train",
                seed=self.seed,
                flow=[flow for _, (_, flow) in found if flow is not None],
            )
        return splits

    def _check(self, store: Store, path: Path) -> tuple[Video, FlowFile | None]:
        """What is known of a video and of its flow. Raises `Unreadable`; ValueError if it was to be prepared and was not."""
        video = store.video(path)
        if self.prepared:
            copy = store.copy(path, self.prepared)
            if not store.has(path, copy):
                raise ValueError(f"There is no copy of {path}, as it is now, at {self.prepared} pixels. {self._remedy()}")
            frames, video = len(video), probe(copy)
            if len(video) != frames:
                raise Unreadable(
                    copy, f"it has {len(video)} frames, but its video has {frames}; remove it, and prepare it again"
                )
        if self.flow is None:
            return video, None
        place = store.fields(path, self.flow, self.prepared)
        if not store.has(path, place):
            raise ValueError(f"There is no flow of {path}, as it is now, by {self.flow}. {self._remedy()}")
        try:
            return video, open_fields(place, len(video))
        except Unreadable as error:
            raise ValueError(f"{error} Remove it. {self._remedy()}") from None

    def _remedy(self) -> str:
        name = type(self).__module__.rpartition(".")[2]
        root = f" {shell_word(self.given_root)}" if self.given_root else ""
        wishes = [f" short_side={self.prepared}"] * bool(self.prepared) + [f" flow={self.flow}"] * bool(self.flow)
        return f"Prepare it by: python -m zoo.prepare {name}{root}{''.join(wishes)}"

    def files(self, paths: Sequence[File]) -> SplitDataset:
        videos = [probe(path) for path in paths]
        flow: list[FlowOf] | None = [FlowNow(video, self.flow, self.prepared) for video in videos] if self.flow else None
        return ClipFiles(videos, None, self.clips, train=False, seed=self.seed, flow=flow)


def _draw_flow(store: Store, paths: Sequence[Path], short_side: int | None, kind: str) -> Path:
    """Frames from the middle of a few videos, the flow to their next frames, and what its colors mean."""
    made = [path for path in paths if store.fields(path, kind, short_side).is_file()]
    rows = []
    for path in made[:: max(1, len(made) // 4)][:4]:
        video = probe(store.copy(path, short_side)) if short_side else store.video(path)
        middle = [max(0, len(video) - 2) // 2]
        frame = torch.from_numpy(read_frames(video, middle)[0]).permute(2, 0, 1)
        fields = open_fields(store.fields(path, kind, short_side), len(video)).read(middle)
        rows.append([frame, picture(from_bytes(torch.from_numpy(fields)).permute(0, 3, 1, 2))[0], wheel()])
    return save(sheet(rows, ["a frame", "its flow", "directions"]), store.flow_picture(kind, short_side))
