"""SlowFast: a slow pathway sees few frames in many channels, a fast one many frames in few (Feichtenhofer et al. 2019,
"SlowFast networks for video recognition", table 1); and the slow pathway alone. pytorchvideo's networks."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.models._arguments import ClipStem, check_choice
from zoo.models._base import Classifier, wrapped
from zoo.models._frames import check_clips
from zoo.models._registry import register, variant
from zoo.models._window import average

SlowFrames = Literal["strided", "linspace"]
"""Which frames of a clip the slow pathway reads."""


class _Packed(nn.Module):
    """One clip for both pathways: the fast one reads every frame, the slow one one of alpha.

    "strided" is every alpha-th, beginning with the first: the paper's stride, under the centers of the lateral connections.
    "linspace" spreads as many from the first to the last, as PySlowFast and pytorchvideo's tutorial do (rounded down).
    """

    def __init__(self, net: nn.Module, alpha: int, slow_frames: SlowFrames) -> None:
        super().__init__()
        self.net = net
        self.alpha = alpha
        self.slow_frames = slow_frames

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, None)
        if self.slow_frames == "strided":
            slow = clips[:, :, :: self.alpha]
        else:
            frames = clips.shape[2]
            slow = clips[:, :, torch.linspace(0, frames - 1, frames // self.alpha).long().tolist()]
        features: Tensor = self.net([slow, clips])
        return features


def _mmaction2() -> dict[str, str]:
    """Map mmaction2's names of the same tensors, its convolutions and norms split as torchvision's (`ResNet3dSlowFast`; its
    lateral connections have no BatchNorm)."""
    names: dict[str, str] = {}
    for path, pathway in enumerate(("slow_path", "fast_path")):
        stem = f"features.net.blocks.0.multipathway_blocks.{path}"
        names |= {f"{pathway}.conv1.": f"{stem}.conv.", f"{pathway}.bn1.": f"{stem}.norm."}
        for stage, depth in enumerate((3, 4, 6, 3), start=1):
            for block in range(depth):
                source = f"{pathway}.layer{stage}.{block}"
                target = f"features.net.blocks.{stage}.multipathway_blocks.{path}.res_blocks.{block}"
                names |= {f"{source}.conv{at}.": f"{target}.branch2.conv_{letter}." for at, letter in enumerate("abc", start=1)}
                names |= {f"{source}.bn{at}.": f"{target}.branch2.norm_{letter}." for at, letter in enumerate("abc", start=1)}
                names |= {f"{source}.downsample.{at}.": f"{target}.branch1_{part}." for at, part in enumerate(("conv", "norm"))}
    for stage in range(4):
        lateral = f"slow_path.{f'layer{stage}' if stage else 'conv1'}_lateral"
        target = f"features.net.blocks.{stage}.multipathway_fusion"
        names |= {f"{lateral}.conv.": f"{target}.conv_fast_to_slow.", f"{lateral}.bn.": f"{target}.norm."}
    return names


def _slowfast(
    _: str,
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 32, 224, 224),
    alpha: int = 8,
    fusion_kernel: int = 5,
    stem: ClipStem = "paper",
    dropout: float = 0.5,
    slow_frames: SlowFrames = "strided",
    window: int | None = None,
) -> Classifier:
    """A clip holds the fast pathway's frames: 32 of every second frame of a raw clip of 64, of which the slow one reads 4 or 8.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); T must be at least alpha, so that the slow pathway has a frame for every alpha of them.
        alpha: frames of the fast pathway to one of the slow; 8 is 4x16, 4 is 8x8.
        fusion_kernel: frames that a lateral connection sees: 5 as the paper (section 3.4) and its authors' 4x16; their 8x8, and
            pytorchvideo's builder by default, have 7.
        stem: "paper" begins with stride 2 and a pooling of stride 2 in space; "small" has stride 1 in both, for frames of
            few pixels. The weights are the same.
        dropout: before the head.
        slow_frames: which frames the slow pathway reads: "strided", every alpha-th from the first; or "linspace", as many
            spread from the first to the last, as the published weights were trained.
        window: pixels of the last maps over whose square the head averages at a time; the averages of all squares are averaged
            (the published networks, which were trained on 224 pixels and are scored on 256: 7). None averages all there is.
    """
    from pytorchvideo.models.slowfast import create_slowfast

    check_choice("stem", stem, ClipStem)
    check_choice("slow_frames", slow_frames, SlowFrames)
    if alpha < 1 or input_shape[1] % alpha:
        raise ValueError(
            f"A clip of {input_shape[1]} frames cannot be shared by pathways {alpha} to 1. Choose a multiple of {alpha}, or "
            f"set model.alpha."
        )
    strides = ((1, 2, 2),) * 2 if stem == "paper" else ((1, 1, 1),) * 2
    net = create_slowfast(
        slowfast_fusion_conv_kernel_size=(fusion_kernel, 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        input_channels=(in_chans, in_chans),
        model_num_class=max(1, num_classes),
        dropout_rate=dropout,
        stem_conv_strides=strides,
        stem_pool_strides=strides,
        head_pool=nn.AdaptiveAvgPool3d,
    )
    if window is not None:
        net.blocks[5].pool = nn.ModuleList([average(window), average(window)])
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(map(int, module.stride))  # some are NumPy's numbers, by which torch.compile breaks its graph
    return wrapped(
        _Packed(net, alpha, slow_frames),
        "net.blocks.6.proj",
        num_classes,
        in_chans,
        # Blocks of the slow pathway: pool1 (before the lateral connection), res2 to res5.
        tuple(f"net.blocks.{stage}.multipathway_blocks.0" for stage in range(5)),
        renames={"blocks.6.proj.": "head.", "blocks.": "features.net.blocks.", **_mmaction2()},
    )


slowfast_r50_4x16 = variant(
    _slowfast,
    "slowfast_r50_4x16",
    "SlowFast 4x16, ResNet-50; 34.48 M parameters and 27.64 G multiply-adds at 400 classes and 3x32x224x224.",
)
slowfast_r50_8x8 = variant(
    _slowfast,
    "slowfast_r50_8x8",
    "SlowFast 8x8, ResNet-50; 34.57 M parameters and 50.31 G multiply-adds at 400 classes and 3x32x224x224.",
    alpha=4,
    fusion_kernel=7,
)


@register
def slow_r50(
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 8, 224, 224),
    stem: ClipStem = "paper",
    dropout: float = 0.5,
    window: int | None = None,
) -> Classifier:
    """SlowFast's slow pathway alone, ResNet-50; 32.45 M parameters and 41.74 G multiply-adds at 400 classes and 3x8x224x224.

    Kernels reach over time in the last two stages only.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); any is read. 8 frames are every eighth of a raw clip of 64.
        stem: "paper" begins with stride 2 and a pooling of stride 2 in space; "small" has stride 1 in both, for frames of
            few pixels. The weights are the same.
        dropout: before the head.
        window: as of `slowfast_r50_4x16`.
    """
    from pytorchvideo.models.resnet import create_resnet

    check_choice("stem", stem, ClipStem)
    stride = (1, 2, 2) if stem == "paper" else (1, 1, 1)
    net = create_resnet(
        input_channel=in_chans,
        model_depth=50,
        model_num_class=max(1, num_classes),
        dropout_rate=dropout,
        stem_conv_kernel_size=(1, 7, 7),
        stem_conv_stride=stride,
        stem_pool_stride=stride,
    )
    net.blocks[5].pool = average(window)
    return wrapped(net, "blocks.5.proj", num_classes, in_chans, tuple(f"blocks.{stage}" for stage in range(5)))
