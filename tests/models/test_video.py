"""The video networks, each held to a reference of its own: the 2-D network it is composed of, a slow loop, or the library."""

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import conv2d

import zoo
from tests.precision import BOUND, assert_same, same
from zoo.models._base import Classifier
from zoo.models._frames import build_2d
from zoo.models._registry import get_builder
from zoo.models._weights import load_fitting, load_pretrained
from zoo.models.cnn_rnn import ConvGRU
from zoo.models.two_stream import FLOW, TwoStream, fit_svm_fusion
from zoo.run.compose import composed

pytestmark = pytest.mark.usefixtures("precise")

SHAPE = (3, 4, 32, 32)
FRAMES = {"input_shape": SHAPE, "stem": "imagenet", "num_classes": 5}
TAKES = {name: inspect.signature(get_builder(name)).parameters for name in zoo.list_models()}
VIDEO = [name for name, takes in TAKES.items() if "input_shape" in takes and len(takes["input_shape"].default) == 4]
COMPOSED = [name for name in VIDEO if "backbone" in TAKES[name]]


class Plain(nn.Module):
    """A user's own 2-D network: small, and with nothing of our contract."""

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_chans, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(8, 5)
        self.double()  # also where a list of cases builds it

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.body(x))
        return scores


def clips(*shape: int) -> Tensor:
    return torch.randn(2, *(shape or SHAPE), generator=torch.Generator().manual_seed(1))


def made(name: str, **arguments: object) -> Classifier:
    torch.manual_seed(0)
    net = zoo.create_model(name, **arguments)
    assert isinstance(net, Classifier)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):  # statistics that are not the initial ones
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net.eval()


def same_weights(name: str, net: Classifier, place: str, **arguments: object) -> Classifier:
    """The 2-D network `name` with the weights that a video network has at `place`."""
    other = made(name, num_classes=0, **arguments)
    state = net.state_dict()
    place = f"features.{place}."
    other.load_state_dict({f"features.{k.removeprefix(place)}": v for k, v in state.items() if k.startswith(place)})
    return other


# -------------------- composed of a 2-D network


@pytest.mark.numerical
@pytest.mark.parametrize("average", ["probabilities", "scores"])
def test_single_frame_is_a_slow_loop_over_frames(average: str) -> None:
    net, x = made("single_frame", **FRAMES, average=average), clips()
    flat = same_weights("resnet18", net, "frames.net")
    each = [net.head(flat(x[:, :, t])) for t in range(x.shape[2])]
    expected = sum(scores.softmax(1) if average == "probabilities" else scores for scores in each) / len(each)
    got = net(x).exp() if average == "probabilities" else net(x)
    assert_same(got, expected)


@pytest.mark.numerical
def test_single_frame_trains_on_one_frame_of_each_clip() -> None:
    net, x = made("single_frame", **FRAMES), clips()
    possible = [net(x[:, :, t : t + 1]) for t in range(4)]
    for module in net.modules():
        module.training = not isinstance(module, nn.BatchNorm2d)
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        scores = net(x).log_softmax(1)
        for row in range(2):
            at = [t for t in range(4) if same(scores[row], possible[t][row])]
            assert len(at) == 1
            seen.add((row, at[0]))
    assert len({t for _, t in seen}) > 1


@pytest.mark.numerical
def test_late_fusion_pool_is_blind_to_order_and_fc_is_not() -> None:
    x = clips()
    for fusion in ("pool", "fc"):
        net = made("late_fusion", **FRAMES, fusion=fusion)
        assert same(net(x), net(x.flip(2))) == (fusion == "pool")


@pytest.mark.numerical
def test_late_fusion_joins_the_features_of_all_frames() -> None:
    net, x = made("late_fusion", **FRAMES, hidden=16), clips()
    flat = same_weights("resnet18", net, "frames.net")
    joined = torch.cat([flat(x[:, :, t]) for t in range(4)], 1)
    assert joined.shape == (2, 4 * 512)
    assert_same(net(x), net.head(net.features.fc(joined).relu()))


