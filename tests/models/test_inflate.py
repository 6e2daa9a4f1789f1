"""Inflation, against the 2-D networks themselves on still videos and hand-written 3-D networks on moving ones."""

import copy
import pickle
import re
import threading
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.precision import BOUND, assert_same, gap
from zoo.models._inflate import inflate

pytestmark = pytest.mark.usefixtures("precise")

CORE = [
    "alexnet", "resnet18", "densenet121", "googlenet", "shufflenet_v2_x0_5", "timm/regnety_002",
    "timm/convnext_atto", "timm/tf_efficientnet_b0", "timm/resnet26t", "timm/fastvit_t8", "timm/ghostnet_100",
    "timm/nf_regnet_b0",
]  # fmt: skip
REST = [
    "vgg11_bn", "vgg16", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "squeezenet1_0", "inception_v3", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "regnet_x_400mf", "convnext_tiny", "maxvit_t",
    "swin_t", "vit_b_32", "timm/resnetv2_50x1_bit", "timm/resnetv2_50d_gn", "timm/dm_nfnet_f0",
    "timm/hrnet_w18_small", "timm/convnextv2_atto", "timm/repvgg_a0", "timm/mobileone_s0", "timm/tf_mixnet_s",
    "timm/skresnet18", "timm/seresnet18", "timm/ecaresnet26t", "timm/resnest14d", "timm/dla34", "timm/dpn48b",
    "timm/cspresnet50", "timm/darknet53", "timm/vovnet39a", "timm/xception41", "timm/res2net50_26w_4s",
    "timm/rexnet_100", "timm/tresnet_m", "timm/selecsls42", "timm/hardcorenas_a", "timm/lcnet_050",
    "timm/edgenext_xx_small", "timm/mobilevit_xxs", "timm/efficientformerv2_s0", "timm/poolformer_s12",
    "timm/starnet_s1", "timm/mambaout_femto", "timm/repghostnet_050", "timm/inception_v4", "timm/focalnet_tiny_srf",
    "timm/coatnet_nano_rw_224", "timm/legacy_senet154", "timm/gcresnet50t",
    "timm/pvt_v2_b0", "timm/efficientvit_b0",
]  # fmt: skip
NETS = [*CORE, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
SIDES = {"alexnet": 64, "googlenet": 96, "inception_v3": 128, "timm/inception_v4": 128}
FIXED = {
    "timm/efficientformerv2_s0",
    "maxvit_t",
    "swin_t",
    "vit_b_32",
    "timm/coatnet_nano_rw_224",
}  # these know one size


def perturb(net: nn.Module, side: int = 32) -> nn.Module:
    """Weights, gates and layer scales under which no branch is silent, and BatchNorm statistics that keep it so."""
    for name, parameter in net.named_parameters():
        if parameter.dim() <= 1 or re.search(r"gamma|gain|scale", name):
            low, high = (-0.2, 0.2) if name.endswith("bias") else (0.4, 1.0)
            nn.init.uniform_(parameter, low, high)
        elif not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.9
    with torch.no_grad():
        net.train()(torch.randn(16, 3, side, side))
    return net.eval()


def side_of(name: str) -> int:
    return 224 if name in FIXED else SIDES.get(name, 32)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("timm/"):
        return perturb(timm.create_model(name.removeprefix("timm/"), pretrained=False, num_classes=10), side_of(name))
    extra = {"init_weights": False, "aux_logits": False} if name == "inception_v3" else {}
    if name == "googlenet":
        extra = {"init_weights": False}
    return perturb(torchvision.models.get_model(name, weights=None, num_classes=10, **extra), side_of(name))


def still(images: Tensor, frames: int) -> Tensor:
    return images.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def small() -> nn.Module:
    """Three convolutions: strided, grouped and unlike in height and width, with pools of both kinds."""
    torch.manual_seed(0)
    return perturb(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, (1, 5), padding="same", groups=4),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 8, 1),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )
    )


@pytest.mark.numerical
@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_a_still_video_is_an_image_and_the_order_of_frames_matters(name: str) -> None:
    net, side = build(name), side_of(name)
    images = torch.randn(2, 3, side, side)
    inflated, want = inflate(net), net(images)
    assert gap(want[:1], want[1:]) > 1e-4, "a network blind to its input proves nothing"
    for frames in (1, 4):
        assert gap(inflated(still(images, frames)), want) < BOUND
    clips = torch.randn(1, 3, 5, side, side)
    # Equal copies are symmetric in time, so a clip played backwards gives the same mean; another order does not.
    assert gap(inflated(clips[:, :, [2, 0, 4, 1, 3]]), inflated(clips)) > 1e3 * BOUND
    assert list(inflated.state_dict()) == list(net.state_dict())


