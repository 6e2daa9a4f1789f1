"""FCN, DeconvNet and the autoencoder, layer by layer against slow functional nets written from the papers' tables."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import zoo
from tests.precision import assert_same
from tests.written import chosen, written
from zoo.models.deconvnet import pool, unpool
from zoo.models.fcn import bilinear_kernel, upsampling

pytestmark = pytest.mark.usefixtures("precise")

FCNS = {name: int(name.removeprefix("fcn").removesuffix("s")) for name in zoo.list_models("fcn*s")}
SIZES = [(1, 1), (7, 31), (31, 33), (32, 32), (33, 64), (63, 65), (95, 50), (96, 97)]
RECIPES = {name: written("model", name)["model"] for name in zoo.list_models()}
DENSE = [name for name in RECIPES if chosen("model", name)["task"] == "segmentation"]
SCALED = [name for name in DENSE if "width" in RECIPES[name]]


def small(name: str, **arguments: object) -> nn.Module:
    own = {"width": 1 / 32, "dropout": 0.0} if name in SCALED else {}
    if "input_shape" in RECIPES[name]:
        own["input_shape"] = (3, 64, 64)
    torch.manual_seed(0)
    return zoo.create_model(name, **{"num_classes": 5, **own, **arguments}).eval()


def randomised(net: nn.Module) -> nn.Module:
    """Scores start at zero; a comparison wants them somewhere."""
    for name, parameter in net.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(parameter, std=0.1)
    return net


# Shapes


@pytest.mark.parametrize("padding", ["same", "paper"])
@pytest.mark.parametrize("name", FCNS)
def test_any_size_in_the_same_size_out(name: str, padding: str) -> None:
    net = small(name, padding=padding)
    for size in SIZES:
        assert net(torch.randn(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("name", [name for name in DENSE if name not in FCNS])
def test_the_others_take_any_size_too(name: str) -> None:
    net = small(name)
    for size in SIZES[1:]:
        assert net(torch.randn(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(name: str, channels: int) -> None:
    assert small(name, in_chans=channels)(torch.randn(1, channels, 64, 64)).shape == (1, 5, 64, 64)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", SCALED)
def test_normalisation_is_a_choice(name: str, norm: bool) -> None:
    kinds = {type(module) for module in small(name, norm=norm).modules()}
    assert (nn.BatchNorm2d in kinds) == norm


@pytest.mark.parametrize("name", [*SCALED, "autoencoder"])
def test_a_width_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="width is 0"):
        zoo.create_model(name, width=0)


def test_a_padding_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="padding is 'wide'; there are same and paper"):
        small("fcn8s", padding="wide")


@pytest.mark.numerical
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SCALED else pytest.mark.slow) for name in DENSE])
def test_it_learns_one_picture_by_heart(name: str) -> None:
    net = small(name, **({"width": 1 / 8, "norm": True} if name in SCALED else {})).train()
    x = torch.randn(2, 3, 64, 64)
    y = (torch.arange(8) % 5).view(2, 2, 2).repeat_interleave(32, 1).repeat_interleave(32, 2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2 if name in SCALED else 1e-3)
    blind = 6 / 8 * math.log(4) + 2 / 8 * math.log(8)  # what knowing how frequent each class is gives: 2, 2, 2, 1, 1 of 8
    for _ in range(250):
        loss = F.cross_entropy(net(x), y)
        if loss.item() < 0.6 * blind:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the loss is still {loss.item():.3f}")


# The papers' tables

VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def pooled(x: Tensor) -> Tensor:
    """2x2 max pooling that rounds up, by hand."""
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-torch.inf)
    return torch.stack([x[:, :, a::2, b::2] for a, b in itertools.product((0, 1), repeat=2)]).amax(0)


def enlarged(x: Tensor, factor: int, pad: int) -> Tensor:
    """Each channel by itself through a transposed convolution with the kernel of Caffe's `bilinear` filler."""
    size = 2 * factor
    centre = factor - 0.5
    line = torch.tensor([1 - abs(k - centre) / factor for k in range(size)])
    kernel = (line[:, None] * line).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=factor, padding=pad, groups=x.shape[1])


