"""FCN: VGG-16 made convolutional, its coarse scores upsampled by transposed convolutions and refined by skips from pool4 and
pool3 (Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation", section 4.2, figure 3;
Shelhamer et al. 2017); and torchvision's FCN on a dilated ResNet."""

from typing import ClassVar, Literal

import torch
import torchvision
from torch import Tensor, nn

from zoo.models._arguments import check_choice
from zoo.models._base import kaiming_init_
from zoo.models._registry import register, variant
from zoo.models._start import on_backbone
from zoo.models._vgg import HIDDEN, STAGES, conv_norm_relu, scaled_channels

Padding = Literal["same", "paper"]
ChannelOrder = Literal["rgb", "bgr"]

# What the authors' net.py cuts off when the input is padded by 100: the skips' margins before they meet the upsampled
# scores, and the margin of the scores before they meet the image.
_SKIP_MARGIN = {"pool4": 5, "pool3": 9}
_MARGIN = {32: 19, 16: 27, 8: 31}
_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
# "voc-fcn8s-atonce", net.py: the skips are scaled down so that all three paths begin at like size.
_AT_ONCE = {"pool4": 0.01, "pool3": 0.0001}


def bilinear_kernel(factor: int) -> Tensor:
    """(2f, 2f): the transposed convolution of stride f that upsamples bilinearly, as `F.interpolate(align_corners=False)`.

    At an edge, where interpolation repeats the last pixel, the convolution fades to zero.
    """
    assert factor % 2 == 0
    line = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    return torch.outer(line, line)


def upsampling(channels: int, factor: int, padding: Padding, *, fixed: bool = False) -> nn.ConvTranspose2d:
    """Build a transposed convolution that starts as bilinear upsampling of each channel.

    A fixed one keeps each channel to itself, as the zeros of the authors' full kernel do, at 1/channels of its cost.
    """
    groups = channels if fixed else 1
    pad = factor // 2 if padding == "same" else 0
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=pad, bias=False, groups=groups)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, 0 if fixed else channel] = bilinear_kernel(factor)
    layer.weight.requires_grad_(not fixed)
    return layer


class FCN(nn.Module):
    """Layers have torchvision's names of VGG-16 (`features.0`, ...), then `fc6`, `fc7`, `score`, and for each skip
    `enlarge_pool4`, `score_pool4`; those that two variants share have one name, so that one starts from another's weights.

    Args:
        stride: 32, 16 or 8: of the finest scores.
        num_classes: with the background, where there is one.
        in_chans: channels of the image.
        width: factor on the number of filters; 1 is the paper's.
        norm: BatchNorm after each convolution, in place of its bias. The paper has none.
        dropout: after FC6 and FC7.
        padding: `same` pads each convolution by half its kernel and rounds poolings up, so that any cell of a coarse map
            lies over its own square of pixels. `paper` pads the image by 100, FC6 not at all, and cuts the margins off.
        at_once: scale the skips as the authors do where all of FCN-8s is trained in one stage.
        channel_order: of the images that it reads; tasks turn the data's red, green and blue. None is that of published
            weights, which is bgr of the authors', else rgb.
    """

    def __init__(
        self,
        stride: int,
        num_classes: int,
        in_chans: int,
        width: float,
        norm: bool,
        dropout: float,
        padding: Padding,
        at_once: bool,
        channel_order: ChannelOrder | None,
    ) -> None:
        super().__init__()
        check_choice("padding", padding, Padding)
        self.channel_order = channel_order or "rgb"
        check_choice("channel_order", self.channel_order, ChannelOrder)
        self.renames = {
            "classifier.0.": "fc6.0.",
            "classifier.3.": "fc7.0.",
            **{f"{layer}.{kind}": f"{layer}.0.{kind}" for layer in ("fc6", "fc7") for kind in ("weight", "bias")},
            "score_fr.": "score.",
            "upscore2.": "enlarge_pool4.",
            "upscore_pool4.": "enlarge_pool3.",
            **{f"upscore{number}.": f"enlarge_x{stride}." for number in ("", "16", "8")},
        }
        """From VGG-16's names, whose FC6 and FC7 become kernels, row by row; and from those of the authors' files."""
        self.stride = stride
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.padding = padding
        self.features = nn.Sequential()
        self.pools: dict[int, str] = {}
        """Position in `features` to a pooling's name."""
        channels = in_chans
        depths = {}
        for number, stage in enumerate(STAGES, start=1):
            for row, filters in enumerate(stage, start=1):
                self.renames[f"conv{number}_{row}."] = f"features.{len(self.features)}."
                pad = 100 if padding == "paper" and not len(self.features) else 1
                after = scaled_channels(filters, width)
                self.features.extend(conv_norm_relu(nn.Conv2d(channels, after, 3, padding=pad, bias=not norm), after, norm))
                channels = after
            self.pools[len(self.features)] = f"pool{number}"
            depths[f"pool{number}"] = channels
            self.features.append(nn.MaxPool2d(2, ceil_mode=True))  # Caffe's rounding
        hidden = scaled_channels(HIDDEN, width)
        fc6 = nn.Conv2d(channels, hidden, 7, padding=3 if padding == "same" else 0, bias=not norm)
        self.fc6 = nn.Sequential(*conv_norm_relu(fc6, hidden, norm), nn.Dropout(dropout))
        fc7 = nn.Conv2d(hidden, hidden, 1, bias=not norm)
        self.fc7 = nn.Sequential(*conv_norm_relu(fc7, hidden, norm), nn.Dropout(dropout))
        self.score = nn.Conv2d(hidden, num_classes, 1)
        self.scales = {
            pool: _AT_ONCE[pool] if at_once else 1.0 for pool, finest in (("pool4", 16), ("pool3", 8)) if stride <= finest
        }
        """The skips, coarse to fine, and the factor on each."""
        for pool in self.scales:
            self.add_module(f"enlarge_{pool}", upsampling(num_classes, 2, padding))
            self.add_module(f"score_{pool}", nn.Conv2d(depths[pool], num_classes, 1))
        kaiming_init_(nn.ModuleList([self.features, self.fc6, self.fc7]))
        for name in ("score", *(f"score_{pool}" for pool in self.scales)):
            # "We zero-initialize the class scoring layer" (section 4.2): a new skip changes nothing at first.
            layer = self.get_submodule(name)
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        # "Final layer deconvolutional filters are fixed to bilinear interpolation, while intermediate upsampling layers are
        # initialized to bilinear upsampling, and then learned" (section 4.3).
        self.add_module(f"enlarge_x{stride}", upsampling(num_classes, stride, padding, fixed=True))

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> the maps that are scored: `pool3`, `pool4`, and `fc7` at stride 32."""
        maps = {}
        for at, layer in enumerate(self.features):
            x = layer(x)
            if at in self.pools:
                maps[self.pools[at]] = x
        return {"pool3": maps["pool3"], "pool4": maps["pool4"], "fc7": self.fc7(self.fc6(x))}

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of any size -> (B, num_classes, H, W), scores before the softmax."""
        maps = self.maps(x)
        scores: Tensor = self.score(maps["fc7"])
        for pool, scale in self.scales.items():
            scores = self.get_submodule(f"enlarge_{pool}")(scores)
            skip = self.get_submodule(f"score_{pool}")(scale * maps[pool])
            if self.padding == "paper":
                scores = scores + _window(skip, _SKIP_MARGIN[pool], scores)
            else:
                scores = _window(scores, 0, skip) + skip
        scores = self.get_submodule(f"enlarge_x{self.stride}")(scores)
        return _window(scores, _MARGIN[self.stride] if self.padding == "paper" else 0, x).contiguous()