@pytest.mark.numerical
@pytest.mark.parametrize("time", [2, 3, 4, 5])
@torch.no_grad()
def test_kernels_of_any_length(time: int) -> None:
    net, images = small(), torch.randn(2, 3, 32, 32)
    for frames in (1, 2, 7):
        assert gap(inflate(net, time)(still(images, frames)), net(images)) < BOUND


@pytest.mark.numerical
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 6, 3, stride=(1, 2), padding=(2, 1), dilation=(2, 1), groups=3),
        nn.Conv2d(3, 6, (2, 4), padding="same"),
        nn.Conv2d(3, 6, 3, padding="valid"),
        nn.Conv2d(3, 6, 5, padding=2, padding_mode="reflect"),
        nn.Conv2d(3, 6, (3, 1), padding=(1, 0), padding_mode="circular", stride=2),
        nn.Conv2d(3, 6, 3, padding="same", padding_mode="replicate", dilation=2),
        timm.layers.Conv2dSame(3, 6, (3, 2), stride=(2, 3), dilation=(1, 2)),
        timm.layers.StdConv2d(3, 6, 3, padding=1, eps=1e-2),
        timm.layers.StdConv2dSame(3, 6, 3, stride=2),
        timm.layers.ScaledStdConv2d(3, 6, 3, padding=1, gamma=1.7, eps=1e-2, gain_init=0.6),
        timm.layers.ScaledStdConv2dSame(3, 6, (3, 5), stride=2, groups=3),
    ],
    ids=lambda conv: f"{type(conv).__name__}-{conv.padding_mode}-{conv.kernel_size}",
)
@torch.no_grad()
def test_every_way_to_convolve(conv: nn.Conv2d) -> None:
    conv, images = conv.double(), torch.randn(2, 3, 11, 13)
    assert gap(inflate(conv)(still(images, 3)), conv(images)) < BOUND


@pytest.mark.numerical
def test_random_clips_against_a_hand_written_3d_network() -> None:
    net2d = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 6, (3, 5), padding=(1, 2)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    net3d = nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1, padding_mode="zeros"), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 6, (3, 3, 5), padding=(1, 1, 2)), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
    )  # fmt: skip
    clips = torch.randn(2, 3, 6, 16, 16)
    with torch.no_grad():
        for layer in net2d:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.bias)
    inflated = inflate(net2d, padding="zeros")
    with torch.no_grad():
        for parameter in inflated.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # as after training: filters differ from frame to frame
    net3d.load_state_dict(inflated.state_dict())
    assert_same(inflated(clips), net3d(clips))

    edges = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    by_hand = nn.functional.pad(clips, (0, 0, 0, 0, 1, 1), mode="replicate")
    inflated = inflate(edges)
    want = nn.functional.conv3d(by_hand, inflated.state_dict()["0.weight"]).mean(2)
    assert_same(inflated(clips), want)


@pytest.mark.slow
@pytest.mark.numerical
def test_r3d_18_is_an_inflated_resnet18() -> None:
    """torchvision's 3-D ResNet: strides in time on both branches, statistics, gradients and running averages."""
    net2d = torchvision.models.resnet18(num_classes=7)
    net2d.maxpool = nn.Identity()
    strides = {f"layer{i}.0.{name}": 2 for i in (2, 3, 4) for name in ("conv1", "downsample.0")}
    inflated = inflate(perturb(net2d), padding="zeros", time_stride=strides).train()
    r3d = torchvision.models.video.r3d_18(num_classes=7)
    for module in r3d.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = inflated.net.bn1.momentum
    stem = {"conv1": "stem.0", "bn1": "stem.1"}
    state = {}
    for key, value in inflated.state_dict().items():
        key = re.sub(r"^(conv1|bn1)", lambda m: stem[m[1]], key)
        key = re.sub(r"(layer\d\.\d)\.(conv|bn)(\d)", lambda m: f"{m[1]}.conv{m[3]}.{int(m[2] == 'bn')}", key)
        state[key] = value.clone()
    r3d.load_state_dict(state)
    clips = torch.randn(2, 3, 9, 16, 16)  # an odd length at every stride: 9, 5, 3, 2
    got, want = inflated(clips), r3d.train()(clips)
    assert_same(got, want)
    got.square().mean().backward()
    want.square().mean().backward()
    assert gap(inflated.net.conv1.weight.grad, r3d.stem[0].weight.grad) < BOUND
    assert gap(inflated.net.layer3[0].bn1.running_var, r3d.layer3[0].conv1[1].running_var) < BOUND