@pytest.mark.numerical
def test_early_fusion_is_the_2d_network_on_stacked_frames() -> None:
    net, x = made("early_fusion", **FRAMES), clips()
    flat = same_weights("resnet18", net, "net", in_chans=12)
    stacked = torch.cat([x[:, :, t] for t in range(4)], 1)
    assert_same(net(x), net.head(flat(stacked)))


@pytest.mark.numerical
def test_a_convolutional_gru_is_a_slow_reference() -> None:
    cell, x = ConvGRU(3, 4), torch.randn(2, 5, 3, 6, 6)
    got = cell(x)
    wz, wr, w = cell.input.weight.split(4)
    bz, br, b = cell.input.bias.split(4)
    uz, ur = cell.gates.weight.split(4)
    h = torch.zeros(2, 4, 6, 6)
    for t in range(5):  # equations 7 to 10 of Ballas et al. 2016
        z = torch.sigmoid(conv2d(x[:, t], wz, bz, padding=1) + conv2d(h, uz, padding=1))
        r = torch.sigmoid(conv2d(x[:, t], wr, br, padding=1) + conv2d(h, ur, padding=1))
        new = torch.tanh(conv2d(x[:, t], w, b, padding=1) + conv2d(r * h, cell.candidate.weight, padding=1))
        h = (1 - z) * h + z * new
    assert_same(got, h)


@pytest.mark.numerical
@pytest.mark.parametrize("cell", ["lstm", "gru", "conv_gru"])
def test_recurrent_networks_see_the_order_and_any_length(cell: str) -> None:
    block = "layer1" if cell == "conv_gru" else None
    net, x = made("cnn_rnn", **FRAMES, cell=cell, hidden=8, block=block), clips()
    assert not same(net(x), net(x.flip(2)))
    assert net(clips(3, 7, 32, 32)).shape == (2, 5)
    if cell == "conv_gru":
        assert not any("layer2" in key for key in net.state_dict()), "what comes after the block is gone"


@pytest.mark.numerical
def test_attention_sees_the_order_by_its_time_positions_alone() -> None:
    net, x = made("space_time_attention", **FRAMES, block="layer1", width=32), clips()
    assert not same(net(x), net(x.flip(2)))
    nn.init.zeros_(net.features.tokens.time)
    assert_same(net(x), net(x.flip(2)))


@pytest.mark.numerical
def test_attention_over_an_inflated_backbone() -> None:
    """On a constant video it has the maps of the backbone by itself; motion is in the maps before attention looks."""
    flat = made("space_time_attention", **FRAMES, block="layer1", width=32)
    net = made("space_time_attention", **FRAMES, block="layer1", width=32, time=3)
    load_fitting(net, {key.replace("frames.net.net", "frames.net"): value for key, value in flat.state_dict().items()})
    still = clips()[:, :, :1].expand(-1, -1, SHAPE[1], -1, -1)
    assert_same(net(still), flat(still))
    x = clips()
    assert not same(net.features.frames(x), flat.features.frames(x))


@pytest.mark.numerical
def test_attention_is_the_slow_formula() -> None:
    net = made("space_time_attention", **FRAMES, block="layer1", width=32, heads=4)
    block, x = net.features.block1, torch.randn(1, 6, 32)
    q, k, v = (part.reshape(6, 4, 8) for part in block.qkv(block.norm1(x))[0].split(32, 1))
    seen = torch.zeros(6, 4, 8)
    for head in range(4):
        for i in range(6):
            weight = torch.softmax(torch.stack([q[i, head] @ k[j, head] for j in range(6)]) / math.sqrt(8), 0)
            seen[i, head] = sum(weight[j] * v[j, head] for j in range(6))
    middle = x + block.out(seen.flatten(1))
    assert_same(block(x), middle + block.mlp(block.norm2(middle)))


@pytest.mark.slow
@pytest.mark.numerical
def test_an_inflated_network_gives_the_2d_scores_on_a_constant_video(tmp_path: Path) -> None:
    flat = made("resnet18", num_classes=5, stem="imagenet")
    net = made("inflated", **FRAMES, backbone=flat)
    load_fitting(net, flat.state_dict())
    x = torch.randn(2, 3, 32, 32)
    still = x.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    assert_same(net(still), flat(x))
    # Copies are the same forwards and backwards, so a network that has not learnt yet tells no clip from its reversal.
    assert not same(net(clips()), net(clips()[:, :, [1, 0, 2, 3]]))
    torch.save(flat.state_dict(), tmp_path / "flat.pt")
    by_name = made("inflated", **FRAMES)
    load_pretrained(by_name, tmp_path / "flat.pt", "inflated")
    assert_same(by_name(still), flat(x))


