"""The cost of a network against hand formulas, published metadata and the lectures' tables."""

import copy
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.flops import Profile, profile
from zoo.flops.figures import _cut


class Do(nn.Module):
    """A function as a module, with submodules for it to use."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, *x: Tensor) -> Any:
        return self.function(*x, *self.parts)


def weight(*shape: int) -> Tensor:
    return torch.ones(shape)


def attend(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


def self_attention(x: Tensor, net: nn.Module) -> Tensor:
    return net(x, x, x, need_weights=False)[0]


def rnn_macs(gates: int, inputs: int, hidden: int, steps: int, layers: int, directions: int) -> int:
    """Each step of each layer and direction: gates x hidden rows, against the input and against the state."""
    widths = [inputs] + [directions * hidden] * (layers - 1)
    return sum(directions * steps * gates * hidden * (width + hidden) for width in widths)


# Attention over n positions of width d: four projections and two products of n x n by d, whatever the heads.
def attention_macs(n: int, d: int) -> int:
    return 4 * n * d * d + 2 * n * n * d


FORMULAS: dict[str, tuple[nn.Module, Any, int]] = {
    "conv 1-D": (nn.Conv1d(3, 8, 5, padding=2), (3, 20), 20 * 8 * 3 * 5),
    "conv 2-D": (nn.Conv2d(3, 8, 3, stride=2), (3, 9, 11), 4 * 5 * 8 * 3 * 9),
    "conv 3-D": (nn.Conv3d(3, 8, (3, 1, 2)), (3, 5, 6, 7), 3 * 6 * 6 * 8 * 3 * 6),
    "conv grouped": (nn.Conv2d(8, 12, 3, groups=4), (8, 7, 7), 25 * 12 * 2 * 9),
    "conv depthwise": (nn.Conv2d(8, 8, 3, groups=8), (8, 7, 7), 25 * 8 * 9),
    "conv dilated": (nn.Conv2d(2, 3, 3, dilation=2), (2, 9, 9), 25 * 3 * 2 * 9),
    "conv circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 9, 9), 81 * 3 * 2 * 9),
    "conv transposed 1-D": (nn.ConvTranspose1d(4, 6, 3, stride=2), (4, 10), 10 * 4 * 6 * 3),
    "conv transposed 2-D": (nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), (4, 5, 5), 25 * 4 * 3 * 16),
    "conv transposed 3-D": (nn.ConvTranspose3d(2, 3, 2, 2), (2, 3, 3, 3), 27 * 2 * 3 * 8),
    "linear": (nn.Linear(7, 5), (7,), 35),
    "linear, positions": (nn.Linear(7, 5, bias=False), (4, 3, 7), 12 * 35),
    "LSTM": (nn.LSTM(5, 6, batch_first=True), (9, 5), rnn_macs(4, 5, 6, 9, 1, 1)),
    "LSTM deep, two-way": (
        nn.LSTM(5, 6, 3, bidirectional=True, batch_first=True),
        (9, 5),
        rnn_macs(4, 5, 6, 9, 3, 2),
    ),
    "LSTM projected": (nn.LSTM(5, 6, proj_size=2, batch_first=True), (9, 5), 9 * (24 * (5 + 2) + 6 * 2)),
    "GRU deep, two-way": (nn.GRU(5, 6, 2, bidirectional=True, batch_first=True), (9, 5), rnn_macs(3, 5, 6, 9, 2, 2)),
    "RNN two-way": (nn.RNN(5, 6, bidirectional=True, batch_first=True), (9, 5), rnn_macs(1, 5, 6, 9, 1, 2)),
    "LSTM, time first": (Do(lambda x, n: n(x.transpose(0, 1)), nn.LSTM(5, 6)), (9, 5), rnn_macs(4, 5, 6, 9, 1, 1)),
    "LSTM cell": (Do(lambda x, n: n(x)[0], nn.LSTMCell(5, 6)), (5,), rnn_macs(4, 5, 6, 1, 1, 1)),
    "attention module": (
        Do(self_attention, nn.MultiheadAttention(8, 2, batch_first=True)),
        (5, 8),
        attention_macs(5, 8),
    ),
    "attention function": (Do(attend), (2, 5, 8), 2 * 2 * 5 * 5 * 8),
    "attention, cross": (Do(F.scaled_dot_product_attention), ((2, 3, 8), (2, 7, 8), (2, 7, 4)), 2 * 3 * 7 * (8 + 4)),
    "encoder layer": (
        nn.TransformerEncoderLayer(8, 2, 32, batch_first=True),
        (5, 8),
        attention_macs(5, 8) + 2 * 5 * 8 * 32,
    ),
    "encoder": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3),
        (5, 8),
        3 * (attention_macs(5, 8) + 2 * 5 * 8 * 16),
    ),
    "function conv": (Do(lambda x: F.conv2d(x, weight(4, 3, 3, 3).to(x.device))), (3, 8, 8), 36 * 4 * 27),
    "function linear": (Do(lambda x: F.linear(x, weight(4, 8).to(x.device))), (3, 8), 3 * 4 * 8),
    "matmul": (Do(torch.matmul), ((3, 4), (4, 5)), 60),
    "matmul, broadcast": (Do(lambda x: x @ weight(6, 4, 5).to(x.device)), (1, 3, 4), 6 * 60),
    "matrix and vector": (Do(lambda x: x[0] @ weight(4).to(x.device)), (3, 4), 12),
    "einsum": (Do(lambda x, y: torch.einsum("bhid,bhjd->bhij", x, y)), ((2, 3, 4), (2, 5, 4)), 2 * 3 * 5 * 4),
    "einsum, two contracted": (Do(lambda x, y: torch.einsum("bij,bijk->bk", x, y)), ((3, 4), (3, 4, 5)), 60),
    "baddbmm": (Do(lambda x: torch.baddbmm(x, x, x)), (4, 4), 64),
    "addmm in place": (Do(lambda x: x.clone()[0].addmm_(x[0], x[0])), (4, 4), 64),
    "tensordot": (Do(lambda x: torch.tensordot(x, x, ([1, 2], [1, 2]))), (3, 4), 12),
    "deformable conv": (
        Do(lambda x, o: torchvision.ops.deform_conv2d(x, o, weight(4, 3, 3, 3).to(x.device))),
        ((3, 8, 8), (18, 6, 6)),
        36 * 4 * 27,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_macs_follow_the_hand_formula(name: str) -> None:
    net, shape, macs = FORMULAS[name]
    result = profile(net, shape)
    assert result.macs == macs
    assert result.flops == 2 * macs
    assert result.missing == ()
    assert result.note == ""
    assert result.params == sum(p.numel() for p in net.parameters()) == sum(layer.params for layer in result.layers)


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # the default implementation is as good
@pytest.mark.parametrize("name", FORMULAS)
def test_cpu_fallback_counts_the_same(name: str) -> None:
    """On the CPU other operations run: the fused LSTM, fused attention."""
    net, shape, macs = FORMULAS[name]

    def call(net: nn.Module, *x: Tensor) -> Any:
        assert x[0].sum().item() == 0
        return net(*x)

    result = profile(net, shape, call=call)
    assert "_local_scalar_dense" in result.note
    assert result.macs == macs


# -------------------- the lectures' tables


def test_worked_example() -> None:
    """3x32x32, ten 5x5 filters, stride 1, pad 2: 760 parameters, 768,000 multiply-adds."""
    (layer,) = profile(nn.Sequential(nn.Conv2d(3, 10, 5, padding=2)), (3, 32, 32)).layers
    assert (layer.params, layer.macs, layer.flops) == (760, 768_000, 1_536_000)
    assert (layer.output_shape, layer.weight_shape, layer.receptive_field) == ((10, 32, 32), (10, 3, 5, 5), (5, 5))
    assert layer.activations == 10 * 32 * 32 * 4


def lenet_wide() -> nn.Sequential:
    convs = [nn.Conv2d(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*convs, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2450, 500), nn.ReLU(), nn.Linear(500, 10))


def test_lenet_table() -> None:
    result = profile(lenet_wide(), (1, 28, 28))
    rows = [(r.kind, r.output_shape, r.weight_shape, r.receptive_field) for r in result.layers if r.kind != "ReLU"]
    assert rows == [
        ("Conv2d", (20, 28, 28), (20, 1, 5, 5), (5, 5)),
        ("MaxPool2d", (20, 14, 14), (), (6, 6)),
        ("Conv2d", (50, 14, 14), (50, 20, 5, 5), (14, 14)),
        ("MaxPool2d", (50, 7, 7), (), (16, 16)),
        ("Flatten", (2450,), (), (16, 16)),
        ("Linear", (500,), (500, 2450), (None, None)),
        ("Linear", (10,), (10, 500), (None, None)),
    ]
    assert result.params == 1_256_080


def test_c3d_table() -> None:
    """The convolutions' rows of C3D, and 38.55 G with the released model's padded pool5 at 101 classes."""
    widths = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
    pools = {0: nn.MaxPool3d((1, 2, 2)), 1: nn.MaxPool3d(2), 3: nn.MaxPool3d(2), 5: nn.MaxPool3d(2)}
    pools[7] = nn.MaxPool3d(2, padding=(0, 1, 1))
    parts: list[nn.Module] = []
    for i, (c, k) in enumerate(widths):
        parts += [nn.Conv3d(c, k, 3, padding=1), nn.ReLU(), *([pools[i]] if i in pools else [])]
    head = [nn.Flatten(), nn.Linear(8192, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 101)]
    with torch.device("meta"):
        net = nn.Sequential(*parts, *head)
    result = profile(net, (3, 16, 112, 112))
    convs = [layer for layer in result.layers if layer.kind == "Conv3d"]
    assert [round(layer.macs / 1e9, 2) for layer in convs] == [1.04, 11.10, 5.55, 11.10, 2.77, 5.55, 0.69, 0.69]
    assert round(sum(layer.macs for layer in convs) / 1e9, 3) == 38.497
    assert round(result.macs / 1e9, 2) == 38.55
    assert convs[0].output_shape == (64, 16, 112, 112)
    assert convs[1].receptive_field == (5, 8, 8)


def test_linear_rows_of_c3d_are_as_the_specification_corrects_them() -> None:
    """The slides' 0.51, 0.45, 0.05 count the kernel's 27 positions once too often."""
    net = nn.Sequential(nn.Linear(4608, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 487))
    macs = [layer.macs for layer in profile(net.to("meta"), (4608,)).layers]
    assert [round(n / 1e9, 4) for n in macs] == [0.0189, 0.0168, 0.0020]
    assert [round(27 * n / 1e9, 2) for n in macs] == [0.51, 0.45, 0.05]


@pytest.mark.parametrize(("size", "macs"), [(224, 27.64), (256, 36.10)])
def test_slowfast_4x16(size: int, macs: float) -> None:
    slowfast = pytest.importorskip("pytorchvideo.models.slowfast")
    pool = ((4, size // 32, size // 32), (32, size // 32, size // 32))
    with torch.device("meta"):
        net = slowfast.create_slowfast(
            slowfast_fusion_conv_kernel_size=(5, 1, 1), slowfast_fusion_conv_stride=(8, 1, 1), head_pool_kernel_sizes=pool
        )
    result = profile(net, [(3, 4, size, size), (3, 32, size, size)], clips=10, crops=3)
    assert round(result.macs / 1e9, 2) == macs
    assert result.view_macs == 30 * result.macs


# -------------------- published networks


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, (3, 224, 224)) for name in ("alexnet", "vgg16", "resnet50", "vit_b_16", "s3d")]
    + [("googlenet", (3, 224, 224)), ("swin_t", (3, 224, 224)), ("r3d_18", (3, 16, 112, 112))]
    + [("deeplabv3_resnet50", (3, 520, 520)), ("fasterrcnn_resnet50_fpn", (3, 800, 800))],
)
def test_torchvision_metadata(name: str, shape: tuple[int, ...]) -> None:
    weights = next(iter(torchvision.models.get_model_weights(name)))
    shape = (3, 16, 224, 224) if name == "s3d" else shape
    backbone = {} if name not in ("deeplabv3_resnet50", "fasterrcnn_resnet50_fpn") else {"weights_backbone": None}
    backbone |= {"aux_loss": True} if name == "deeplabv3_resnet50" else {}
    with torch.device("meta"):
        how = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        net = torchvision.models.get_model(name, weights=None, **backbone, **how)
    result = profile(net, shape)
    assert result.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=1e-3)
    if name != "fasterrcnn_resnet50_fpn":
        assert result.params == weights.meta["num_params"]
    assert result.missing == ()


def test_fvcore_agrees_where_it_counts() -> None:
    fvcore = pytest.importorskip("fvcore.nn")
    net = torchvision.models.mobilenet_v3_small(weights=None).eval()
    counted = fvcore.FlopCountAnalysis(net, torch.zeros(1, 3, 64, 64)).unsupported_ops_warnings(False)
    by_operator = counted.by_operator()
    assert profile(net, (3, 64, 64)).macs == by_operator["conv"] + by_operator["linear"]


# -------------------- detectors


def mask_rcnn() -> nn.Module:
    return torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    )


def test_region_heads_cost_what_their_regions_cost() -> None:
    net = mask_rcnn()
    few, many = profile(net, (3, 64, 64), regions=10), profile(net, (3, 64, 64), regions=30)
    box = 256 * 49 * 1024 + 1024 * 1024 + 1024 * (3 + 12)
    mask = 4 * 14 * 14 * 256 * 256 * 9 + 14 * 14 * 256 * 256 * 4 + 28 * 28 * 256 * 3
    assert many.macs - few.macs == 20 * (box + mask)
    assert "30 proposals, 30 detections" in many.note
    assert "CPU" not in many.note
    limit = profile(net, (3, 64, 64), regions=500)
    assert limit.macs - many.macs == 470 * box + 70 * mask
    assert "500 proposals, 100 detections" in limit.note


def test_detector_that_cannot_run_on_meta_says_which_operation() -> None:
    detection = torchvision.models.detection
    sizes = {"min_size": 64, "max_size": 64}
    net = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, **sizes)
    result = profile(net, (3, 64, 64))
    assert "CPU" in result.note
    assert "aten." in result.note
    trunk = profile(net.backbone, (3, 64, 64))
    positions = sum((64 // s) ** 2 for s in (8, 16, 32)) + 1 + 1  # P3 to P7; P6 and P7 of a 2 x 2 map
    tower = 2 * 4 * 256 * 256 * 9 + 256 * 9 * 9 * (3 + 4)
    assert result.macs == trunk.macs + positions * tower


# -------------------- what is not counted


def test_everything_uncounted_is_listed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    result = profile(net, (3, 8, 8))
    assert {(u.op, u.calls, u.known) for u in result.uncounted.values()} == {
        ("native_batch_norm", 1, True),
        ("relu", 1, True),
        ("max_pool2d_with_indices", 1, True),
    }
    assert result.uncounted["relu"].elements == 4 * 6 * 6
    assert "relu 1 (144)" in str(result)


@pytest.mark.parametrize(
    ("net", "op"),
    [
        (Do(lambda x: torch.fft.rfft2(x).real), "_fft_r2c"),
        (Do(lambda x: torch.linalg.inv(x)), "linalg_inv_ex"),
        (Do(lambda x: torch.cdist(x, x)), "_cdist_forward"),
        (Do(lambda x, n: n(x, x), nn.Bilinear(4, 4, 2)), "_trilinear"),
    ],
)
def test_a_contraction_without_formula_is_never_silent(net: nn.Module, op: str) -> None:
    result = profile(net, (4, 4))
    assert op in result.missing
    assert "NO FORMULA" in str(result)


def test_a_custom_operation_is_never_silent() -> None:
    @torch.library.custom_op("zootest::double", mutates_args=())
    def double(x: Tensor) -> Tensor:
        return x * 2

    double.register_fake(torch.empty_like)
    assert profile(Do(lambda x: double(x)), (4, 4)).missing == ("zootest.double",)


# -------------------- rows and totals


def test_shared_module_is_counted_per_call_and_its_parameters_once() -> None:
    shared = nn.Linear(4, 4, bias=False)
    result = profile(nn.Sequential(shared, nn.ReLU(), shared), (4,))
    assert (result.params, result.macs, result["0"].calls) == (16, 32, 2)


def test_tied_parameters_are_counted_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    result = profile(nn.Sequential(first, second), (4,))
    assert (result.params, result.macs) == (16, 32)


def test_functional_call_is_booked_to_the_module_that_made_it() -> None:
    inner = Do(lambda x: F.linear(x, weight(3, 4).to(x.device)))
    result = profile(nn.Sequential(nn.Linear(4, 4), nn.Sequential(inner)), (4,))
    assert result["1.0"].macs == 12
    assert result["0"].macs == 16
    assert [layer.name for layer in result.layers] == ["0", "1.0"]


def test_rows_add_up_to_the_totals() -> None:
    net = torchvision.models.googlenet(weights=None, init_weights=False)  # with parameters that evaluation never uses
    result = profile(net, (3, 64, 64))
    assert result.params == sum(p.numel() for p in net.parameters())
    for total in ("params", "macs", "backward_macs", "activations"):
        assert getattr(result, total) == sum(getattr(layer, total) for layer in result.layers)


def test_views_and_in_place_operations_write_no_activations() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Unflatten(1, (2, 16)), nn.ReLU())
    result = profile(net, (1, 4, 4))
    assert [layer.activations for layer in result.layers] == [128, 0, 0, 0, 128]
    assert profile(copy.deepcopy(net).half(), (1, 4, 4)).activations == 128


def test_backward_costs_one_product_for_each_operand_that_needs_a_gradient() -> None:
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    assert profile(net, (4,)).backward_macs == 32 + 2 * 16  # the input needs none
    assert profile(net, (4,)).training_macs == 48 + 64
    net[0].requires_grad_(False)
    assert profile(net, (4,)).backward_macs == 16
    net.requires_grad_(False)
    assert profile(net, (4,)).backward_macs == 0


def test_backward_is_what_autograd_executes() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    net = torchvision.models.resnet18(weights=None).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32)).sum().backward()
    assert 2 * profile(net, (3, 32, 32)).training_macs == counter.get_total_flops()


# -------------------- the caller's network


def test_network_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LSTM(18, 3)).train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    calls: list[str] = []
    net[0].register_forward_hook(lambda *_: calls.append("hook"))
    state = {k: v.clone() for k, v in net.state_dict().items()}
    before = [(id(p), p.data_ptr(), p.device, p.requires_grad) for p in net.parameters()]
    attributes = {name: dict(vars(m)) for name, m in net.named_modules()}
    random_state, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    profile(net, (1, 5, 5))
    assert [(id(p), p.data_ptr(), p.device, p.requires_grad) for p in net.parameters()] == before
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert {name: dict(vars(m)) for name, m in net.named_modules()} == attributes
    assert [m.training for m in net] == [True, False, True, True]
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    with pytest.raises(ValueError, match="does not fit"):
        profile(net, (2, 5, 5))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert {name: dict(vars(m)) for name, m in net.named_modules()} == attributes


def test_parameters_take_no_memory() -> None:
    """A network of 4 TB, which only a meta device can hold, is profiled like any other."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(10**6, 10**6, bias=False))
    assert profile(net, (10**6,)).macs == 10**12