@pytest.mark.slow
@pytest.mark.numerical
@torch.no_grad()
def test_time_strides_keep_still_videos_still() -> None:
    images, clips = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 8, 32, 32)
    resnet = build("resnet18")
    both = {"maxpool": 2, "layer2.0.conv1": 2, "layer2.0.downsample.0": 2}
    vgg = torchvision.models.VGG(torchvision.models.vgg.make_layers([8, "M", 16, "M", 8]), 3)
    vgg.avgpool, vgg.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)
    perturb(vgg)
    pools = {name: 2 for name, layer in vgg.features.named_modules(prefix="features") if isinstance(layer, nn.MaxPool2d)}
    for net, strides in ((resnet, both), (vgg, pools), (small(), {"3": 3, "6": 2, "7": 2})):
        inflated = inflate(net, time_stride=strides)
        for frames in (1, 2, 8, 9):
            assert gap(inflated(still(images, frames)), net(images)) < BOUND
        assert_same(inflated(clips[:1]), inflated(clips)[:1])
        assert_same(inflated(clips[:1, :, :2]), inflated(clips[:, :, :2])[:1])


@pytest.mark.numerical
@torch.no_grad()
def test_strided_pools_are_3d_pools() -> None:
    clips = torch.randn(2, 3, 7, 8, 8)
    for pool, pool3d in ((nn.MaxPool2d, nn.MaxPool3d), (nn.AvgPool2d, nn.AvgPool3d)):
        inflated = inflate(nn.Sequential(nn.Conv2d(3, 4, 3), pool(3, 2)), time_stride={"1": 2})
        features = nn.functional.pad(clips, (0, 0, 0, 0, 1, 1), mode="replicate")
        features = nn.functional.conv3d(features, *inflated.net[0].parameters())
        features = nn.functional.pad(features, (0, 0, 0, 0, 1, 1), mode="replicate")
        assert_same(inflated(clips), pool3d(3, 2)(features).mean(2))


@pytest.mark.parametrize("strides", [{"layer2.0.conv1": 2}, {"layer4.0.downsample.0": 2}])
def test_branches_that_disagree_are_refused(strides: dict[str, int]) -> None:
    inflated = inflate(build("resnet18"), time_stride=strides)
    for shape in ((2, 3, 8, 32, 32), (1, 3, 2, 32, 32)):
        with pytest.raises(ValueError, match="same time_stride"):
            inflated(torch.randn(shape))


@pytest.mark.numerical
@torch.no_grad()
def test_zero_padding_holds_inside() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(2))
    images, frames = torch.randn(1, 3, 9, 9), []
    inflated = inflate(net, padding="zeros")
    inflated.net.register_forward_hook(lambda _module, _args, out: frames.extend(out))
    inflated(still(images, 7))
    assert all(gap(frame, net(images)[0]) < BOUND for frame in frames[2:5])
    assert gap(frames[0], net(images)[0]) > 1e-2


@pytest.mark.numerical
@torch.no_grad()
def test_auxiliary_outputs() -> None:
    net = build("googlenet").train()
    net.aux1.dropout = net.aux2.dropout = net.dropout = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    got, want = inflate(net)(still(images, 2)), copy.deepcopy(net)(images)
    assert type(got) is type(want)
    for name in want._fields:
        assert_same(getattr(got, name), getattr(want, name))


def test_training_moves_every_weight_and_leaves_the_2d_network_alone() -> None:
    net = small().train()
    before = copy.deepcopy(net.state_dict())
    net[1].eval()
    inflated = inflate(net)
    assert inflated.training
    assert not inflated.net[1].training
    inflated.train()(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in inflated.parameters())
    torch.optim.SGD(inflated.parameters(), 0.1).step()
    kernel = inflated.net[0].weight
    assert not torch.equal(kernel[:, :, 0], kernel[:, :, 1])
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert type(net[0]) is nn.Conv2d


@pytest.mark.numerical
def test_frozen_and_shared_layers_stay_so() -> None:
    first, second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    second.weight = first.weight
    first.bias.requires_grad_(False)
    first.weight.requires_grad_(False)
    net = nn.Sequential(first, second, first)
    inflated = inflate(net)
    one, two, three = inflated.net
    assert one is three
    assert one.weight is two.weight
    assert not one.weight.requires_grad
    assert two.bias.requires_grad
    images = torch.randn(1, 3, 8, 8)
    assert gap(inflated(still(images, 3)), net(images)) < BOUND


