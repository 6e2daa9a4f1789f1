"""Entries made of torchvision's own metadata, so that no figure is typed by hand."""

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from zoo.common.download import Address
from zoo.models._entries_timm import timms
from zoo.models._entry import Accuracy, Weights
from zoo.models._registry import BACKBONE, TIMM

DETECTORS = {
    "faster_rcnn": "fasterrcnn_resnet50_fpn",
    "mask_rcnn": "maskrcnn_resnet50_fpn",
    "keypoint_rcnn": "keypointrcnn_resnet50_fpn",
}
"""A model's name here to torchvision's, where they differ."""
SEGMENTERS = ("fcn_resnet50", "fcn_resnet101")
CLASSIFIERS = ("alexnet", "vgg", "resnet")
"""How the names of networks begin that are called alike."""
CLIPS = ("r3d",)
_SETS = {"COCO-val2017": ("coco", "test", ""), "Kinetics-400": ("kinetics", "test", "Kinetics-400's validation set: ")}
"""What torchvision calls a split that a data set of this project has, which calls it otherwise; and what that is."""
_METRICS = {"box_map": "box_ap", "mask_map": "mask_ap", "kp_map": "keypoint_ap", "pixel_acc": "pixel_accuracy"}


def torchvisions(name: str) -> Sequence[Weights]:
    """List the entries of torchvision's network of this name, without those that have no classifier."""
    import torchvision

    if not (name in DETECTORS or name in SEGMENTERS or name.startswith((*CLASSIFIERS, *CLIPS))):
        return []
    kinds = torchvision.models.get_model_weights(DETECTORS.get(name, name))
    default = kinds["DEFAULT"]
    complete = [each for each in kinds if each.meta.get("categories")]
    return [entry_of(name, each) for each in sorted(complete, key=lambda each: each is not default)]


@functools.cache
def torchvisions_backbones(name: str) -> Sequence[Weights]:
    """List the entries of one of torchvision's classification networks that is no model here, its default first; of `backbone`
    all of them."""
    import torchvision

    known = torchvision.models.list_models(torchvision.models)
    if name == BACKBONE:
        return [entry for each in known for entry in torchvisions_backbones(each)]
    if name not in known:
        return []
    kinds = torchvision.models.get_model_weights(name)
    complete = [each for each in kinds if each.meta.get("categories")]
    return [_of_backbone(name, each) for each in sorted(complete, key=lambda each: each is not kinds["DEFAULT"])]


def _of_backbone(name: str, weights: Any) -> Weights:
    entry = entry_of(name, weights)
    if name in ("googlenet", "inception_v3"):  # they normalize again inside: both together are a mean and a deviation of a half
        entry = replace(entry, mean=(0.5,) * 3, std=(0.5,) * 3)
    return replace(entry, model=BACKBONE, tag=f"{name}.{entry.tag}", arguments={BACKBONE: name})