def slow_fcn(net: nn.Module, x: Tensor, stride: int, padding: str) -> Tensor:
    """FCN from net.py of the authors, with a network's weights in the order of the layers."""
    paper = padding == "paper"
    convolutions = iter([module for module in net.features if isinstance(module, nn.Conv2d)])
    size, first, maps = x.shape[2:], True, {}
    for number, stage in enumerate(VGG, start=1):
        for _ in stage:
            layer = next(convolutions)
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=100 if paper and first else 1))
            first = False
        maps[number] = x = pooled(x)
    fc6, fc7 = net.fc6[0], net.fc7[0]
    x = F.relu(F.conv2d(x, fc6.weight, fc6.bias, padding=0 if paper else 3))
    x = F.relu(F.conv2d(x, fc7.weight, fc7.bias))
    x = F.conv2d(x, net.score.weight, net.score.bias)
    for pool_number, finest, margin in ((4, 16, 5), (3, 8, 9)):
        if stride <= finest:
            score = net.get_submodule(f"score_pool{pool_number}")
            x = enlarged(x, 2, 0 if paper else 1)
            skip = F.conv2d(maps[pool_number], score.weight, score.bias)
            if paper:
                x = x + skip[:, :, margin : margin + x.shape[2], margin : margin + x.shape[3]]
            else:
                x = x[:, :, : skip.shape[2], : skip.shape[3]] + skip
    x = enlarged(x, stride, 0 if paper else stride // 2)
    start = {32: 19, 16: 27, 8: 31}[stride] if paper else 0
    return x[:, :, start : start + size[0], start : start + size[1]]


@pytest.mark.numerical
@pytest.mark.parametrize("padding", ["same", "paper"])
@pytest.mark.parametrize("name", FCNS)
def test_fcn_is_the_authors_net(name: str, padding: str) -> None:
    net = randomised(small(name, padding=padding))
    for size in ((64, 64), (45, 70)):
        x = torch.randn(1, 3, *size)
        assert_same(net(x), slow_fcn(net, x, FCNS[name], padding))
        assert net(x).abs().max() > 1e-3


@pytest.mark.numerical
def test_at_once_scales_the_skips_as_the_authors_do() -> None:
    staged, at_once = randomised(small("fcn8s")), small("fcn8s", at_once=True)
    at_once.load_state_dict(staged.state_dict())
    with torch.no_grad():
        staged.score_pool4.weight *= 0.01
        staged.score_pool3.weight *= 0.0001
    x = torch.randn(1, 3, 64, 64)
    assert_same(staged(x), at_once(x))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # VGG-16's convolutions 14,714,688; FC6 102,764,544; FC7 16,781,312; scores 4097 C; then the skips (513 C, 257 C),
        # their upsampling 16 C^2 each, and the fixed one, (2s)^2 C.
        ("fcn32s", 134_260_544 + 4097 * 21 + 64**2 * 21),
        ("fcn16s", 134_260_544 + (4097 + 513) * 21 + 16 * 21**2 + 32**2 * 21),
        ("fcn8s", 134_260_544 + (4097 + 513 + 257) * 21 + 2 * 16 * 21**2 + 16**2 * 21),
    ],
)
def test_parameters_of_fcn(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in zoo.create_model(name).parameters()) == parameters


# Noh et al. 2015, table 2 (Fully convolutional part and deconvolution part): layer, kernel, output at 224x224.
DECONVNET = [
    *[("conv", 3, (filters, 224, 224)) for filters in (64, 64)],
    *[("conv", 3, (filters, 112, 112)) for filters in (128, 128)],
    *[("conv", 3, (filters, 56, 56)) for filters in (256, 256, 256)],
    *[("conv", 3, (filters, 28, 28)) for filters in (512, 512, 512)],
    *[("conv", 3, (filters, 14, 14)) for filters in (512, 512, 512)],
    ("conv", 7, (4096, 1, 1)),
    ("conv", 1, (4096, 1, 1)),
    ("deconv", 7, (512, 7, 7)),
    *[("deconv", 3, (512, 14, 14))] * 3,
    *[("deconv", 3, (filters, 28, 28)) for filters in (512, 512, 256)],
    *[("deconv", 3, (filters, 56, 56)) for filters in (256, 256, 128)],
    *[("deconv", 3, (filters, 112, 112)) for filters in (128, 64)],
    *[("deconv", 3, (filters, 224, 224)) for filters in (64, 64)],
    ("conv", 1, (21, 224, 224)),
]