@pytest.mark.slow
def test_published_2d_weights_fit_the_composed_networks() -> None:
    """torchvision's names; the first kernel is adapted where flow or other channels are read."""
    published = torchvision.models.resnet18(num_classes=7).state_dict()
    for name, channels in (("late_fusion", 3), ("single_frame", 3), ("cnn_rnn", 3), ("inflated", 2)):
        net = made(name, **FRAMES | {"input_shape": (channels, *SHAPE[1:]), "in_chans": channels})
        fresh = load_fitting(net, published)
        assert not [line for line in fresh if "conv" in line or "layer" in line or "bn1" in line], name
    for time in (1, 3):
        maps = made("space_time_attention", **FRAMES, block="layer2", width=32, time=time)
        assert not [line for line in load_fitting(maps, published) if "frames" in line]


# -------------------- two streams


@pytest.mark.numerical
def test_two_streams_read_a_frame_and_twenty_channels_of_flow() -> None:
    net = made("two_stream", in_chans=5, input_shape=(5, 10, 32, 32), num_classes=5)
    assert isinstance(net, TwoStream)
    spatial = same_weights("resnet18", net, "spatial", stem="small")
    temporal = same_weights("resnet18", net, "temporal", stem="small", in_chans=20)
    x = clips(5, 10, 32, 32)
    stack = torch.cat([x[:, -FLOW:, t] for t in range(10)], 1)
    assert stack.shape[1] == 20
    a, b = net.head.streams[0](spatial(x[:, :3, 0])), net.head.streams[1](temporal(stack))
    assert_same(net(x).exp(), (a.softmax(1) + b.softmax(1)) / 2)


@pytest.mark.numerical
def test_streams_can_be_trained_apart() -> None:
    x = clips(5, 10, 32, 32)
    arguments = {"in_chans": 5, "input_shape": (5, 10, 32, 32), "num_classes": 5}
    spatial, temporal = (made("two_stream", **arguments, streams=which) for which in ("spatial", "temporal"))
    moved, repainted = x.clone(), x.clone()
    moved[:, -FLOW:] += 1
    repainted[:, :-FLOW] += 1
    assert torch.equal(spatial(x), spatial(moved))
    assert not torch.equal(spatial(x), spatial(repainted))
    assert torch.equal(temporal(x), temporal(repainted))
    assert not torch.equal(temporal(x), temporal(moved))


@pytest.mark.numerical
def test_differences_stand_in_for_flow() -> None:
    net, x = made("two_stream", **FRAMES, in_chans=3, motion="difference", streams="temporal"), clips()
    flat = same_weights("resnet18", net, "temporal", in_chans=9)
    stack = torch.cat([x[:, :, t + 1] - x[:, :, t] for t in range(3)], 1)
    assert_same(net(x), net.head(flat(stack)))
    assert_same(net(x), net(x + 3))


@pytest.mark.numerical
def test_an_svm_learns_which_stream_to_trust() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(300) % 3
    noise = torch.rand(300, 3, generator=generator).softmax(1)
    good = (3 * torch.nn.functional.one_hot(label, 3) + torch.randn(300, 3, generator=generator)).softmax(1)
    fuse = fit_svm_fusion([noise[:200], good[:200]], label[:200])
    fused = (fuse([noise[200:], good[200:]]).argmax(1) == label[200:]).float().mean()
    assert fused >= (good[200:].argmax(1) == label[200:]).float().mean() - 0.2  # 0.02 less at most, of 30 draws
    two = fit_svm_fusion([good[:200]], label[:200] == 1)
    assert two([good[200:]]).shape == (100, 2)
    with pytest.raises(ValueError, match="join them by id"):
        fit_svm_fusion([good[:10]], label)
    with pytest.raises(ValueError, match="at least two"):
        fit_svm_fusion([good[:10]], torch.zeros(10))


