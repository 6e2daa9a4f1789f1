"""Frames from video files: what demuxing tells about a file, and the decoders, which all give the same frames.

Time rules, never the header's frame count (which is often wrong): a file is demuxed once, and from then on it is known when
every frame is shown, and where its bytes lie. A clip then costs what must be decoded for it: from the key frame before a
wanted frame to that frame, without the frames on the way that nothing depends on; the bytes go from the file to the decoder,
for opening a container and seeking in it costs as much as decoding tens of small frames. What comes out is what plain
decoding from the start gives, bit for bit. (No torch here: the processes that prepare start in a moment.)
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import av
import av.error
import av.video.reformatter
import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable, reason
from zoo.common.pixels import Pixels
from zoo.data.reading.container import FAILURES, LATE, Packet, Video, allowed, opened, url

Frames = NDArray[np.uint8]
Box = Callable[[int, int], tuple[slice, slice]]
"""From the height and the width of an upright frame to the rows and the columns that are wanted."""

_DISPOSABLE = frozenset(["h264", "mpeg1video", "mpeg2video", "mpeg4"])
"""Decoders to which a frame that none refers to is marked as such for certain. (HEVC's mark is relative to a temporal
layer; others have none.)"""

_TAIL = 2
"""Frames that are decoded in passing to the next key frame: fewer than cost as much as a seek."""


def read_frames(
    video: Video, indices: Sequence[int] | NDArray[np.int64], box: Box | None = None, decoder: str = "pyav"
) -> Frames:
    """The frames of these numbers, (T, H, W, 3) RGB at native size, turned upright as the file's metadata asks.

    Args:
        indices: may repeat and come in any order.
        box: cuts out the part that is wanted; None is all of it.
        decoder: a name of `DECODERS`.

    Raises:
        Unreadable: one of them cannot be decoded.
    """
    if isinstance(video.path, Pixels):
        frames = video.path.film()[0]
        return frames[(list(indices), *(box(*frames.shape[1:3]) if box else ()))]
    numbers = [int(number) for number in indices]
    wanted = sorted(set(numbers))
    frames = DECODERS[decoder](video, np.array(wanted), box)
    return frames if numbers == wanted else frames[np.searchsorted(wanted, numbers)]


def each_frame(video: Video) -> Iterator[Frames]:
    """All frames in order, (H, W, 3) RGB, upright; one at a time is held. Raises `Unreadable` where one cannot be decoded."""
    convert = av.video.reformatter.VideoReformatter()
    next_one = 0
    with opened(video.path) as (container, stream):
        for count, frame in enumerate(allowed(video.path, container.decode(stream))):
            number = video.number(frame, count)
            if number > next_one:
                break
            if number == next_one:  # else it is at the time of another, and never shown
                yield upright(frame, convert)
                next_one += 1
    if next_one < len(video):
        raise Unreadable(video.path, f"frame {next_one} of {len(video)} could not be decoded")


class _Missed(Exception):
    """The decoder did not give what demuxing had promised."""


class _Taken:
    """The wanted frames, converted as they come."""

    def __init__(self, video: Video, wanted: NDArray[np.int64], box: Box | None) -> None:
        self.video = video
        self.missing = {number: place for place, number in enumerate(wanted.tolist())}
        self.count = len(wanted)
        self.box = box
        self.convert = av.video.reformatter.VideoReformatter()  # one for all: making its tables costs more than a frame
        self.frames: Frames | None = None

    def take(self, number: int | None, frame: av.VideoFrame) -> None:
        place = self.missing.pop(number, None) if number is not None else None
        if place is None:
            return
        image = upright(frame, self.convert)
        if self.frames is None:
            self.size = image.shape
            self.cut = self.box(*image.shape[:2]) if self.box else (slice(None), slice(None))
            self.frames = np.empty((self.count, *image[self.cut].shape), dtype=np.uint8)
        if image.shape != self.size:
            raise Unreadable(self.video.path, "its frames change their size")
        self.frames[place] = image[self.cut]

    def all(self) -> Frames:
        if self.frames is None or self.missing:
            raise _Missed(f"frame {next(iter(self.missing))} of {len(self.video)} could not be decoded")
        return self.frames


def upright(frame: av.VideoFrame, convert: av.video.reformatter.VideoReformatter) -> Frames:
    """A frame as (H, W, 3) RGB bytes, turned as its metadata asks; a view of memory that lives no longer than it."""
    image = convert.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image


def _pyav(video: Video, wanted: NDArray[np.int64], box: Box | None) -> Frames:
    """PyAV, whose wheels bring FFmpeg with them."""
    if not video.counted:
        # Some containers seek badly, some files' key frames are none. Decoding from the start needs no index.
        with contextlib.suppress(_Missed, Unreadable):
            return _sought(video, wanted, box)
    try:
        return _from_the_start(video, wanted, box)
    except _Missed as missed:
        raise Unreadable(video.path, str(missed)) from None


def _sought(video: Video, wanted: NDArray[np.int64], box: Box | None) -> Frames:
    """From a key frame to the last wanted frame that is nearer to it than to the next, and on from there."""
    taken = _Taken(video, wanted, box)
    with _source(video) as (context, packets_from):
        skip_nonref = context.name in _DISPOSABLE
        for start, numbers in _stretches(video.keys, wanted, 0 if video.places else _TAIL):
            first = int(video.pts[start])
            times = {int(video.pts[number]): number for number in numbers}
            begun = start == 0
            for frame in allowed(video.path, _fed(context, packets_from(start, numbers), set(times), skip_nonref)):
                if frame.pts is None or (skip_nonref and frame.interlaced_frame):
                    raise _Missed("a field may have a packet of its own, and be skipped as a frame of its own")
                if frame.pts < first:
                    continue  # the seek went further back, or these are displayed before their key frame
                if not begun and not frame.key_frame:
                    raise _Missed("decoding does not start at a key frame")
                begun = True
                taken.take(times.get(frame.pts), frame)
    return taken.all()


Source = tuple[av.VideoCodecContext, Callable[[int, Sequence[int]], Iterable[Packet]]]
"""A decoder, and what it is fed from the frame of a number on for those of others; it is then as if it were new."""


@contextlib.contextmanager
def _source(video: Video) -> Iterator[Source]:
    places = video.places
    if places is None:
        with opened(video.path) as (container, stream):

            def sought(start: int, _: Sequence[int]) -> Iterator[Packet]:
                if start:
                    container.seek(int(video.pts[start]), stream=stream)
                return container.demux(stream)

            yield stream.codec_context, sought
        return
    try:
        with video.path.open("rb") as file:
            if file.seek(0, io.SEEK_END) != places.length:
                raise _Missed("the file is another since it was demuxed")
            context = places.context()
            order = np.argsort(places.numbers, kind="stable")
            rising = places.numbers[order]

            def read(start: int, wanted: Sequence[int]) -> Iterator[Packet]:
                context.flush_buffers()
                first = int(order[np.searchsorted(rising, start)]) if start else 0
                last = int(order[np.searchsorted(rising, wanted, side="right") - 1].max())
                for at in range(first, last + 1):
                    if places.free[at] and places.numbers[at] not in wanted:
                        continue
                    packet = av.Packet(int(places.sizes[at]))  # brings the padding that decoders want
                    file.seek(int(places.offsets[at]))
                    file.readinto(packet)
                    packet.pts = int(video.pts[places.numbers[at]])
                    yield packet

            yield context, read
    except Unreadable:
        raise
    except FAILURES as error:
        raise Unreadable(video.path, reason(error)) from error


def _stretches(keys: NDArray[np.int64], wanted: NDArray[np.int64], tail: int) -> list[tuple[int, list[int]]]:
    """The key frame to start from and the wanted frames to go on to, stretch by stretch; a tail of so many frames is decoded
    in passing to the next."""
    before = np.searchsorted(keys, wanted, side="right") - 1
    starts = [int(keys[at]) if at >= 0 else 0 for at in before.tolist()]
    stretches: list[tuple[int, list[int]]] = []
    for start, number in zip(starts, wanted.tolist(), strict=True):
        if stretches and start - stretches[-1][1][-1] - 1 <= tail:
            stretches[-1][1].append(number)
        else:
            stretches.append((start, [number]))
    return stretches


def _fed(
    context: av.VideoCodecContext, packets: Iterable[Packet], times: set[int], skip_nonref: bool
) -> Iterator[av.VideoFrame]:
    """What comes out until the packets of all these times went in, and what of these the decoder then still holds.

    `skip_nonref` skips the frames on the way to which no other refers.
    """
    missing, held, last = set(times), set(times), None
    for packet in packets:
        if not packet.size:
            continue
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None and time != last:  # else the rest of the frame before
            if not missing:
                break
            if skip_nonref:
                context.skip_frame = "DEFAULT" if time in times else "NONREF"
            missing.discard(time)
            last = time
        for frame in context.decode(packet):
            held.discard(frame.pts)
            yield frame
    if held:
        yield from context.decode(None)


def _from_the_start(video: Video, wanted: NDArray[np.int64], box: Box | None) -> Frames:
    """Every frame up to the last wanted one."""
    taken = _Taken(video, wanted, box)
    with opened(video.path) as (container, stream):
        for count, frame in enumerate(allowed(video.path, container.decode(stream))):
            number = video.number(frame, count)
            taken.take(number, frame)
            if number >= wanted[-1]:
                break
    return taken.all()


def _torchcodec(video: Video, wanted: NDArray[np.int64], box: Box | None) -> Frames:
    """torchcodec, with the FFmpeg of the system. What it numbers or converts otherwise is left to PyAV."""
    from torchcodec.decoders import VideoDecoder

    if video.counted:
        return _pyav(video, wanted, box)
    source = url(video.path) if isinstance(video.path, Path) else video.path.open("rb").read()
    try:
        decoder = VideoDecoder(source, dimension_order="NHWC", num_ffmpeg_threads=1)
        deep = str(decoder.metadata.pixel_format).endswith(("le", "be"))  # more than a byte a sample: its rounding is another
        batch = None if deep or len(decoder) != len(video) else decoder.get_frames_at(wanted.tolist())
    except (RuntimeError, ValueError):  # what it raises for files of all kinds
        batch = None
    if batch is None or np.abs(batch.pts_seconds.numpy() - video.pts[wanted] * video.time_base).max() > LATE:
        return _pyav(video, wanted, box)
    frames: Frames = batch.data.numpy()
    return frames[(slice(None), *box(*frames.shape[1:3]))] if box else frames


DECODERS: dict[str, Callable[[Video, NDArray[np.int64], Box | None], Frames]] = {"pyav": _pyav, "torchcodec": _torchcodec}
"""The frames of a video by their numbers, rising and distinct: (N, h, w, 3) RGB, upright, cut to the box. `Unreadable` if
one of them cannot be decoded. All give the same bytes."""


def check_decoder(name: str) -> None:
    """Raises ValueError if there is no such decoder, or it does not load here."""
    if name not in DECODERS:
        raise ValueError(f"data.decoder is {name!r}; there are {', '.join(DECODERS)}.")
    if name == "torchcodec":
        try:
            from torchcodec.decoders import VideoDecoder

            VideoDecoder(b"")
        except ImportError as error:
            reason = str(error)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0] if "libtorchcodec" in str(error) else ""
        except ValueError:
            reason = ""  # it loads, and has looked at these bytes
        if reason:
            raise ValueError(
                f"data.decoder is torchcodec, which does not load here ({reason}). Install it and FFmpeg's libraries, or set "
                f"data.decoder=pyav."
            )