def as_torchvision_reads(entry: Weights, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename what torchvision renames as it loads: DenseNet's layers, in files of its first release."""
    if not str(entry.arguments[BACKBONE]).startswith("densenet"):
        return tensors
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", key): each for key, each in tensors.items()}


def entry_of(name: str, weights: Any) -> Weights:
    """One member of an enumeration of torchvision's as the entry of a model here."""
    meta = weights.meta
    kinds = {_detected: name in DETECTORS, _segmented: name in SEGMENTERS, _filmed: name.startswith(CLIPS), _classified: True}
    read = next(kind for kind, fits in kinds.items() if fits)(weights)
    protocol = read.pop("protocol")
    figures = []
    for theirs, metrics in meta["_metrics"].items():
        data, split, what = _SETS.get(theirs, (theirs, "val", ""))
        for metric, value in metrics.items():
            called = _METRICS.get(metric, metric.replace("acc@", "top-"))
            figures.append(Accuracy(called, data, split, value, what + protocol))
    return Weights(
        **{"class_names": tuple(meta["categories"]), **read},
        model=name,
        tag=weights.name.lower(),
        source=meta["recipe"],
        licence="BSD-3-Clause",
        num_classes=len(meta["categories"]) - (name in DETECTORS),
        parameters=meta["num_params"],
        multiply_adds=round(meta["_ops"] * 1e9),
        accuracies=tuple(figures),
        addresses=(Address.hashed(weights.url), *_mirrors(name, weights)),
    )


def _scaled(preset: Any) -> dict[str, Any]:
    """What the presets of all networks of whole or cut pictures state."""
    return {
        "resize": preset.resize_size[0],
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
        "antialias": getattr(preset, "antialias", False),  # clips' preset has none
    }


def _classified(weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    crop, resize, how = preset.crop_size[0], preset.resize_size[0], preset.interpolation.value
    protocol = f"short side {resize}, {how}, 1 centre crop of {crop}; torchvision's own figure"
    return {"input_shape": (3, crop, crop), "protocol": protocol, **_scaled(preset)}


def _segmented(weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    edge = preset.resize_size[0]
    return {
        "task": "segmentation",
        "input_shape": (3, edge, edge),
        "whole": True,
        "protocol": f"whole images, short side {edge}, {preset.interpolation.value}; torchvision's own figure",
        **_scaled(preset),
    }


def _filmed(weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    said = {key: int(value) for key, value in re.findall(r"`(\w+)=(\d+)`", weights.meta["_docs"])}  # nowhere else as a value
    rate, clips, frames = said["frame_rate"], said["clips_per_video"], said["clip_len"]
    resize, crop = tuple(preset.resize_size), tuple(preset.crop_size)
    how = f"{clips} clips of {frames} frames, {rate} a second, {resize[0]} x {resize[1]} pixels, 1 centre crop of {crop[0]}"
    return {
        "task": "video_classification",
        "input_shape": (3, frames, *crop),
        "protocol": f"{how}; torchvision's own figure",
        "rate": float(rate),
        "views": {"clips": clips},
        **_scaled(preset),
        "resize": resize,
    }


def _detected(weights: Any) -> dict[str, Any]:
    """A detector scales and normalizes by itself in torchvision: by the defaults of its constructor, and of its transform."""
    from pycocotools.cocoeval import Params
    from torchvision.models.detection import FasterRCNN

    stated = {name: each.default for name, each in inspect.signature(FasterRCNN).parameters.items()}
    short, long = stated["min_size"], stated["max_size"]
    names = tuple(weights.meta["categories"][1:])  # the first is the background
    points = weights.meta.get("keypoint_names", [])
    masked = any("mask_map" in metrics for metrics in weights.meta["_metrics"].values())
    facts: Mapping[str, Any] = {
        "category_ids": list(range(1, len(names) + 1)),
        "fields": ["boxes", *["masks"] * masked, *["keypoints"] * bool(points)],
        "keypoint_names": list(points),
        "keypoint_sigmas": Params("keypoints").kpt_oks_sigmas.tolist() if points else [],
        "num_keypoints": len(points),
    }
    return {
        "task": "detection",
        "class_names": names,
        "input_shape": (3, short, long),
        "resize": short,
        "limit": long,
        "whole": True,
        "antialias": False,
        "mean": tuple(stated["image_mean"] or (0.485, 0.456, 0.406)),
        "std": tuple(stated["image_std"] or (0.229, 0.224, 0.225)),
        # After loading COCO_V1, and nothing else, torchvision sets the eps of every BatchNorm to 0.
        "arguments": {"norm": "frozen", "norm_eps": 0.0 if weights.name == "COCO_V1" else None},
        "facts": facts,
        "protocol": f"whole images, short side {short}, long side at most {long}, bilinear; torchvision's own figure",
    }


def _mirrors(name: str, weights: Any) -> Sequence[Address]:
    """timm's copy of the same weights, as timm's own metadata name it; a safetensors file without a published hash."""
    if weights.name != "IMAGENET1K_V1":
        return ()
    return tuple(address for entry in timms(f"{TIMM}{name}.tv_in1k") for address in entry.addresses[:1])