def test_deconvnet_is_the_papers_table() -> None:
    rows = []

    def note(layer: nn.Conv2d | nn.ConvTranspose2d, inputs: object, output: Tensor) -> None:
        rows.append(("deconv" if layer.transposed else "conv", layer.kernel_size[0], tuple(output.shape[1:])))

    with torch.device("meta"):
        net = zoo.create_model("deconvnet")
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(note)
        net.eval()(torch.empty(1, 3, 224, 224))
    assert rows == DECONVNET
    assert sum(p.numel() for p in net.parameters()) == 251_788_949  # "approximately 252M parameters" (section 4.2)


@pytest.mark.numerical
def test_deconvnet_against_max_unpool2d() -> None:
    net = small("deconvnet", norm=False)
    x = y = torch.randn(2, 3, 64, 64)
    memory = []
    for stage in net.encoder:
        for layer in stage:
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=1)) if isinstance(layer, nn.Conv2d) else x
        shape = x.shape
        x, places = F.max_pool2d(x, 2, return_indices=True)
        memory.append((places, shape))
    fc6, fc7, mirror = (module for module in net.fc if isinstance(module, nn.Conv2d | nn.ConvTranspose2d))
    x = F.relu(F.conv2d(F.relu(F.conv2d(x, fc6.weight, fc6.bias)), fc7.weight, fc7.bias))
    x = F.relu(F.conv_transpose2d(x, mirror.weight, mirror.bias))
    for stage, (places, shape) in zip(reversed(net.decoder), reversed(memory), strict=True):
        x = F.max_unpool2d(x, places, 2, output_size=shape[2:])
        for layer in stage:
            if isinstance(layer, nn.ConvTranspose2d):
                x = F.relu(F.conv_transpose2d(x, layer.weight, layer.bias, padding=1))
    assert_same(net(y), F.conv2d(x, net.score.weight, net.score.bias))