def _window(x: Tensor, margin: int, like: Tensor) -> Tensor:
    """Cut rows and columns out of x from a margin on, as many as `like` has."""
    height, width = like.shape[2:]
    return x[:, :, margin : margin + height, margin : margin + width]


@on_backbone("vgg16", with_norm="vgg16_bn")
def _fcn(
    name: str,
    num_classes: int = 21,
    in_chans: int = 3,
    width: float = 1.0,
    norm: bool = False,
    dropout: float = 0.5,
    padding: Padding = "same",
    at_once: bool = False,
    channel_order: ChannelOrder | None = None,
) -> FCN:
    """Arguments as of `FCN`; `backbone_weights` are those of VGG-16: true, a tag, `MODEL:TAG`, a file or a run."""
    return FCN(_STRIDES[name], num_classes, in_chans, width, norm, dropout, padding, at_once, channel_order)


fcn32s = variant(_fcn, "fcn32s", "FCN-32s: scores at stride 32 only. Arguments as of `FCN`; 21 classes are PASCAL VOC's.")
fcn16s = variant(
    _fcn,
    "fcn16s",
    "FCN-16s: with a skip from pool4. `pretrained` may be a checkpoint of fcn32s: the paper's second stage.",
)
fcn8s = variant(
    _fcn,
    "fcn8s",
    "FCN-8s: with skips from pool4 and pool3. `pretrained` may be a checkpoint of fcn16s: the paper's third stage.",
)


class FCNResNet(nn.Module):
    """torchvision's network with a plain tensor as output, and its key names: its weights load, save for the auxiliary
    head, which is left out; and those of a ResNet alone."""

    renames: ClassVar[dict[str, str]] = {"backbone.": "backbone.", "classifier.": "classifier.", "": "backbone."}

    def __init__(self, backbone: nn.Module, classifier: nn.Module, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.num_classes = num_classes
        self.in_chans = in_chans

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes, H, W), upsampled bilinearly from stride 8."""
        scores: Tensor = self.classifier(self.backbone(x)["out"])
        return nn.functional.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=False)


def _fcn_resnet(name: str, num_classes: int, in_chans: int) -> FCNResNet:
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=num_classes)
    if in_chans != 3:
        net.backbone.conv1 = nn.Conv2d(in_chans, 64, 7, stride=2, padding=3, bias=False)
    return FCNResNet(net.backbone, net.classifier, num_classes, in_chans)


@register
@on_backbone("resnet50")
def fcn_resnet50(num_classes: int = 21, in_chans: int = 3) -> FCNResNet:
    """torchvision's FCN: a ResNet-50 dilated to stride 8, two convolutions and bilinear upsampling."""
    return _fcn_resnet("fcn_resnet50", num_classes, in_chans)


@register
@on_backbone("resnet101")
def fcn_resnet101(num_classes: int = 21, in_chans: int = 3) -> FCNResNet:
    """torchvision's FCN: a ResNet-101 dilated to stride 8, two convolutions and bilinear upsampling."""
    return _fcn_resnet("fcn_resnet101", num_classes, in_chans)