# -------------------- 3-D


def test_slow_fusion_fuses_ten_frames_to_four_two_and_one() -> None:
    profile = zoo.profile(zoo.create_model("slow_fusion"), (3, 10, 170, 170))
    shapes = {name: profile[f"features.{name}"].output_shape for name in ("conv1", "conv2", "conv3", "pool5", "fc6")}
    assert shapes == {
        "conv1": (96, 4, 54, 54),
        "conv2": (256, 2, 27, 27),
        "conv3": (384, 1, 13, 13),
        "pool5": (256, 1, 6, 6),
        "fc6": (4096,),
    }
    # By hand: 96 (3 4 11 11 + 1), 256 (96 2 5 5 + 1), 384 (256 2 3 3 + 1), 384 (384 3 3 + 1), 256 (384 3 3 + 1), FC.
    by_hand = 139_488 + 1_229_056 + 1_769_856 + 1_327_488 + 884_992 + 37_752_832 + 16_781_312 + 487 * 4097
    assert profile.params == by_hand


def same_padding(x: int, kernel: int, stride: int) -> tuple[int, int]:
    out = math.ceil(x / stride)
    total = max((out - 1) * stride + kernel - x, 0)
    return total // 2, total - total // 2


@pytest.mark.numerical
@pytest.mark.parametrize("size", [(5, 7, 8), (6, 4, 9)])
def test_i3d_pads_as_tensorflow_does(size: tuple[int, int, int]) -> None:
    """The first layer and pooling at sizes odd and even, position by position."""
    net = made("i3d", num_classes=5)
    unit, pool = net.features.Conv3d_1a_7x7, net.features.MaxPool3d_4a_3x3
    x = torch.randn(1, 3, *size)
    outs = [math.ceil(n / 2) for n in size]
    got, weight = unit(x), unit.conv3d.weight
    before = [same_padding(n, 7, 2)[0] for n in size]
    slow = torch.zeros(1, 64, *outs)
    for t in range(outs[0]):
        for i in range(outs[1]):
            for j in range(outs[2]):
                for dt in range(7):
                    for di in range(7):
                        for dj in range(7):
                            at = [2 * p + d - b for p, d, b in zip((t, i, j), (dt, di, dj), before, strict=True)]
                            if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                                slow[0, :, t, i, j] += weight[:, :, dt, di, dj] @ x[0, :, at[0], at[1], at[2]]
    assert_same(got, unit.bn(slow).relu())

    y = torch.rand(1, 2, *size)
    before = [same_padding(n, 3, 2)[0] for n in size]
    pooled = torch.zeros(1, 2, *outs)
    for t in range(outs[0]):
        for i in range(outs[1]):
            for j in range(outs[2]):
                window = [slice(max(2 * p - b, 0), 2 * p - b + 3) for p, b in zip((t, i, j), before, strict=True)]
                pooled[0, :, t, i, j] = y[0][:, window[0], window[1], window[2]].amax((1, 2, 3))
    assert torch.equal(pool(y), pooled)


def test_i3d_counts() -> None:
    net = zoo.create_model("i3d")
    assert sum(p.numel() for p in net.features.parameters()) == 12_287_264
    assert sum(p.numel() for p in net.parameters()) == 12_697_264
    profile = zoo.profile(net, (3, 64, 224, 224))
    shapes = [profile[f"features.{name}"].output_shape for name in ("Conv3d_1a_7x7.bn", "Mixed_3c.b0.bn", "Mixed_5c.b0.bn")]
    assert shapes == [(64, 32, 112, 112), (128, 32, 28, 28), (384, 8, 7, 7)]
    assert round(profile.macs / 1e9, 2) == 111.15


def test_i3d_loads_the_released_names() -> None:
    """Tensors named and shaped as pytorch-i3d's, the head a convolution."""
    net = made("i3d", num_classes=5)
    released = {key.removeprefix("features."): value for key, value in made("i3d", num_classes=5).state_dict().items()}
    released["logits.conv3d.weight"] = torch.randn(5, 1024, 1, 1, 1)
    released["logits.conv3d.bias"] = released.pop("head.bias")
    del released["head.weight"]
    assert {"Conv3d_1a_7x7.conv3d.weight", "Mixed_4b.b1b.bn.running_var", "Mixed_5c.b3b.conv3d.weight"} <= set(released)
    assert load_fitting(net, released) == []
    assert torch.equal(net.head.weight, released["logits.conv3d.weight"].flatten(1))


