"""Entries of networks of clips made of torchvision's own metadata."""

import re
from collections.abc import Sequence
from typing import Any

from zoo.common.download import Address
from zoo.models._entry import Accuracy, Weights

_READ = {"Kinetics-400": ("kinetics", "test", "Kinetics-400's validation set")}
"""Data sets as torchvision calls them: as this project reads them, the split, and what that is."""


def torchvisions_of_clips(name: str) -> Sequence[Weights]:
    """List the entries of torchvision's network of this name, its default first."""
    import torchvision

    if name not in torchvision.models.list_models(torchvision.models.video):
        return []
    kinds = torchvision.models.get_model_weights(name)
    return [_from_torchvision(name, each) for each in sorted(kinds, key=lambda each: each is not kinds["DEFAULT"])]


def _from_torchvision(name: str, weights: Any) -> Weights:
    preset, meta = weights.transforms(), weights.meta
    said = {key: int(value) for key, value in re.findall(r"`(\w+)=(\d+)`", meta["_docs"])}  # nowhere else as a value
    rate, clips, frames = said["frame_rate"], said["clips_per_video"], said["clip_len"]
    resize, crop = tuple(preset.resize_size), tuple(preset.crop_size)
    how = (
        f"{clips} clips of {frames} frames, {rate} a second, {resize[0]} x {resize[1]} pixels, 1 centre crop of {crop[0]}; "
        f"torchvision's own figure"
    )
    figures = []
    for data, metrics in meta["_metrics"].items():
        read, split, what = _READ.get(data, (data, "val", "the validation set"))
        figures += [
            Accuracy(each.replace("acc@", "top-"), read, split, value, f"{what}: {how}") for each, value in metrics.items()
        ]
    return Weights(
        model=name,
        tag=weights.name.lower(),
        source=meta["recipe"],
        licence="BSD-3-Clause",
        input_shape=(3, frames, *crop),
        resize=resize,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        class_names=tuple(meta["categories"]),
        num_classes=len(meta["categories"]),
        parameters=meta["num_params"],
        multiply_adds=round(meta["_ops"] * 1e9),
        accuracies=tuple(figures),
        addresses=(Address(weights.url, weights.url.rpartition("-")[2].partition(".")[0]),),
        task="video_classification",
        rate=float(rate),
        antialias=False,  # said by the preset's code alone
        views={"clips": clips},
    )
