"""Random numbers that are functions of (seed, epoch, sample id): the same in any worker, on any rank, after any resume.

A counter-based generator: the state is hashed, not stepped, so that any number of the stream is had without those before
it. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
section 3), on int64 tensors, whose products wrap as it needs; so it runs wherever the batch lies.
"""

from functools import cache

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer: 2**64 over the golden ratio
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(bits: Tensor, by: int) -> Tensor:
    """A logical shift to the right: torch's own keeps the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift(bits, 30)) * _MIX1
    bits = (bits ^ _shift(bits, 27)) * _MIX2
    return bits ^ _shift(bits, 31)


@cache
def _start(seed: int, stream: int) -> int:
    """The hash of what stays the same for a whole run."""
    return int(_mix(torch.tensor(seed) * _GOLDEN + stream))


def uniform(seed: int, epoch: Tensor | int, ids: Tensor, count: int, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) of shape (B, count), float64, one row a sample.

    `epoch` is one number or (B,); `ids` is (B,) int64. Different `stream`s are independent: each use of randomness
    (order, clip time, each augmentation) takes its own.
    """
    state = _mix(torch.as_tensor(epoch, device=ids.device) * _GOLDEN + _start(seed, stream))
    state = _mix(state + ids * _GOLDEN)
    counter = torch.arange(1, count + 1, device=ids.device)
    bits = _mix(state.unsqueeze(-1) + counter * _GOLDEN)
    return _shift(bits, 11).to(torch.float64) * 2.0**-53


def permutation(seed: int, epoch: int, length: int) -> Tensor:
    """The order of an epoch, (length,) int64."""
    return uniform(seed, epoch, torch.arange(length), 1, stream=ORDER).squeeze(1).argsort()


ORDER, CLIP_TIME, CROP, VALIDATION, HELD_OUT, FRACTION, ROTATION, SPREAD, AUGMENT = 1, 2, 3, 4, 5, 6, 7, 8, 1000
"""Streams; the k-th augmentation of a data set takes AUGMENT + k."""
