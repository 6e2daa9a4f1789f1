"""Entries of timm's networks, one for each tag of its own metadata (Wightman 2019)."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from zoo.common.crops import Interpolation
from zoo.common.download import Address
from zoo.common.words import muted
from zoo.models._entry import Weights
from zoo.models._registry import BACKBONE, TIMM


@functools.cache
def timms(name: str) -> Sequence[Weights]:
    """List the entries of one of timm's networks, `timm/NAME` or `timm/NAME.TAG`, its default first; of `backbone` all."""
    import timm

    if name == BACKBONE:
        parted = (each.partition(".") for each in timm.list_pretrained())
        return [entry for network, _, tag in parted if (entry := _entry_of(network, tag))]
    network, dot, tag = name.removeprefix(TIMM).partition(".")
    if not name.startswith(TIMM) or not timm.is_model(network):
        return []
    tags = [tag] if dot else [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
    default = timm.get_pretrained_cfg(network)
    found = [entry for each in tags if (entry := _entry_of(network, each))]
    return sorted(found, key=lambda entry: entry.tag != f"{TIMM}{network}.{default.tag if default else ''}")


def _entry_of(network: str, tag: str) -> Weights | None:
    """None where there is no such tag, nothing is published, or pictures are padded, which no data set here does."""
    import timm

    called = f"{network}.{tag}"
    try:
        config = timm.get_pretrained_cfg(called)
    except RuntimeError:
        return None
    addresses = _addresses(config) if config else ()
    if config is None or not addresses or config.crop_mode == "border":
        return None
    height, width = (math.floor(extent / config.crop_pct) for extent in config.input_size[1:])
    names = _class_names(config.num_classes)
    return Weights(
        model=BACKBONE,
        tag=TIMM + called,
        source=config.origin_url or f"https://huggingface.co/{config.hf_hub_id or 'timm'}",
        licence=config.license or "not stated",
        input_shape=tuple(config.input_size),
        resize=(height, width) if config.crop_mode == "squash" else min(height, width),
        interpolation=cast(Interpolation, config.interpolation),
        mean=tuple(config.mean),
        std=tuple(config.std),
        class_names=names,
        num_classes=config.num_classes,
        parameters=None,
        multiply_adds=None,
        accuracies=(),
        addresses=addresses,
        arguments={BACKBONE: TIMM + called},
    )


def _addresses(config: Any) -> tuple[Address, ...]:
    """timm's own order: the hub, then the first release, whose file's name ends in its hash."""
    found = []
    if config.hf_hub_id:
        file = config.hf_hub_filename or "model.safetensors"
        found.append(Address(f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{file}"))
    if config.url and not config.custom_load:
        found.append(Address.hashed(config.url))
    return tuple(found)


@functools.cache
def _class_names(count: int) -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return ()
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(count))


def as_timm_reads(entry: Weights, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Take a file's tensors through timm's own loading, which renames those of first releases; as they are where timm refuses
    them, for then it is said what does not fit."""
    import timm

    called = str(entry.arguments[BACKBONE]).removeprefix(TIMM)
    try:
        with muted():
            net = timm.create_model(called, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(tensors)})
    except (RuntimeError, KeyError, ValueError):
        return tensors
    state: Mapping[str, Tensor] = net.state_dict()
    return state