def test_plain_tensors_tuples_and_weight_norm_follow_to_meta() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = [torch.ones(4), {"scale": torch.ones(4)}]
            self.linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x * self.tables[0] * self.tables[1]["scale"] + torch.ones(4))

    result = profile(Odd(), (4,))
    assert (result.macs, result.note) == (12, "")


def test_lazy_modules_are_filled_in_on_the_copy_only() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))
    result = profile(net, (2, 6, 6))
    assert (result.params, result.macs) == (4 * 18 + 4 + 64 * 5 + 5, 16 * 4 * 18 + 320)
    assert isinstance(net[2].weight, nn.parameter.UninitializedParameter)


def test_tokens_are_integers() -> None:
    result = profile(nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 3)), (7,), dtype=torch.int64)
    assert (result.macs, result.uncounted["embedding"].elements) == (7 * 24, 56)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode])
def test_surrounding_mode_does_not_change_the_figures(outside: Callable[[], Any]) -> None:
    net = nn.Sequential(nn.Linear(4, 3))
    inside = profile(net, (4,))
    with outside():
        assert profile(net, (4,)) == inside


# -------------------- bad input


@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("alexnet", (3, 32, 32), "'features.12'"),
        ("resnet18", (1, 64, 64), "'conv1'"),
        ("resnet18", (64, 64), "'conv1'"),
        ("vit_b_16", (3, 128, 128), "VisionTransformer itself"),
    ],
)
def test_shape_that_does_not_fit_names_the_layer(name: str, shape: tuple[int, ...], layer: str) -> None:
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None)
    with pytest.raises(ValueError, match=r"does not fit \w+: .*" + layer) as caught:
        profile(net, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3, 0, 2), (3, -1), (2.5,), ((3,), ()), ("3",)])
