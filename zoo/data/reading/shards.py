"""Samples in tar archives (WebDataset's layout), on this machine or in an object store, read as if each were a file.

`ROOT/SPLIT/000000.tar` holds `KEY.jpg` and `KEY.cls` for each sample, `ROOT/SPLIT.npz` where every sample lies, and
`ROOT/shards.json` the classes and the archives' sizes. Any program that reads WebDataset reads the archives; this one goes
straight to a sample's bytes. So the order of an epoch is the sampler's, as with files: each sample once, whatever the ranks and
workers, and a run that was interrupted goes on exactly. Nothing is unpacked to a disk: a name in an archive leads nowhere.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from zoo.common.files import reason
from zoo.common.places import alone, cache_folder, safe_join, write_whole, written
from zoo.common.words import json_text
from zoo.data.reading.arrays import read_arrays
from zoo.data.reading.schema import read_json

CONTENTS = "shards.json"
_STORES = re.compile(r"(https?|s3|gs|gcs|az|abfs)://[^\s:']+(:\d+)?(/[^\s:']*)?")
_VALIDATORS = ("size", "etag", "last_modified", "last-modified", "lastmodified", "mtime", "updated", "md5", "crc32c")
"""What web servers and object stores say of a file, under the names that fsspec gives; those of them that are known."""
_COPY = 1 << 22  # bytes
_ROWS_A_BYTE = 64
"""More samples a byte of an index than compression makes of rising numbers."""


class _Shard(msgspec.Struct):
    """An archive."""

    name: str
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Splits(msgspec.Struct, forbid_unknown_fields=True):
    train: list[_Shard]
    val: list[_Shard]
    test: list[_Shard]


class _Contents(msgspec.Struct):
    """A table of contents."""

    classes: Annotated[list[str], msgspec.Meta(min_length=1)]
    splits: _Splits
    wide: dict[str, int] = {}
    """What was written of pictures that are converted, by their kind."""


@dataclass(frozen=True)
class Places:
    """Where the N samples of a split lie."""

    shard: NDArray[np.int32]
    """(N,), rising: which archive."""
    offset: NDArray[np.int64]
    """(N,): bytes from its beginning."""
    size: NDArray[np.int64]
    """(N,): bytes."""
    label: NDArray[np.int64]
    """(N,)."""

    def __len__(self) -> int:
        return len(self.shard)

    def blocks(self) -> list[int]:
        """Samples of each archive."""
        return np.bincount(self.shard).tolist() if len(self) else []


class Store:
    """The folder or the address under which a set's archives lie. What comes over a network is kept on this machine, up to
    `cache_bytes`; then what was used longest ago makes room.

    Raises ValueError for an address of another kind than those of object stores and web servers.
    """

    def __init__(self, root: str, cache_bytes: int) -> None:
        self.remote = "://" in root or root.startswith("pipe:")
        if self.remote and not _STORES.fullmatch(root):
            raise ValueError(
                f"data.root is {root!r}; archives are read from a folder, or from http(s)://, s3://, gs:// or az://."
            )
        self.root = root.rstrip("/")
        name = hashlib.sha256(self.root.encode()).hexdigest()[:24]  # no two addresses look alike to it
        self.folder = cache_folder() / "shards" / name if self.remote else Path(root).expanduser().absolute()
        self.cache_bytes = cache_bytes

    def file(self, name: str, size: int | None = None) -> Path:
        """A file of the set on this machine, fetched if it has to be. Raises ValueError: it cannot be had, or is not whole."""
        path = safe_join(self.folder, name)
        if self.remote and not path.is_file():
            with alone(path):
                if not path.is_file():
                    self._fetch(name, path, size)
        if not path.is_file():
            raise ValueError(f"There is no file {path}. Write the archives by python -m zoo.prepare, with data.source=FOLDER.")
        if size is not None and path.stat().st_size != size:
            raise ValueError(
                f"{path} has {path.stat().st_size} bytes, not {size}: it is not whole. Remove it, and write it again."
            )
        if self.remote:
            os.utime(path)  # when it was used last
        return path

    def renew(self) -> None:
        """Look whether the set at the address is still the one that is kept here, by what its server says of the table of
        contents (length, ETag, time of change); of another one nothing that is kept is read. Without a network what is kept
        is taken."""
        if not self.remote:
            return
        with alone(self.folder):
            stamp = self.folder / "address.json"
            kept = (self.folder / CONTENTS).is_file()
            try:
                now = json_text({"address": self.root, **self._facts(CONTENTS)})
            except Exception as error:  # each store's library has errors of its own
                if kept:
                    return
                raise ValueError(f"{self.root}/{CONTENTS} could not be read ({reason(error)}).") from None
            if kept and stamp.is_file() and stamp.read_text(encoding="utf-8") == now:
                return
            if stamp.is_file() or kept:
                for path in self._kept():
                    path.unlink(missing_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._fetch(CONTENTS, self.folder / CONTENTS, None)
            write_whole(stamp, now.encode())

    def _facts(self, name: str) -> dict[str, str]:
        """What the server says of a file."""
        import fsspec

        system, path = fsspec.core.url_to_fs(f"{self.root}/{name}")
        system.invalidate_cache()
        found = {key.lower(): str(value) for key, value in system.info(path).items()}
        return {key: found[key] for key in _VALIDATORS if key in found}

    def _kept(self) -> list[Path]:
        """What was fetched of the set: nothing else is in its folder of the cache."""
        return [*self.folder.glob("*.npz"), *self.folder.glob(CONTENTS), *self.folder.rglob("*.tar")]

    def _fetch(self, name: str, path: Path, size: int | None) -> None:
        import fsspec

        def check(partial: Path) -> None:
            _check_kind(partial, name)
            if size is not None and partial.stat().st_size != size:
                raise ValueError(f"{partial.stat().st_size} bytes came, not {size}")

        path.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(size or 0)
        try:
            with (
                fsspec.open(f"{self.root}/{name}", "rb") as source,
                written(path, check, partial=path.with_name(f"{path.name}.part")) as target,
            ):
                shutil.copyfileobj(source, target, _COPY)
        except Exception as error:  # each store's library has errors of its own
            raise ValueError(f"{self.root}/{name} could not be read ({reason(error)}).") from None

    def _make_room(self, wanted: int) -> None:
        kept = sorted(self.folder.rglob("*.tar"), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in kept) + wanted
        while kept and total > self.cache_bytes:
            oldest = kept.pop(0)
            total -= oldest.stat().st_size
            oldest.unlink(missing_ok=True)  # a reader that has it open reads on


def _check_kind(path: Path, name: str) -> None:
    """Refuse what is not of the kind that its name says: a server may answer with a page of its own."""
    if name.endswith(".json"):
        sound = isinstance(json.loads(path.read_bytes()), dict)
    elif name.endswith(".npz"):
        sound = zipfile.is_zipfile(path)
    else:
        sound = tarfile.is_tarfile(path)
    if not sound:
        raise ValueError("another kind of file came; the server may want a login")


class Split(Sequence[Any]):
    """The samples of a split, each a `Member`."""

    _OPEN = 32  # archives that a process keeps open

    def __init__(self, store: Store, shards: Sequence[_Shard], places: Places) -> None:
        self.store = store
        self.shards = shards
        self.places = places
        self._open: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Member(self, number)

    def read(self, number: int) -> bytes:
        """The bytes of a sample. Raises ValueError: its archive cannot be had."""
        shard = int(self.places.shard[number])
        if shard not in self._open:
            described = self.shards[shard]
            self._open[shard] = os.open(self.store.file(described.name, described.bytes), os.O_RDONLY)
            if len(self._open) > self._OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(shard)
        # Not seek and read: a forked worker shares the place in a file with its parent.
        return os.pread(self._open[shard], int(self.places.size[number]), int(self.places.offset[number]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}  # open files do not travel


class Member:
    """One sample in an archive, opened as a path is."""

    def __init__(self, split: Split, number: int) -> None:
        self.split = split
        self.number = number
        self._content: bytes | None = None  # a video is opened twice, to look at it and to read of it

    def open(self, mode: Any = "rb", /) -> io.BytesIO:
        if self._content is None:
            self._content = self.split.read(self.number)
        return io.BytesIO(self._content)

    def __str__(self) -> str:
        places = self.split.places
        return f"{self.split.shards[int(places.shard[self.number])].name} at byte {int(places.offset[self.number])}"


def read_contents(store: Store) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The classes and the splits of a set, its archives on this machine all of their stated size. Raises ValueError."""
    store.renew()
    path = store.file(CONTENTS)
    try:
        described = read_json(path, _Contents)
        if len(set(described.classes)) != len(described.classes):
            raise ValueError("it names a class twice")
        splits = {}
        for name, shards in msgspec.structs.asdict(described.splits).items():
            for shard in shards:
                safe_join(Path(), shard.name)
                if not store.remote:
                    store.file(shard.name, shard.bytes)
            places = _index(store.file(f"{name}.npz"), sum(shard.bytes for shard in shards))
            _check(shards, places, len(described.classes))
            splits[name] = Split(store, shards, places)
    except (ValueError, OSError, MemoryError) as error:
        said = reason(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path} does not describe a set of archives ({said}). Write it again by zoo.prepare.") from None
    return tuple(described.classes), splits


