"""Early fusion: the frames are channels, and the first 2-D convolution collapses time (Karpathy et al. 2014, section 3.1).
One layer of temporal processing, and none that is the same at all times."""

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models._base import Classifier
from zoo.models._frames import Stem, blocks_inside, build_2d, check_clips, inside
from zoo.models._registry import register


class Stack(nn.Module):
    """A clip as one image, its frames one behind the other: (B, C, T, H, W) -> (B, T * C, H, W)."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.frames)
        return clips.transpose(1, 2).flatten(1, 2)


@register
def early_fusion(
    num_classes: int = 487,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 112, 112),
    backbone: str | nn.Module = "resnet18",
    stem: Stem | None = None,
) -> Classifier:
    """A 2-D network on T x 3 channels, frame behind frame.

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); clips of another length are refused.
        backbone: a 2-D network by name (ours, else torchvision's, else timm/NAME), or one that reads T x in_chans
            channels, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
    """
    frames = input_shape[1]
    net = build_2d(backbone, in_chans * frames, input_shape, stem)
    return Classifier(
        {"stack": Stack(frames), "net": net.features},
        num_features=net.num_features,
        num_classes=num_classes,
        in_chans=in_chans,
        blocks=blocks_inside(net, "net"),
        renames=inside(net, "net"),
    )
