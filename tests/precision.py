"""What is one function is one to 1e-10 in double precision (the fixture `precise`): some hundred thousand roundings.

What is another function differs by more, and neither a processor's instructions nor the number of threads matter.
"""

import torch
from torch import Tensor

BOUND = 1e-10
SINGLE = 1e-5
"""The same in float32, where a law is kept that a task rounds to it: 170 times its unit roundoff."""


def assert_same(found: Tensor, expected: Tensor, what: str | None = None) -> None:
    torch.testing.assert_close(found, expected, rtol=BOUND, atol=BOUND, msg=what and (lambda said: f"{what}: {said}"))


def same(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=BOUND, atol=BOUND)


def gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference, of the largest value expected."""
    return float((found - expected).abs().max().detach() / expected.abs().max().detach())