def wide_of(store: Store) -> dict[str, int]:
    """What was written of pictures that are converted; nothing where another program, or an older one, wrote the archives."""
    return read_json(store.file(CONTENTS), _Contents).wide


def _index(path: Path, total: int) -> Places:
    """Where samples lie in archives of so many bytes: no more of them than those can hold, or than a file of this size can tell
    apart."""
    most = min(total // tarfile.BLOCKSIZE, 1 + _ROWS_A_BYTE * path.stat().st_size)
    return Places(**read_arrays(path, dict.fromkeys(("shard", "offset", "size", "label"), ("i", (None,))), most))


def _check(shards: Sequence[_Shard], places: Places, classes: int) -> None:
    """Refuse places outside of their archives and labels that no class has."""
    if len({len(array) for array in vars(places).values()}) != 1:
        raise ValueError("its lists of places differ in length")
    if len(places):
        ends = np.array([shard.bytes for shard in shards], dtype=np.int64)
        inside_set = (places.shard >= 0).all() and places.shard.max() < len(ends) and (np.diff(places.shard) >= 0).all()
        if not inside_set or min(places.offset.min(), places.size.min()) < 0:
            raise ValueError("a sample lies in no archive")
        if len(np.unique([places.shard, places.offset], axis=1).T) != len(places):
            raise ValueError("it lists a sample twice")
        if (places.offset > ends[places.shard] - places.size).any():
            raise ValueError("a sample lies beyond the end of its archive")
        if places.label.min() < 0 or places.label.max() >= classes:
            raise ValueError("a label is of no class")