@pytest.mark.numerical
def test_i3d_ends_as_released() -> None:
    """Average of 2 x 7 x 7, a convolution to classes, mean over the moments that are left."""
    net, x = made("i3d", num_classes=5), torch.rand(2, 1024, 8, 7, 7)
    scores = nn.functional.conv3d(
        nn.functional.avg_pool3d(x, (2, 7, 7), 1), net.head.weight[..., None, None, None], net.head.bias
    )
    assert scores.shape == (2, 5, 7, 1, 1)
    assert_same(net.head(net.features.average(x)), scores.flatten(2).mean(2))


@pytest.mark.numerical
def test_r3d_18_is_torchvisions() -> None:
    published = torchvision.models.video.r3d_18(num_classes=5).eval()
    net, x = made("r3d_18", num_classes=5), clips(3, 4, 16, 16)
    assert load_fitting(net, published.state_dict()) == []
    assert_same(net(x), published(x))
    with torch.device("meta"):
        assert round(zoo.profile(zoo.create_model("r3d_18"), (3, 16, 112, 112)).macs / 1e9, 2) == 40.70


@pytest.mark.numerical
def test_slow_fusions_normalisation_is_the_papers() -> None:
    """b = a / (2 + 1e-4 * the sum of a squared over five channels) ** 0.5, written out (Krizhevsky et al. 2012)."""
    layer, a = zoo.create_model("slow_fusion", input_shape=(3, 10, 40, 40)).features.norm1, 50 * torch.rand(2, 96, 4, 3, 3)
    square = nn.functional.pad(a**2, (0, 0, 0, 0, 0, 0, 2, 2))
    total = sum(square[:, at : at + 96] for at in range(5))
    assert_same(layer(a), a / (2 + 1e-4 * total) ** 0.5)


@pytest.mark.numerical
def test_slowfast_is_pytorchvideos_on_a_packed_clip() -> None:
    from pytorchvideo.models.slowfast import create_slowfast

    published = create_slowfast(
        slowfast_fusion_conv_kernel_size=(5, 1, 1),
        slowfast_fusion_conv_stride=(8, 1, 1),
        model_num_class=5,
        head_pool_kernel_sizes=((2, 1, 1), (16, 1, 1)),
    ).eval()
    net, x = made("slowfast_r50_4x16", num_classes=5), clips(3, 16, 32, 32)
    assert load_fitting(net, published.state_dict()) == []
    assert_same(net(x), published([x[:, :, [0, 8]], x.clone()]))


class Kept(nn.Module):
    """Keeps what goes in."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        self.inputs = inputs
        return inputs[0]


@pytest.mark.parametrize(("frames", "alpha", "slow"), [(32, 8, [0, 10, 20, 31]), (16, 4, [0, 5, 10, 15]), (8, 8, [0])])
def test_the_slow_pathways_frames_are_spread_where_asked_for(frames: int, alpha: int, slow: list[int]) -> None:
    """PySlowFast's indices: those of its linspace, rounded down."""
    x = torch.arange(frames)[None, None, :, None, None].expand(2, 3, -1, 4, 4).double()
    for choice, expected in (("linspace", slow), ("strided", [*range(0, frames, alpha)])):
        with torch.device("meta"):
            arguments = {"input_shape": (3, frames, 32, 32), "alpha": alpha, "slow_frames": choice}
            packed = zoo.create_model("slowfast_r50_4x16", **arguments).features
        packed.net = Kept()
        packed(x)
        read, every = packed.net.inputs
        assert read[0, 0, :, 0, 0].tolist() == expected
        assert torch.equal(every, x)


