"""Tensors from files that others made.

A file is a stranger's: only tensors and plain values are unpickled, checksums are compared where a file has them, nothing takes
more memory than the file has bytes, and whatever goes wrong inside becomes one sentence with the file's name.
"""

import hashlib
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from zoo.common.words import warn

NET = "net."
"""Prefix of the network's tensors in a checkpoint of zoo: the task calls its network `net`."""
CONTAINERS = ("state_dict", "model_state", "model", "model_state_dict", "model_ema", "state_dict_ema", "params", "net")
"""Entries under which training scripts save a network's tensors; the first of several is taken."""
_NOTES = (
    *("numpy.", "pathlib.", "typing.", "fractions.Fraction"),
    *(f"builtins.{kind}" for kind in "bool dict float frozenset getattr int list set slice str tuple".split()),
)
_MAPPINGS = (
    *("argparse.Namespace", "collections.defaultdict", "mmengine.", "mmcv.", "mmaction.", "omegaconf.", "yacs.config."),
    *("easydict.", "fvcore.common.config.", "lightning.fabric.", "lightning.pytorch.", "pytorch_lightning."),
)
"""Beginnings of the names of what publishers' training scripts note in a checkpoint; the second may be mappings."""
_DEPTH = 3  # containers in one another
_SMALL = 1 << 20  # bytes that a tensor may have in any file
_SHOWN = 3


def read_tensors(path: Path, suffix: str | None = None) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, a pickled state dict, or a checkpoint that holds one (see `CONTAINERS`).

    What torch says of a state dict's modules stays with it, as `_metadata`. Raises ValueError in one sentence: the file is
    damaged, holds code, or no tensors.
    """
    return read_whole(path, suffix)[0]


def read_whole(path: Path, suffix: str | None = None) -> tuple[dict[str, Tensor], Mapping[str, object]]:
    """The same, and all that a pickled file holds, the recipe of a zoo checkpoint for instance."""
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}. Check the path.")
    if (suffix or path.suffix) == ".safetensors":
        return _plain(path, _read_safetensors(path)), {}
    content = read_pickle(path)
    found = _state_dict(path, content)
    if "state_dict" in content:  # Lightning's and zoo's: beside `net` are the task's normalization and losses
        found = renamed(found, {key: key.removeprefix(NET) for key in found if key.startswith(NET)}) or found
    return _plain(path, found), content


def read_pickle(path: Path) -> dict[str, object]:
    """A dictionary of tensors and plain values from a file of `torch.save`. What training scripts note beside them, settings
    and logs of the classes of `_NOTES`, is passed over; anything else is refused. None of it is imported or called.

    Checksums of the records are compared. (Files of before torch 1.6 have none.)
    """
    try:
        with path.open("rb") as stream:
            archive, content = stream.read(4) == b"PK\x03\x04", None
        wrong = _wrong_in_archive(path) if archive else None
        if not wrong:
            with safe_globals(_notes(path) if archive else []):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can break any step of reading it
        if "Weights only load failed" in str(error):
            raise ValueError(
                f"{path} holds something other than tensors and plain values, which could run code, so it was not loaded. "
                f"Ask its maker for a state dict or a .safetensors file."
            ) from None
        reason = str(error).strip().partition("\n")[0].rstrip(".") or "it ends too early"
        raise ValueError(f"{path} is damaged or not a checkpoint ({reason}).") from None
    if wrong:
        raise ValueError(f"{path} is damaged: {wrong}. Fetch or copy it again.")
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, where a state dict or a checkpoint was expected.")
    return content


class _Passed:
    """What stands for an object, a class or a function that is passed over."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Passed":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _PassedMapping:
    """The same for classes that may be mappings: a plain one, for torch fills no others."""

    def __new__(cls, *arguments: Any, **named: Any) -> "OrderedDict[Any, Any]":  # type: ignore[misc]
        return OrderedDict()


