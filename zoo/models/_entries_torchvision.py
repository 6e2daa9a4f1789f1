"""Entries made of torchvision's own metadata, so that no figure is typed by hand."""

from collections.abc import Sequence
from typing import Any

from zoo.common.download import Address
from zoo.models._entry import Accuracy, Weights


def torchvisions(name: str) -> Sequence[Weights]:
    """List the entries of torchvision's network of this name, its default first, without those that have no classifier."""
    import torchvision

    if not name.startswith(("alexnet", "vgg", "resnet")):
        return []
    kinds = torchvision.models.get_model_weights(name)
    default = kinds["DEFAULT"]
    complete = [each for each in kinds if each.meta.get("categories")]
    return [_from_torchvision(name, each) for each in sorted(complete, key=lambda each: each is not default)]


def _from_torchvision(name: str, weights: Any) -> Weights:
    preset, meta = weights.transforms(), weights.meta
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    protocol = f"short side {resize}, bilinear, 1 centre crop of {crop}; torchvision's own figure"
    figures = tuple(
        Accuracy(metric.replace("acc@", "top-"), data, "val", value, protocol)
        for data, metrics in meta["_metrics"].items()
        for metric, value in metrics.items()
    )
    # The published hash is the part of the file's name that PyTorch's own downloader checks.
    digits = weights.url.rpartition("-")[2].partition(".")[0]
    return Weights(
        model=name,
        tag=weights.name.lower(),
        source=meta["recipe"],
        licence="BSD-3-Clause",
        input_shape=(3, crop, crop),
        resize=resize,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        class_names=tuple(meta["categories"]),
        num_classes=len(meta["categories"]),
        parameters=meta["num_params"],
        multiply_adds=round(meta["_ops"] * 1e9),
        accuracies=figures,
        addresses=(Address(weights.url, digits), *_mirrors(name, weights)),
    )


def _mirrors(name: str, weights: Any) -> Sequence[Address]:
    """timm's copy of the same weights, as timm's own metadata name it; a safetensors file without a published hash."""
    import timm

    config = timm.get_pretrained_cfg(f"{name}.tv_in1k")
    if config is None or not config.hf_hub_id or weights.name != "IMAGENET1K_V1":
        return ()
    return (Address(f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"),)
