"""What five counters say of fifteen networks, and who is right: `python benchmarks/flops_peers.py`. Nothing is timed.

Each is called as its documentation shows, on a network in evaluation mode: one with attention or recurrence on the CPU,
where other operations run than elsewhere, the others on the meta device, which computes nothing, or on the CPU where a
counter fails there. The reference is none of the counters: a formula written out here, or the figure that the network's
publisher states. Counters that are not installed are named; `pip install '.[peers]'` brings them.
"""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

import zoo
from zoo.common.numbers import quantity
from zoo.run.result import versions

RESULT = Path(__file__).parent / "results" / "flops_peers.md"
TOLERANCE = 1e-3


class Attention(nn.Module):
    """Self-attention with eight heads, its two products written with einsum."""

    def __init__(self, width: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
        return self.out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2))


@dataclass(frozen=True)
class Case:
    """A network, one sample's shape, and multiply-adds: an expression in Python, or torchvision's metadata (`_ops`)."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    formula: str = ""
    published: float = 0.0
    """In G, to three digits after the point."""
    devices: tuple[str, ...] = ("meta", "cpu")
    """Where to count, the next one where a counter fails."""

    @property
    def reference(self) -> float:
        return float(eval(self.formula)) if self.formula else self.published * 1e9

    @property
    def slack(self) -> float:
        """How far a right figure may be off: the formula's count is exact, a published one is rounded."""
        return TOLERANCE if self.formula else max(TOLERANCE, 0.0005 / self.published)


def theirs(name: str, shape: tuple[int, ...] = (3, 224, 224), devices: tuple[str, ...] = ("meta", "cpu")) -> Case:
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    return Case(lambda: torchvision.models.get_model(name, weights=None), shape, published=meta["_ops"], devices=devices)


def ours(name: str, shape: tuple[int, ...], formula: str) -> Case:
    return Case(lambda: zoo.create_model(name), shape, formula)


CPU = ("cpu",)
CASES = {
    "lenet_wide": ours("lenet_wide", (1, 28, 28), "28**2*20*25 + 14**2*50*20*25 + 2450*500 + 500*10"),
    "alexnet": theirs("alexnet"),
    "vgg16": ours(
        "vgg16",
        (3, 224, 224),
        "9*(224**2*(3 + 64)*64 + 112**2*(64 + 128)*128 + 56**2*(128 + 2*256)*256 + 28**2*(256 + 2*512)*512 + 14**2*3*512*512)"
        " + 25088*4096 + 4096*4096 + 4096*1000",
    ),
    "resnet50": theirs("resnet50"),
    "mobilenet_v2": theirs("mobilenet_v2"),
    "vit_b_16": Case(
        lambda: torchvision.models.vit_b_16(weights=None),
        (3, 224, 224),
        "196*768*3*256 + 12*(4*197*768**2 + 2*197**2*768 + 2*197*768*3072) + 768*1000",
        devices=CPU,
    ),
    "swin_t": theirs("swin_t", devices=CPU),
    "c3d": ours(
        "c3d",
        (3, 16, 112, 112),
        "27*(16*112**2*3*64 + 16*56**2*64*128 + 8*28**2*(128 + 256)*256 + 4*14**2*(256 + 512)*512 + 2*7**2*2*512*512)"
        " + 8192*4096 + 4096*4096 + 4096*487",
    ),
    "r3d_18": theirs("r3d_18", (3, 16, 112, 112)),
    "s3d": theirs("s3d", (3, 16, 224, 224)),
    "autoencoder": ours(
        "autoencoder",
        (1, 28, 28),
        "2*(9*(14**2*1*32 + 7**2*32*64 + 4**2*64*128) + 2048*32)",
    ),
    "LSTM": Case(
        lambda: nn.LSTM(128, 256, 2, bidirectional=True, batch_first=True),
        (16, 128),
        "16*2*4*256*((128 + 256) + (512 + 256))",
        devices=CPU,
    ),
    "GRU": Case(lambda: nn.GRU(128, 256, batch_first=True), (16, 128), "16*3*256*(128 + 256)", devices=CPU),
    "TransformerEncoder": Case(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(512, 8, batch_first=True), 6),
        (64, 512),
        "6*(4*64*512**2 + 2*64**2*512 + 2*64*512*2048)",
        devices=CPU,
    ),
    "attention by einsum": Case(Attention, (64, 512), "4*64*512**2 + 2*64**2*512", devices=CPU),
}


