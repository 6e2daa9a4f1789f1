"""Receptive fields against what they mean: the inputs that a unit's gradient reaches."""

import random
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.flops.count import profile


class Do(nn.Module):
    """A function as a module, with submodules for it to use."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


class TwoSpeeds(nn.Module):
    """A slow pathway with every fourth frame of the fast one, joined as SlowFast joins them."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Conv3d(1, 1, (1, 3, 3), padding=(0, 1, 1))
        self.lateral = nn.Conv3d(1, 1, (5, 1, 1), (4, 1, 1), (2, 0, 0))

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        return self.slow(slow) + self.lateral(fast)


def field(net: nn.Module, shape: tuple[int, ...]) -> tuple[int | None, ...]:
    """The field of the whole network's output."""
    wrapped = nn.Sequential(net, nn.Identity())
    return profile(wrapped, shape)["1"].receptive_field


def measured(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The largest extent, over a block of central units, of the inputs their gradient reaches, at positive weights."""
    torch.manual_seed(0)
    net = net.double().eval()
    for p in net.parameters():
        nn.init.uniform_(p, 0.5, 1.0)
    reached: dict[tuple[int, ...], Tensor] = {}
    for _ in range(3 if any("MaxPool" in type(m).__name__ for m in net.modules()) else 1):
        x = (torch.rand(1, *shape, dtype=torch.float64) + 0.5).requires_grad_()
        out = net(x).sum(1)[0]
        middles = [range(n // 2 - min(3, n // 2), n // 2 + min(3, n - n // 2)) for n in out.shape]
        for unit in torch.cartesian_prod(*(torch.tensor(m) for m in middles)).reshape(-1, out.ndim).tolist():
            (grad,) = torch.autograd.grad(out[tuple(unit)], x, retain_graph=True)
            seen = grad[0].abs().sum(0) > 0
            reached[tuple(unit)] = reached.get(tuple(unit), torch.zeros_like(seen)) | seen
    sizes = []
    for seen in reached.values():
        at = seen.nonzero()
        sizes.append((at.amax(0) - at.amin(0) + 1).tolist())
    return tuple(max(size) for size in zip(*sizes, strict=True))


def residual(x: Tensor, conv: nn.Module, shortcut: nn.Module) -> Tensor:
    return F.relu(conv(x) + shortcut(x))


def u_net(x: Tensor, down: nn.Module, deep: nn.Module, up: nn.Module, last: nn.Module) -> Tensor:
    return last(torch.cat([x, up(deep(down(x)))], 1))


def space_to_depth(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


def channels_last(x: Tensor, linear: nn.Module) -> Tensor:
    return linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def frame_by_frame(x: Tensor, net: nn.Module) -> Tensor:
    b, c, t, h, w = x.shape
    y = net(x.transpose(1, 2).reshape(b * t, c, h, w))
    return y.reshape(b, t, *y.shape[1:]).transpose(1, 2)


def resize(mode: str, size: int, **how: bool) -> nn.Module:
    return Do(lambda x: F.interpolate(x, size=(size, size), mode=mode, **how))


CONV = lambda k, **how: nn.Conv2d(1, 1, k, **how)  # noqa: E731  # one line each below
NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "stack": (nn.Sequential(CONV(3, padding=1), nn.ReLU(), CONV(5), CONV(2)), (1, 24, 24)),
    "stride": (nn.Sequential(CONV(3, stride=2), nn.MaxPool2d(2), CONV(3), nn.AvgPool2d(3, 1)), (1, 48, 48)),
    "dilation": (nn.Sequential(CONV(3, dilation=2), CONV(3, dilation=4)), (1, 40, 40)),
    "oblong": (nn.Sequential(CONV((1, 7)), CONV((3, 1), stride=(2, 1))), (1, 24, 24)),
    "residual": (Do(residual, CONV(3, stride=2, padding=1), CONV(1, stride=2)), (1, 24, 24)),
    "shifted shortcut": (
        Do(residual, CONV(3, padding=1), nn.Sequential(nn.ZeroPad2d((4, -4, 0, 0)), CONV(1))),
        (1, 24, 24),
    ),
    "transposed 4/2": (nn.Sequential(CONV(3, stride=2), nn.ConvTranspose2d(1, 1, 4, 2, 1), CONV(3)), (1, 30, 30)),
    "transposed 3/2": (nn.Sequential(CONV(3), nn.ConvTranspose2d(1, 1, 3, 2, 1, 1), CONV(2)), (1, 20, 20)),
    "transposed dilated": (nn.Sequential(nn.ConvTranspose2d(1, 1, 3, 3, dilation=2), CONV(4)), (1, 12, 12)),
    "U-Net": (
        Do(u_net, CONV(2, stride=2), CONV(3, padding=1), nn.ConvTranspose2d(1, 1, 2, 2), nn.Conv2d(2, 1, 3)),
        (1, 24, 24),
    ),
    "nearest": (nn.Sequential(CONV(3), nn.Upsample(scale_factor=2), CONV(3)), (1, 20, 20)),
    "nearest 12 to 20": (nn.Sequential(CONV(3, padding=1), resize("nearest", 20), CONV(3)), (1, 12, 12)),
    "bilinear": (nn.Sequential(CONV(3, padding=1), resize("bilinear", 36), CONV(3)), (1, 12, 12)),
    "bilinear, corners": (nn.Sequential(resize("bilinear", 23, align_corners=True), CONV(3)), (1, 12, 12)),
    "bicubic": (nn.Sequential(CONV(3), resize("bicubic", 30)), (1, 17, 17)),
    "adaptive": (nn.Sequential(CONV(3, padding=1), nn.AdaptiveAvgPool2d(5), CONV(2)), (1, 24, 24)),
    "pixel shuffle": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), CONV(3)), (1, 16, 16)),
    "pixel unshuffle": (nn.Sequential(CONV(3), nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3)), (1, 26, 26)),
    "space to depth": (nn.Sequential(CONV(3), Do(space_to_depth), nn.Conv2d(4, 1, 3)), (1, 26, 26)),
    "channels last": (nn.Sequential(CONV(3), Do(channels_last, nn.Linear(1, 3)), nn.Conv2d(3, 1, 3)), (1, 16, 16)),
    "reflection": (nn.Sequential(nn.ReflectionPad2d(2), CONV(5), nn.ZeroPad2d((3, 0, 0, 1)), CONV(2)), (1, 24, 24)),
    "depthwise": (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 1, 1)), (2, 16, 16)),
    "1-D": (nn.Sequential(nn.Conv1d(2, 3, 5, 2), nn.MaxPool1d(2), nn.Conv1d(3, 1, 3)), (2, 64)),
    "3-D": (nn.Sequential(nn.Conv3d(1, 1, (3, 5, 1)), nn.AvgPool3d((1, 2, 2)), nn.Conv3d(1, 1, 2)), (1, 10, 20, 20)),
    "frame by frame": (nn.Sequential(Do(frame_by_frame, CONV(3)), nn.Conv3d(1, 1, (3, 1, 1))), (1, 8, 10, 10)),
}


@pytest.mark.numerical
@pytest.mark.parametrize("name", NETS)
def test_field_is_what_the_gradient_reaches(name: str) -> None:
    net, shape = NETS[name]
    assert field(net, shape) == measured(net, shape)


@pytest.mark.numerical
@pytest.mark.parametrize("seed", range(20))
def test_field_of_a_random_network_is_what_the_gradient_reaches(seed: int) -> None:
    draw = random.Random(seed)

    def block(depth: int = 0) -> nn.Module:
        kind = draw.choice(["conv", "conv", "pool", "up", "transposed", "branches" if depth == 0 else "conv"])
        k = draw.randint(1, 4)
        if kind == "conv":
            return nn.Conv1d(1, 1, k, draw.randint(1, 2), draw.randint(0, 1), draw.randint(1, 2))
        if kind == "pool":
            return nn.AvgPool1d(k, draw.randint(1, k))
        if kind == "up":
            return nn.Upsample(scale_factor=draw.randint(2, 3), mode=draw.choice(["nearest", "linear"]))
        if kind == "transposed":
            return nn.ConvTranspose1d(1, 1, k + 1, draw.randint(1, k + 1))
        wide, narrow = nn.Conv1d(1, 1, 2 * k + 1, padding=k), nn.Conv1d(1, 1, 3, padding=1)
        return Do(lambda x, a, b: a(x) + b(x) + x, wide, nn.Sequential(narrow, nn.ReLU()))

    net = nn.Sequential(*(block() for _ in range(draw.randint(2, 4))))
    assert field(net, (1, 96)) == measured(net, (1, 96))


@pytest.mark.parametrize(
    ("name", "shape", "layer", "size"),
    [
        ("alexnet", (3, 224, 224), "features.12", 195),
        ("vgg16", (3, 224, 224), "features.30", 212),
        ("inception_v3", (3, 299, 299), "Mixed_7c", 1311),
    ],
)
def test_published_fields(name: str, shape: tuple[int, ...], layer: str, size: int) -> None:
    """Araujo, Norris and Sim 2019, Computing Receptive Fields of Convolutional Neural Networks, table of networks."""
    with torch.device("meta"):
        how = {"init_weights": False} if name == "inception_v3" else {}
        net = torchvision.models.get_model(name, weights=None, **how)
    assert profile(net, shape)[layer].receptive_field == (size, size)


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("kernel", [3, 5])
def test_stack_follows_the_formula(layers: int, kernel: int) -> None:
    """1 + L * (K - 1), whatever the size of the input: padding is virtual."""
    convs = [nn.Conv2d(2, 2, kernel, padding="same") for _ in range(layers)]
    assert field(nn.Sequential(*convs), (2, 4, 4)) == (1 + layers * (kernel - 1),) * 2


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (nn.Sequential(CONV(3), nn.AdaptiveAvgPool2d(1)), (1, 8, 8), (None, None)),
        (nn.Sequential(CONV(3), nn.Flatten()), (1, 8, 8), (3, 3)),
        (nn.Sequential(CONV(3), nn.Flatten(), nn.Linear(36, 2)), (1, 8, 8), (None, None)),
        (Do(lambda x: x.mean(-1, keepdim=True)), (1, 8, 8), (1, None)),
        (Do(lambda x: x * x.mean((2, 3), keepdim=True)), (1, 8, 8), (None, None)),
        (Do(lambda x: F.scaled_dot_product_attention(x, x, x)), (1, 8, 8), (None, None)),
        (Do(lambda x: x.flatten(1, 2)), (1, 4, 8, 8), (1, 1, 1)),
        (nn.Sequential(Do(lambda x: x.flatten(1, 2)), nn.Conv2d(4, 1, 3)), (1, 4, 8, 8), (None, 3, 3)),
        (Do(lambda x: x.cumsum(2)), (1, 8, 8), (None, 1)),
        (Do(lambda x: torch.fft.fft(x).real), (1, 8, 8), (None, None)),
        (Do(lambda x: x + x.flip(3)), (1, 8, 8), (None, None)),
        (Do(lambda x: torch.zeros_like(x).index_copy_(2, torch.arange(8), x)), (1, 8, 8), (None, None)),
        (Do(lambda x: F.conv2d(x, x.mean((2, 3), keepdim=True))), (1, 8, 8), (None, None)),
        (
            Do(lambda x: torch.addmm(x.mean((0, 1)).t(), x[0, 0], torch.ones(8, 8, device=x.device))),
            (1, 8, 8),
            (None, None),
        ),
        (nn.Linear(4, 3), (4,), ()),
    ],
)
def test_field_is_lost_where_positions_mix(net: nn.Module, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    assert field(net, shape) == expected


def test_write_through_a_view_is_not_forgotten() -> None:
    """A temporal shift fills slices of a fresh tensor: its field is unknown, not empty."""

    def shift(x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[:, :, 1:] = x[:, :, :-1]
        return out

    assert field(Do(shift), (1, 4, 8, 8)) == (None, None, None)


def test_two_inputs_count_samples_of_the_finer_one() -> None:
    shapes = ((1, 4, 8, 8), (1, 16, 8, 8))
    result = profile(TwoSpeeds(), shapes)
    assert result["slow"].receptive_field == (1, 3, 3)
    assert result["lateral"].receptive_field == (5, 1, 1)
    assert result["(root)"].receptive_field == (5, 3, 3)
