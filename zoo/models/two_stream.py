"""Two streams: one network sees a frame, the other how things move over a stack of optical flow fields; their scores are
fused (Simonyan and Zisserman 2014, "Two-stream convolutional networks for action recognition in videos")."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._frames import Clips, check_clips, composed, prefixed_blocks, prefixed_renames
from zoo.models._registry import register

Streams = Literal["both", "spatial", "temporal"]
Motion = Literal["flow", "difference"]
FLOW = 2
"""Channels of a flow field: displacement to the right and down."""


class _Streams(nn.Module):
    """A clip to the features of its streams, one after the other in one vector.

    The spatial stream reads the picture of the first frame, the temporal one the stack of all motion fields, field behind
    field: 2 L channels of flow.
    """

    def __init__(self, spatial: nn.Module | None, temporal: nn.Module | None, motion: Motion, frames: int) -> None:
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.motion = motion
        self.frames = frames

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.frames)
        if self.motion == "flow":
            picture, fields = clips[:, :-FLOW, 0], clips[:, -FLOW:]
        else:
            picture, fields = clips[:, :, 0], clips.diff(dim=2)
        features = []
        if self.spatial is not None:
            features.append(self.spatial(picture))
        if self.temporal is not None:
            features.append(self.temporal(fields.transpose(1, 2).flatten(1, 2)))
        return torch.cat(features, 1)


class ScoreFusion(nn.Module):
    """A linear layer for each stream's features; the logarithm of the mean of their softmax scores."""

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.streams = nn.ModuleList(nn.Linear(width, num_classes) for width in widths)

    def scores(self, features: Tensor) -> list[Tensor]:
        """(B, sum of widths) -> each stream's own, (B, num_classes), before the softmax."""
        return [stream(part) for stream, part in zip(self.streams, torch.split(features, list(self.widths), 1), strict=True)]

    def forward(self, features: Tensor) -> Tensor:
        each = torch.stack([scores.softmax(1) for scores in self.scores(features)])
        return each.mean(0).clamp_min(torch.finfo(each.dtype).tiny).log()


class TwoStream(Classifier):
    """Both streams and the average of their scores; see `two_stream`."""

    def __init__(
        self,
        features: _Streams,
        widths: Sequence[int],
        num_classes: int,
        in_chans: int,
        blocks: tuple[str, ...],
        renames: Mapping[str, str],
    ) -> None:
        self.widths = tuple(widths)
        super().__init__(
            features,
            num_features=sum(widths),
            num_classes=num_classes,
            in_chans=in_chans,
            blocks=blocks,
            renames=renames,
        )

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        if num_classes and len(self.widths) > 1:
            self.head = ScoreFusion(self.widths, num_classes)


@register
@composed(num_classes=101, in_chans=5, input_shape=(5, 10, 224, 224))
def two_stream(
    clips: Clips,
    streams: Streams = "both",
    motion: Motion = "flow",
) -> Classifier:
    """A spatial network on one frame, a temporal one on ten flow fields, softmax scores averaged.

    With "flow" the last two channels of frame t are the flow from it to the next, those before are its picture: L = 10
    flow fields, hence pictures of 11 frames, make a clip of 5 x 10 x H x W, and the temporal network reads 20 channels. To
    train the streams apart, train "spatial" and "temporal" on the same clips; their scores are averaged, or go to
    `fit_svm_fusion`. `pretrained` takes weights of the backbone too: for the spatial network, which alone the paper pretrains
    (section 2); or for "temporal" by itself, with the mean of the first kernel's colors for each field (Wang et al. 2016,
    "Temporal segment networks", section 3.2). Departures: the backbone (the paper's is CNN-M), and no flow field's mean is
    subtracted.

    Args:
        num_classes: 101 is UCF101.
        in_chans: channels of a clip.
        input_shape: (C, T, H, W); T sizes the stack, and clips of another length are refused.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME); or one, which is copied, for a single
            stream.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        streams: "both", "spatial" or "temporal".
        motion: "flow"; or "difference": the differences of consecutive frames of a clip without flow stand in for it (Wang
            et al., section 3.2), of T frames T - 1.
    """
    check_choice("streams", streams, Streams)
    check_choice("motion", motion, Motion)
    in_chans, frames = clips.in_chans, clips.frames
    pictures = in_chans - FLOW if motion == "flow" else in_chans
    if pictures < (0 if streams == "temporal" else 1):
        raise ValueError(
            f"two_stream with flow reads clips whose last two channels are flow, not {in_chans} channels. Choose data with "
            f"flow, or set model.motion to difference."
        )
    if motion == "difference" and frames < 2:
        raise ValueError("The differences of frames need a clip of at least 2 frames.")
    if streams == "both" and isinstance(clips.backbone, nn.Module):
        raise ValueError("The two streams read different channels, so a backbone that is a network serves one; set streams.")
    stack = FLOW * frames if motion == "flow" else in_chans * (frames - 1)
    spatial = None if streams == "temporal" else clips.build_2d(pictures)
    temporal = None if streams == "spatial" else clips.build_2d(stack)
    nets = {name: net for name, net in (("spatial", spatial), ("temporal", temporal)) if net is not None}
    first = next(iter(nets))
    return TwoStream(
        _Streams(spatial and spatial.features, temporal and temporal.features, motion, frames),
        [net.num_features for net in nets.values()],
        clips.num_classes,
        in_chans,
        tuple(block for name, net in nets.items() for block in prefixed_blocks(net, name)),
        prefixed_renames(nets[first], first),
    )


def fit_svm_fusion(streams: Sequence[Tensor], label: Tensor, penalty: float = 1.0) -> Callable[[Sequence[Tensor]], Tensor]:
    """The paper's other fusion (section 6): a linear SVM on the streams' softmax scores, side by side and L2-normalized.

    Args:
        streams: of each stream the softmax scores of the same N videos, (N, C) each.
        label: their classes, (N,).
        penalty: C of the SVM.

    Returns:
        A function of such scores of other videos to one score a class, (M, classes in `label`'s order).

    Raises:
        ValueError: streams of different videos, or one class only.
    """
    from sklearn.svm import LinearSVC

    if any(len(scores) != len(label) for scores in streams):
        raise ValueError(f"{len(label)} labels, but scores of {[len(scores) for scores in streams]} videos; join them by id.")
    if len(set(label.tolist())) < 2:
        raise ValueError("All labels are one class; an SVM needs at least two.")

    def joined(scores: Sequence[Tensor]) -> Tensor:
        return normalize(torch.cat([each.double() for each in scores], 1))

    svm = LinearSVC(C=penalty, dual=True, random_state=0).fit(joined(streams).numpy(), label.numpy())
    weight, bias = torch.from_numpy(svm.coef_), torch.from_numpy(svm.intercept_)
    if len(weight) == 1:  # scikit-learn keeps one row for two classes
        weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
    return lambda scores: joined(scores) @ weight.T + bias
