"""The backbone of a detector: a 2-D network, cut into a feature pyramid."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._extract import extracted
from zoo.models._frames import build_2d
from zoo.models._weights import fresh_tensors, settle

Norm = Literal["batch", "frozen"]

_PROBE = 224
"""Edge of the image by which a backbone's maps are measured; networks made for one size are made for this one."""


class Pyramid(nn.Module):
    """A network's maps, one a stride, joined from the deepest up (Lin et al. 2017, "Feature pyramid networks"); then one
    level more, pooled. Names of tensors are torchvision's.

    Args:
        body: image -> maps, named "0", "1", ..., shallow to deep.
        depths: their channels.
        out_channels: of every level.
        renames: how weights of the whole network call what is the body of a detector's backbone; see `Classifier`.
    """

    def __init__(self, body: nn.Module, depths: Sequence[int], out_channels: int, renames: Mapping[str, str]) -> None:
        super().__init__()
        self.body = body
        self.renames = renames
        self.fpn = FeaturePyramidNetwork(list(depths), out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels: dict[str, Tensor] = self.fpn(self.body(x))
        return levels


def pyramid(
    backbone: str | nn.Module,
    in_chans: int,
    levels: int,
    channels: int,
    trained: int | None,
    norm: Norm,
    norm_eps: float | None,
    weights: str | bool | None,
) -> nn.Module:
    """Cut a 2-D network, by name or as it is, into a feature pyramid.

    Args:
        backbone: the name of a network of this package, else of torchvision, else `timm/NAME`; or a network, which is copied;
            or a pyramid already, a module with `out_channels`, which is returned.
        levels: how many strides from 4 on, the deepest map of each.
        channels: of every level.
        trained: how many levels' layers train, from the deepest; the stem belongs to the first. None is all.
        norm: "frozen" makes BatchNorm a fixed scale and shift; what does not train has it frozen in any case.
        norm_eps: of BatchNorm, where it is not the backbone's own.
        weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.

    Raises:
        ValueError: the network has too few strides, or cannot be cut.
    """
    check_choice("norm", norm, Norm)
    if isinstance(backbone, nn.Module) and hasattr(backbone, "out_channels"):
        return backbone
    net = build_2d(backbone, in_chans, (in_chans, 1, _PROBE, _PROBE), None, weights=weights)
    blocks = _blocks(net, levels)
    try:
        body = extracted(net.features, {block: str(at) for at, block in enumerate(blocks)})
    except (torch.fx.proxy.TraceError, TypeError, ValueError) as error:
        raise ValueError(f"The backbone {backbone} cannot be cut, as torch.fx cannot trace it: {error}.") from error
    for module in body.modules():
        if isinstance(module, _BatchNorm) and norm_eps is not None:
            module.eps = norm_eps
    if trained is not None:
        if not 0 <= trained <= levels:
            raise ValueError(f"model.trained is {trained}, but there are {levels} levels: give 0 to {levels}, or null for all.")
        _freeze(body, in_chans, levels - trained)
    if norm == "frozen":
        body = _fixed(body)
    fresh = {key.removeprefix("features.") for key in fresh_tensors(net)}
    settle(body, [key for key in body.state_dict() if key not in fresh])
    renames = {old: new.replace("features.", "backbone.body.", 1) for old, new in net.renames.items()}
    return Pyramid(body, list(blocks.values()), channels, renames | {"": "backbone.body."})


def _blocks(net: Classifier, levels: int) -> dict[str, int]:
    """Find the deepest block of each stride from 4 on, and its channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, maps in _maps(net).items():
        if maps.dim() == 4 and maps.shape[2] == maps.shape[3]:  # (B, H, W, C) is no map
            shapes[name] = tuple(maps.shape)
    deepest = {shape[2]: name for name, shape in shapes.items() if shape[2] <= _PROBE // 4}
    names = sorted(deepest.values(), key=list(shapes).index)[:levels]
    if len(names) < levels:
        raise ValueError(
            f"The backbone has maps of {len(names)} strides from 4 on, but {levels} levels are asked for. Choose another, or "
            f"set model.levels."
        )
    return {name: shapes[name][1] for name in names}


def _maps(net: Classifier) -> dict[str, Tensor]:
    """Return the outputs of the named blocks, and of the parts of those that are `nn.Sequential`, as they are computed."""
    inner = [f"{name}.{part}" for name in net.blocks for part in _row(net.features.get_submodule(name))]
    training, parameter = net.training, next(net.parameters())
    with torch.no_grad():
        image = parameter.new_zeros(1, net.in_chans, _PROBE, _PROBE)
        maps = net.eval().forward_blocks(image, [*net.blocks, *inner])
    net.train(training)
    return maps


def _row(block: nn.Module) -> list[str]:
    return [name for name, _ in block.named_children()] if isinstance(block, nn.Sequential) else []


def _freeze(body: nn.Module, in_chans: int, levels: int) -> None:
    """Freeze the layers that compute the first levels' maps; autograd knows which these are."""
    if not levels:
        return
    training, parameters = body.training, [each for each in body.parameters() if each.requires_grad]
    with torch.enable_grad():
        maps = body.eval()(parameters[0].new_zeros(1, in_chans, _PROBE, _PROBE))
        used = torch.autograd.grad(maps[str(levels - 1)].sum(), parameters, allow_unused=True)
    body.train(training)
    for parameter, gradient in zip(parameters, used, strict=True):
        parameter.requires_grad_(gradient is None)
    for module in list(body.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not any(parameter.requires_grad for parameter in child.parameters()):
                setattr(module, name, _fixed(child))


def _fixed(module: nn.Module) -> nn.Module:
    """Make every BatchNorm a fixed scale and shift: no gradient, no decay, no statistics."""
    fixed: nn.Module = freeze_batch_norm_2d(module)  # type: ignore[no-untyped-call]  # timm leaves it bare
    return fixed
