"""Single frame: a 2-D network on each frame by itself, the frames' predictions averaged (Karpathy et al. 2014,
"Large-scale video classification with convolutional neural networks", section 3.1). Often a very strong baseline, and
blind to motion."""

import math
from typing import Literal

import torch
from torch import Tensor

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._frames import Clips, Frames, Mean, check_clips, composed, prefixed_blocks, prefixed_renames
from zoo.models._registry import register

Average = Literal["probabilities", "scores"]


class SingleFrame(Classifier):
    """In training one frame of each clip, drawn by torch's generator as dropout is; at test all of them.

    Attributes:
        average: what is averaged over the frames. With "probabilities" the network returns the logarithm of their mean, whose
            softmax is the mean; `classify` of the mean features is another thing then, the average of scores.
    """

    def __init__(self, net: Classifier, num_classes: int, in_chans: int, average: Average) -> None:
        super().__init__(
            {"frames": Frames(net.features), "mean": Mean(1)},
            num_features=net.num_features,
            num_classes=num_classes,
            in_chans=in_chans,
            blocks=prefixed_blocks(net, "frames.net"),
            renames=prefixed_renames(net, "frames.net"),
        )
        self.average = average

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, None)
        if self.training:
            batch, _, frames = clips.shape[:3]
            drawn = torch.randint(frames, (batch,), device=clips.device)
            clips = clips[torch.arange(batch, device=clips.device), :, drawn].unsqueeze(2)
        elif self.average == "probabilities" and self.num_classes:
            vectors: Tensor = self.features.frames(clips)  # type: ignore[operator]
            log_probability = self.classify(vectors).log_softmax(-1)
            return log_probability.logsumexp(1) - math.log(clips.shape[2])
        return self.classify(self.embed(clips))


@register
@composed()
def single_frame(
    clips: Clips,
    average: Average = "probabilities",
) -> Classifier:
    """A 2-D network on single frames, predictions averaged over the clip.

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); the frames' size is taken from it, any T is read.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        average: "probabilities" (the lectures'), or "scores" before the softmax.
    """
    check_choice("average", average, Average)
    return SingleFrame(clips.build_2d(), clips.num_classes, clips.in_chans, average)
