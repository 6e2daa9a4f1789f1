"""DeconvNet: VGG-16 and its mirror, in which unpooling puts each value back where its maximum was found (Noh, Hong and Han
2015, "Learning deconvolution network for semantic segmentation", table 2)."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from zoo.models._base import kaiming_init_
from zoo.models._registry import register
from zoo.models._start import on_backbone
from zoo.models._vgg import HIDDEN, STAGES, conv_norm_relu, scaled_channels


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 max pooling, rounding up: (B, C, H, W) -> the maxima, and switches (B, C, H, W), true where each was found."""
    height, width = x.shape[2:]
    pooled, found = max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    place = torch.arange(height * width, device=x.device).reshape(height, width)
    return pooled, _spread(found, height, width) == place


def unpool(x: Tensor, switches: Tensor) -> Tensor:
    """Put each value at its window's switch, zero elsewhere: (B, C, h, w) -> the switches' size.

    Copies and a product, no scattering: the same in every run on any device, forwards and backwards, which
    `max_unpool2d` is not on a GPU.
    """
    return _spread(x, *switches.shape[2:]) * switches


def _spread(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat each value over its 2x2 window, the last of which may be cut."""
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[:, :, :height, :width]


@torch.no_grad()
def _init_as_upsampling_(layers: Iterable[nn.ConvTranspose2d]) -> None:
    """Let the layers of a mirrored stage spread unpooled values over their neighbors, as FCN's upsampling layers do at first.

    The paper's Gaussian kernels scatter it: of narrow networks hardly a trace of what the bottleneck knows then reaches the
    scores, and from scratch nothing teaches the rest. Channels are kept, or mixed at random where their number changes.
    """
    line = torch.tensor([0.5, 1.0, 0.5])
    for at, layer in enumerate(layers):
        before, after = layer.weight.shape[:2]
        mix = torch.eye(before) if before == after else torch.randn(before, after) * (2 / before) ** 0.5
        # Three in four of the first one's inputs are zero.
        layer.weight.copy_(mix[:, :, None, None] * torch.outer(line, line) / (1 if at == 0 else 4))


class DeconvNet(nn.Module):
    """`encoder[k]` are the convolutions of stage k + 1, `fc` the three fully connected layers as (transposed)
    convolutions, `decoder[k]` the mirror of stage k + 1; see `deconvnet`."""

    def __init__(
        self, *, num_classes: int, in_chans: int, edges: tuple[int, int], width: float, norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.edges = edges
        self.renames: dict[str, str] = {}
        """From VGG-16's names and those of FCN: the paper starts from VGG-16. FC6 and FC7 become
        kernels, row by row, as in FCN."""
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        channels = in_chans
        place = 0
        for number, stage in enumerate(STAGES):
            layers: list[nn.Module] = []
            for filters in stage:
                after = scaled_channels(filters, width)
                layers += conv_norm_relu(nn.Conv2d(channels, after, 3, padding=1, bias=not norm), after, norm)
                channels = after
            self.encoder.append(nn.Sequential(*layers))
            self.renames |= {f"features.{place + at}.": f"encoder.{number}.{at}." for at in range(len(layers))}
            place += len(layers) + 1  # and a pooling
            # The mirror keeps the stage's depth but for its last layer, which has the depth of the stage before.
            mirrored: list[nn.Module] = []
            for after in (*stage[1:], STAGES[number - 1][-1] if number else stage[0]):
                before, after = scaled_channels(stage[-1], width), scaled_channels(after, width)
                mirrored += conv_norm_relu(nn.ConvTranspose2d(before, after, 3, padding=1, bias=not norm), after, norm)
            self.decoder.append(nn.Sequential(*mirrored))
        hidden = scaled_channels(HIDDEN, width)
        self.fc = nn.Sequential(
            *conv_norm_relu(nn.Conv2d(channels, hidden, edges, bias=not norm), hidden, norm),
            nn.Dropout(dropout),
            *conv_norm_relu(nn.Conv2d(hidden, hidden, 1, bias=not norm), hidden, norm),
            nn.Dropout(dropout),
            *conv_norm_relu(nn.ConvTranspose2d(hidden, channels, edges, bias=not norm), channels, norm),
        )
        second = 4 if norm else 3  # after FC6, its BatchNorm, ReLU and dropout
        self.renames |= {"classifier.0.": "fc.0.", "classifier.3.": f"fc.{second}."}
        for name, place in (("fc6", 0), ("fc7", second)):
            self.renames |= {f"{name}.{at}.": f"fc.{place + at}." for at in range(2)}
        self.score = nn.Conv2d(scaled_channels(STAGES[0][0], width), num_classes, 1)
        kaiming_init_(self)
        for mirror in self.decoder:
            _init_as_upsampling_(layer for layer in mirror.children() if isinstance(layer, nn.ConvTranspose2d))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of any size -> (B, num_classes, H, W), scores before the softmax."""
        memory = []
        for stage in self.encoder:
            x, switches = pool(stage(x))
            memory.append(switches)
        height, width = x.shape[2:]
        # FC6's window must fit: a smaller map is filled up with zeros, and cut back after its mirror.
        x = self.fc(pad(x, (0, max(0, self.edges[1] - width), 0, max(0, self.edges[0] - height))))[:, :, :height, :width]
        for stage, switches in zip(reversed(self.decoder), reversed(memory), strict=True):
            x = stage(unpool(x, switches))
        scores: Tensor = self.score(x)
        return scores


@register
@on_backbone("vgg16", with_norm="vgg16_bn")
def deconvnet(
    num_classes: int = 21,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 224, 224),
    width: float = 1.0,
    norm: bool = True,
    dropout: float = 0.5,
) -> DeconvNet:
    """DeconvNet; 251.84 M parameters at 21 classes and 3x224x224.

    Args:
        num_classes: with the background; 21 is PASCAL VOC's.
        in_chans: channels of the image.
        input_shape: (C, H, W) of the training images; FC6's window is the whole map that five poolings leave of it, 7x7
            in the paper. Larger images are covered by sliding it.
        width: factor on the number of filters; 1 is the paper's.
        norm: BatchNorm after each convolution, in place of its bias; the paper has it (section 4.2).
        dropout: after FC6 and FC7.
        backbone_weights: those of VGG-16 that it starts from: true, a tag, `MODEL:TAG`, a file or a run.
    """
    edges = [-(-extent // 32) for extent in input_shape[1:]]
    return DeconvNet(
        num_classes=num_classes, in_chans=in_chans, edges=(edges[0], edges[1]), width=width, norm=norm, dropout=dropout
    )
