"""bfloat16 on a CPU: which CPUs compute it natively, and how its convolutions are kept right.

oneDNN's gradient for the weights of a bfloat16 convolution is not to be trusted where the kernel is longer than the input
that it pads: three frames over two, say, as in C3D's last stage. It is then made of memory that was never written: infinite,
NaN, or plausible and wrong, and in some shapes the heap is damaged (seen on AVX-512 without AMX, torch 2.15; outputs and the
gradient for the input are right). It is right in every shape that was tried where the input is padded before the convolution.

Without instructions for bfloat16 a CPU adds up the gradient for the input in bfloat16, over the kernel's taps: it is off by
0.5, 0.9 and 1.1 % for kernels of 3, 5 and 7 cubed (seen on AVX2, torch 2.14), three to six times as much as outputs are. So
`native` does not choose bfloat16 there, where it would not be faster either.
"""

from typing import Any

import torch
from torch import nn


def native() -> bool:
    """Whether this CPU multiplies bfloat16 by instructions of its own; others emulate it."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that is admitted
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def precision(asked: str, on_gpu: bool) -> str:
    """`auto` is bf16-mixed on a GPU and 32-true elsewhere; `native` is bf16-mixed also on a CPU that has instructions for it.
    Other names are the Trainer's own."""
    if asked not in ("auto", "native"):
        return asked
    return "bf16-mixed" if on_gpu or (asked == "native" and native()) else "32-true"


def pad_explicitly(net: nn.Module, precision: str, device: str) -> None:
    """Let convolutions pad their input with zeros in a step of its own, where they train in bfloat16 on a CPU.

    Args:
        precision: the Trainer's name of it.
        device: the kind of it, as of `torch.device.type`.
    """
    if device != "cpu" or not precision.startswith("bf16"):
        return
    for module in net.modules():
        padded = isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and any(module._reversed_padding_repeated_twice)
        if padded and module.padding_mode == "zeros":
            # The one mode that PyTorch leaves to the kernel; in any other it calls F.pad, to which zeros are "constant".
            module.padding_mode = "constant"  # type: ignore[assignment]
