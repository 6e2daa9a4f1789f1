"""Weights from files: what of one fits a network, and what is said about the rest."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.common.tensors import NET, metadata_of, read_tensors, renamed, with_metadata
from zoo.common.words import warn
from zoo.models._inflate import repeat

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
_FEW = 10_000_000  # numbers of a network that a checkpoint may describe without holding half of them


def translated(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename a publisher's tensors by the network's `renames`, or without wrappers' prefixes, where they fit better so."""
    return renamed(tensors, _naming(net, tensors))


def _naming(net: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Match each tensor's name in the file with the name in the network that fits best."""
    renames: Mapping[str, str] = getattr(net, "renames", {})
    own = net.state_dict()

    def present(key: str) -> str:
        return next((new + key.removeprefix(old) for old, new in renames.items() if key.startswith(old)), key)

    def fits(names: Mapping[str, str]) -> tuple[int, int]:
        known = [(old, new) for old, new in names.items() if new in own]
        return len(known), sum(tensors[old].numel() == own[new].numel() for old, new in known)

    best: dict[str, str] = {}
    for names in _unwrapped(tensors):
        for candidate in (
            called for each in (names, _split(names)) for called in (each, {o: present(n) for o, n in each.items()})
        ):
            if len(set(candidate.values())) == len(candidate) and (not best or fits(candidate) > fits(best)):
                best = dict(candidate)
    return best


def _split(names: Mapping[str, str]) -> Mapping[str, str]:
    """Split units of a convolution and its BatchNorm; see `_UNITS`."""
    split = dict(names)
    for pattern, new in _UNITS:
        split = {key: pattern.sub(new, name) for key, name in split.items()}
    return split


def _unwrapped(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, str]]:
    """Take ever more prefixes of wrappers off the names."""
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
    """The outcome of loading a file's tensors into a network, without counters of batches."""

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
    for an inflated convolution; the first kernel for another number of input channels, of which a network that reads frames as
    channels says by `stacked` how many these are; and the bias of a layer that has none here, as BatchNorm follows it.

    Raises ValueError: a parameter that is not finite.
    """
    names = _naming(net, tensors)
    called = renamed(tensors, names)
    # A module may take on an older layout (torchvision's MNASNet does), and has tensors of other shapes then.
    net.load_state_dict(with_metadata(OrderedDict(), {**metadata_of(net.state_dict()), **metadata_of(called)}), strict=False)
    own = net.state_dict()
    moved = _move_biases(called, own)
    first = next((key for key, value in own.items() if key.endswith("weight") and value.dim() > 3), None)
    stacked = int(getattr(net, "stacked", 1))
    fitting: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in called.items():
        if key in own and value.is_floating_point() == own[key].is_floating_point():
            shaped = _shaped(value, own[key], stacked if key == first else 0)
            if shaped.shape == own[key].shape:
                fitting[key] = shaped
    parameters = dict(net.named_parameters())
    for key, value in fitting.items():
        if key in parameters and not value.is_meta and not torch.isfinite(value).all():
            raise ValueError(f"{key} holds values that are infinite or no numbers.")
    # A file that says nothing of its modules' versions is taken for one of today's.
    net.load_state_dict(with_metadata(fitting, {**metadata_of(own), **metadata_of(called)}), strict=False)

    def matters(key: str) -> tuple[bool, bool]:
        return key not in parameters or not parameters[key].requires_grad, own[key].dim() < 2

    fresh = sorted((key for key in own if key not in fitting and not key.endswith(COUNTERS)), key=matters)
    left = [old for old, new in names.items() if new not in own and new not in moved and not old.endswith(COUNTERS)]
    left.sort(key=lambda old: -tensors[old].numel())
    return Fit(
        tuple(key for key in fitting if not key.endswith(COUNTERS)),
        tuple(f"{key} {tuple(own[key].shape)}, {_instead(own[key], called.get(key))}" for key in fresh),
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


def _shaped(value: Tensor, own: Tensor, frames: int) -> Tensor:
    """Reshape a tensor to the network's own shape, where there is a way.

    Args:
        frames: that the first kernel sees as channels; 0 of every other tensor.
    """
    rows = value.dim() and own.dim() and value.shape[0] == own.shape[0]
    if value.shape != own.shape and rows and 2 in (value.dim(), own.dim()) and value.numel() == own.numel():
        value = value.reshape(own.shape)
    elif own.dim() == 5 and value.dim() == 4 and value.shape[2:] == own.shape[3:] and value.shape[0] == own.shape[0]:
        value = repeat(value, own.shape[2])
    elif own.dim() == 4 and own.shape[1] == 1 and value.shape == (len(own), len(own), *own.shape[2:]):
        value = _apart(value)
    if frames and value.dim() == own.dim() and value.shape[2:] == own.shape[2:] and value.shape[1] not in (0, own.shape[1]):
        value = for_channels(value, own.shape[1], frames)
    return value


def _apart(kernel: Tensor) -> Tensor:
    """(C, C, h, w) that keeps each channel to itself -> (C, 1, h, w), the same without its zeros; any other as it is."""
    own = kernel.diagonal().movedim(-1, 0)[:, None]
    return own if kernel.is_meta or own.count_nonzero() == kernel.count_nonzero() else kernel


def for_channels(kernel: Tensor, in_chans: int, frames: int = 1) -> Tensor:
    """(O, C, ...) -> (O, in_chans, ...): the mean over the colors, repeated, and scaled so that a gray input has the same
    response (cross-modality initialization: Wang et al. 2016, "Temporal segment networks", section 3.2; for one channel it
    is the sum over the colors).

    Of channels that are `frames`, one behind the other, each gets the kernel divided by their number, as inflated kernels do:
    a still clip has the image's response.
    """
    if frames > 1:
        each = kernel if kernel.shape[1] * frames == in_chans else for_channels(kernel, in_chans // frames)
        return each.repeat(1, frames, *[1] * (kernel.dim() - 2)) / frames
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


def load_pretrained(net: nn.Module, path: str | Path, name: str, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Start a network from a file of weights, keeping fresh what does not fit, and say so, and what the network lacks.

    What it has of the file is noted on it, see `fresh_tensors`. Weights of another network are refused: those of which less
    than half of the tensors fit, measured by the network's or the file's, whichever are fewer. (VGG-16 is a small part of
    DeconvNet, but all of it goes in.)

    Args:
        tensors: what the file holds, where it has been read.
    """
    tensors = read_tensors(Path(path)) if tensors is None else tensors
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
    """Note on the parts of a module which of its tensors a file has set; what is composed of the parts knows it then."""
    state = module.state_dict(keep_vars=True)
    chosen = {id(state[name]) for name in names}
    for part in module.modules():
        if own := [name for name, value in _held(part) if id(value) in chosen]:
            vars(part)["settled"] = frozenset(own).union(_settled(part))


def settled_tensors(module: nn.Module) -> set[str]:
    """Names of a module's tensors that a file has set."""
    noted = {id(value) for part in module.modules() for name, value in _held(part) if name in _settled(part)}
    return {name for name, value in module.state_dict(keep_vars=True).items() if id(value) in noted}


def fresh_tensors(net: nn.Module) -> set[str]:
    """Names of a network's tensors that still are as they were drawn, counters of batches left out: weights that nobody
    trained, statistics that nobody measured."""
    return {key for key in net.state_dict().keys() - settled_tensors(net) if not key.endswith(COUNTERS)}


def _held(part: nn.Module) -> list[tuple[str, Tensor]]:
    """The tensors that a module holds itself, by name."""
    return [*part.named_parameters("", recurse=False), *part.named_buffers("", recurse=False)]


def _settled(part: nn.Module) -> frozenset[str]:
    noted: frozenset[str] = vars(part).get("settled", frozenset())
    return noted


def _tensors(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) != 1)}"


def _few(names: tuple[str, ...]) -> str:
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more
