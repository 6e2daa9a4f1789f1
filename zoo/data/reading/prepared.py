"""What is made of a folder of videos once, so that training finds them fast: a ledger, smaller copies, optical flow.

They lie in `.zoo` inside the folder (in the cache folder where that cannot be written to):

    .zoo/ledger.jsonl           a line a file: codec, size, frames, rate, whether it can be read or why not, where frames are
    .zoo/128/NAME.mp4           copies with a shorter side of 128 pixels, in which every frame is a key frame
    .zoo/128-dis/NAME.zip       the flow of those copies; `native-dis` that of the videos as they are

(No torch here but where flow is computed: the processes that prepare start in a moment.)
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.video.reformatter
import numpy as np

from zoo.common.files import Unreadable
from zoo.common.places import alone, write_whole
from zoo.data.loading.parallel import mapped
from zoo.data.reading.container import Video, allowed, opened, probe
from zoo.data.reading.decode import read_frames, upright
from zoo.data.reading.fields import Fields, computed, write_fields
from zoo.data.reading.ledger import Entry, Store, packed, runs, stamp

PATIENCE = 3600.0
"""Seconds that a file may take: hours of film do not, and what hangs does for ever."""

_AT_ONCE = 64
"""Frames of a video that are held in memory while flow is computed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made of one file."""

    path: Path
    name: str
    entry: Entry | None
    """What the ledger says; None if the file is to be scanned, and all else to be made anew."""
    short_side: int | None
    copy: Path | None
    """Where the copy lies, if one was asked for."""
    kind: str | None
    fields: Path | None
    """Where the flow lies, if it was asked for: of the copy, or of the video where there is none."""

    @property
    def done(self) -> bool:
        if self.entry is None:
            return False
        return self.entry.reason is not None or not self.missing(self.entry)

    def missing(self, entry: Entry) -> dict[str, Path]:
        """What is to be made, by its name in the ledger."""
        names = (str(self.short_side), f"{self.short_side or 'native'}-{self.kind}")
        wanted = {name: place for name, place in zip(names, (self.copy, self.fields), strict=True) if place is not None}
        return {name: place for name, place in wanted.items() if name not in entry.made or not place.is_file()}


def prepare(store: Store, paths: Iterable[Path], short_side: int | None, kind: str | None, patience: float = PATIENCE) -> None:
    """Scan, copy, extract whatever is missing: on all cores, with progress; interrupted, it goes on where it stopped. Of
    several at once one works. A file over which a process crashes, or that takes longer than `patience` seconds, is entered
    as one that cannot be read."""
    with alone(store.folder):
        _prepare(Store(store.root), paths, short_side, kind, patience)


def _prepare(store: Store, paths: Iterable[Path], short_side: int | None, kind: str | None, patience: float) -> None:
    jobs = [_job(store, path, short_side, kind) for path in dict.fromkeys(paths) if path.is_file()]
    # RAFT's network would be in every process, and a GPU is fed by one.
    processes = 1 if kind == "raft" else None
    todo = [job for job in jobs if not job.done]
    title = f"Preparing videos in {store.folder}"
    for entry in mapped(work, todo, title, processes=processes, patience=patience, lost=_lost):
        if store.entries.get(entry.file) != entry:
            store.add(entry)


def _lost(job: Job, why: str) -> Entry:
    return Entry(job.name, stamp(job.path), why)


def _job(store: Store, path: Path, short_side: int | None, kind: str | None) -> Job:
    copy = store.copy(path, short_side) if short_side else None
    fields = store.fields(path, kind, short_side) if kind else None
    return Job(path, store.name(path), store.entry(path), short_side, copy, kind, fields)


def work(job: Job) -> Entry:
    """Do a job, in a process of its own; the file's line of the ledger."""
    entry = job.entry or scanned(job.path, job.name)
    if entry.reason is not None:
        return entry
    missing = job.missing(entry)
    try:
        video = entry.video(job.path)
        if job.copy and job.short_side and job.copy in missing.values():
            write_copy(video, job.copy, job.short_side)
        if job.fields and job.kind and job.fields in missing.values():
            write_flow(probe(job.copy) if job.copy else video, job.fields, job.kind)
    except Unreadable as error:
        return replace(entry, reason=error.reason)
    return replace(entry, made=tuple(sorted({*entry.made, *missing})))