@pytest.mark.numerical
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("slowfast_r50_4x16", "slow_r50")] + ["x3d_xs"]
)
def test_a_head_averages_window_by_window_where_asked_for(name: str) -> None:
    """On as many pixels as a window has it is the usual head; on more, windows that overlap count the middle more often."""
    frames = 8 if name != "x3d_xs" else 4
    arguments = {"num_classes": 5, "input_shape": (3, frames, 64, 64)}
    windowed, usual = made(name, **arguments, window=2), made(name, **arguments)
    assert list(windowed.state_dict()) == list(usual.state_dict())
    windowed.load_state_dict(usual.state_dict())
    with torch.no_grad():
        small, large = clips(3, frames, 64, 64), clips(3, frames, 96, 96)
        assert_same(windowed(small).softmax(1), usual(small).softmax(1))
        assert (windowed(large).softmax(1) - usual(large).softmax(1)).abs().max() > BOUND
        assert_same(windowed(clips(3, frames, 32, 32)), usual(clips(3, frames, 32, 32)))  # smaller than a window
        windowed.reset_classifier(0)
        assert windowed(large).shape == (2, windowed.num_features)
    with pytest.raises(ValueError, match="window is 0; it is a number of pixels of the last maps, at least 1, or null"):
        zoo.create_model(name, window=0)


@pytest.mark.slow
def test_slowfast_stages_are_the_tables() -> None:
    net = zoo.create_model("slowfast_r50_4x16")
    profile = zoo.profile(net, (3, 32, 224, 224))
    assert round(profile.params / 1e6, 2) == 34.48
    assert round(profile.macs / 1e9, 2) == 27.64
    assert round(zoo.profile(net, (3, 32, 256, 256)).macs / 1e9, 2) == 36.10  # the paper's 36.1
    kernel7 = zoo.create_model("slowfast_r50_4x16", fusion_kernel=7)
    assert zoo.profile(kernel7, (3, 32, 224, 224)).params == 34_566_488
    rows = {layer.name.removeprefix("features.net.blocks."): layer for layer in profile.layers}
    for pathway, frames, share in ((0, 4, 1), (1, 32, 8)):
        stem = rows[f"0.multipathway_blocks.{pathway}.conv"]
        assert stem.output_shape == (64 // share, frames, 112, 112)
        assert stem.weight_shape[2:] == ((1, 7, 7), (5, 7, 7))[pathway]
        assert rows[f"0.multipathway_blocks.{pathway}.pool"].output_shape == (64 // share, frames, 56, 56)
        times = ((1, 1, 3, 3), (3, 3, 3, 3))[pathway]
        for stage, (blocks, time, edge) in enumerate(zip((3, 4, 6, 3), times, (56, 28, 14, 7), strict=True), start=1):
            inner, outer = 32 * 2**stage // share, 128 * 2**stage // share
            prefix = f"{stage}.multipathway_blocks.{pathway}.res_blocks."
            assert len({name.split(".")[4] for name in rows if name.startswith(prefix)}) == blocks
            for block in range(blocks):
                a, b, c = (rows[f"{prefix}{block}.branch2.conv_{part}"] for part in "abc")
                assert a.weight_shape[0] == inner
                assert a.weight_shape[2:] == (time, 1, 1)
                assert b.weight_shape == (inner, inner, 1, 3, 3)
                assert c.weight_shape == (outer, inner, 1, 1, 1)
                assert c.output_shape == (outer, frames, edge, edge)
    for stage, fast in enumerate((8, 32, 64, 128)):
        lateral = rows[f"{stage}.multipathway_fusion.conv_fast_to_slow"]
        assert lateral.weight_shape == (2 * fast, fast, 5, 1, 1)
        assert lateral.output_shape[1] == 4


@pytest.mark.numerical
@pytest.mark.parametrize(
    ("name", "clip", "size", "mega", "giga"),
    [
        ("x3d_xs", 4, 160, 3.79, 0.61),
        ("x3d_s", 13, 160, 3.79, 1.96),
        ("x3d_m", 16, 224, 3.79, 4.73),
        pytest.param("x3d_l", 16, 312, 6.15, 18.37, marks=pytest.mark.slow),
    ],
)
def test_x3d_is_pytorchvideos(name: str, clip: int, size: int, mega: float, giga: float) -> None:
    from pytorchvideo.models.x3d import create_x3d

    profile = zoo.profile(zoo.create_model(name), (3, clip, size, size))
    assert round(profile.params / 1e6, 2) == mega
    assert round(profile.macs / 1e9, 2) == giga
    depth = 5.0 if name == "x3d_l" else 2.2
    published = create_x3d(
        input_clip_length=4, input_crop_size=32, model_num_class=5, depth_factor=depth, head_activation=None
    ).eval()
    net, x = made(name, num_classes=5), clips()
    assert load_fitting(net, published.state_dict()) == []
    assert_same(net(x), published(x))


def marked(name: str) -> Any:
    """The lightest proves it in every run of the tests, the others in the long ones."""
    return pytest.param(name, marks=() if name == "inflated" else pytest.mark.slow)


@pytest.mark.numerical
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "inflated" else marked(name)
        for name in ("i3d", "inflated", "r3d_18", "slowfast_r50_4x16", "x3d_m", "x3d_s")
    ],
)
def test_checkpointing_changes_nothing_but_memory(name: str) -> None:
    arguments = {"num_classes": 5, **({"dropout": 0.0} if "dropout" in TAKES[name] else {})}
    if name in COMPOSED:
        arguments |= {"backbone": "resnet18", "stem": "imagenet"}
    x = clips(3, 8, 16, 16)
    results = []
    for checkpointing in (False, True):
        net = made(name, **arguments)
        net.train()
        if checkpointing:
            net.checkpoint_blocks()
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            loss = net(x).square().mean()
        loss.backward()
        gradients = {key: p.grad for key, p in net.named_parameters()}
        results.append((loss.detach(), gradients, net.state_dict(), sum(kept)))
    (loss, gradients, state, much), (again, regained, restate, little) = results
    assert torch.equal(loss, again)
    assert little < 0.7 * much
    for key, gradient in gradients.items():
        assert_same(regained[key], gradient)
    for key, value in state.items():
        assert torch.equal(value, restate[key]), key