@pytest.mark.numerical
@torch.no_grad()
def test_loads_2d_and_3d_weights() -> None:
    net, other = small(), small()
    nn.init.normal_(net[0].weight)
    clips = torch.randn(2, 3, 4, 32, 32)
    want = inflate(net)
    inside = nn.ModuleDict({"backbone": inflate(other)})
    for state in (net.state_dict(), want.state_dict()):
        inside.load_state_dict({f"backbone.{key}": value for key, value in state.items()})
        assert_same(inside["backbone"](clips), want(clips))
        inside.load_state_dict(nn.ModuleDict({"backbone": inflate(other)}).state_dict())
    assert want.state_dict()["0.weight"].shape == (8, 3, 3, 3, 3)
    with pytest.raises(RuntimeError, match="Missing"):
        inside.load_state_dict({})


@pytest.mark.numerical
@pytest.mark.parametrize("time_stride", [None, {"3": 2}])
@torch.no_grad()
def test_frames_by_themselves(time_stride: dict[str, int] | None) -> None:
    net, clips = small(), torch.randn(2, 3, 9, 32, 32)
    frames = inflate(net, time_stride=time_stride, per_frame=True)(clips)
    assert frames.shape[:2] == (2, 5 if time_stride else 9)
    assert_same(frames.mean(1), inflate(net, time_stride=time_stride)(clips))
    clips[:, :, -1] = 0
    other = inflate(net, time_stride=time_stride, per_frame=True)(clips)
    assert torch.equal(other[:, 0], frames[:, 0])
    assert not torch.equal(other[:, -1], frames[:, -1])


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "timm/regnety_002"])
@torch.no_grad()
def test_channels_last_3d(name: str) -> None:
    inflated, clips = inflate(build(name)), torch.randn(2, 3, 4, 32, 32)
    want = inflated(clips)
    inflated.to(memory_format=torch.channels_last_3d)
    assert gap(inflated(clips.contiguous(memory_format=torch.channels_last_3d)), want) < BOUND
    assert gap(inflated(clips[:1]), want[:1]) < BOUND


@pytest.mark.numerical
@torch.no_grad()
def test_copies_pickles_meta_and_inflated_within_inflated() -> None:
    inflated, clips = inflate(small(), time_stride={"3": 2}), torch.randn(2, 3, 4, 32, 32)
    want = inflated(clips)
    for twin in (copy.deepcopy(inflated), pickle.loads(pickle.dumps(inflated))):
        assert torch.equal(twin(clips), want)
        assert list(twin.state_dict()) == list(inflated.state_dict())
    assert copy.deepcopy(inflated).to("meta")(clips.to("meta")).shape == (2, 5)
    assert inflate(small().to("meta"))(clips.to("meta")).device.type == "meta"

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner, self.last = nn.Conv2d(3, 3, 3, padding=1), inflated, nn.Conv2d(3, 3, 3)

        def forward(self, frames: Tensor) -> Tensor:
            return self.inner(self.first(frames).unsqueeze(2)) + self.last(frames).mean()

    images = torch.randn(2, 3, 32, 32)
    outer = Outer()
    assert gap(inflate(outer)(still(images, 3)), outer(images)) < BOUND


@pytest.mark.slow
@pytest.mark.numerical
@pytest.mark.parametrize("strides", [None, pytest.param({"3": 2}, marks=pytest.mark.slow)], ids=["plain", "strided"])
def test_compiles_to_one_graph(strides: dict[str, int] | None) -> None:
    inflated = inflate(small(), time_stride=strides)
    compiled = torch.compile(inflated, backend="eager", fullgraph=True)
    for shape in ((2, 3, 4, 32, 32), (3, 3, 6, 32, 32), (1, 3, 2, 32, 32)):
        clips = torch.randn(shape)
        assert_same(compiled(clips), inflated(clips))


