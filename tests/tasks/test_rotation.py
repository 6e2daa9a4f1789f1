"""Quarter turns against NumPy's, the pretext's batches, and what is said of images that are not square."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.precision import SINGLE
from zoo.tasks.rotation import RotationTask, all_turns, confusion_by_class, square, turned

SHAPES = [(5, 1, 8, 8), (5, 3, 8, 8), (5, 3, 4, 8, 8)]


def task(**changes: Any) -> RotationTask:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    stats = {"mean": [0.5], "std": [0.25]}
    return RotationTask(net, optimizer=partial(torch.optim.SGD, lr=0.1), scheduler=None, **{**stats, **changes})


@pytest.mark.parametrize("shape", SHAPES)
def test_turns_are_numpys(shape: tuple[int, ...]) -> None:
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    copies, turns = all_turns(pixels)
    assert copies.shape == (4 * shape[0], *shape[1:])
    for k in range(4):
        expected = np.rot90(pixels.numpy(), k, axes=(-2, -1))
        assert np.array_equal(copies[turns == k].numpy(), expected)
    chosen = torch.tensor([0, 1, 2, 3, 1])
    for row, count, original in zip(turned(pixels, chosen), chosen.tolist(), pixels, strict=True):
        assert np.array_equal(row.numpy(), np.rot90(original.numpy(), count, axes=(-2, -1)))


def test_images_that_are_not_square_are_cut_and_it_is_said() -> None:
    pixels = torch.arange(6 * 10).reshape(1, 1, 6, 10)
    with pytest.warns(UserWarning, match="cut to their central 6 x 6"):
        assert torch.equal(square(pixels), pixels[..., 2:8])
    with pytest.warns(UserWarning, match="central 6 x 6"):
        assert torch.equal(square(pixels.mT), pixels.mT[..., 2:8, :])


def batch(count: int = 6) -> dict[str, torch.Tensor]:
    ids = torch.arange(count)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8)
    return {"input": pixels, "id": ids, "view": ids * 0, "epoch": ids * 0, "label": ids % 2}


@pytest.mark.numerical
def test_the_loss_is_over_all_four_copies() -> None:
    module, data = task(), batch()
    slow = torch.stack(
        [
            cross_entropy(module(torch.rot90(data["input"][k : k + 1], turn, (-2, -1))), torch.tensor([turn]))
            for k in range(6)
            for turn in range(4)
        ]
    ).mean()
    assert torch.allclose(module.losses(data)["cross_entropy"], slow, rtol=SINGLE)  # type: ignore[arg-type]


def test_one_copy_is_a_function_of_the_sample() -> None:
    module = task(copies="one")
    seen: list[torch.Tensor] = []
    module.forward = lambda pixels: seen.append(pixels) or torch.zeros(len(pixels), 4)  # type: ignore[method-assign, func-returns-value]
    data = batch()
    module.losses(data)  # type: ignore[arg-type]
    part = {name: value[2:4] for name, value in data.items()}
    module.losses(part)  # type: ignore[arg-type]
    assert torch.equal(seen[0][2:4], seen[1])
    module.losses({**data, "epoch": data["epoch"] + 1})  # type: ignore[arg-type]
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.numerical
def test_metrics_and_confusion_against_a_slow_loop() -> None:
    module, data = task(), batch(10)
    records = module.sample_outputs(data)  # type: ignore[arg-type]
    right, confusion = [], np.zeros((2, 4, 4))
    for k in range(10):
        for turn in range(4):
            guess = int(module(torch.rot90(data["input"][k : k + 1], turn, (-2, -1))).argmax())
            right.append(guess == turn)
            confusion[k % 2, turn, guess] += 1
    assert module.metrics(records)["accuracy"] == pytest.approx(np.mean(right))
    assert np.allclose(confusion_by_class(records, 2).numpy(), confusion / 5, rtol=SINGLE)
    unlabelled = {name: value for name, value in records.items() if name != "label"}
    with pytest.raises(ValueError, match="no labels"):
        confusion_by_class(unlabelled, 2)


def test_there_are_four_outputs() -> None:
    with pytest.raises(ValueError, match="4 quarter turns"):
        task(num_outputs=10)