def test_shape_that_is_none(shape: Any) -> None:
    with pytest.raises(ValueError, match="without the batch"):
        profile(nn.Identity(), shape)


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
def test_torchscript_is_refused() -> None:
    with pytest.raises(ValueError, match="TorchScript"):
        profile(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), (2,))


def test_bad_views_and_regions() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        profile(nn.Identity(), (3,), clips=0)
    with pytest.raises(ValueError, match="no region heads"):
        profile(nn.Identity(), (3,), regions=10)


def test_an_error_that_is_not_about_shapes_is_not_disguised() -> None:
    with pytest.raises(KeyError):
        profile(Do(lambda x: {}["missing"]), (3,))


# -------------------- printing


@pytest.mark.parametrize("name", zoo.list_models())
def test_no_two_layers_of_a_table_look_alike(name: str) -> None:
    with torch.device("meta"):
        net = zoo.create_model(name)
    shapes = {"(root)", *(path for path, _ in net.named_modules() if path)}
    for width in (12, 30):
        cut = _cut(sorted(shapes), width)
        assert len(set(cut)) == len(shapes)
    assert _cut(["a.b", "layer"], 12) == ["a.b", "layer"]


def test_slowfasts_table_names_each_layer_once() -> None:
    with torch.device("meta"):
        net = zoo.create_model("slowfast_r50_4x16")
    result = profile(net, (3, 32, 224, 224))
    rows = str(result).splitlines()[4 : 4 + len(result.layers)]
    assert len({row.split("  ")[0] for row in rows}) == len(result.layers)