@pytest.mark.numerical
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (1, 1), (8, 3)])
def test_unpooling_puts_maxima_back(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    maxima, switches = pool(x)
    assert torch.equal(maxima, pooled(x))
    back = unpool(maxima, switches)
    assert torch.equal(back, x * switches)
    assert switches.sum() == maxima.numel()
    weights = torch.randn_like(back)
    (gradient,) = torch.autograd.grad((back * weights).sum(), x)
    assert torch.equal(gradient, weights * switches)


def test_deconvnet_trains_under_torchs_own_test_of_determinism() -> None:
    net, x = small("deconvnet").train(), torch.randn(2, 3, 64, 64)
    torch.use_deterministic_algorithms(True)
    try:
        net(x).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


# Bilinear layers


@pytest.mark.numerical
@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_the_upsampling_layer_is_bilinear_interpolation_inside(factor: int) -> None:
    x = torch.randn(1, 3, 6, 7)
    for fixed in (False, True):
        out = upsampling(3, factor, "same", fixed=fixed)(x)
        expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        edge = factor // 2
        assert out.shape == expected.shape
        assert_same(out[..., edge:-edge, edge:-edge], expected[..., edge:-edge, edge:-edge])
    assert_same(bilinear_kernel(factor).sum(), torch.tensor(float(factor**2)))


def test_only_the_last_upsampling_is_fixed() -> None:
    still = [name for name, p in small("fcn8s").named_parameters() if not p.requires_grad]
    assert still == ["enlarge_x8.weight"]


# Weights


@pytest.mark.numerical
@pytest.mark.slow
def test_fcn_equals_vgg16_where_its_window_fits(tmp_path: Path) -> None:
    """At each place of the convolutional net, the classifier's output on the window there."""
    vgg = torchvision.models.vgg16(weights=None).eval()
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    with pytest.warns(UserWarning, match="score"):
        net = zoo.create_model("fcn32s", pretrained=tmp_path / "vgg16.pth").eval()
    x = torch.randn(1, 3, 320, 256)
    with torch.no_grad():
        features = vgg.features(x)
        assert_same(net.features(x), features)
        ours = net.fc7(net.fc6(features))
        for top, left in itertools.product(range(features.shape[2] - 6), range(features.shape[3] - 6)):
            window = features[:, :, top : top + 7, left : left + 7]
            expected = vgg.classifier[:6](torch.flatten(window, 1))
            found = ours[:, :, top + 3, left + 3]  # "same" padding: the window's middle
            assert_same(found, expected)


@pytest.mark.numerical
def test_each_stage_starts_where_the_last_ended(tmp_path: Path) -> None:
    """32s into 16s into 8s: what they share is taken over, new skips are silent, so the scores hardly move."""
    coarse = randomised(small("fcn32s", width=1 / 16))
    x = torch.randn(1, 3, 128, 128)
    for name in ("fcn16s", "fcn8s"):
        torch.save(coarse.state_dict(), tmp_path / "last.pth")
        with pytest.warns(UserWarning, match="start afresh: enlarge_pool"):
            fine = small(name, width=1 / 16, pretrained=tmp_path / "last.pth")
        for key in coarse.state_dict().keys() & fine.state_dict().keys():
            assert torch.equal(coarse.state_dict()[key], fine.state_dict()[key])
        inside = (slice(None), slice(None), slice(32, 96), slice(32, 96))
        scale = coarse(x)[inside].std()
        assert (coarse(x) - fine(x))[inside].abs().mean() < 0.15 * scale  # 0.043 to 0.048 of five draws
        coarse = fine


@pytest.mark.numerical
def test_deconvnet_starts_from_vgg16_and_from_an_fcn(tmp_path: Path) -> None:
    """Its convolutions are theirs; FC6, whose window is smaller here, and the mirror start afresh."""
    x = torch.randn(1, 3, 32, 32)
    with torch.device("meta"):
        vgg = torchvision.models.vgg16_bn(weights=None)
    vgg.classifier = nn.Identity()  # which fits an FCN alone, and is dear to draw
    for name, value in vgg.to_empty(device="cpu").state_dict().items():
        value.copy_(torch.rand(value.shape) if "bias" not in name else torch.zeros(()))
    for source in (vgg, small("fcn32s", width=1 / 16, norm=True)):
        torch.save(source.state_dict(), tmp_path / "source.pth")
        width = 1 / 16 if hasattr(source, "fc6") else 1.0
        with pytest.warns(UserWarning, match=r"start afresh: decoder\.0"):
            net = zoo.create_model("deconvnet", input_shape=(3, 64, 64), width=width, pretrained=tmp_path / "source.pth").eval()
        expected, found = source.eval().features(x), x
        for stage in net.encoder:
            found = F.max_pool2d(stage(found), 2)
        assert_same(found, expected)


def test_torchvisions_fcn_resnet50_loads(tmp_path: Path) -> None:
    theirs = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    torch.save(theirs.state_dict(), tmp_path / "fcn.pth")
    with pytest.warns(UserWarning, match=r"fcn\.pth: \d+ tensors of the file have no place in fcn_resnet50: aux_classifier"):
        ours = zoo.create_model("fcn_resnet50", pretrained=tmp_path / "fcn.pth").eval()
    x = torch.randn(1, 3, 65, 64)
    assert torch.equal(ours(x), theirs.eval()(x)["out"])


# The autoencoder


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 29, 30), (1, 5, 3)])
@pytest.mark.parametrize("embedding", [1, 32])
def test_the_autoencoder_gives_back_its_shape(shape: tuple[int, int, int], embedding: int) -> None:
    net = zoo.create_model("autoencoder", in_chans=shape[0], input_shape=shape, embedding=embedding).eval()
    x = torch.randn(2, *shape)
    assert net.encode(x).shape == (2, embedding)
    assert net(x).shape == x.shape
    assert torch.equal(net(x), net.decode(net.encode(x)))


def test_an_embedding_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="embedding is 0"):
        zoo.create_model("autoencoder", embedding=0)


def test_the_mirrors_shapes_follow_the_arithmetic_of_the_lectures() -> None:
    net = zoo.create_model("autoencoder", input_shape=(1, 29, 30))
    down = [layer for layer in net.encoder if isinstance(layer, nn.Conv2d)]
    up = [layer for layer in net.decoder if isinstance(layer, nn.ConvTranspose2d)]
    size = np.array([29, 30])
    for convolution, mirror in zip(down, reversed(up), strict=True):
        (kernel, _), (stride, _), (padding, _) = convolution.kernel_size, convolution.stride, convolution.padding
        assert tuple((size + 2 * padding - kernel) % stride) == mirror.output_padding
        size = (size - kernel + 2 * padding) // stride + 1