def scanned(path: Path, name: str) -> Entry:
    """Decode a file from its start to its end. What demuxing promised and decoding does not give is no frame."""
    mark = stamp(path)
    try:
        video = probe(path)
        times: list[int | None] = []
        with opened(path) as (container, stream):
            codec = stream.codec_context.name
            height = width = 0
            for frame in allowed(path, container.decode(stream)):
                times.append(frame.pts)
                if not height:
                    height, width = (frame.width, frame.height) if frame.rotation % 180 else (frame.height, frame.width)
    except Unreadable as error:
        return Entry(name, mark, error.reason)
    if not times:
        return Entry(name, mark, f"none of its {len(video)} frames can be decoded")
    if video.counted or None in times:
        pts = video.pts[: len(times)]
    else:
        pts = np.intersect1d(video.pts, np.array(times, dtype=np.int64))
    keys = np.flatnonzero(np.isin(pts, video.pts[video.keys]))
    found = replace(video, pts=pts, keys=keys)
    return Entry(
        name,
        mark,
        codec=codec,
        width=width,
        height=height,
        frames=len(pts),
        rate=round(found.rate, 6),
        times=runs(pts),
        keys=tuple(keys.tolist()),
        time_base=video.time_base,
        counted=bool(video.counted),
        places=packed(video.places) if video.places and len(pts) == len(video) else None,
    )


def write_copy(video: Video, target: Path, short_side: int) -> None:
    """An H.264 copy of the same frames at the same times, upright, the shorter side scaled down to this many pixels."""
    buffer = io.BytesIO()
    convert = av.video.reformatter.VideoReformatter()
    times = dict(enumerate((video.pts - video.pts[0]).tolist()))
    with opened(video.path) as (source, stream), av.open(buffer, "w", format="mp4") as container:
        encoder: av.VideoStream | None = None
        for count, frame in enumerate(allowed(video.path, source.decode(stream))):
            time = times.pop(video.number(frame, count), None)
            if time is None:
                continue  # a frame at the time of another is never shown
            if frame.rotation:
                pixels = np.ascontiguousarray(upright(frame, convert))
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            factor = min(1.0, short_side / min(frame.height, frame.width))
            width, height = (max(2, 2 * round(extent * factor / 2)) for extent in (frame.width, frame.height))
            if encoder is None:
                encoder = _encoder(container, frame, width, height, video)
            # Bicubic: swscale widens the kernel where it scales down, so that nothing aliases.
            small = convert.reformat(frame, width, height, "yuv420p", interpolation="BICUBIC", threads=1)
            small.pict_type = av.video.frame.PictureType.NONE  # the source's would be forced on the encoder
            small.pts, small.time_base = time, encoder.codec_context.time_base
            container.mux(encoder.encode(small))
        if encoder is None:
            raise Unreadable(video.path, "none of its frames can be decoded")
        container.mux(encoder.encode())
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, buffer.getvalue())
    if len(probe(target)) != len(video):
        target.unlink()
        raise Unreadable(video.path, f"its copy has not its {len(video)} frames")


def _encoder(
    container: av.container.OutputContainer, frame: av.VideoFrame, width: int, height: int, video: Video
) -> av.VideoStream:
    options = {
        "crf": "18",
        "preset": "medium",
        # Without the arithmetic coder and the loop filter, decoding takes about half the time.
        "tune": "fastdecode",
        # Key frames alone: a clip costs the frames that it shows. (One every eighth frame makes files of less than half the
        # size, and clips that take one and a half times as long.)
        # One thread: the files are the parallelism, and the bytes depend on nothing but the frames.
        "x264-params": "keyint=1:threads=1",
    }
    stream = container.add_stream("libx264", rate=Fraction(video.rate).limit_denominator(1000), options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(video.time_base).limit_denominator(1_000_000)
    # What the numbers mean as colors goes with them.
    context.color_range, context.colorspace = frame.color_range, frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    return stream


def write_flow(video: Video, target: Path, kind: str) -> None:
    """The flow from all frames of a video but the last to their next."""

    def pieces() -> Iterator[Fields]:
        for start in range(0, max(1, len(video) - 1), _AT_ONCE):
            frames = read_frames(video, range(start, min(start + _AT_ONCE + 1, len(video))))
            yield computed(frames, kind)

    write_fields(target, kind, pieces())