# -------------------- backbones and bad input


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("backbone", ["lenet5", "shufflenet_v2_x0_5", "timm/test_resnet", Plain])
def test_a_backbone_is_ours_torchvisions_timms_or_a_module(name: str, backbone: str | type[nn.Module]) -> None:
    arguments: dict[str, object] = {"input_shape": SHAPE, "num_classes": 5}
    if name == "two_stream":
        arguments |= {"in_chans": 3, "motion": "difference", "streams": "both" if isinstance(backbone, str) else "spatial"}
    net = backbone if isinstance(backbone, str) else backbone(12 if name == "early_fusion" else 3)
    if name == "space_time_attention" and backbone is Plain:
        with pytest.raises(ValueError, match="has no maps"):
            made(name, **arguments, backbone=net)
        return
    for stem in (None, "imagenet"):
        assert made(name, **arguments, backbone=net, stem=stem)(clips()).shape == (2, 5)


@pytest.mark.numerical
def test_a_backbone_that_is_a_network_is_copied_with_its_weights() -> None:
    plain = Plain()
    net, x = made("inflated", input_shape=SHAPE, num_classes=5, backbone=plain), torch.randn(2, 3, 32, 32)
    assert_same(net(x.unsqueeze(2).expand(-1, -1, 4, -1, -1)), plain(x))
    assert isinstance(plain.last, nn.Linear)
    nn.init.zeros_(net.features.net.body[0].weight)
    assert plain.body[0].weight.abs().max() > 0


