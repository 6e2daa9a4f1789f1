"""Clips from video files: what a file holds, which of its frames a clip wants, and those frames as bytes.

Time rules, never the header's frame count (which is often wrong): a file is demuxed once, which costs a fraction of a
millisecond, and every frame's presentation time is known from then on. Reading seeks to the key frame before the first
wanted frame and converts only the wanted ones. The frames are those of plain decoding from the start, bit for bit.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import av.video.reformatter
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from zoo.chance import CLIP_TIME, uniform
from zoo.data._files import File
from zoo.data.base import Decoded, Unreadable, labelled

SUFFIXES = frozenset(".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())

_LATE = 1e-3
"""A frame counts as on display this many seconds early: Matroska rounds times to milliseconds, so that the frame at a
third of a second may carry 0.334 while the clip asks for 0.3333."""


@dataclass(frozen=True, slots=True)
class Video:
    """What demuxing tells about a file. Frames are numbered in the order of their display."""

    path: File
    pts: NDArray[np.int64]
    """Presentation times in units of `time_base`, rising."""
    keys: NDArray[np.int64]
    """Numbers of the frames from which decoding can start."""
    time_base: float
    """Seconds."""
    counted: bool
    """AVI keeps decoding times only. With B-frames these are not the display's: a frame is then known by counting from
    the file's start, not by its time."""

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def rate(self) -> float:
        """Frames a second, on average; 1 for a single frame."""
        span = float(self.pts[-1] - self.pts[0]) * self.time_base
        return (len(self.pts) - 1) / span if span > 0 else 1.0

    @property
    def duration(self) -> float:
        """Seconds, the last frame's display included."""
        return float(self.pts[-1] - self.pts[0]) * self.time_base + 1 / self.rate

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """The frames on display at these times after the first; before the first it is the first, after the last the last."""
        shown = (self.pts - self.pts[0]) * self.time_base
        found = np.searchsorted(shown, seconds + _LATE, side="right") - 1
        return np.clip(found, 0, len(self.pts) - 1).astype(np.int64)


@contextlib.contextmanager
def _opened(path: File) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The container and its first video stream; FFmpeg's errors become `Unreadable`."""
    try:
        with av.open(str(path) if isinstance(path, Path) else path.open("rb")) as container:
            if not container.streams.video:
                raise Unreadable(path, "it has no video stream")
            stream = container.streams.video[0]
            # One thread a reader: the data loader's workers are the parallelism, and frame threads add delay.
            stream.thread_type = "NONE"
            stream.thread_count = 1
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise Unreadable(path, str(error.strerror or error)) from error


def probe(path: File) -> Video:
    """Demux a file, decoding nothing. Raises `Unreadable` if FFmpeg cannot, or finds no frame."""
    with _opened(path) as (container, stream):
        times: list[int] = []
        keys: list[int] = []
        for packet in container.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or time is None:
                continue  # the flush packet at the end, and AVI's empty packets (the frame before is shown again)
            times.append(time)
            if packet.is_keyframe:
                keys.append(time)
        if not times:
            raise Unreadable(path, "it has no frames")
        pts = np.unique(np.array(times, dtype=np.int64))
        base = float(stream.time_base) if stream.time_base else 1.0
        counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        return Video(path, pts, np.searchsorted(pts, np.unique(keys)), base, counted)


