"""Learning rates over a run, as factors of the optimizer's own; time is a fraction of the run, stepped at each batch.

Each starts with a linear warm-up over a fraction of the run (Goyal et al. 2017, section 2.2).
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def _scheduler(optimizer: Optimizer, shape: Callable[[float], float], steps: int, warmup: float) -> LambdaLR:
    if not 0 <= warmup < 1:
        raise ValueError(f"scheduler.warmup is {warmup}; it is a fraction of the run, from 0 to below 1.")

    def factor(step: int) -> float:
        # The k-th step is taken at the middle of its share of the run, so that neither the first nor the last is at zero.
        time = (min(step, steps - 1) + 0.5) / steps
        return time / warmup if time < warmup else shape((time - warmup) / (1 - warmup))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, steps: int, *, warmup: float = 0.0) -> LambdaLR:
    """The same rate throughout."""
    return _scheduler(optimizer, lambda time: 1.0, steps, warmup)


def cosine(optimizer: Optimizer, steps: int, *, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """Half a cosine from 1 to `final` (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return _scheduler(optimizer, lambda time: final + (1 - final) * (1 + math.cos(math.pi * time)) / 2, steps, warmup)


def linear(optimizer: Optimizer, steps: int, *, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """A straight line from 1 to `final`."""
    return _scheduler(optimizer, lambda time: 1 - (1 - final) * time, steps, warmup)


def step(
    optimizer: Optimizer, steps: int, *, warmup: float = 0.0, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1
) -> LambdaLR:
    """Multiplied by `factor` at each of these fractions of the time after warm-up."""
    return _scheduler(optimizer, lambda time: factor ** sum(time >= mark for mark in at), steps, warmup)


def inverse_sqrt(optimizer: Optimizer, steps: int, *, warmup: float = 0.01) -> LambdaLR:
    """1 / sqrt(time), counted in warm-ups, from the end of the warm-up on (Vaswani et al. 2017, section 5.3)."""
    if not 0 < warmup < 1:
        raise ValueError(f"scheduler.warmup is {warmup}; an inverse square root is counted in warm-ups, so it must be above 0.")
    return _scheduler(optimizer, lambda time: math.sqrt(warmup / (warmup + time * (1 - warmup))), steps, warmup)