def test_table_shows_its_conditions_in_120_columns() -> None:
    with torch.device("meta"):
        net = torchvision.models.vit_b_16(weights=None)
    text = str(profile(net, (3, 224, 224), clips=10, crops=3))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    assert "one sample of 3 x 224 x 224, 10 clips x 3 crops" in lines[0]
    assert all(word in lines[2].split() for word in ("MACs", "FLOPs", "params", "field", "memory", "output", "weight"))
    assert "Forward 17.56 G MACs = 35.13 G FLOPs" in text
    assert "Executed and not counted" in text
    assert "all 30 views forward 526.91 G MACs" in text


def test_profile_is_plain_data() -> None:
    result = profile(lenet_wide(), (1, 28, 28))
    assert isinstance(result, Profile)
    assert copy.deepcopy(result) == result
    assert result.input_shape == (1, 28, 28)
    assert math.prod(result["0"].output_shape) * 4 == result["0"].activations


def test_imports_stay_light() -> None:
    code = (
        "import sys, zoo; assert 'torch' not in sys.modules;"
        "zoo.profile; assert not {'lightning', 'hydra', 'torchvision', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model=c3d", "model.num_classes=101"), "78,409,573   38.55 G"),
        (("model=lenet5",), "61,706  416,520"),
        (("model=c3d", "clips=10", "crops=3"), "10 clips x 3 crops"),
        (("model=lenet_wide", "model.padding=0"), "431,080"),
    ],
)
def test_the_verb_prints_the_papers_network(
    verb: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = verb("flops", *arguments)
    assert status == 0, err
    assert said in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model=c3dd",), "did you mean c3d"),
        (("model=c3d", "input_shape=[3,4,16,16]"), "too small"),
        (("model=resnet18", "input_shape=[3,16,112,112]"), "does not fit"),
        (("model=c3d", "clips=many"), "clips is 'many', but it must be a whole number"),
    ],
)
def test_the_verb_refuses_in_a_sentence(
    verb: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], said: str
) -> None:
    status, _, err = verb("flops", *arguments)
    assert status == 1
    assert said in err
    assert err.count("\n") == 1
