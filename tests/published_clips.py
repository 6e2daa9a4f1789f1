"""The publishers' own networks and preprocessing of clips, to hold ours against."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorchvideo
import torch
from pytorchvideo.models import hub
from pytorchvideo.models.slowfast import create_slowfast
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d, pad, relu
from torchvision.models import get_model_weights
from torchvision.models.video import r3d_18
from torchvision.transforms.functional import center_crop


class Slow4x16(nn.Module):
    """pytorchvideo's network of SLOWFAST_4x16_R50.yaml, for which its hub has no function."""

    def __init__(self) -> None:
        super().__init__()
        stride, windows = (8, 1, 1), ((4, 7, 7), (32, 7, 7))
        made = create_slowfast(
            slowfast_fusion_conv_kernel_size=(5, 1, 1), slowfast_fusion_conv_stride=stride, head_pool_kernel_sizes=windows
        )
        self.blocks = made.blocks
        self.run = made.forward

    def forward(self, x: list[Tensor]) -> Tensor:
        scores: Tensor = self.run(x)
        return scores


class Unit3D(nn.Module):
    """A convolution of pytorch-i3d: TensorFlow's padding, BatchNorm, ReLU; the last one has neither, but a bias."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, last: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.last = kernel, stride, last
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, bias=last)
        if not last:
            self.bn = nn.BatchNorm3d(width, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(padded(x, (self.kernel,) * 3, (self.stride,) * 3))
        return x if self.last else relu(self.bn(x))


def padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    sides: list[int] = []
    for size, edge, step in reversed([*zip(x.shape[2:], kernel, stride, strict=True)]):
        more = max(edge - (size % step or step), 0)
        sides += [more // 2, more - more // 2]
    return pad(x, sides)


class Mixed(nn.Module):
    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        self.b0 = Unit3D(channels, widths[0], 1)
        self.b1a, self.b1b = Unit3D(channels, widths[1], 1), Unit3D(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit3D(channels, widths[3], 1), Unit3D(widths[3], widths[4], 3)
        self.b3b = Unit3D(channels, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = max_pool3d(padded(x, (3, 3, 3), (1, 1, 1)), 3, 1)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class InceptionI3d(nn.Module):
    """pytorch-i3d's network, its scores averaged over time as kinetics-i3d does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(channels, 64, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit3D(64, 64, 1), Unit3D(64, 192, 3)
        self.Mixed_3b = Mixed(192, [64, 96, 128, 16, 32, 32])
        self.Mixed_3c = Mixed(256, [128, 128, 192, 32, 96, 64])
        self.Mixed_4b = Mixed(480, [192, 96, 208, 16, 48, 64])
        self.Mixed_4c = Mixed(512, [160, 112, 224, 24, 64, 64])
        self.Mixed_4d = Mixed(512, [128, 128, 256, 24, 64, 64])
        self.Mixed_4e = Mixed(512, [112, 144, 288, 32, 64, 64])
        self.Mixed_4f = Mixed(528, [256, 160, 320, 32, 128, 128])
        self.Mixed_5b = Mixed(832, [256, 160, 320, 32, 128, 128])
        self.Mixed_5c = Mixed(832, [384, 192, 384, 48, 128, 128])
        self.logits = Unit3D(1024, 400, 1, last=True)

    def forward(self, x: Tensor) -> Tensor:
        def pooled(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
            return max_pool3d(padded(x, kernel, stride), kernel, stride)

        x = pooled(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        for block in (self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f):
            x = block(x)
        x = self.Mixed_5c(self.Mixed_5b(pooled(x, (2, 2, 2), (2, 2, 2))))
        scores: Tensor = self.logits(avg_pool3d(x, (2, 7, 7), 1))
        return scores.mean((2, 3, 4))


class C3D(nn.Module):
    """mmaction2's recognizer: `backbone` with its ConvModules, `cls_head.fc_cls`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, channels = nn.Module(), 3
        for name, width in zip("1a 2a 3a 3b 4a 4b 5a 5b".split(), (64, 128, 256, 256, 512, 512, 512, 512), strict=True):
            unit = nn.Module()
            unit.conv = nn.Conv3d(channels, width, 3, padding=1)
            self.backbone.add_module(f"conv{name}", unit)
            channels = width
        self.backbone.fc6, self.backbone.fc7 = nn.Linear(8192, 4096), nn.Linear(4096, 4096)
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(4096, 101)

    def forward(self, x: Tensor) -> Tensor:
        for name in "1a 2a 3a 3b 4a 4b 5a 5b".split():
            x = relu(self.backbone.get_submodule(f"conv{name}.conv")(x))
            if name != "3a" and name[1] == ("b" if name[0] in "345" else "a"):
                edge = (1 if name == "1a" else 2, 2, 2)
                x = max_pool3d(x, edge, edge, padding=(0, 1, 1) if name == "5b" else 0)
        x = relu(self.backbone.fc7(relu(self.backbone.fc6(x.flatten(1)))))
        scores: Tensor = self.cls_head.fc_cls(x)
        return scores


def part_of_pytorchvideo(name: str) -> Any:
    """A file of pytorchvideo by itself, as transforms/functional: its packages need a module that torchvision has no longer."""
    path = Path(pytorchvideo.__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Preprocessing: (T, H, W, 3) bytes of a moment of a film -> (3, T', H', W')


def pytorchvideos(frames: Tensor, count: int, size: int) -> Tensor:
    """As in its tutorial of torch.hub."""
    functional = part_of_pytorchvideo("transforms/functional")
    x = functional.uniform_temporal_subsample(frames.permute(3, 0, 1, 2), count)
    x = (x / 255.0 - 0.45) / 0.225
    return center_crop(functional.short_side_scale(x, size), [size, size])


def packed(x: Tensor, alpha: int) -> list[Tensor]:
    return [torch.index_select(x, 2, torch.linspace(0, x.shape[2] - 1, x.shape[2] // alpha).long()), x.clone()]


def torchvisions(frames: Tensor, count: int, size: int) -> Tensor:
    preset = get_model_weights("r3d_18").DEFAULT.transforms()
    x: Tensor = preset(frames[:count].permute(0, 3, 1, 2))
    return x


def i3ds(frames: Tensor, count: int, size: int) -> Tensor:
    x = frames[:count].permute(3, 0, 1, 2).float()
    height, width = (int(256 * edge / min(x.shape[2:])) for edge in x.shape[2:])
    return center_crop(interpolate(x, (height, width), mode="bilinear"), [224, 224]) / 127.5 - 1


def mmaction2s(frames: Tensor, count: int, size: int) -> Tensor:
    """For frames of 4:3, whose short side of 128 pixels goes with a long one of 171."""
    x = interpolate(frames[:count].permute(3, 0, 1, 2).float(), (128, 171), mode="bilinear")
    return center_crop(x, [112, 112]) - torch.tensor([104.0, 117.0, 128.0])[:, None, None, None]


@dataclass(frozen=True)
class Published:
    """A publisher's network: what builds it, what its file is called and holds the tensors under, what reads frames."""

    build: Callable[[], nn.Module]
    file: str
    container: str
    prepare: Callable[[Tensor, int, int], Tensor]
    alpha: int | None = None
    probabilities: bool = False
    """What comes out, in place of scores."""

    def saved(self, net: nn.Module) -> dict[str, Any]:
        state = net.state_dict()
        return {"epoch": 1, self.container: state} if self.container else dict(state)

    def __call__(self, net: nn.Module, x: Tensor) -> Tensor:
        """Its scores."""
        out: Tensor = net(packed(x, self.alpha) if self.alpha else x)
        return out.log() if self.probabilities else out


PUBLISHED = {
    "x3d_xs:kinetics400": Published(hub.x3d_xs, "X3D_XS.pyth", "model_state", pytorchvideos, probabilities=True),
    "x3d_s:kinetics400": Published(hub.x3d_s, "X3D_S.pyth", "model_state", pytorchvideos, probabilities=True),
    "x3d_m:kinetics400": Published(hub.x3d_m, "X3D_M.pyth", "model_state", pytorchvideos, probabilities=True),
    "x3d_l:kinetics400": Published(hub.x3d_l, "X3D_L.pyth", "model_state", pytorchvideos, probabilities=True),
    "slow_r50:kinetics400": Published(hub.slow_r50, "SLOW_8x8_R50.pyth", "model_state", pytorchvideos),
    "slowfast_r50_4x16:kinetics400": Published(Slow4x16, "SLOWFAST_4x16_R50.pyth", "model_state", pytorchvideos, alpha=8),
    "slowfast_r50_8x8:kinetics400": Published(hub.slowfast_r50, "SLOWFAST_8x8_R50.pyth", "model_state", pytorchvideos, alpha=4),
    "r3d_18:kinetics400_v1": Published(r3d_18, "r3d_18-b3b3357e.pth", "", torchvisions),
    "i3d:kinetics400": Published(lambda: InceptionI3d(3), "rgb_imagenet.pt", "", i3ds),
    "i3d:kinetics400_flow": Published(lambda: InceptionI3d(2), "flow_imagenet.pt", "", i3ds),
    "c3d:ucf101": Published(
        C3D,
        "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb_20220811-31723200.pth",
        "state_dict",
        mmaction2s,
    ),
}
"""By the name of the entry. A file of raw tensors has no container."""
