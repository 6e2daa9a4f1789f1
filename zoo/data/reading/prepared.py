"""What is made of a folder of videos once, so that training finds them fast: a ledger, smaller copies, optical flow.

They lie in `.zoo` inside the folder (in the cache folder where that cannot be written to):

    .zoo/ledger.jsonl           a line a file: codec, size, frames, rate, whether it can be read or why not, where frames are
    .zoo/128/NAME.mp4           copies with a shorter side of 128 pixels, in which every frame is a key frame
    .zoo/128-dis/NAME.zip       the flow of those copies; `native-dis` that of the videos as they are

(No torch here but where flow is computed: the processes that prepare start in a moment.)
"""

import base64
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.video.reformatter
import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable
from zoo.common.places import alone, cache_folder, write_whole
from zoo.common.words import json_text
from zoo.data.loading.parallel import mapped
from zoo.data.reading.decode import SETTINGS, Places, Video, allowed, opened, probe, read_frames, upright
from zoo.data.reading.fields import Fields, computed, write_fields
from zoo.data.reading.schema import checked

PATIENCE = 3600.0
"""Seconds that a file may take: hours of film do not, and what hangs does for ever."""

_LEAST = 8
"""Bytes of a frame; of a file that has fewer the ledger says nothing."""

_PACKETS = 4
"""Packets of a frame, at most, whose places are kept."""

_AT_ONCE = 64
"""Frames of a video that are held in memory while flow is computed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger."""

    file: str
    """Its path in the folder."""
    stamp: tuple[int, int]
    """Bytes and time of the last change (ns): another file under the same name is another file."""
    reason: str | None = None
    """Why it cannot be read; None if it can."""
    codec: str = ""
    width: int = 0
    height: int = 0
    frames: int = 0
    rate: float = 0.0
    times: tuple[tuple[int, int, int], ...] = ()
    """Presentation times in runs of (first, step, count)."""
    keys: tuple[int, ...] = ()
    time_base: float = 1.0
    counted: bool = False
    places: dict[str, Any] | None = None
    """Where the frames lie in the file, `packed`."""
    made: tuple[str, ...] = ()
    """What was made of this content, by the name of its folder (`128`, `128-dis`): what lies there besides is of another file
    that had the name. Times do not tell, for a file moved here keeps its own."""

    def video(self, path: Path) -> Video:
        """Raises `Unreadable` with the reason, if there is one."""
        if self.reason is not None:
            raise Unreadable(path, self.reason)
        pts = np.concatenate([first + step * np.arange(count, dtype=np.int64) for first, step, count in self.times])
        places = unpacked(self.places, len(pts)) if self.places else None
        return Video(path, pts, np.array(self.keys, dtype=np.int64), self.time_base, self.counted, places)


