"""Early fusion: the frames are channels, and the first 2-D convolution collapses time (Karpathy et al. 2014, section 3.1).
One layer of temporal processing, and none that is the same at all times."""

from torch import Tensor

from zoo.models._base import Classifier
from zoo.models._frames import Checked, Clips, composed, prefixed_blocks, prefixed_renames
from zoo.models._registry import register


class Stack(Checked):
    """A clip as one image, its frames one behind the other: (B, C, T, H, W) -> (B, T * C, H, W)."""

    def forward(self, clips: Tensor) -> Tensor:
        return super().forward(clips).transpose(1, 2).flatten(1, 2)


@register
@composed()
def early_fusion(
    clips: Clips,
) -> Classifier:
    """A 2-D network on T x 3 channels, frame behind frame.

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); clips of another length are refused.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one that reads T x in_chans
            channels, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
    """
    net = clips.build_2d(stacked=clips.frames)
    features = {"stack": Stack(clips.frames), "net": net.features}
    fused = clips.classifier(features, net.num_features, prefixed_blocks(net, "net"), prefixed_renames(net, "net"))
    vars(fused)["stacked"] = clips.frames
    return fused
