"""What the networks composed of a 2-D one share: that network by name, its maps, and its results frame by frame."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Concatenate

import torch
from torch import Tensor, nn

from zoo.common.words import nearest
from zoo.models._arguments import Stem
from zoo.models._base import Classifier, first_convolution
from zoo.models._extract import extracted
from zoo.models._inflate import fold
from zoo.models._list import list_models
from zoo.models._registry import Arguments, Net, bound, get_builder, presented
from zoo.models._start import load_backbone
from zoo.models.backbone import backbone as from_library
from zoo.models.backbone import headless

SMALL = 64
"""Frames of fewer pixels than this get a backbone's small stem, where it has one and none is asked for."""


def stem_for(shape: Sequence[int]) -> Stem:
    """Choose the stem of a network that reads samples of this shape."""
    return "small" if min(shape[-2:]) < SMALL else "imagenet"


@dataclass(frozen=True)
class Clips:
    """The arguments of every network that is composed of a 2-D one, which `composed` puts in front of its own."""

    num_classes: int = 487
    in_chans: int = 3
    input_shape: Sequence[int] = (3, 16, 112, 112)
    """(C, T, H, W)."""
    backbone: str | nn.Module = "resnet18"
    stem: Stem | None = None
    backbone_weights: str | bool | None = None
    """What a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run."""

    @property
    def frames(self) -> int:
        return self.input_shape[1]

    def build_2d(self, in_chans: int | None = None, num_classes: int = 0, stacked: int = 1) -> Classifier:
        """Build the 2-D network; it reads the clips' channels unless others are given, of so many frames together."""
        channels = stacked * (self.in_chans if in_chans is None else in_chans)
        return build_2d(
            self.backbone, channels, self.input_shape, self.stem, num_classes, weights=self.backbone_weights, stacked=stacked
        )

    def classifier(
        self,
        features: nn.Module | Mapping[str, nn.Module],
        num_features: int,
        blocks: tuple[str, ...],
        renames: Mapping[str, str],
    ) -> Classifier:
        """Build a `Classifier` of these features."""
        return Classifier(
            features,
            num_features=num_features,
            num_classes=self.num_classes,
            in_chans=self.in_chans,
            blocks=blocks,
            renames=renames,
        )


def composed(**defaults: Any) -> Callable[[Callable[Concatenate[Clips, Arguments], Net]], Callable[..., Net]]:
    """Decorate a builder of `Clips` and arguments of its own: it is called with the fields of `Clips`, then with its own.

    Args:
        defaults: those that are not the ones of `Clips`.
    """

    def decorate(builder: Callable[Concatenate[Clips, Arguments], Net]) -> Callable[..., Net]:
        told, fields = inspect.signature(builder), inspect.signature(Clips).parameters.values()
        shared = [each.replace(default=defaults.get(each.name, each.default)) for each in fields]
        last = shared.pop()  # it came to be after the builders' own arguments, which may be given by their place
        signature = told.replace(parameters=[*shared, *[*told.parameters.values()][1:], last])

        def built(*args: Any, **kwargs: Any) -> Any:
            own = bound(signature, builder.__name__, args, kwargs)
            clips = Clips(**{each.name: own.pop(each.name) for each in (*shared, last)})
            return builder(clips, **own)  # type: ignore[call-arg]

        network: Callable[..., Net] = presented(built, builder, signature)
        return network

    return decorate


def build_2d(
    backbone: str | nn.Module,
    in_chans: int,
    input_shape: Sequence[int],
    stem: Stem | None,
    num_classes: int = 0,
    *,
    weights: object = None,
    stacked: int = 1,
) -> Classifier:
    """Build the 2-D network that a video network is composed of; without a head, unless `num_classes` asks for one.

    Args:
        backbone: the name of a network of this package, else of torchvision, else `timm/NAME`; or a network, which is copied: a
            `Classifier`, or one that ends in one linear layer, which is taken off.
        in_chans: channels that it reads.
        input_shape: (C, T, H, W) of a clip; the frames' size is taken from it.
        stem: "small" of a backbone that has one (resnet*), or "imagenet", which is what all others have; None is "small"
            where there is one and frames have fewer than 64 pixels.
        weights: what a network by name starts from; see `load_backbone`.
        stacked: how many frames the channels are of.

    Raises:
        ValueError: there is no such network, it reads clips or other channels, has no small stem, or there are no such weights.
    """
    net = _built(backbone, in_chans, (in_chans, *input_shape[2:]), stem, num_classes)
    vars(net)["stacked"] = stacked
    load_backbone(net, backbone, weights)
    return net


