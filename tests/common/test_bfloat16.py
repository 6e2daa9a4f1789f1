"""bfloat16 on a CPU: right gradients in every shape, the same network as before, and who trains in it."""

import copy
import math
from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.precision import assert_same
from zoo.common import bfloat16
from zoo.run.build import build_data, build_task
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.trainer import build_trainer

GEOMETRIES = [  # kernel, padding, stride, extents of the input, groups
    (kernel, tuple(edge // 2 for edge in kernel), stride, extents, groups)
    for kernel, every in [
        ((3, 3, 3), [(2, 7, 7), (2, 2, 2), (1, 4, 4), (4, 1, 1), (8, 2, 2)]),
        ((3, 1, 1), [(2, 5, 5), (1, 5, 5), (4, 5, 5)]),
        ((5, 1, 1), [(2, 5, 5), (3, 5, 5), (4, 5, 5)]),
        ((7, 7, 7), [(4, 8, 8), (6, 4, 4), (3, 9, 1)]),
        ((3, 3), [(1, 1), (9, 1), (2, 2), (7, 7)]),
        ((7, 7), [(4, 4), (9, 2)]),
    ]
    for extents in every
    for stride in (1, 2)
    for groups in (1, 32)
]


UNIT = 2.0**-9
"""bfloat16's unit roundoff: it keeps eight bits of a number."""


def gradients(net: nn.Module, x: Tensor, kind: torch.dtype) -> list[Tensor]:
    """Output, and the gradients for the input and for the weights, of a sum of outputs by fixed weights."""
    x = x.to(torch.float64 if kind is torch.float64 else torch.float32).detach().requires_grad_()
    net = copy.deepcopy(net).to(x.dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.bfloat16):
        out = net(x)
    by = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out.double() * by).sum().backward()
    return [out.detach().double(), x.grad.double(), *(parameter.grad.double() for parameter in net.parameters())]


@pytest.mark.numerical
@pytest.mark.parametrize(("kernel", "padding", "stride", "extents", "groups"), GEOMETRIES)
def test_gradients_of_convolutions_in_bfloat16_are_those_of_float64(kernel, padding, stride, extents, groups):
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[len(kernel)]
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[len(kernel)]
    net = nn.Sequential(kind(32, 32, kernel, stride=stride, padding=padding, groups=groups, bias=False))
    x = torch.randn(2, 32, *extents)
    expected = gradients(net, x, torch.float64)
    bfloat16.pad_explicitly(net, "bf16-mixed", "cpu")
    for memory in (torch.contiguous_format, layout):
        found = gradients(net.to(memory_format=memory), x.contiguous(memory_format=memory), torch.bfloat16)
        # Input, weights and result are rounded, each by a unit at most: three, and thrice that for what cancels in a sum (2.4
        # were seen). Where a CPU has no instructions for bfloat16, the gradient for the input is added up in it over the
        # kernel's taps, and rounding grows like the root of their number (Higham and Mary 2019, "A new approach to
        # probabilistic rounding error analysis"). The defect is far beyond: it is infinite, or as large as the gradient.
        units = {"output": 9, "input": 9 + math.sqrt(math.prod(kernel)), "weight": 9}
        for (what, allowed), mine, right in zip(units.items(), found, expected, strict=True):
            assert (mine - right).norm() <= allowed * UNIT * right.norm(), what


def modes(net: nn.Module) -> set[str]:
    """How the convolutions that pad do it."""
    kinds = (nn.Conv2d, nn.Conv3d)
    return {module.padding_mode for module in net.modules() if isinstance(module, kinds) and any(module.padding)}


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("c3d", (3, 16, 32, 32), marks=pytest.mark.slow),
        pytest.param("r3d_18", (3, 8, 32, 32), marks=pytest.mark.slow),
        ("slow_fusion", (3, 10, 64, 64)),
        ("resnet18", (3, 64, 64)),
    ],
)
def test_padding_beforehand_changes_no_output(name, shape):
    net = zoo.create_model(name, num_classes=5, **({} if name == "resnet18" else {"input_shape": shape})).eval()
    x = torch.randn(2, *shape)
    with torch.no_grad():
        before = net(x)
        bfloat16.pad_explicitly(net, "bf16-mixed", "cpu")
        assert_same(net(x), before)


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_padding_beforehand_changes_no_output_of_an_inflated_network(name):
    net = zoo.inflate(zoo.create_model(name, num_classes=5), time=3).eval()
    x = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        before = net(x)
        bfloat16.pad_explicitly(net, "bf16-mixed", "cpu")
        assert_same(net(x), before)
    assert modes(net) == {"constant"}


class Kept(lightning.Callback):
    """The padding of the network's convolutions when training has begun."""

    def on_train_start(self, trainer, pl_module):
        self.modes = modes(pl_module.net)


@pytest.mark.parametrize(("precision", "expected"), [("bf16-mixed", {"constant"}), ("32-true", {"zeros"})])
def test_training_in_bfloat16_on_a_cpu_pads_beforehand(tmp_path: Path, precision, expected):
    settings = ["model=lenet_wide", f"trainer.precision={precision}", "trainer.accelerator=cpu", "trainer.devices=1"]
    given = composed([*settings, f"run_dir={tmp_path}", "logger=none", "callbacks=none", "data.num_workers=0"])
    data = build_data(given)
    data.prepare_data()
    data.setup()
    publish(given, facts_of(data))
    kept = Kept()
    build_trainer(given, callbacks=[kept], max_steps=2, limit_val_batches=0, enable_progress_bar=False).fit(
        build_task(given), datamodule=data
    )
    assert kept.modes == expected


@pytest.mark.parametrize(
    ("native", "asked", "chosen"), [(True, "native", "bf16-mixed"), (False, "native", "32-true"), (True, "auto", "32-true")]
)
def test_precision_by_what_the_cpu_can(tmp_path: Path, monkeypatch, native, asked, chosen):
    monkeypatch.setattr(bfloat16, "native", lambda: native)
    given = composed(["model=lenet5", f"trainer.precision={asked}", "trainer.accelerator=cpu", f"run_dir={tmp_path}"])
    assert build_trainer(given).precision == chosen