def _notes(path: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """The classes and functions of notes that a file names, and what stands for each."""
    named = get_unsafe_globals_in_checkpoint(path)
    kinds: dict[tuple[str, ...], Callable[..., Any]] = {_NOTES: _Passed, _MAPPINGS: _PassedMapping}
    return [(kind, name) for names, kind in kinds.items() for name in named if name.startswith(names)]


def _wrong_in_archive(path: Path) -> str | None:
    """What is wrong with the records of a zip, which torch itself does not look at."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        promised = sum(record.file_size for record in records)
        if promised > path.stat().st_size:
            return f"its table promises {promised:,} bytes, more than the file has"
        if not any(record.CRC for record in records):
            return None  # written by a torch that was told to leave them out
        bad = archive.testzip()
        return bad and f"the checksum of its record {bad} is wrong"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
        with safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get("sha256")
        found = _hash_of(path.read_bytes()) if stated else None
    except Exception as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}.") from None
    if stated != found:
        raise ValueError(f"{path} is damaged: its tensors have not the SHA-256 that it states. Fetch or copy it again.")
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A `.safetensors` file that states the SHA-256 of what it holds; the format itself has no checksum."""
    from safetensors.torch import save

    whole = {key: value.contiguous() for key, value in tensors.items()}
    path.write_bytes(save(whole, metadata={"sha256": _hash_of(save(whole))}))


def _hash_of(content: bytes) -> str:
    """The hash of a safetensors file's tensors: their table, without its metadata, and their bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    table = {key: value for key, value in json.loads(content[8:end]).items() if key != "__metadata__"}
    said = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    said.update(memoryview(content)[end:])
    return said.hexdigest()


def _state_dict(path: Path, content: Mapping[str, object], depth: int = 0) -> dict[str, Any]:
    """The state dict in a checkpoint, or the file's content where that is one."""
    entries = dict.copy(content) if isinstance(content, OrderedDict) else content
    there = [name for name in CONTAINERS if isinstance(entries.get(name), dict)]
    held = [name for name in there if _filled(entries[name])] or there
    if held and depth < _DEPTH:
        if len(held) > 1:
            warn(f"{path} holds {' and '.join(held)}; {held[0]} is taken.")
        return _state_dict(path, entries[held[0]], depth + 1)  # type: ignore[arg-type]
    if not any(isinstance(value, Tensor) for value in entries.values()):
        names = ", ".join(str(key) for key in list(entries)[:_SHOWN]) + (", ..." if len(entries) > _SHOWN else "")
        where = f"but {names}" if entries else "it is empty"
        raise ValueError(
            f"{path} holds no tensors, {where}. Give a state dict, or a checkpoint that has it under one of the "
            f"names {', '.join(CONTAINERS)}."
        )
    return content  # type: ignore[return-value]  # with torch's metadata


def _filled(content: Any, depth: int = 0) -> bool:
    """Whether there are tensors in it, at some depth."""
    if not isinstance(content, dict) or depth > _DEPTH:
        return isinstance(content, Tensor)
    return any(_filled(each, depth + 1) for each in dict.values(content))


def _plain(path: Path, found: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors alone, each a plain one. Raises ValueError: there are none, or such as no network has."""
    bytes_there = max(path.stat().st_size, _SMALL)
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in found.items():
        if not isinstance(value, Tensor) or not isinstance(key, str):
            continue
        if value.layout != torch.strided or value.is_quantized or value.is_meta or type(value) not in (Tensor, nn.Parameter):
            raise ValueError(f"{path}: {key!r} is no plain tensor (sparse, quantized, or without values). Save it as one.")
        if value.numel() * value.element_size() > bytes_there:
            raise ValueError(f"{path}: {key!r} of {tuple(value.shape)} is larger than the file.")
        tensors[key] = Tensor.detach(value)
    if not tensors:
        raise ValueError(f"{path} holds no tensors. Give a file of weights.")
    return with_metadata(tensors, metadata_of(found))


def metadata_of(tensors: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """The metadata of a state dict: the version of each module's layout."""
    found = getattr(tensors, "_metadata", None)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, dict)}


def with_metadata(tensors: "OrderedDict[str, Tensor]", metadata: Mapping[str, object]) -> dict[str, Tensor]:
    tensors._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]
    return tensors


def renamed(tensors: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Those tensors that have a new name; what is known of modules follows them."""
    metadata = {}
    for module, said in metadata_of(tensors).items():
        old = next((old for old in names if old.startswith(f"{module}." if module else "")), None)
        if old is not None:
            rest = old.removeprefix(f"{module}." if module else "")
            if names[old].endswith(rest):
                metadata[names[old][: len(names[old]) - len(rest)].rstrip(".")] = said
    return with_metadata(OrderedDict((new, tensors[old]) for old, new in names.items()), metadata)
