"""Weights from files: what is in one, what of it fits a network, and what is said about the rest."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.models._inflate import repeat

NET = "net."
"""Prefix of the network's tensors in a checkpoint of ours: the task calls its network `net`."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, a pickled state dict, or a checkpoint (of ours, or with a `state_dict` key).

    Only tensors and plain values are ever unpickled: a file with code in it is refused without running it. Raises
    ValueError in one sentence.
    """
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}. Check the path.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}.") from None
    content = read_pickle(path)
    tensors = content.get("state_dict", content)
    if not isinstance(tensors, dict):
        raise ValueError(f"{path} holds no state dict: its entry state_dict is a {type(tensors).__name__}.")
    ours = {key.removeprefix(NET): value for key, value in tensors.items() if key.startswith(NET)}
    return {key: value for key, value in (ours or tensors).items() if isinstance(value, Tensor)}


def read_pickle(path: Path) -> dict[str, object]:
    """A dictionary of tensors and plain values from a file of `torch.save`; anything else is refused, never run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error):
            raise ValueError(
                f"{path} holds something other than tensors and plain values, which could run code, so it was not loaded. "
                f"Ask its maker for a state dict or a .safetensors file."
            ) from None
        raise ValueError(f"{path} is not a checkpoint: {error}.") from None
    except (RuntimeError, EOFError, zipfile.BadZipFile, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise ValueError(f"{path} is damaged or not a checkpoint ({reason}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, where a state dict or a checkpoint was expected.")
    return content


def translated(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors under our names, where a publisher's fit better by the network's `renames`."""
    renames: Mapping[str, str] = getattr(net, "renames", {})

    def ours(key: str) -> str:
        return next((new + key.removeprefix(old) for old, new in renames.items() if key.startswith(old)), key)

    known = net.state_dict().keys()
    mapped = {ours(key): value for key, value in tensors.items()}
    return mapped if len(known & mapped.keys()) > len(known & tensors.keys()) else tensors


def load_fitting(net: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load what fits by name and shape; return a line for each tensor of the network that keeps its own values.

    Three things are made to fit: a fully connected layer that was published as a convolution, or the reverse; a 2-D kernel
    for an inflated convolution; and the first kernel for another number of input channels.
    """
    own = net.state_dict()
    tensors = dict(translated(net, tensors))
    first = next((key for key, value in own.items() if key.endswith("weight") and value.dim() > 3), None)
    for key, value in tensors.items():
        if key in own and value.shape != own[key].shape:
            if 2 in (value.dim(), own[key].dim()) and value.flatten(1).shape == own[key].flatten(1).shape:
                tensors[key] = value.reshape(own[key].shape)
            elif own[key].dim() == 5 and value.dim() == 4 and value.shape[2:] == own[key].shape[3:]:
                tensors[key] = repeat(value, own[key].shape[2])
            kernel = tensors[key]
            if key == first and kernel.shape[2:] == own[key].shape[2:] and kernel.shape[1] != own[key].shape[1]:
                tensors[key] = for_channels(kernel, own[key].shape[1])
    fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict(fitting, strict=False)
    return [
        f"{key} {tuple(own[key].shape)}" + (f", not {tuple(tensors[key].shape)}" if key in tensors else ", not in the file")
        for key in own
        if key not in fitting
    ]


def for_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """(O, C, ...) -> (O, in_chans, ...): the mean over the colours, repeated, and scaled so that a grey input has the same
    response (cross-modality initialisation: Wang et al. 2016, "Temporal segment networks", section 3.2; for one channel it
    is the sum over the colours)."""
    mean = kernel.mean(1, keepdim=True) * (kernel.shape[1] / in_chans)
    return mean.expand(-1, in_chans, *kernel.shape[2:])


def load_pretrained(net: nn.Module, path: Path, name: str) -> None:
    """Start a network from a file of weights, keeping fresh what does not fit, and say so.

    Weights of another network are refused: those of which less than half of the tensors fit, measured by the network's or
    the file's, whichever are fewer. (VGG-16 is a small part of DeconvNet, but all of it goes in.)
    """
    tensors = read_tensors(path)
    fresh = load_fitting(net, tensors)
    total = len(net.state_dict())
    if 2 * (total - len(fresh)) < min(total, len(tensors)):
        raise ValueError(
            f"{path} does not hold weights of {name}: {total - len(fresh)} of its {total} tensors are there in the right shape."
        )
    if fresh:
        warnings.warn(f"{path}: {len(fresh)} tensors of {name} start afresh: {'; '.join(fresh)}.", stacklevel=3)
