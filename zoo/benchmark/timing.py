"""Measure the speed and the memory of a network: one trial, in a process of its own.

So the peak of memory is this trial's alone, nothing that an earlier one compiled or cached is at hand, and a trial that the
system ends for want of memory takes nothing with it.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoo.tasks.base import Task

WARM_UP = 3
"""Rounds before the clock starts: the first compiles and allocates, the next fill caches."""
LEAST_STEPS = 5
LEAST_LATENCIES = 20
"""Rounds at least, however long they take; of fewer latencies a p95 would say nothing."""

_STATUS = Path("/proc/self/status")  # Linux; elsewhere memory on the CPU is not measured


class NoMemoryError(Exception):
    """The batch did not fit."""


@dataclass(frozen=True)
class Trial:
    """What to run, and how.

    model, overrides: as for `zoo.run.recipe.named_net`.
    training: whole steps (forward, loss, backward, optimizer), else forward passes.
    mode: eager or compiled. precision: the Trainer's name of it, 32-true or bf16-mixed. layout: contiguous or channels_last.
    seconds: for how long to measure at least.
    limit: bytes that the process may take on a CPU beyond its libraries; None is all that the machine has left.
    """

    model: str
    overrides: tuple[str, ...]
    training: bool
    device: str
    mode: str
    precision: str
    layout: str
    batch: int
    seconds: float
    limit: int | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds of each round at the trial's batch, and without training of each sample on its own; the peak of memory in
    bytes, beyond the libraries', None where the system does not tell; whether what came out was finite."""

    steps: tuple[float, ...]
    latencies: tuple[float, ...]
    memory: int | None
    finite: bool


def timed(trial: Trial) -> Timing:
    """Run a trial in a fresh process. Raises NoMemoryError, and ValueError for what failed otherwise."""
    command = [sys.executable, "-m", "zoo.benchmark.timing", json.dumps(asdict(trial))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL:
        raise NoMemoryError
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise ValueError(
            f"its process ended with status {done.returncode} ({(done.stderr.strip().splitlines() or ['silent'])[-1]})"
        )
    answer = json.loads(lines[-1])
    if "failed" in answer:
        raise ValueError(answer["failed"])
    if "timing" not in answer:
        raise NoMemoryError
    return Timing(**answer["timing"])


def measure(trial: Trial) -> Timing:
    """The trial itself, in this process."""
    import torch

    from zoo.batch import KEYPOINTS, example_batch
    from zoo.common.bfloat16 import pad_explicitly
    from zoo.run.build import build_task
    from zoo.run.facts import publish
    from zoo.run.recipe import named_net

    before = _status("VmRSS")
    device = torch.device(trial.device)
    config, net, shape = named_net(trial.model, trial.overrides)
    outputs = int(getattr(net, "num_classes", 10))
    config.task.channels_last = trial.layout == "channels_last"
    config.optimizer.lr = 0.0  # a step costs the same, and noise cannot drive the weights to infinity
    facts = {
        "num_classes": outputs,
        "class_names": [str(k) for k in range(outputs)],
        "shape": list(shape),
        "mean": [0.5] * shape[0],
        "std": [0.25] * shape[0],
        "category_ids": list(range(1, outputs + 1)),
        "fields": ["boxes", "masks", "keypoints"],
        "num_keypoints": KEYPOINTS,
        "keypoint_sigmas": [0.1] * KEYPOINTS,
    }
    publish(config, facts)
    task = build_task(config, net=net)
    task.to(device)

    if trial.training:
        pad_explicitly(task.net, trial.precision, device.type)
    make = _training if trial.training else _inference
    step = make(task, example_batch(task.target, shape, outputs, trial.batch, device), trial)
    for _ in range(WARM_UP):
        out = step()
    _forget_peak(device)
    steps = _clocked(step, trial.seconds, LEAST_STEPS, device)
    memory = _peak(device, before)
    latencies: list[float] = []
    if not trial.training:
        one = _inference(task, example_batch(task.target, shape, outputs, 1, device), trial)
        for _ in range(WARM_UP):
            one()
        latencies = _clocked(one, trial.seconds, LEAST_LATENCIES, device)
    return Timing(tuple(steps), tuple(latencies), memory, _finite(out))


def _precision(trial: Trial) -> Any:
    """Entered anew for each forward pass, as the Trainer does: autocast keeps the weights it has cast until it is left."""
    import torch

    return torch.autocast(trial.device, torch.bfloat16, enabled=trial.precision == "bf16-mixed")


def _inference(task: "Task", batch: dict[str, Any], trial: Trial) -> Callable[[], Any]:
    import torch

    task.eval()
    forward = torch.compile(task.forward, dynamic=False) if trial.mode == "compiled" else task.forward

    def step() -> Any:
        with torch.inference_mode(), _precision(trial):
            return forward(batch["input"])

    return step


def _training(task: "Task", batch: dict[str, Any], trial: Trial) -> Callable[[], Any]:
    import torch

    task.train()
    optimizer = task.optimizer(task.parameters())

    total = torch.compile(task.total_loss, dynamic=False) if trial.mode == "compiled" else task.total_loss

    def step() -> "Tensor":
        with _precision(trial):
            loss, _ = total(batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def _clocked(step: Callable[[], Any], seconds: float, least: int, device: "torch.device") -> list[float]:
    rounds: list[float] = []
    while len(rounds) < least or sum(rounds) < seconds:
        _wait(device)
        began = time.perf_counter()
        step()
        _wait(device)
        rounds.append(time.perf_counter() - began)
    return rounds


def _wait(device: "torch.device") -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _finite(out: Any) -> bool:
    import torch
    from torch.utils._pytree import tree_leaves

    return all(bool(x.isfinite().all()) for x in tree_leaves(out) if isinstance(x, torch.Tensor) and x.is_floating_point())


# Memory


def _status(name: str) -> int | None:
    """Bytes, as the system counts them for this process."""
    found = re.search(rf"^{name}:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    return 1024 * int(found[1]) if found else None


def _limit_memory(limit: int | None) -> None:
    """Let allocations beyond the limit, or beyond what the machine has left, fail here instead of anywhere on the machine."""
    own = _status("VmData")
    left = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE) if own else None
    if own is None or left is None:
        return
    import resource

    allowed = own + min(1024 * int(left[1]), limit if limit is not None else sys.maxsize)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _forget_peak(device: "torch.device") -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to what is resident now


def _peak(device: "torch.device", before: int | None) -> int | None:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = _status("VmHWM")
    return None if peak is None or before is None else max(0, peak - before)


_FULL = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "could not create a memory")
"""How torch's allocators and oneDNN say that there is no more memory."""


def is_full(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _FULL)


def main() -> None:
    import zoo
    from zoo.run.report import quiet

    given = json.loads(sys.argv[1])
    trial = Trial(**{**given, "overrides": tuple(given["overrides"])})
    quiet()
    zoo.list_models()  # with every network's libraries, which are not the trial's memory
    if trial.device == "cpu":
        _limit_memory(trial.limit)
    try:
        answer: dict[str, Any] = {"timing": asdict(measure(trial))}
    except Exception as error:  # whatever it is, the other trials go on
        first = (str(error).strip().splitlines() or [""])[0]
        answer = {"full": True} if is_full(error) else {"failed": f"{type(error).__name__}: {first}"[:300]}
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main()
