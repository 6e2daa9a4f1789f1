"""RotNet's network-in-network (Gidaris, Singh and Komodakis 2018, "Unsupervised representation learning by predicting image
rotations", section 3.1; blocks of Lin, Chen and Yan 2014)."""

from torch import nn

from zoo.models._base import Classifier, kaiming_init_
from zoo.models._registry import register


@register
def rotnet(num_classes: int = 10, in_chans: int = 3, num_blocks: int = 4, width: int = 192) -> Classifier:
    """Network-in-network of 3, 4 or 5 blocks, each a spatial and two 1x1 convolutions with BatchNorm; any image size.

    Args:
        num_blocks: the paper pretrains with 4 and finds block 2 the best to transfer from (table 1).
        width: filters of a layer, the paper's 192; the first block narrows to 5/6 and 1/2 of it.
    """
    if num_blocks < 2:
        raise ValueError(f"rotnet with num_blocks={num_blocks} has no block between the first and the pooling; take 3, 4 or 5.")
    widths = [(width, width * 5 // 6, width // 2)] + [(width,) * 3] * (num_blocks - 1)
    kernels = [5, 5] + [3] * (num_blocks - 2)
    layers: dict[str, nn.Module] = {}
    channels = in_chans
    for number, (outs, kernel) in enumerate(zip(widths, kernels, strict=True), start=1):
        steps: list[nn.Module] = []
        for out, extent in zip(outs, (kernel, 1, 1), strict=True):
            convolution = nn.Conv2d(channels, out, extent, padding=extent // 2, bias=False)
            kaiming_init_(convolution, mode="fan_out")
            steps += [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        if number == 1:
            steps.append(nn.MaxPool2d(3, stride=2, padding=1))
        elif number == 2:
            steps.append(nn.AvgPool2d(3, stride=2, padding=1))
        layers[f"block{number}"] = nn.Sequential(*steps)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    blocks = tuple(f"block{number}" for number in range(1, num_blocks + 1))
    return Classifier(layers, num_features=width, num_classes=num_classes, in_chans=in_chans, blocks=blocks)
