"""Weights from files: what is in one, what of it fits a network, and what is said about the rest.

A file is a stranger's: only tensors and plain values are unpickled, checksums are compared where a file has them, nothing takes
more memory than the file has bytes, and whatever goes wrong inside becomes one sentence with the file's name.
"""

import hashlib
import json
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models._inflate import repeat
from zoo.words import warn

NET = "net."
"""Prefix of the network's tensors in a checkpoint of ours: the task calls its network `net`."""
CONTAINERS = (*("state_dict", "model_state", "model", "model_state_dict", "model_ema", "state_dict_ema", "params", "net"),)
"""Entries under which training scripts save a network's tensors, of several the first."""
PREFIXES = ("module.", "backbone.", "model.", NET, "features.")
"""What wrappers put before the names: data parallelism, detectors and recognizers, Lightning modules, our own classifiers."""
COUNTERS = ("num_batches_tracked", "n_averaged")
"""Ends of names of tensors that count batches; no network computes with them."""
_UNITS = (
    (re.compile(r"(^|\.)downsample\.conv\."), r"\1downsample.0."),
    (re.compile(r"(^|\.)downsample\.bn\."), r"\1downsample.1."),
    (re.compile(r"(^|\.)conv(\d*)\.conv\."), r"\1conv\2."),
    (re.compile(r"(^|\.)conv(\d*)\.bn\."), r"\1bn\2."),
)
"""How mmcv's ConvModule, of which mmaction2's networks are made, calls a convolution and its BatchNorm, and how torchvision
does (mmaction2, `ResNet._load_torchvision_checkpoint`)."""
_SHOWN = 3
_DEPTH = 3  # prefixes before one name
_SMALL = 1 << 20  # bytes that a tensor may have in any file
_FEW = 10_000_000  # numbers of a network that a checkpoint may describe without holding half of them


def read_tensors(path: Path, suffix: str | None = None) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, a pickled state dict, or a checkpoint that holds one (see `CONTAINERS`).

    What torch says of a state dict's modules stays with it, as `_metadata`. Raises ValueError in one sentence: the file is
    damaged, holds code, or no tensors.
    """
    return read_whole(path, suffix)[0]


def read_whole(path: Path, suffix: str | None = None) -> tuple[dict[str, Tensor], Mapping[str, object]]:
    """The same, and all that a pickled file holds, the recipe of a checkpoint of ours for instance."""
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}. Check the path.")
    if (suffix or path.suffix) == ".safetensors":
        return _plain(path, _read_safetensors(path)), {}
    content = read_pickle(path)
    found = _state_dict(path, content)
    if "state_dict" in content:  # Lightning's, ours among them: what is beside `net` are the task's normalization and losses
        found = _renamed(found, {key: key.removeprefix(NET) for key in found if key.startswith(NET)}) or found
    return _plain(path, found), content


def read_pickle(path: Path) -> dict[str, object]:
    """A dictionary of tensors and plain values from a file of `torch.save`; anything else is refused, never run.

    Checksums of the records are compared. (Files of before torch 1.6 have none.)
    """
    try:
        with path.open("rb") as stream:
            archive = stream.read(4) == b"PK\x03\x04"
        wrong = _wrong_in_archive(path) if archive else None
        content = None if wrong else torch.load(path, map_location="cpu", weights_only=True)
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
    """Of a safetensors file's tensors: their table, without what is said beside it, and their bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    table = {key: value for key, value in json.loads(content[8:end]).items() if key != "__metadata__"}
    said = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    said.update(memoryview(content)[end:])
    return said.hexdigest()


def _state_dict(path: Path, content: Mapping[str, object], depth: int = 0) -> dict[str, Any]:
    """The state dict in a checkpoint, or the file's content where that is one."""
    entries = dict.copy(content) if isinstance(content, OrderedDict) else content
    held = [name for name in CONTAINERS if isinstance(entries.get(name), dict)]
    if held and depth < _DEPTH:
        if len(held) > 1:
            warn(f"{path} holds {' and '.join(held)}, of which {held[0]} is taken.")
        return _state_dict(path, entries[held[0]], depth + 1)  # type: ignore[arg-type]
    if not any(isinstance(value, Tensor) for value in entries.values()):
        names = ", ".join(str(key) for key in list(entries)[:_SHOWN]) + (", ..." if len(entries) > _SHOWN else "")
        where = f"but {names}" if entries else "it is empty"
        raise ValueError(
            f"{path} holds no tensors, {where}. Give a state dict, or a checkpoint that has it under one of the "
            f"names {', '.join(CONTAINERS)}."
        )
    return content  # type: ignore[return-value]  # with torch's metadata


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
    return _with_metadata(tensors, _metadata(found))


def _metadata(tensors: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """What torch keeps of each module beside a state dict: versions of its layout."""
    found = getattr(tensors, "_metadata", None)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, dict)}


def _with_metadata(tensors: "OrderedDict[str, Tensor]", metadata: Mapping[str, object]) -> dict[str, Tensor]:
    tensors._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]
    return tensors