# The counters: (network, one sample with the batch) -> multiply-adds


def by_zoo(net: nn.Module, x: Tensor) -> float:
    result = zoo.profile(net, tuple(x.shape[1:]))
    assert not result.missing
    return result.macs


def by_torch(net: nn.Module, x: Tensor) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(x)
    return counter.get_total_flops() / 2  # it counts two a multiply-add


def by_fvcore(net: nn.Module, x: Tensor) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(net, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def by_ptflops(net: nn.Module, x: Tensor) -> float:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        net, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, backend=PTFLOPS_BACKEND
    )
    if macs is None:
        raise ValueError("it gave no figure")
    return float(macs)


def by_thop(net: nn.Module, x: Tensor) -> float:
    from thop import profile

    return float(profile(net, inputs=(x,), verbose=False)[0])


PTFLOPS_BACKEND = "aten"  # what its documentation recommends beyond plain CNNs
COUNTERS = {"torch": by_torch, "fvcore": by_fvcore, "ptflops": by_ptflops, "thop": by_thop}


def counted(counter: Callable[[nn.Module, Tensor], float], case: Case) -> float | str:
    """Multiply-adds, or the name of what it raised."""
    raised = ""
    for device in case.devices:
        with torch.device(device):
            net, x = case.make().eval(), torch.zeros(1, *case.shape)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                return counter(net, x)
            except Exception as error:  # whatever a peer raises is its answer
                raised = type(error).__name__
    return raised


def judged(value: float | str, case: Case) -> str:
    if isinstance(value, str):
        return f"raises {value}"
    ratio = value / case.reference
    return quantity(value) if abs(ratio - 1) <= case.slack else f"**{quantity(value)}** ({100 * (ratio - 1):+.1f} %)"


def main() -> None:
    installed = {name: counter for name, counter in COUNTERS.items() if importlib.util.find_spec(name)}
    missing = [name for name in COUNTERS if name not in installed]
    if missing:
        print(f"Not installed, so not asked: {', '.join(missing)}. They come by: pip install '.[peers]'")
    rows: list[list[str]] = []
    right = dict.fromkeys(["zoo", *installed], 0)
    for name, case in CASES.items():
        values: dict[str, Any] = {"zoo": counted(by_zoo, case)}
        values |= {peer: counted(counter, case) for peer, counter in installed.items()}
        for peer, value in values.items():
            right[peer] += isinstance(value, float | int) and abs(value / case.reference - 1) <= case.slack
        source = f"`{case.formula}`" if case.formula else "torchvision's metadata"
        shape = " x ".join(map(str, case.shape))
        rows.append([name, shape, *(judged(value, case) for value in values.values()), f"{quantity(case.reference)}", source])
        print(" | ".join(rows[-1]), flush=True)
    head = ["network", "one sample", *right, "reference", "of"]
    rows.append(["right", "", *(f"{count} of {len(CASES)}" for count in right.values()), "", ""])
    table = "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *rows])
    said = ", ".join(f"{name} {version(name)}" for name in installed if name != "torch")
    RESULT.write_text(
        "# Multiply-adds by five counters\n\n"
        "Command: `python benchmarks/flops_peers.py`. Each as its documentation shows, in evaluation mode;\n"
        "torch's `FlopCounterMode` halved, since it counts two a multiply-add. Bold: off by more than "
        f"{100 * TOLERANCE:g} %, or than the rounding of a published reference.\n\n"
        f"{versions()}; {said}\n\n{table}\n{WHY}"
    )


WHY = """\
The reference is right, by the formula or source in the last column. Where the others differ:

- fvcore and thop count normalisation layers too, fvcore adaptive pooling, ptflops biases: conventions, a few per cent.
- torch's counter misses operations that are fused on a CPU: the LSTM, and attention's fast path in `nn.TransformerEncoder` and
  `nn.MultiheadAttention`. On the meta device, with the fast path off, it counts them.
- fvcore has no formula for recurrent networks and fused attention; ptflops (aten) none for the LSTM and fused attention.
- thop counts the modules that it knows: r3d_18's convolutions are a subclass of `nn.Conv3d` and are left out; attention's
  projections and products are none of its modules; a transposed convolution is multiplied by the
  output's positions instead of the input's.
"""

if __name__ == "__main__":
    main()