def _built(backbone: str | nn.Module, in_chans: int, frame: Sequence[int], stem: Stem | None, num_classes: int) -> Classifier:
    if isinstance(backbone, nn.Module):
        if stem == "small":
            raise ValueError(f"stem={stem} is for a backbone by name; a {type(backbone).__name__} has its own. Set it to null.")
        return _copied(backbone, in_chans, num_classes)
    if not isinstance(backbone, str):
        raise ValueError(f"backbone is {backbone!r}; it must be the name of a 2-D network, or one.")
    registered = backbone in list_models()
    builder: Any = get_builder(backbone) if registered else from_library
    known = inspect.signature(builder).parameters
    if "num_classes" not in known or "in_chans" not in known:
        raise ValueError(f"{backbone} is not a classification network, so it cannot be a backbone.")
    shape = known.get("input_shape")
    if shape is not None and len(shape.default) != 3:
        raise ValueError(f"{backbone} reads clips; a backbone must read images, like resnet18.")
    arguments: dict[str, Any] = {"num_classes": num_classes or 1, "in_chans": in_chans}
    if not registered:
        arguments["backbone"] = backbone
    if shape is not None:
        arguments["input_shape"] = frame
    if "stem" in known:
        arguments["stem"] = stem or stem_for(frame)
    elif stem == "small":
        raise ValueError(f"{backbone} has no small stem; set stem to null.")
    net = builder(**arguments)
    if not isinstance(net, Classifier):
        raise ValueError(f"{backbone} is not a classification network, so it cannot be a backbone.")
    if not num_classes:
        net.reset_classifier(0)
    return net


def _copied(backbone: nn.Module, in_chans: int, num_classes: int) -> Classifier:
    """Copy a network, with its head where that has as many classes."""
    reads = backbone.in_chans if isinstance(backbone, Classifier) else first_convolution(backbone)[1].in_channels
    if reads != in_chans:
        raise ValueError(f"The backbone reads {reads} channels, but it is fed {in_chans}. Build it with in_chans={in_chans}.")
    net = deepcopy(backbone)
    if not isinstance(net, Classifier):
        return headless(net, type(backbone).__name__, num_classes, in_chans)
    if net.num_classes != num_classes:
        net.reset_classifier(num_classes)
    return net


class _Maps(nn.Module):
    """A 2-D network up to one of its layers; what comes later is gone."""

    def __init__(self, features: nn.Module, block: str) -> None:
        super().__init__()
        self.net: nn.Module = extracted(features, {block: "map"})

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)["map"]
        return found


def maps_of(net: Classifier, input_shape: Sequence[int], block: str | None) -> tuple[nn.Module, tuple[int, int, int]]:
    """Cut a network after the maps, (B, C, h, w), of one of `net.blocks` (None: the deepest that has any), and the
    maps' shape for frames of a clip of `input_shape`. Raises ValueError where there is no such block or no maps."""
    if block is not None and block not in net.blocks:
        raise ValueError(f"The backbone has no block {block!r}; {nearest(block, net.blocks)}")
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: object, out: object) -> None:
            if isinstance(out, Tensor):
                shapes[name] = tuple(out.shape)

        return hook

    hooks = [net.features.get_submodule(name).register_forward_hook(note(name)) for name in net.blocks]
    training, parameter = net.training, next(net.parameters())
    with torch.no_grad():
        net.eval().features(parameter.new_zeros(1, net.in_chans, *input_shape[2:]))
    net.train(training)
    for each in hooks:
        each.remove()
    having = [name for name in net.blocks if len(shapes.get(name, ())) == 4]
    if block is None and having:
        block = having[-1]
    if block not in having:
        raise ValueError(f"The backbone's block {block} has no maps (B, C, h, w) to look at. Choose another of {having}.")
    try:
        maps = _Maps(net.features, block)
    except (torch.fx.proxy.TraceError, TypeError, ValueError) as error:
        raise ValueError(f"The backbone cannot be cut after {block}, as torch.fx cannot trace it: {error}.") from error
    channels, height, width = shapes[block][1:]
    return maps, (channels, height, width)


def check_clips(clips: Tensor, frames: int | None) -> None:
    """Refuse what is not (B, C, T, H, W), and another T than the network was built for."""
    if clips.dim() != 5:
        raise ValueError(f"A video network reads (B, C, T, H, W) clips, but got {tuple(clips.shape)}.")
    if frames is not None and clips.shape[2] != frames:
        raise ValueError(
            f"The network was built for clips of {frames} frames, but got {clips.shape[2]}. Build it with their input_shape."
        )


class Checked(nn.Module):
    """Refuse clips of other than `frames` frames; return the others as they are."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.frames)
        return clips


class Frames(nn.Module):
    """A 2-D network on each frame: (B, C, T, H, W) -> (B, T, ...). `frames` is the T it was built for, None any."""

    frames_first = True
    """It gives (B, T, ...), where maps of clips are (B, c, T, ...)."""

    def __init__(self, net: nn.Module, frames: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.frames = frames

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.frames)
        out: Tensor = self.net(fold(clips))
        return out.reshape(clips.shape[0], clips.shape[2], *out.shape[1:])


class Mean(nn.Module):
    """Mean over some axes."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)


def prefixed_renames(net: Classifier, prefix: str) -> dict[str, str]:
    """Return the `renames` of a network whose features are the part `prefix` of another one's features."""
    renames = {old: new.replace("features.", f"features.{prefix}.", 1) for old, new in net.renames.items()}
    return renames | {"": f"features.{prefix}."}


def prefixed_blocks(net: Classifier, prefix: str) -> tuple[str, ...]:
    """Return the `blocks` of such a network."""
    return tuple(f"{prefix}.{block}" for block in net.blocks)