def _renamed(tensors: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Those tensors that have a new name; what is known of modules follows them."""
    metadata = {}
    for module, said in _metadata(tensors).items():
        old = next((old for old in names if old.startswith(f"{module}." if module else "")), None)
        if old is not None:
            rest = old.removeprefix(f"{module}." if module else "")
            if names[old].endswith(rest):
                metadata[names[old][: len(names[old]) - len(rest)].rstrip(".")] = said
    return _with_metadata(OrderedDict((new, tensors[old]) for old, new in names.items()), metadata)


def translated(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors under our names, where a publisher's fit better by the network's `renames`, or without wrappers' prefixes."""
    return _renamed(tensors, _naming(net, tensors))


def _naming(net: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Of each tensor's name in the file the name in the network that fits best."""
    renames: Mapping[str, str] = getattr(net, "renames", {})
    own = net.state_dict()

    def ours(key: str) -> str:
        return next((new + key.removeprefix(old) for old, new in renames.items() if key.startswith(old)), key)

    def fits(names: Mapping[str, str]) -> tuple[int, int]:
        known = [(old, new) for old, new in names.items() if new in own]
        return len(known), sum(tensors[old].numel() == own[new].numel() for old, new in known)

    best: dict[str, str] = {}
    for names in _unwrapped(tensors):
        for candidate in (
            called for each in (names, _split(names)) for called in (each, {o: ours(n) for o, n in each.items()})
        ):
            if len(set(candidate.values())) == len(candidate) and (not best or fits(candidate) > fits(best)):
                best = dict(candidate)
    return best


def _split(names: Mapping[str, str]) -> Mapping[str, str]:
    """Without units of a convolution and its BatchNorm; see `_UNITS`."""
    split = dict(names)
    for pattern, new in _UNITS:
        split = {key: pattern.sub(new, name) for key, name in split.items()}
    return split


def _unwrapped(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, str]]:
    """Name in the file -> name without the prefixes of wrappers, with ever more of them taken off."""
    compiled = {key: key.replace("_orig_mod.", "") for key in tensors}  # torch.compile's, at any depth
    todo = [(compiled if len(set(compiled.values())) == len(compiled) else {key: key for key in tensors}, 0)]
    while todo:
        names, depth = todo.pop(0)
        yield names
        for prefix in PREFIXES if depth < _DEPTH else ():
            if any(new.startswith(prefix) for new in names.values()):
                todo.append(({old: new.removeprefix(prefix) for old, new in names.items()}, depth + 1))


@dataclass(frozen=True)
class Fit:
    """How a file's tensors met a network, counters of batches left out."""

    taken: tuple[str, ...]
    """Names in the network of the tensors that have the file's values now."""
    fresh: tuple[str, ...]
    """A line for each tensor of the network that keeps its own values; kernels that train come first."""
    left: tuple[str, ...]
    """Names in the file for which the network has no place, the largest first."""


def load_fitting(net: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load what fits, see `fit`; return a line for each tensor of the network that keeps its own values."""
    return list(fit(net, tensors).fresh)


def fit(net: nn.Module, tensors: Mapping[str, Tensor]) -> Fit:
    """Load what fits by name and shape.

    Four things are made to fit: a fully connected layer that was published as a convolution, or the reverse; a 2-D kernel
    for an inflated convolution; the first kernel for another number of input channels; and the bias of a layer that has none
    here, as BatchNorm follows it.

    Raises ValueError: a parameter that is not finite.
    """
    names = _naming(net, tensors)
    renamed = _renamed(tensors, names)
    # Of an older layout a module may take on that layout (torchvision's MNASNet does), and has tensors of other shapes then.
    net.load_state_dict(_with_metadata(OrderedDict(), {**_metadata(net.state_dict()), **_metadata(renamed)}), strict=False)
    own = net.state_dict()
    moved = _move_biases(renamed, own)
    first = next((key for key, value in own.items() if key.endswith("weight") and value.dim() > 3), None)
    fitting: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in renamed.items():
        if key in own and value.is_floating_point() == own[key].is_floating_point():
            shaped = _shaped(value, own[key], key == first)
            if shaped.shape == own[key].shape:
                fitting[key] = shaped
    parameters = dict(net.named_parameters())
    for key, value in fitting.items():
        if key in parameters and not value.is_meta and not torch.isfinite(value).all():
            raise ValueError(f"{key} holds values that are infinite or no numbers.")
    # A file that says nothing of its modules' versions is taken for one of today's.
    net.load_state_dict(_with_metadata(fitting, {**_metadata(own), **_metadata(renamed)}), strict=False)

    def matters(key: str) -> tuple[bool, bool]:
        return key not in parameters or not parameters[key].requires_grad, own[key].dim() < 2

    fresh = sorted((key for key in own if key not in fitting and not key.endswith(COUNTERS)), key=matters)
    left = [old for old, new in names.items() if new not in own and new not in moved and not old.endswith(COUNTERS)]
    left.sort(key=lambda old: -tensors[old].numel())
    return Fit(
        tuple(key for key in fitting if not key.endswith(COUNTERS)),
        tuple(f"{key} {tuple(own[key].shape)}, {_instead(own[key], renamed.get(key))}" for key in fresh),
        tuple(left),
    )


def _move_biases(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> set[str]:
    """In a row of layers, put the bias of one that has none here into the mean that the BatchNorm after it subtracts; the
    names of these biases."""
    moved = set()
    for key, bias in list(tensors.items()):
        row = re.fullmatch(r"(.*\.)(\d+)\.bias", key)
        if row and key not in own and f"{row[1]}{row[2]}.weight" in own:
            mean = f"{row[1]}{int(row[2]) + 1}.running_mean"
            if mean in own and own[mean].shape == bias.shape == tensors.get(mean, bias).shape:
                tensors[mean] = tensors.get(mean, own[mean]) - bias
                moved.add(key)
    return moved


def _instead(own: Tensor, other: Tensor | None) -> str:
    if other is None:
        return "not in the file"
    return f"not {tuple(other.shape)}" if other.shape != own.shape else f"not {other.dtype}"


def _shaped(value: Tensor, own: Tensor, first: bool) -> Tensor:
    """A tensor in the shape of the network's own, where there is a way."""
    rows = value.dim() and own.dim() and value.shape[0] == own.shape[0]
    if value.shape != own.shape and rows and 2 in (value.dim(), own.dim()) and value.numel() == own.numel():
        value = value.reshape(own.shape)
    elif own.dim() == 5 and value.dim() == 4 and value.shape[2:] == own.shape[3:] and value.shape[0] == own.shape[0]:
        value = repeat(value, own.shape[2])
    if first and value.dim() == own.dim() and value.shape[2:] == own.shape[2:] and value.shape[1] not in (0, own.shape[1]):
        value = for_channels(value, own.shape[1])
    return value


def for_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """(O, C, ...) -> (O, in_chans, ...): the mean over the colours, repeated, and scaled so that a grey input has the same
    response (cross-modality initialisation: Wang et al. 2016, "Temporal segment networks", section 3.2; for one channel it
    is the sum over the colours)."""
    mean = kernel.mean(1, keepdim=True) * (kernel.shape[1] / in_chans)
    return mean.expand(-1, in_chans, *kernel.shape[2:])


def check_size(weights: Mapping[Any, Any], build: Callable[[], nn.Module], place: str | Path) -> None:
    """Build a module without its memory first: a checkpoint of a few bytes may describe one that no memory holds. Raises
    ValueError."""
    held = sum(value.numel() for value in weights.values() if isinstance(value, Tensor))
    try:
        with torch.device("meta"):
            described = sum(value.numel() for value in build().state_dict().values())
    except (RuntimeError, OverflowError, TypeError, ValueError) as error:
        if "meta" in str(error):  # it computes as it is built
            return
        said = re.split(r"\n| with error ", str(error))[0][:200].rstrip(".")
        raise ValueError(f"{place} describes a network that cannot be built: {said}.") from None
    if described > 2 * held + _FEW:
        raise ValueError(f"{place} describes a network of {described:,} numbers, but holds {held:,}. Take another checkpoint.")


def load_pretrained(net: nn.Module, path: Path, name: str, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Start a network from a file of weights, keeping fresh what does not fit, and say so, and what the network lacks.

    What it has of the file is noted on it, see `fresh_tensors`. Weights of another network are refused: those of which less
    than half of the tensors fit, measured by the network's or the file's, whichever are fewer. (VGG-16 is a small part of
    DeconvNet, but all of it goes in.)

    Args:
        tensors: what the file holds, where it has been read.
    """
    tensors = read_tensors(path) if tensors is None else tensors
    try:
        found = fit(net, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error} Fetch or copy the file again.") from None
    taken, total = len(found.taken), len(found.taken) + len(found.fresh)
    there = sum(not key.endswith(COUNTERS) for key in tensors)
    if not taken or 2 * taken < min(total, there):
        raise ValueError(
            f"{path} does not hold weights of {name}: {taken} of its {total} tensors are there in the right shape."
        )
    settle(net, found.taken)
    said = []
    if found.fresh:
        said.append(f"{_tensors(found.fresh)} of {name} start{'s' * (len(found.fresh) == 1)} afresh: {_few(found.fresh)}.")
    if found.left:
        said.append(
            f"{_tensors(found.left)} of the file {'has' if len(found.left) == 1 else 'have'} no place in {name}: "
            f"{_few(found.left)}."
        )
    if said:
        warn(f"{path}: {' '.join(said)}")


def settle(module: nn.Module, names: Iterable[str]) -> None:
    """Note on a module that these of its tensors came out of a file."""
    vars(module)["settled"] = frozenset(names)


def fresh_tensors(net: nn.Module) -> set[str]:
    """Names of a network's tensors that still are as they were drawn, counters of batches left out: weights that nobody
    trained, statistics that nobody measured."""
    settled = {f"{place}.{name}" if place else name for place, part in net.named_modules() for name in _settled(part)}
    return {key for key in net.state_dict() if key not in settled and not key.endswith(COUNTERS)}


def _settled(part: nn.Module) -> Iterable[str]:
    noted: Iterable[str] = vars(part).get("settled", ())
    return noted


def _tensors(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) != 1)}"


def _few(names: tuple[str, ...]) -> str:
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more
