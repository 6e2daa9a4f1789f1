"""Randomness as a function of (seed, epoch, id): against SplitMix64 in plain integers, and as the uniform it must be."""

import numpy as np
import pytest
import torch

from zoo.common.chance import permutation, uniform

MASK = 2**64 - 1


def mix(z: int) -> int:
    """The finaliser as published, on unsigned integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference(seed: int, epoch: int, identity: int, count: int, stream: int) -> list[float]:
    golden = 0x9E3779B97F4A7C15
    state = mix((seed * golden + stream) & MASK)
    state = mix((state + epoch * golden) & MASK)
    state = mix((state + identity * golden) & MASK)
    return [(mix((state + k * golden) & MASK) >> 11) * 2.0**-53 for k in range(1, count + 1)]


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("stream", [0, 1, 1000])
def test_it_is_splitmix(seed: int, stream: int) -> None:
    ids = torch.tensor([0, 1, 2, 10**12])
    epochs = torch.tensor([0, 3, 3, 100])
    ours = uniform(seed, epochs, ids, 5, stream)
    slow = [reference(seed, e, i, 5, stream) for e, i in zip(epochs.tolist(), ids.tolist(), strict=True)]
    assert ours.tolist() == slow


def test_a_sample_draws_the_same_in_any_company() -> None:
    together = uniform(7, 2, torch.arange(100), 3)
    alone = torch.cat([uniform(7, torch.tensor([2]), torch.tensor([k]), 3) for k in range(100)])
    assert torch.equal(together, alone)


@pytest.mark.numerical
def test_it_is_uniform_and_uncorrelated() -> None:
    n = 50_000
    drawn = uniform(3, 1, torch.arange(n), 4).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn[:, 0], bins=100, range=(0, 1))[0]
    chi2 = ((counts - n / 100) ** 2 / (n / 100)).sum()
    assert chi2 < 99 + 5 * np.sqrt(2 * 99)
    neighbours = np.corrcoef(np.column_stack([drawn, np.roll(drawn, 1, axis=0)]).T)
    assert np.abs(neighbours - np.eye(8)).max() < 5 / np.sqrt(n)
    for other in (uniform(4, 1, torch.arange(n), 1), uniform(3, 2, torch.arange(n), 1), uniform(3, 1, torch.arange(n), 1, 1)):
        assert abs(np.corrcoef(drawn[:, 0], other[:, 0].numpy())[0, 1]) < 5 / np.sqrt(n)


def test_an_order_is_a_permutation_of_its_own_epoch() -> None:
    orders = [permutation(0, epoch, 1000) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2], permutation(0, 2, 1000))
    assert len(permutation(0, 0, 0)) == 0
