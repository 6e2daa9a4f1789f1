"""Any classification network of torchvision or timm (Wightman 2019), by its name there, as a `Classifier`."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from zoo.common.words import nearest
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import TIMM, register


@register
def backbone(
    backbone: str = "timm/resnet18",
    num_classes: int = 1000,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 224, 224),
) -> Classifier:
    """A network by name.

    Args:
        backbone: `timm/NAME`, `timm/NAME.TAG` with the tag of weights that `pretrained=True` takes, or the name of one of
            torchvision's.
        input_shape: (C, H, W); it sizes those of timm's networks that are made for one size.
    """
    if backbone.startswith(TIMM):
        return _from_timm(backbone.removeprefix(TIMM), num_classes, in_chans, input_shape)
    return _from_torchvision(backbone, num_classes, in_chans)


def _from_timm(name: str, num_classes: int, in_chans: int, input_shape: Sequence[int]) -> Classifier:
    import timm

    if not timm.is_model(name):
        raise ValueError(f"There is no timm network {name!r}; {nearest(name, timm.list_models())}")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        network, _, tag = name.partition(".")
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
        raise ValueError(f"timm's {network} has no weights {tag!r}; {nearest(tag, tags)}") from None
    sized: dict[str, Any] = {"img_size": tuple(input_shape[1:])} if config is not None and config.fixed_input_size else {}
    net: Any = timm.create_model(name, num_classes=max(1, num_classes), in_chans=in_chans, **sized)
    head = net.default_cfg.get("classifier")
    if not isinstance(head, str) or not isinstance(net.get_submodule(head), nn.Linear):
        raise ValueError(f"{TIMM}{name} does not end in one linear layer, so its head cannot be replaced. Choose another.")
    info = getattr(net, "feature_info", None)
    stages = info if isinstance(info, list) else info.info if info else []
    blocks = tuple(dict.fromkeys(stage["module"] for stage in stages)) or _children(net)
    return wrapped(net, head, num_classes, in_chans, blocks)


def _from_torchvision(name: str, num_classes: int, in_chans: int) -> Classifier:
    import torchvision

    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise ValueError(f"There is no torchvision network {name!r}; {nearest(name, known)} Those of timm are {TIMM}NAME.")
    # The side outputs of GoogLeNet and Inception serve the training of 2014 and would change what a forward returns.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    net: nn.Module = torchvision.models.get_model(name, num_classes=max(1, num_classes), **extra)
    return headless(net, name, num_classes, in_chans)


def headless(net: nn.Module, name: str, num_classes: int, in_chans: int) -> Classifier:
    """Turn a network that ends in one linear layer into a `Classifier` with that head."""
    last = [(place, module) for place, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1:]
    if not last or not isinstance(last[0][1], nn.Linear):
        raise ValueError(f"{name} does not end in one linear layer, so its head cannot be replaced. Choose another.")
    return wrapped(net, last[0][0], num_classes, in_chans, _children(net))


def _children(net: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, child in net.named_children() if any(True for _ in child.parameters()))