def read_frames(video: Video, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
    """The frames of these numbers, (T, H, W, 3) RGB at native size, turned upright as the file's metadata asks.

    Numbers may repeat and come in any order. Raises `Unreadable` if one of them cannot be decoded.
    """
    wanted, places = np.unique(np.asarray(indices), return_inverse=True)
    with _opened(video.path) as (container, stream):
        try:
            frames = list(_decode(video, container, stream, wanted, seek=not video.counted))
        except (av.error.FFmpegError, _Missed):
            # Some containers seek badly or not at all. Decoding from the start needs no index.
            frames = []
    if not frames:
        with _opened(video.path) as (container, stream):
            try:
                frames = list(_decode(video, container, stream, wanted, seek=False))
            except _Missed as missed:
                raise Unreadable(video.path, str(missed)) from None
    return np.stack(frames)[places]


def each_frame(video: Video) -> Iterator[NDArray[np.uint8]]:
    """All frames in order, (H, W, 3) RGB, upright; one at a time is held. Raises `Unreadable` where one cannot be decoded."""
    with _opened(video.path) as (container, stream):
        try:
            yield from _decode(video, container, stream, np.arange(len(video)), seek=False)
        except _Missed as missed:
            raise Unreadable(video.path, str(missed)) from None


class _Missed(Exception):
    """The decoder gave no frame of a number that demuxing had seen."""


def _decode(
    video: Video,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    wanted: NDArray[np.int64],
    seek: bool,
) -> Iterator[NDArray[np.uint8]]:
    """The wanted frames, rising numbers; from the nearest key frame each, or all from the start."""
    convert = av.video.reformatter.VideoReformatter()  # one for all frames: making its tables costs more than a frame
    starts = video.keys[np.searchsorted(video.keys, wanted, side="right") - 1] if len(video.keys) else wanted * 0
    frames: Iterator[av.VideoFrame] = container.decode(stream)
    number = -1  # of the frame decoded last
    for index, start in zip(wanted.tolist(), starts.tolist(), strict=True):
        if seek and start > number + 1:
            container.seek(int(video.pts[start]), stream=stream)
            frames = container.decode(stream)
            number = start - 1
        for frame in frames:
            if video.counted or frame.pts is None:
                number += 1
            else:
                number = int(np.searchsorted(video.pts, frame.pts))
            if number >= index:
                break
        if number != index:
            raise _Missed(f"frame {index} of {len(video)} could not be decoded")
        image = convert.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        yield np.rot90(image, frame.rotation // 90) if frame.rotation else image


@dataclass(frozen=True)
class Clips:
    """How clips are cut from videos."""

    frames: int
    """T."""
    size: tuple[int, int]
    """(H, W) of what is served, pixels."""
    rate: float | None
    """Frames a second; None is each file's own. A clip lasts T / rate seconds; where the video is shorter, its last
    frame is held."""
    views: int
    """Clips a video at test time, spread evenly; in training one, at a random time."""
    short_side: int | None
    """To this many pixels the video's shorter side is scaled before (H, W) is cut out: at a random place in training, from
    the centre otherwise. None is the largest cut there is."""
    flip: bool
    """Mirror half of the training clips. Wrong where left and right are labels."""

    def times(self, video: Video, place: float) -> NDArray[np.float64]:
        """Seconds after the first frame, (T,); `place` in 0..1 puts the clip between the video's start and its end."""
        rate = self.rate or video.rate
        slack = max(0.0, video.duration - self.frames / rate)
        return place * slack + np.arange(self.frames) / rate

    def cut(self, frames: NDArray[np.uint8], top: float = 0.5, left: float = 0.5) -> Tensor:
        """(T, H, W, 3) as decoded -> (3, T, H', W'). Cropped first, then scaled once, antialiased."""
        height, width = self.size
        full = frames.shape[1:3]
        scale = min(full) / self.short_side if self.short_side else min(full[0] / height, full[1] / width)
        edges = [min(extent, max(1, round(wish * scale))) for extent, wish in zip(full, self.size, strict=True)]
        y, x = (round(place * (extent - edge)) for place, extent, edge in zip((top, left), full, edges, strict=True))
        clip = torch.from_numpy(np.ascontiguousarray(frames[:, y : y + edges[0], x : x + edges[1]])).permute(0, 3, 1, 2)
        if clip.shape[2:] != (height, width):
            clip = interpolate(clip, (height, width), mode="bilinear", antialias=True, align_corners=False)
        return clip.transpose(0, 1)


class ClipFiles(Decoded):
    """Clips of labelled video files, decoded where they are asked for (in a loader's worker)."""

    def __init__(self, videos: Sequence[Video], labels: Sequence[int] | None, clips: Clips, *, train: bool, seed: int) -> None:
        super().__init__(len(videos), 1 if train else clips.views)
        self.videos = videos
        self.labels = labels
        self.clips = clips
        self.train = train
        self.seed = seed

    def name(self, number: int) -> str:
        return str(self.videos[number].path)

    def blank(self) -> dict[str, Tensor]:
        return labelled(torch.zeros(3, self.clips.frames, *self.clips.size, dtype=torch.uint8), self.labels, 0)

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        video = self.videos[number]
        top, left, mirror = 0.5, 0.5, 1.0
        if self.train:
            place, top, left, mirror = uniform(self.seed, epoch, torch.tensor([number]), 4, CLIP_TIME)[0].tolist()
        else:
            place = view / (self.views - 1) if self.views > 1 else 0.5
        clip = self.clips.cut(read_frames(video, video.at(self.clips.times(video, place))), top, left)
        return labelled(clip.flip(-1) if self.clips.flip and mirror < 0.5 else clip, self.labels, number)