def test_small_frames_get_a_small_stem_unless_told() -> None:
    kernels = {stem: build_2d("resnet18", 3, SHAPE, stem).features.conv1.kernel_size for stem in (None, "imagenet", "small")}
    assert kernels == {None: (3, 3), "imagenet": (7, 7), "small": (3, 3)}
    assert build_2d("resnet18", 3, (3, 4, 112, 112), None).features.conv1.kernel_size == (7, 7)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("late_fusion", {"backbone": "resnet81"}, "There is no torchvision network 'resnet81'"),
        ("late_fusion", {"backbone": "c3d"}, "c3d reads clips; a backbone must read images"),
        ("late_fusion", {"backbone": "fcn8s"}, "fcn8s is not a classification network"),
        ("late_fusion", {"backbone": "autoencoder"}, "autoencoder is not a classification network"),
        ("late_fusion", {"backbone": 3}, "backbone is 3; it must be the name"),
        ("late_fusion", {"backbone": "shufflenet_v2_x0_5", "stem": "small"}, "has no small stem; set stem to null"),
        ("late_fusion", {"backbone": Plain(), "stem": "small"}, "a Plain has its own"),
        ("late_fusion", {"backbone": nn.Conv2d(3, 5, 1)}, "Conv2d does not end in one linear layer"),
        ("late_fusion", {"backbone": nn.Linear(3, 5)}, "has no convolution"),
        ("early_fusion", {"backbone": Plain()}, "reads 3 channels, but it is fed 12. Build it with in_chans=12"),
        ("late_fusion", {"fusion": "sum"}, "there are fc and pool"),
        ("single_frame", {"average": "votes"}, "there are probabilities and scores"),
        ("cnn_rnn", {"cell": "rnn"}, "there are lstm, gru and conv_gru"),
        ("cnn_rnn", {"block": "layer2"}, "Set block to null"),
        ("cnn_rnn", {"layers": 0}, "at least 1"),
        ("cnn_rnn", {"cell": "conv_gru", "layers": 2}, "set layers to 1"),
        ("cnn_rnn", {"cell": "conv_gru", "block": "layer9"}, "no block 'layer9'; did you mean layer"),
        ("space_time_attention", {"width": 30}, "cannot be shared by 4 heads"),
        ("space_time_attention", {"backbone": "mlp"}, "has no maps"),
        ("two_stream", {"in_chans": 2}, "set model.motion to difference"),
        ("two_stream", {"streams": "three"}, "there are both, spatial and temporal"),
        ("two_stream", {"backbone": Plain()}, "serves one; set streams"),
        ("slow_fusion", {}, "slow_fusion fuses 10 frames, not 4. Set data.shape"),
        ("slow_fusion", {"input_shape": (3, 10, 16, 16)}, "too small"),
        ("slow_fusion", {"norm": "layer", "input_shape": (3, 10, 32, 32)}, "there are local and batch"),
        *[
            (name, {"stem": "tiny"}, "there are paper and small")
            for name in VIDEO
            if "stem" in TAKES[name] and name not in COMPOSED
        ],
        ("slowfast_r50_4x16", {}, "cannot be shared by pathways 8 to 1. Choose a multiple of 8"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said), torch.device("meta"):  # a network that is refused needs no values
        zoo.create_model(name, **{"input_shape": SHAPE, "num_classes": 5, **arguments})


def without_values(name: str, frames: int) -> nn.Module:
    """For clips of that many frames in colour."""
    arguments = {"num_classes": 5, "in_chans": 3, "input_shape": (3, frames, 32, 32), "motion": "difference"}
    with torch.device("meta"):
        return zoo.create_model(name, **{key: value for key, value in arguments.items() if key in TAKES[name]}).eval()


@pytest.mark.parametrize("name", VIDEO)
def test_a_clip_of_another_length_is_refused_where_the_network_is_sized_by_it(name: str) -> None:
    """It is where one for twice the frames has tensors of other shapes, or cannot be built."""
    frames = composed([f"model={name}"]).input_shape[1]
    net, x = without_values(name, frames), torch.empty(2, 3, 2 * frames, 32, 32, device="meta")
    try:
        other = without_values(name, 2 * frames).state_dict()
        sized = any(value.shape != other[key].shape for key, value in net.state_dict().items())
    except ValueError:
        sized = True
    if not sized:
        assert net(x).shape == (2, 5)
        return
    said = None if name == "c3d" else f"built for clips of {frames} frames, but got {2 * frames}"
    with pytest.raises((ValueError, RuntimeError), match=said):
        net(x)


@pytest.mark.parametrize("name", VIDEO)
def test_an_image_is_refused(name: str) -> None:
    net = without_values(name, composed([f"model={name}"]).input_shape[1])
    said = r"reads \(B, C, T, H, W\) clips, but got \(2, 3, 32, 32\)" if name in COMPOSED else None
    with pytest.raises((ValueError, RuntimeError), match=said):
        net(torch.empty(2, 3, 32, 32, device="meta"))