def runs(pts: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """Rising times as runs of (first, step, count)."""
    found: list[tuple[int, int, int]] = []
    start = 0
    steps = np.diff(pts)
    while start < len(pts):
        step = int(steps[start]) if start < len(steps) else 0
        other = np.flatnonzero(steps[start:] != step)
        count = int(other[0]) + 1 if len(other) else len(pts) - start
        found.append((int(pts[start]), step, count))
        start += count
    return tuple(found)


def packed(places: Places) -> dict[str, Any]:
    """As JSON, about 4 bytes a frame: the table as differences, compressed."""
    table = np.stack([places.numbers, places.offsets, places.sizes, places.free]).astype("<i8")
    return {
        "codec": places.codec,
        "settings": places.settings,
        "header": base64.b64encode(places.header).decode(),
        "length": places.length,
        "table": base64.b64encode(zlib.compress(np.diff(table, prepend=0).tobytes(), 9)).decode(),
    }


def unpacked(values: dict[str, Any], frames: int) -> Places | None:
    """The places of a film of so many frames; None where they cannot be that, and the film is read by its container. The table
    may unpack to so much, and no more."""
    try:
        stream = zlib.decompressobj()
        table = stream.decompress(base64.b64decode(values["table"], validate=True), 4 * 8 * _PACKETS * frames)
        steps = np.frombuffer(table, dtype="<i8").reshape(4, -1)
        numbers, offsets, sizes, free = np.cumsum(steps, axis=1)
        length = int(values["length"])
        within = (offsets >= 0).all() and (sizes > 0).all() and (sizes <= length - offsets).all()
        if not within or not stream.eof or numbers.min() < 0 or numbers.max() >= frames or {*values["settings"]} - {*SETTINGS}:
            return None
        found = Places(
            values["codec"],
            values["settings"],
            base64.b64decode(values["header"], validate=True),
            length,
            numbers.astype(np.int32),
            offsets.astype(np.int64),
            sizes.astype(np.int32),
            free.astype(np.bool_),
        )
        found.context()
    except Exception:  # of a line that somebody changed: whatever its reading comes upon
        return None
    return found


def stamp(path: Path) -> tuple[int, int]:
    """Raises `Unreadable` where there is no file."""
    try:
        facts = path.stat()
    except OSError as error:
        raise Unreadable(path, str(error.strerror or error)) from None
    return facts.st_size, facts.st_mtime_ns


class Store:
    """What was prepared of the videos of a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        inside = root / ".zoo"
        digits = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        outside = cache_folder() / "prepared" / f"{root.name}-{digits}"
        self.folder = inside if inside.is_dir() or os.access(root, os.W_OK) else outside
        self.ledger = self.folder / "ledger.jsonl"
        self.entries: dict[str, Entry] = {}
        text = self.ledger.read_text(encoding="utf-8", errors="replace") if self.ledger.is_file() else ""
        self._start = "" if text.endswith("\n") or not text else "\n"  # what an interrupted run left of a line is closed
        for line in text.splitlines():
            entry = _entry(line)
            if entry:
                self.entries[entry.file] = entry  # a later line is newer

    def name(self, path: Path) -> str:
        """A file's path in the folder; of one outside, a name that no other has."""
        if path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        return f"outside/{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}-{path.name}"

    def entry(self, path: Path) -> Entry | None:
        """The file's line, if it is still the file that was scanned."""
        entry = self.entries.get(self.name(path))
        return entry if entry is not None and entry.stamp == stamp(path) else None

    def video(self, path: Path) -> Video:
        """From the ledger, else by demuxing. Raises `Unreadable`."""
        entry = self.entry(path)
        return entry.video(path) if entry else probe(path)

    def has(self, path: Path, place: Path) -> bool:
        """Whether there is what was to be made of the file, and of the file as it is now."""
        entry = self.entry(path)
        return entry is not None and self.kind(place) in entry.made and place.is_file()

    def kind(self, place: Path) -> str:
        """What something made is called in the ledger."""
        return place.relative_to(self.folder).parts[0]

    def copy(self, path: Path, short_side: int) -> Path:
        return self.folder / str(short_side) / f"{self.name(path)}.mp4"

    def fields(self, path: Path, kind: str, short_side: int | None) -> Path:
        return self.folder / f"{short_side or 'native'}-{kind}" / f"{self.name(path)}.zip"

    def flow_picture(self, kind: str, short_side: int | None) -> Path:
        """Of what was extracted, to be looked at."""
        return self.folder / f"{short_side or 'native'}-{kind}" / "flow.png"

    def add(self, entry: Entry) -> None:
        """A line more."""
        self.entries[entry.file] = entry
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.ledger.open("a", encoding="utf-8") as stream:
            stream.write(self._start + json_text(asdict(entry)) + "\n")
        self._start = ""


def _entry(line: str) -> Entry | None:
    """None of a line that an interrupted run left half-written, or that tells of no film: it is looked at again then."""
    try:
        entry = checked(json.loads(line), Entry)
    except (ValueError, RecursionError):
        return None
    return entry if entry.reason is not None or _sound(entry) else None


def _sound(entry: Entry) -> bool:
    """Whether a file of its size can hold such frames; their times are a few numbers in the ledger, and a table in memory."""
    count = sum(count for _, _, count in entry.times)
    if not 0 < count <= 1 + entry.stamp[0] // _LEAST or not all(count > 0 for _, _, count in entry.times):
        return False
    edges = [edge for first, step, count in entry.times for edge in (first, first + step * (count - 1))]
    rising = all(step > 0 or count == 1 for _, step, count in entry.times) and edges == sorted(edges)
    numbered = all(0 <= key < count for key in entry.keys) and list(entry.keys) == sorted(entry.keys)
    return rising and numbered and max(map(abs, edges)) < 2**62 and 0 < entry.time_base < float("inf")


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
    # What the numbers mean as colours goes with them.
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