@pytest.mark.numerical
@torch.no_grad()
def test_threads_fold_on_their_own() -> None:
    inflated = inflate(small())
    clips = [torch.randn(12 // frames, 3, frames, 32, 32) for frames in (1, 2, 3, 4, 6, 12)]
    want, got = [inflated(clip) for clip in clips], {}

    def work(i: int) -> None:
        for _ in range(5):
            got[i] = torch.inference_mode()(inflated)(clips[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(want):
        assert_same(got[i], expected)


class Checkpointed(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = checkpoint(layer, x, use_reentrant=False)
        return x


@pytest.mark.numerical
def test_checkpointing_inside_and_outside() -> None:
    plain = inflate(small())
    inside = inflate(Checkpointed(*small()))
    clips = torch.randn(3, 3, 4, 32, 32)
    shorter = torch.randn(2, 3, 5, 32, 32)
    for run in (inside, lambda clip: checkpoint(plain, clip, use_reentrant=False)):
        for net in (plain, inside):
            net.zero_grad()
        (run(clips).square().sum() + run(shorter).square().sum()).backward()  # both forwards before the backward
        got = [p.grad.clone() for p in (inside if run is inside else plain).parameters()]
        plain.zero_grad()
        (plain(clips).square().sum() + plain(shorter).square().sum()).backward()
        for gradient, parameter in zip(got, plain.parameters(), strict=True):
            assert_same(gradient, parameter.grad)
    out = inside(clips).sum() + inside(torch.randn(4, 3, 3, 32, 32)).sum()  # 12 frames again, but in four clips
    with pytest.raises(ValueError, match="as a whole"):
        out.backward()


class Stubborn(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x, x.flip(3)]))[: len(x)]


class Summed(Siamese):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).sum()


def tied() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ConvTranspose2d(3, 3, 3))
    net[1].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("net", "arguments", "why"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), {}, "nothing in this Sequential inflates"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 1)), {}, "kernel above 1"),
        (lambda: nn.Sequential(nn.Conv3d(3, 2, 3)), {}, "nothing in this Sequential inflates"),
        (lambda: inflate(small()), {}, "nothing in this Inflated inflates"),
        (small, {"time": 1}, "time=1 inflates nothing"),
        (small, {"padding": "reflect"}, "replicate and zeros"),
        (lambda: nn.Sequential(nn.LazyConv2d(3, 3)), {}, "cannot inflate '0': .*not initialized"),
        (lambda: nn.Sequential(Stubborn(3, 3, 3)), {}, "cannot inflate '0': this Stubborn has a forward of its own"),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3))), {}, "weight is computed"),
        (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 3, 3))), {}, "weight is computed"),
        (tied, {}, "'1.weight' is shared"),
        (lambda: build("resnet18"), {"time_stride": {"layer2.0.conv9": 2}}, "'layer2.0.conv1'"),
        (lambda: build("resnet18"), {"time_stride": {"avgpool": 2}}, "a AdaptiveAvgPool2d cannot take stride 2"),
        (small, {"time_stride": {"0": 0}}, "cannot take stride 0"),
    ],
)
def test_refuses_with_a_reason(net: Callable[[], nn.Module], arguments: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        inflate(net(), **arguments)


def test_refuses_clips_and_networks_that_do_not_fold() -> None:
    inflated = inflate(small())
    for shape in ((2, 3, 32, 32), (2, 3, 0, 32, 32)):
        with pytest.raises(ValueError, match=r"reads \(B, C, T, H, W\) clips"):
            inflated(torch.randn(shape))
    with pytest.raises(ValueError, match="mixes its batch axis"):
        inflate(Siamese())(torch.randn(2, 3, 4, 8, 8))
    with pytest.raises(ValueError, match="which has no frames"):
        inflate(Summed())(torch.randn(2, 3, 4, 8, 8))
    with pytest.raises(ValueError, match="outside its network's forward"):
        inflated.net[0](torch.randn(2, 3, 32, 32))


def test_front_door() -> None:
    import zoo

    assert zoo.inflate is inflate


@pytest.mark.numerical
@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.AvgPool2d])
def test_pools_are_cubic_where_asked_for(kind: type[nn.Module]) -> None:
    """torch's own 3-D pool of the clip with its last frame repeated; a constant clip has the 2-D network's output."""
    net2d = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), kind(2)).eval()
    cubic = inflate(net2d, 3, pool_time=2, per_frame=True).eval()
    flat = inflate(net2d[:1], 3, per_frame=True).eval()
    clip = torch.randn(2, 3, 5, 8, 8)
    maps = flat(clip).transpose(1, 2)
    pool3d = getattr(nn, kind.__name__.replace("2d", "3d"))((2, 2, 2), stride=(1, 2, 2))
    assert_same(cubic(clip).transpose(1, 2), pool3d(torch.cat([maps, maps[:, :, -1:]], 2)))
    still = clip[:, :, :1].expand(-1, -1, 5, -1, -1)
    assert_same(cubic(still)[:, 0], net2d(clip[:, :, 0]))
    with pytest.raises(ValueError, match="pool_time=0"):
        inflate(net2d, pool_time=0)
