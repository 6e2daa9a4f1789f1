"""The losses of classification, at the start and against slow loops, and the mixing of samples."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.precision import SINGLE
from zoo.batch import LabelBatch
from zoo.tasks.classification import ClassificationTask


class Silent(ClassificationTask):
    def log(self, *args: object, **kwargs: object) -> None:
        """Without a trainer there is no log."""


def task(net: nn.Module, **changes: object) -> ClassificationTask:
    arguments = {"optimizer": partial(torch.optim.SGD, lr=0.1), "scheduler": None, "mean": [0.0], "std": [1.0], **changes}
    return Silent(net, num_outputs=10, **arguments)  # type: ignore[arg-type]


def batch(size: int = 16) -> LabelBatch:
    torch.manual_seed(0)
    ids = torch.arange(size)
    pixels = torch.randint(256, (size, 1, 16, 16), dtype=torch.uint8)
    return LabelBatch(input=pixels, label=ids % 10, id=ids, view=ids * 0, epoch=ids * 0)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 10)


@pytest.mark.numerical
@pytest.mark.parametrize("margin", [1.0, 2.5])
def test_losses_where_all_scores_are_equal(margin: float) -> None:
    """log C and (C - 1) D (Stanford CS231n 2024, "Linear classification")."""
    entropy = task(Zero()).losses(batch())["cross_entropy"].item()
    hinge = task(Zero(), loss="hinge", margin=margin).losses(batch())["hinge"].item()
    assert entropy == pytest.approx(math.log(10), rel=SINGLE)
    assert hinge == pytest.approx(9 * margin, rel=SINGLE)


@pytest.mark.numerical
def test_hinge_against_a_slow_loop() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    module, sample = task(net, loss="hinge", margin=0.7), batch()
    scores = net(module.normalized(sample["input"]))
    total = 0.0
    for row, label in zip(scores.tolist(), sample["label"].tolist(), strict=True):
        total += sum(max(0.0, 0.7 + row[k] - row[label]) for k in range(10) if k != label)
    assert module.losses(sample)["hinge"].item() == pytest.approx(total / len(scores), rel=SINGLE)


@pytest.mark.numerical
def test_label_smoothing_against_its_definition() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    module, sample = task(net, label_smoothing=0.2), batch()
    target = torch.nn.functional.one_hot(sample["label"], 10) * 0.8 + 0.02
    log = net(module.normalized(sample["input"])).log_softmax(1)
    assert module.losses(sample)["cross_entropy"].item() == pytest.approx(-(target * log).sum(1).mean().item(), rel=SINGLE)


@pytest.mark.numerical
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_samples_are_mixed_with_their_labels_as_a_function_of_the_batch(mixup: float, cutmix: float) -> None:
    module, sample = task(Zero(), mixup=mixup, cutmix=cutmix), batch()
    x = module.normalized(sample["input"])
    state = torch.get_rng_state()
    mixed, target = module._mixed(x.clone(), sample["label"], sample)
    torch.rand(5)
    again, same = module._mixed(x.clone(), sample["label"], sample)
    assert torch.equal(mixed, again)
    assert torch.equal(target, same)
    torch.set_rng_state(state)
    assert torch.allclose(target.sum(1), torch.ones(16), rtol=SINGLE)
    share = target[torch.arange(16), sample["label"]][0].item()
    assert 0 < share < 1
    if not cutmix:
        assert torch.allclose(mixed, share * x + (1 - share) * x.roll(1, 0), atol=SINGLE)
    other = LabelBatch(**{**sample, "epoch": sample["epoch"] + 1})
    assert not torch.equal(module._mixed(x.clone(), sample["label"], other)[1], target)


def test_mixing_leaves_the_accuracy_and_the_random_numbers_alone() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    module, sample = task(net, mixup=0.2), batch()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    loss = module.losses(sample)["cross_entropy"]
    assert torch.equal(torch.rand(3), expected)
    assert loss != cross_entropy(net(module.normalized(sample["input"])), sample["label"])


def test_hinge_refuses_soft_labels() -> None:
    with pytest.raises(ValueError, match="hinge loss needs one label"):
        task(Zero(), loss="hinge", mixup=0.2)
