"""Late fusion: a 2-D network on each frame, its features joined at the end (the lectures' form, of all T frames: UW CSE
576 2020, lecture 11; Karpathy et al. 2014, section 3.1, join two frames 15 apart).

Concatenated and read by an MLP, features can tell the order of frames. Averaged, they cannot.
"""

from typing import Literal

from torch import nn

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._frames import Clips, Frames, Mean, composed, prefixed_blocks, prefixed_renames
from zoo.models._registry import register

Fusion = Literal["fc", "pool"]


@register
@composed()
def late_fusion(
    clips: Clips,
    fusion: Fusion = "fc",
    hidden: int = 512,
) -> Classifier:
    """A 2-D network on all frames, features concatenated (fc) or averaged (pool).

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); with "fc" T sizes the MLP, and clips of another length are refused.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        fusion: "fc": features of all frames, concatenated, into an MLP; "pool": their mean over time (the backbone's is
            over space already) into the linear head, which is blind to order.
        hidden: width of the MLP.
    """
    check_choice("fusion", fusion, Fusion)
    net = clips.build_2d()
    blocks, renames = prefixed_blocks(net, "frames.net"), prefixed_renames(net, "frames.net")
    if fusion == "pool":
        return clips.classifier({"frames": Frames(net.features), "pool": Mean(1)}, net.num_features, blocks, renames)
    layers = {
        "frames": Frames(net.features, clips.frames),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(clips.frames * net.num_features, hidden),
        "relu": nn.ReLU(inplace=True),
    }
    return clips.classifier(layers, hidden, (*blocks, "relu"), renames)
