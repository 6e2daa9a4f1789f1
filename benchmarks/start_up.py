"""How long a user waits: `python benchmarks/start_up.py [--rounds 5]`. Each is a process of its own, in turns, in one run.

Importing, the help, the first training step and the profile of every model, beside what a user would pick instead. Peers
that are not installed are named and left out.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time

from _record import write

# One step of LeNet on the digits, as one would write it by hand.
BY_HAND = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
digits = load_digits()
images = interpolate(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, (32, 32))
labels = torch.tensor(digits.target)
net = nn.Sequential(
    nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
)
optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
index = torch.randperm(len(images))[:64]
cross_entropy(net(images[index]), labels[index]).backward()
optimizer.step()
"""
PROFILES = """
import torch, zoo
from zoo.run.network import untrained_net
for name in zoo.list_models():
    with torch.device("meta"):
        _, net, shape = untrained_net([f"model={name}"])
    zoo.profile(net, shape)
"""
ONE_STEP = ["-m", "zoo.train", "trainer.max_steps=1", "trainer.limit_val_batches=0", "test=false", "callbacks=none"]
WAITS = {  # name -> what Python is given, and the modules it takes
    "python": (["-c", "pass"], []),
    "import zoo": (["-c", "import zoo"], []),
    "import zoo; zoo.list_models()": (["-c", "import zoo; zoo.list_models()"], []),
    "import torch": (["-c", "import torch"], ["torch"]),
    "import torchvision": (["-c", "import torchvision"], ["torchvision"]),
    "import timm": (["-c", "import timm"], ["timm"]),
    "import torch, lightning, hydra": (["-c", "import torch, lightning, hydra"], ["lightning", "hydra"]),
    "python -m zoo.train --help": (["-m", "zoo.train", "--help"], []),
    "one step: python -m zoo.train": (ONE_STEP, []),
    "one step by hand, torch alone": (["-c", BY_HAND], ["sklearn"]),
    "zoo.profile of every model": (["-c", PROFILES], []),
}
RATIOS = [
    ("import zoo", "python"),
    ("import zoo; zoo.list_models()", "import timm"),
    ("python -m zoo.train --help", "import torch, lightning, hydra"),
    ("one step: python -m zoo.train", "import torch, lightning, hydra"),
    ("one step: python -m zoo.train", "one step by hand, torch alone"),
]


def seconds(arguments: list[str], folder: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    missing = sorted({m for _, modules in WAITS.values() for m in modules if importlib.util.find_spec(m) is None})
    if missing:
        print(f"Not installed, so left out: {', '.join(missing)}")
    waits = {name: arguments for name, (arguments, modules) in WAITS.items() if not set(modules) & set(missing)}
    taken: dict[str, list[float]] = {name: [] for name in waits}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):  # the first fills the caches of the disk and of bytecode
            for name, arguments in waits.items():
                taken[name].append(seconds(arguments, folder))
    taken = {name: each[1:] for name, each in taken.items()}
    rows = [["what", "seconds: median (least to most)"]]
    rows += [[f"`{n}`", f"{statistics.median(t):.2f} ({min(t):.2f} to {max(t):.2f})"] for n, t in taken.items()]
    for name, other in RATIOS:
        if name in taken and other in taken:
            ratios = [a / b for a, b in zip(taken[name], taken[other], strict=True)]
            spoken = f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append([f"`{name}` over `{other}`", spoken])
    more = statistics.median(a - b for a, b in zip(taken["import zoo"], taken["python"], strict=True))
    rows.append(["`import zoo` beyond `python`", f"{more:.3f} s"])
    protocol = f"{rounds} rounds in turns after one to warm up, each a fresh process from start to exit"
    write("start_up", "How long a user waits", protocol, rows)


if __name__ == "__main__":
    main()
