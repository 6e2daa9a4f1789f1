"""The embedded digits: their splits, their enlargement, their stated statistics."""

import pytest
import torch

from zoo.data.digits import Digits
from zoo.data.rendered.synth import digits, texture


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_digits_in_any_shape(shape: tuple[int, int, int]) -> None:
    data = Digits(shape=shape)
    data.setup()
    assert {name: len(samples) for name, samples in data.splits.items()} == {"train": 1258, "val": 180, "test": 359}
    batch = next(iter(data.test_dataloader()))
    assert batch["input"].shape[1:] == shape
    assert batch["input"].dtype == torch.uint8


def test_at_their_own_size_they_are_the_originals() -> None:
    data = Digits(shape=(1, 8, 8), batch_size=10_000)
    data.setup()
    served = {
        tuple(image.flatten().tolist())
        for loader in (data.val_dataloader(), data.test_dataloader())
        for image in next(iter(loader))["input"]
    }
    originals = {tuple(image.flatten().tolist()) for image in digits()[0]}
    assert served <= originals


@pytest.mark.numerical
def test_stated_mean_and_deviation() -> None:
    for size in (28, 32):
        data = Digits(shape=(1, size, size))
        data.setup()
        samples = data.splits["train"]
        values = samples.__getitems__([(0, k) for k in range(len(samples))])["input"].float() / 255
        assert values.mean().item() == pytest.approx(data.mean[0], abs=0.015)
        assert values.std().item() == pytest.approx(data.std[0], abs=0.015)


def test_textures_differ_and_stay_dark() -> None:
    import numpy as np

    patches = [texture(np.random.default_rng(k), split, 32) for split in ("train", "val", "test") for k in range(20)]
    assert all(patch.shape == (32, 32, 3) and patch.min() >= 0 and patch.max() <= 127.5 for patch in patches)
    assert len({patch.tobytes() for patch in patches}) == 60
