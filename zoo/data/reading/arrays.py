"""NumPy's archives of arrays (.npz), each array compared with what it must be before it is built."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable, reason, regular

Kind = tuple[str, tuple[int | None, ...]]
"""Type as NumPy writes it ("u1", "i8"), or its family alone ("i"); and shape, where None is any length."""


def read_arrays(path: Path, kinds: Mapping[str, Kind], most: int = 0) -> dict[str, NDArray[Any]]:
    """The arrays of these names. What is longer than `most` where any length may be is refused by its header: a small file may
    promise more than the memory holds. Raises `Unreadable`."""
    try:
        regular(path)
        with zipfile.ZipFile(path) as archive:
            for name, kind in kinds.items():
                with archive.open(f"{name}.npy") as stream:
                    _check(path, name, stream, kind, most)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in kinds}
    except Unreadable:
        raise
    except Exception as error:  # zipfile and NumPy raise what their parsers raise
        raise Unreadable(path, f"it holds no arrays ({reason(error)})") from None


def _check(path: Path, name: str, stream: Any, kind: Kind, most: int) -> None:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, found = read(stream)
    wanted, lengths = kind
    fits = len(shape) == len(lengths) and all(want in (None, length) for want, length in zip(lengths, shape, strict=True))
    if found.str.lstrip("<>|=") != wanted and found.kind != wanted:
        raise Unreadable(path, f"its {name} are of the type {found}, not {wanted}")
    if not fits:
        raise Unreadable(path, f"its {name} are {' x '.join(map(str, shape))}, not {' x '.join(map(str, lengths))}")
    if any(want is None and length > most for want, length in zip(lengths, shape, strict=True)):
        raise Unreadable(path, f"it promises {max(shape):,} {name}, more than there can be")
