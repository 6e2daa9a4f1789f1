"""Writing archives of samples, as `zoo.data.reading.shards` reads them. Killed anywhere, it is run again and goes on."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.common.chance import permutation
from zoo.common.places import alone, data_root, safe_join, written
from zoo.data.reading.folders import Labeled, labeled_splits
from zoo.data.reading.shards import CONTENTS, Places, Store


def write_missing(
    store: Store,
    source: str | None,
    shard_bytes: int,
    suffixes: frozenset[str],
    sound: Callable[[Labeled, str], Labeled],
    wide: Mapping[str, int] | None = None,
) -> None:
    """Write the archives of a store from the folder `source`, unless they are there already, or elsewhere.

    Args:
        sound: those of a split's files that can be read.
        wide: see `write`; what `sound` counts meanwhile is in it.
    """
    if source is None or store.remote or (store.folder / CONTENTS).is_file():
        return
    check_writer()
    names, files = labeled_splits(data_root(source), suffixes)
    good = {split: sound(found, split) for split, found in files.items()}
    write(store.folder, names, good, shard_bytes, wide)


def write(
    root: Path, classes: Sequence[str], splits: Mapping[str, Labeled], shard_bytes: int, wide: Mapping[str, int] | None = None
) -> None:
    """Write the archives that are not there yet, and then what describes them. Killed anywhere, it is run again and goes on;
    of several at once one works.

    The samples are mixed first (always alike), for a reader mixes those of a few archives only.

    Args:
        wide: of pictures that are converted when they are read how many there are, by kind.
    """
    check_writer()
    with alone(root):
        if (root / CONTENTS).is_file():
            return
        described: dict[str, list[dict[str, Any]]] = {}
        for split, files in splits.items():
            if not files:
                raise ValueError(
                    f"Not one file of {split} can be read, so no archives are written. Repair or remove its files."
                )
            mixed = [files[at] for at in permutation(0, 0, len(files)).tolist()]
            described[split], places = [], []
            for number, part in enumerate(_parts(mixed, shard_bytes)):
                name = f"{split}/{number:06d}.tar"
                path = root / name
                if not path.is_file():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write_archive(path, part)
                described[split].append({"name": name, "bytes": path.stat().st_size})
                places.append(scan(path, number))
            arrays: dict[str, Any] = {
                key: np.concatenate([vars(each)[key] for each in places]) for key in ("shard", "offset", "size", "label")
            }
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            _write(root / f"{split}.npz", buffer.getvalue())
        contents = {"classes": list(classes), "splits": described, "wide": dict(wide or {})}
        _write(root / CONTENTS, json.dumps(contents, indent=1).encode())


def _parts(files: Labeled, shard_bytes: int) -> Iterator[Labeled]:
    """Files in their order, as many together as fill an archive."""
    part: Labeled = []
    total = 0
    for path, label in files:
        part.append((path, label))
        total += path.stat().st_size
        if total >= shard_bytes:
            yield part
            part, total = [], 0
    if part:
        yield part


def _write_archive(path: Path, files: Labeled) -> None:
    """Whole or not at all, and the same bytes whenever it is written."""
    from webdataset import TarWriter

    with written(path, partial=_partial(path)) as stream, TarWriter(stream, encoder=False, mtime=0) as archive:
        for number, (file, label) in enumerate(files):
            suffix = file.suffix.lower().removeprefix(".")
            archive.write({"__key__": f"{number:09d}", suffix: file.read_bytes(), "cls": str(label).encode()})


def _write(path: Path, content: bytes) -> None:
    with written(path, partial=_partial(path)) as stream:
        stream.write(content)


def _partial(path: Path) -> Path:
    """A file's name while it is written. One works at a time, so what a kill left there is replaced."""
    return path.with_name(f".{path.name}.part")


def check_writer() -> None:
    """Raises ValueError where what writes archives is not installed."""
    try:
        import webdataset  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"webdataset, which writes archives, does not load ({error}). pip install 'lightning-vision-zoo[shards]'."
        ) from None


def scan(path: Path, shard: int) -> Places:
    """Where an archive's samples lie, from its headers; of each key the label (`cls`) and one file of another kind. Raises
    ValueError: it is damaged, a member is a link or leads out, or a sample lacks one of the two."""
    found: dict[str, list[int | None]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                safe_join(Path(), member.name)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():  # a link, a pipe, a device, a file with holes
                    raise ValueError(f"its member {member.name!r} is no plain file")
                key, _, kind = member.name.rpartition("/")[2].partition(".")
                row = found.setdefault(key, [None, None, None])
                if kind == "cls":
                    stream = archive.extractfile(member)
                    row[2] = int(stream.read(20)) if stream else None
                else:
                    row[:2] = member.offset_data, member.size
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not an archive of labeled samples ({error}).") from None
    for key, row in found.items():
        if None in row:
            raise ValueError(f"{path} holds no {'label' if row[2] is None else 'sample'} of {key!r}. Write it again.")
    table = np.array(list(found.values()), dtype=np.int64).reshape(-1, 3)
    return Places(np.full(len(table), shard, np.int32), *table.T)
