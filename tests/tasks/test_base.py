"""What all tasks share: exact evaluation, normalisation, schedules, and a loss that is not a number."""

import math
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.precision import BOUND, assert_same
from zoo.data.digits import Digits
from zoo.tasks import schedule
from zoo.tasks.classification import ClassificationTask, join_views
from zoo.tasks.gathering import gather


def task(net: nn.Module | None = None, **changes: object) -> ClassificationTask:
    arguments = {
        "num_outputs": 10,
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        "scheduler": None,
        "mean": [0.3],
        "std": [0.3],
        **changes,
    }
    return ClassificationTask(net or nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), **arguments)  # type: ignore[arg-type]


def quiet_trainer(**changes: object) -> lightning.Trainer:
    arguments = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, **changes}
    return lightning.Trainer(accelerator="cpu", enable_model_summary=False, use_distributed_sampler=False, **arguments)  # type: ignore[arg-type]


def test_repeated_samples_count_once() -> None:
    parts = [
        {"id": torch.tensor([4, 0]), "view": torch.tensor([0, 1]), "x": torch.tensor([40.0, 1.0])},
        {"id": torch.tensor([0, 4, 0]), "view": torch.tensor([0, 0, 1]), "x": torch.tensor([0.0, 40.0, 1.0])},
    ]
    records = gather(parts)
    assert records["id"].tolist() == [0, 0, 4]
    assert records["view"].tolist() == [0, 1, 0]
    assert records["x"].tolist() == [0.0, 1.0, 40.0]
    assert gather([]) == {}


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_views_are_joined_as_a_slow_loop_joins_them() -> None:
    ids, probability = torch.randint(0, 7, (40,)), torch.rand(40, 5)
    unique, joined = join_views(ids, probability)
    for number, row in zip(unique.tolist(), joined, strict=True):
        rows = [probability[k] for k in range(40) if ids[k] == number]
        assert_same(row, sum(rows, torch.zeros(5)) / len(rows))


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_metrics_against_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

    torch.manual_seed(0)
    count, views, classes = 50, 3, 12
    ids = torch.arange(count).repeat_interleave(views)
    label = torch.randint(0, classes, (count,))
    probability = torch.softmax(2 * torch.randn(count * views, classes, dtype=torch.float64), 1)
    records = {
        "id": ids,
        "view": torch.arange(views).repeat(count),
        "label": label.repeat_interleave(views),
        "probability": probability,
    }
    ours = task(num_outputs=classes).metrics(records)
    mean = probability.view(count, views, classes).mean(1).numpy()
    names = list(range(classes))
    assert ours == pytest.approx(
        {
            "accuracy": accuracy_score(label, mean.argmax(1)),
            "accuracy_top5": top_k_accuracy_score(label, mean, k=5, labels=names),
            "loss": log_loss(label, mean, labels=names),
            "view_accuracy": accuracy_score(label.repeat_interleave(views), probability.argmax(1)),
        },
        rel=BOUND,
    )


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 4, 8, 8)])
def test_normalisation(shape: tuple[int, ...], channels_last: bool) -> None:
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    module = task(nn.Flatten(), mean=mean, std=std, channels_last=channels_last)
    pixels = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    slow = np.stack([(pixels[:, c].numpy() / 255 - mean[c]) / std[c] for c in range(3)], axis=1)
    x = module.normalized(pixels)
    assert_same(x, torch.from_numpy(slow))
    layout = torch.channels_last if len(shape) == 3 else torch.channels_last_3d
    assert x.is_contiguous(memory_format=layout) == channels_last
    assert {"mean", "std"} <= set(module.state_dict())


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("net", [nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3)])
def test_channels_last_changes_no_result(net: nn.Module) -> None:
    pixels = torch.randint(0, 256, (2, 3, 6, 8, 8) if isinstance(net, nn.Conv3d) else (2, 3, 8, 8), dtype=torch.uint8)
    stats = {"mean": [0.5] * 3, "std": [0.2] * 3}
    plain = task(net.double(), **stats)(pixels)
    assert_same(task(net, **stats, channels_last=True)(pixels), plain)


class Diverging(ClassificationTask):
    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:  # type: ignore[override]
        loss = super().losses(batch)["cross_entropy"]  # type: ignore[arg-type]
        return {"cross_entropy": loss * (math.nan if self.global_step == 2 else 1)}


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_samples() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module = Diverging(net, num_outputs=10, optimizer=partial(torch.optim.SGD, lr=0.1), scheduler=None, mean=[0.3], std=[0.3])
    with pytest.raises(ValueError, match=r"The loss became nan at step 2, on samples \[\d+, "):
        quiet_trainer().fit(module, Digits(shape=(1, 8, 8), batch_size=20))


def test_every_sample_is_scored_once() -> None:
    module = task()
    trainer = quiet_trainer()
    trainer.test(module, Digits(shape=(1, 8, 8), batch_size=32), verbose=False)
    assert module.scored == {"test": 359}


CURVES = {
    "constant": (schedule.constant, {}, lambda t: 1.0),
    "cosine": (schedule.cosine, {"final": 0.1}, lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t)) / 2),
    "linear": (schedule.linear, {"final": 0.2}, lambda t: 1 - 0.8 * t),
    "step": (schedule.step, {"at": (0.5, 0.75), "factor": 0.1}, lambda t: 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01),
}


@pytest.mark.numerical
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_schedules_are_their_formulas(name: str, warmup: float) -> None:
    make, arguments, formula = CURVES[name]
    steps = 100
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = make(optimizer, steps, warmup=warmup, **arguments)  # type: ignore[operator]
    for step in range(steps):
        time = (step + 0.5) / steps
        expected = time / warmup if time < warmup else formula((time - warmup) / (1 - warmup))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2.0 * expected)
        optimizer.step()
        scheduler.step()


@pytest.mark.numerical
def test_inverse_square_root() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule.inverse_sqrt(optimizer, 1000, warmup=0.1)
    rates = []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    times = [(step + 0.5) / 1000 for step in range(1000)]
    assert rates == pytest.approx([time / 0.1 if time < 0.1 else (0.1 / time) ** 0.5 for time in times])
    with pytest.raises(ValueError, match="warmup"):
        schedule.cosine(optimizer, 10, warmup=1.0)


def test_the_usual_optimizer_is_that_of_the_configuration() -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from zoo.common.places import CONF
    from zoo.tasks.base import ADAMW

    said = instantiate(OmegaConf.load(CONF / "optimizer" / "adamw.yaml"))
    ours, its = (make(nn.Linear(2, 2).parameters()).defaults for make in (ADAMW, said))
    assert {name: value if name != "betas" else tuple(value) for name, value in its.items()} == ours
