"""Which memory layout and precision trains C3D fastest on this CPU, and right: `python benchmarks/cpu_precision.py`.

Every choice takes the same steps from the same weights on the same clips, in turns, so that a drift of the machine's speed
touches all alike. The losses of the steps say whether a choice computes the same thing. The default run of C3D takes
channels_last_3d, and bfloat16 on a CPU like this one.
"""

import copy
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import zoo
from zoo.common.bfloat16 import pad_explicitly
from zoo.run.result import hardware, versions

sys.path.insert(0, str(Path(__file__).parent))
from default_runs import RESULTS

SHAPES = {"small": (16, (3, 16, 32, 32)), "paper's": (4, (3, 16, 112, 112))}
CHOICES = [(layout, kind) for layout in ("contiguous", "channels_last_3d") for kind in (torch.float32, torch.bfloat16)]
STEPS = 5


def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, kind: torch.dtype) -> float:
    with torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.bfloat16):
        loss = cross_entropy(net(x).float(), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def main() -> None:
    lines = [
        "# Layout and precision of C3D's training step on a CPU\n\n"
        "With BatchNorm, SGD 0.01 with momentum, "
        f"median of {STEPS - 1} steps after one to warm up, choices in turns. Written by `benchmarks/cpu_precision.py`.\n\n"
        f"{hardware()}; {versions()}\n\n"
        "| shape, batch | layout | precision | s a step (min to max) | against contiguous float32 | "
        "losses of the steps |\n|---|---|---|---|---|---|\n"
    ]
    for name, (batch, shape) in SHAPES.items():
        torch.manual_seed(0)
        first = zoo.create_model("c3d", num_classes=6, input_shape=shape, norm=True, dropout=0.0)
        x, y = torch.randn(batch, *shape), torch.arange(batch) % 6
        nets, times, losses = {}, {choice: [] for choice in CHOICES}, {choice: [] for choice in CHOICES}
        for choice in CHOICES:
            layout = torch.channels_last_3d if choice[0] == "channels_last_3d" else torch.contiguous_format
            net = copy.deepcopy(first).to(memory_format=layout)
            if choice[1] is torch.bfloat16:
                pad_explicitly(net, "bf16-mixed", "cpu")  # without it these gradients are wrong, and in time the loss is NaN
            nets[choice] = (net, torch.optim.SGD(net.parameters(), 0.01, momentum=0.9), x.contiguous(memory_format=layout))
        for _ in range(STEPS):
            for choice in CHOICES:
                net, optimizer, clips = nets[choice]
                began = time.perf_counter()
                losses[choice].append(step(net, optimizer, clips, y, choice[1]))
                times[choice].append(time.perf_counter() - began)
        reference = statistics.median(times[CHOICES[0]][1:])
        for choice in CHOICES:
            taken = times[choice][1:]
            spoken = " ".join(f"{loss:.3f}" for loss in losses[choice])
            lines.append(
                f"| {name} {'x'.join(map(str, shape))}, {batch} | {choice[0]} | {str(choice[1]).removeprefix('torch.')} | "
                f"{statistics.median(taken):.2f} ({min(taken):.2f} to {max(taken):.2f}) | "
                f"{reference / statistics.median(taken):.2f} x | {spoken} |\n"
            )
            print(lines[-1], end="")
    (RESULTS / "cpu_precision.md").write_text("".join(lines))


if __name__ == "__main__":
    main()
