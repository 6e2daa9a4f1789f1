"""What the container of a video file states: when every frame is shown, and where its bytes lie. (No torch here: the processes
that prepare start in a moment.)"""

import contextlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import av
import av.error
import av.video.reformatter
import numpy as np
from numpy.typing import NDArray

from zoo.common.files import File, Unreadable, check_pixels, most_pixels, reason, regular
from zoo.common.pixels import Pixels

SUFFIXES = frozenset(".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())

Packet: TypeAlias = "av.Packet[Any]"
LATE = 1e-3
"""A frame counts as on display this many seconds early: Matroska rounds times to milliseconds, so that the frame at a
third of a second may carry 0.334 while the clip asks for 0.3333."""

_COLORS = ("colorspace", "color_range", "color_primaries", "color_trc")

SETTINGS = ("codec_tag", "width", "height", "pix_fmt", "bits_per_coded_sample", "reorder_depth", *_COLORS)
"""What a container tells a decoder."""

_NEAR = 64
"""Bytes after the place that a demuxer names within which a packet begins: containers name the start of its header."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a decoder is fed, in that order, and where it lies in the file."""

    codec: str
    settings: dict[str, Any]
    header: bytes
    """What comes before the first packet ("extradata")."""
    length: int
    """Bytes of the file: of another length it is another file."""
    numbers: NDArray[np.int32]
    """The number of the frame that each belongs to."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    free: NDArray[np.bool_]
    """Whether others can be decoded without it, as far as that is written on it."""

    def context(self) -> av.VideoCodecContext:
        context = cast(av.VideoCodecContext, av.CodecContext.create(self.codec, "r"))
        context.extradata = self.header or None
        for name, value in self.settings.items():
            setattr(context, name, value)
        _prepared(context)
        return context


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
    places: Places | None = None
    """None where they are not plain bytes of the file (a transport stream), or do not suffice (a rotation)."""

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

    def number(self, frame: av.VideoFrame, count: int) -> int:
        """The number of a frame; the decoder gave `count` frames before it, from the file's start."""
        by_count = self.counted or frame.pts is None
        return count if by_count else int(np.searchsorted(self.pts, np.int64(frame.pts or 0)))

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """The frames on display at these times after the first; before the first it is the first, after the last the last."""
        shown = (self.pts - self.pts[0]) * self.time_base
        found = np.searchsorted(shown, seconds + LATE, side="right") - 1
        return np.clip(found, 0, len(self.pts) - 1).astype(np.int64)

    def between(self, start: float, end: float) -> tuple[int, int]:
        """The first and the last frame whose display begins in these seconds after the first's, the end itself left out; at
        least one frame."""
        shown = (self.pts - self.pts[0]) * self.time_base
        first = min(int(np.searchsorted(shown, start - LATE)), len(self.pts) - 1)
        return first, max(first, int(np.searchsorted(shown, end - LATE)) - 1)


_FORMATS = "mov,matroska,avi,flv,gif,asf,mpeg,mpegts,ogg,mpegvideo,m4v,h264,hevc,ivf,mxf,nut,dv,rm,wtv,vob"
"""Containers that hold a film themselves. FFmpeg knows others that are lists of files and addresses (HLS, concat, SDP), and
follows them."""


def url(path: Path) -> str:
    """What FFmpeg takes for this very file: a name alone may be an address to it (`concat:a.mp4`, `12:30:05.mp4`)."""
    return f"file:{path.absolute()}"


@contextlib.contextmanager
def opened(path: File) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The container and its first video stream: the one way to a film. Whatever goes wrong meanwhile is `Unreadable`."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", **_limits()}
    try:
        regular(path)
        source = url(path) if isinstance(path, Path) else path.open("rb")
        with av.open(source, options=options, metadata_errors="ignore") as container:  # what a title is written in is no matter
            if not container.streams.video:
                raise Unreadable(path, "it has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise Unreadable(path, "no decoder knows what its video stream is coded in")
            check_pixels(path, stream.codec_context.width, stream.codec_context.height)
            _prepared(stream.codec_context)
            yield container, stream
    except Unreadable:
        raise
    except av.error.ArgumentError as error:
        raise Unreadable(path, "it is no film, or its header is damaged; lists of films are not followed") from error
    except FAILURES as error:
        raise Unreadable(path, reason(error)) from error


FAILURES = (av.error.FFmpegError, OSError, ValueError, OverflowError, MemoryError)
"""What FFmpeg and PyAV raise over a damaged file."""


_PADDING = 1 << 22
"""Pixels that a decoder may make beside a frame's own: it counts whole blocks, of up to 128 x 128."""


def _limits() -> dict[str, str]:
    """A decoder's own limit on a frame's size: looking at a film decodes a frame, and a frame may be larger than the header
    says. What is shown of one is compared by `allowed`, to the pixel."""
    return {"max_pixels": str(most + _PADDING)} if (most := most_pixels()) else {}


def allowed(path: File, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """What a decoder gives. Raises `Unreadable` at a frame of more pixels than are allowed."""
    for frame in frames:
        check_pixels(path, frame.width, frame.height)
        yield frame


def _prepared(context: av.VideoCodecContext) -> None:
    """One thread: the clips are the parallelism. (More add delay, and make something else of damaged frames.)"""
    context.options = _limits()
    context.thread_type = "NONE"
    context.thread_count = 1


def probe(path: File) -> Video:
    """Demux a file. Raises `Unreadable` if FFmpeg cannot, or finds no frame."""
    if isinstance(path, Pixels):
        frames, seconds = path.film()
        check_pixels(path, frames.shape[2], frames.shape[1])
        numbers = np.arange(len(frames))
        return Video(path, numbers, numbers, seconds, counted=False)
    times: list[int] = []
    keys: list[int] = []
    with opened(path) as (container, stream):
        context = stream.codec_context
        counted = container.format.name == "avi" and context.has_b_frames
        with path.open("rb") as file:
            header = context.extradata or b""
            # Of H.264 in MP4 and Matroska, each unit follows its length, in so many bytes.
            prefix = (header[4] & 3) + 1 if context.name == "h264" and header[:1] == b"\x01" else 0
            found = None if counted else _Found(path, file, prefix)
            for packet in container.demux(stream):
                time = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or time is None:
                    continue  # the flush packet at the end, and AVI's empty packets (the frame before is shown again)
                times.append(time)
                if packet.is_keyframe:
                    keys.append(time)
                if found and not found.add(packet):
                    found = None
            if not times:
                raise Unreadable(path, "it has no frames")
            pts = np.unique(np.array(times, dtype=np.int64))
            places = found.places(context, np.searchsorted(pts, np.array(times, dtype=np.int64))) if found else None
        base = float(stream.time_base) if stream.time_base else 1.0
        return Video(path, pts, np.searchsorted(pts, np.unique(np.array(keys, dtype=np.int64))), base, counted, places)


class _Found:
    """Where the packets lie, as far as their bytes and the decoder's settings are all that decoding needs."""

    def __init__(self, path: File, file: BinaryIO, prefix: int) -> None:
        self.path = path
        self.file = file
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.free: list[bool] = []
        self.prefix = prefix
        self.key: Packet | None = None

    def add(self, packet: Packet) -> bool:
        """Whether it is a run of the file's bytes with a time, and nothing goes with it."""
        if packet.pts is None or packet.pos is None or any(True for _ in packet.iter_sidedata()):
            return False
        self.file.seek(packet.pos)
        content = bytes(packet)
        after = self.file.read(packet.size + _NEAR).find(content)
        self.offsets.append(packet.pos + after)
        self.sizes.append(packet.size)
        self.free.append(_free(content, self.prefix))
        if packet.is_keyframe and self.key is None:
            self.key = packet
        return after >= 0

    def places(self, context: av.VideoCodecContext, numbers: NDArray[np.int64]) -> Places | None:
        """None where a key frame decoded with these settings is not what it is with the container's."""
        settings = {name: getattr(context, name) for name in SETTINGS}
        places = Places(
            context.name,
            {name: value for name, value in settings.items() if value is not None},
            context.extradata or b"",
            self.file.seek(0, io.SEEK_END),
            numbers.astype(np.int32),
            np.array(self.offsets, dtype=np.int64),
            np.array(self.sizes, dtype=np.int32),
            np.array(self.free, dtype=np.bool_),
        )
        with contextlib.suppress(av.error.FFmpegError):
            if self.key and self._look(context) == self._look(places.context()) != ():
                return places
        return None

    def _look(self, context: av.VideoCodecContext) -> tuple[object, ...]:
        """What a decoder makes of the key frame."""
        for frame in allowed(self.path, [*context.decode(self.key), *context.decode(None)]):
            colors = (getattr(frame, name) for name in _COLORS)
            pixels = frame.to_ndarray(format="rgb24", threads=1)
            return frame.format.name, frame.rotation, frame.interlaced_frame, *colors, pixels.shape, pixels.tobytes()
        return ()


def _free(content: bytes, prefix: int) -> bool:
    """Whether none of the units of an H.264 packet is referred to (nal_ref_idc, ITU-T H.264, section 7.4.1)."""
    at = prefix
    while prefix and at < len(content):
        if content[at] & 0x60:
            return False
        at += int.from_bytes(content[at - prefix : at], "big") + prefix
    return prefix > 0
