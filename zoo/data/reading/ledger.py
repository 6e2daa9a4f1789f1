"""The ledger of a folder of videos: what is known of each file, and what was made of it. (No torch here: the processes that
prepare start in a moment.)"""

import base64
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable
from zoo.common.places import cache_folder
from zoo.common.words import json_text
from zoo.data.reading.container import SETTINGS, Places, Video, probe
from zoo.data.reading.schema import checked

_LEAST = 8
"""Bytes of a frame; of a file that has fewer the ledger says nothing."""

_PACKETS = 4
"""Packets of a frame, at most, whose places are kept."""


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
        """The picture that shows what was extracted."""
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
