"""C3D: the VGG of 3-D networks, eight 3x3x3 convolutions and five poolings (Tran et al. 2015, "Learning spatiotemporal
features with 3D convolutional networks", figure 3)."""

from collections.abc import Sequence

from torch import nn

from zoo.models._arguments import check_extents
from zoo.models._base import Classifier, kaiming_init_
from zoo.models._registry import register

_STAGES = {  # convolutions of each stage: name, filters
    1: (("conv1", 64),),
    2: (("conv2", 128),),
    3: (("conv3a", 256), ("conv3b", 256)),
    4: (("conv4a", 512), ("conv4b", 512)),
    5: (("conv5a", 512), ("conv5b", 512)),
}


@register
def c3d(
    num_classes: int = 487,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 112, 112),
    norm: bool = False,
    dropout: float = 0.5,
    pool5_padding: bool = True,
) -> Classifier:
    """C3D; 78.41 M parameters and 38.55 G multiply-adds at 101 classes and 3x16x112x112.

    Args:
        num_classes: 487 is Sports-1M.
        in_chans: channels of a frame.
        input_shape: (C, T, H, W); it sizes FC6.
        norm: BatchNorm after each convolution, in place of its bias. The paper has none.
        dropout: after FC6 and FC7 (the paper, section 3.1, does not state it; the released model has 0.5).
        pool5_padding: the released model pads pool5 by 1 in space (4x4 at 112x112, FC6 8192 to 4096). Without, it is the
            geometry of the lectures (3x3, 4608 to 4096).
    """
    least = 16 if pool5_padding else 32
    check_extents("c3d", input_shape, (16, least, least))  # five poolings
    layers: dict[str, nn.Module] = {}
    extents = list(input_shape[1:])
    channels = in_chans
    for stage, convolutions in _STAGES.items():
        for name, width in convolutions:
            layers[name] = nn.Conv3d(channels, width, 3, padding=1, bias=not norm)
            if norm:
                layers[name.replace("conv", "norm")] = nn.BatchNorm3d(width)
            layers[name.replace("conv", "relu")] = nn.ReLU(inplace=True)
            channels = width
        # "The first pooling layer has kernel size 1 x 2 x 2, with the intention of not to merge the temporal signal too
        # early" (section 3.1); the others are 2 x 2 x 2.
        kernel = (1, 2, 2) if stage == 1 else (2, 2, 2)
        padding = (0, 1, 1) if stage == 5 and pool5_padding else (0, 0, 0)
        layers[f"pool{stage}"] = nn.MaxPool3d(kernel, padding=padding)
        extents = [(extent + 2 * pad) // step for extent, step, pad in zip(extents, kernel, padding, strict=True)]
    layers["flatten"] = nn.Flatten()
    features = channels * extents[0] * extents[1] * extents[2]
    for name in ("fc6", "fc7"):
        layers[name] = nn.Linear(features, 4096)
        layers[name.replace("fc", "relu")] = nn.ReLU(inplace=True)
        layers[name.replace("fc", "dropout")] = nn.Dropout(dropout)
        features = 4096
    blocks = (*(f"pool{stage}" for stage in _STAGES), "relu6", "relu7")
    net = Classifier(
        layers,
        num_features=features,
        num_classes=num_classes,
        in_chans=in_chans,
        blocks=blocks,
        # The released model's names, and mmaction2's of the same tensors.
        renames={
            "conv1a.conv.": "features.conv1.",
            "conv2a.conv.": "features.conv2.",
            **{f"{name}.conv.": f"features.{name}." for stage in (3, 4, 5) for name, _ in _STAGES[stage]},
            "fc8.": "head.",
            "": "features.",
        },
    )
    kaiming_init_(net.features, (nn.Conv3d, nn.Linear))
    return net
