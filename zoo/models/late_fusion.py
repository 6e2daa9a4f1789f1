"""Late fusion: a 2-D network on each frame, its features joined at the end (the lectures' form, of all T frames: UW CSE
576 2020, lecture 11; Karpathy et al. 2014, section 3.1, join two frames 15 apart).

Concatenated and read by an MLP, features can tell the order of frames. Averaged, they cannot.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from zoo.models._base import Classifier
from zoo.models._frames import Frames, Mean, Stem, blocks_inside, build_2d, inside
from zoo.models._registry import register

Fusion = Literal["fc", "pool"]


@register
def late_fusion(
    num_classes: int = 487,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 112, 112),
    backbone: str | nn.Module = "resnet18",
    stem: Stem | None = None,
    fusion: Fusion = "fc",
    hidden: int = 512,
) -> Classifier:
    """A 2-D network on all frames, features concatenated (fc) or averaged (pool).

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); with "fc" T sizes the MLP, and clips of another length are refused.
        backbone: a 2-D network by name (ours, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        fusion: "fc": features of all frames, concatenated, into an MLP; "pool": their mean over time (the backbone's is
            over space already) into the linear head, which is blind to order.
        hidden: width of the MLP.
    """
    net = build_2d(backbone, in_chans, input_shape, stem)
    width, layers = net.num_features, {"frames": Frames(net.features, input_shape[1] if fusion == "fc" else None)}
    more: dict[str, nn.Module]
    if fusion == "fc":
        more = {"flatten": nn.Flatten(), "fc": nn.Linear(input_shape[1] * width, hidden), "relu": nn.ReLU(inplace=True)}
        width = hidden
    elif fusion == "pool":
        more = {"pool": Mean(1)}
    else:
        raise ValueError(f"fusion is {fusion!r}; there are fc and pool.")
    return Classifier(
        {**layers, **more},
        num_features=width,
        num_classes=num_classes,
        in_chans=in_chans,
        blocks=blocks_inside(net, "frames.net", *(["relu"] if fusion == "fc" else [])),
        renames=inside(net, "frames.net"),
    )
