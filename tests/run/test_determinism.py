"""The same bits twice, of every model; and the operations that cannot give them on a GPU, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.run.build import build_task
from zoo.run.compose import composed
from zoo.run.determinism import NONDETERMINISTIC, nondeterministic, refused
from zoo.run.facts import publish

Verb = Callable[..., tuple[int, str, str]]


def built(name: str) -> tuple[nn.Module, list[int]]:
    """A model and its small shape, the first weights from the same seed."""
    config = composed([f"model={name}", "run_dir=."])
    shape = list(config.input_shape)
    config.data.shape = shape
    classes = [f"class {number}" for number in range(5)]
    statistics = {"mean": [0.5] * shape[0], "std": [0.5] * shape[0]}
    publish(config, {"num_classes": 5, "class_names": classes, "shape": shape, **statistics})
    torch.manual_seed(0)
    return build_task(config).net.train(), shape


def step(net: nn.Module, shape: list[int]) -> list[torch.Tensor]:
    """What a step of training computes of the network as it is: outputs, and the gradients that move its weights."""
    torch.manual_seed(1)
    outputs = tensors(net(torch.rand(2, *shape)))
    learnt = [each for each in net.parameters() if each.requires_grad]
    loss = torch.stack([each.square().mean() for each in outputs]).sum()
    return [*outputs, *torch.autograd.grad(loss, learnt, materialize_grads=True)]


def tensors(answer: Any) -> list[torch.Tensor]:
    if isinstance(answer, torch.Tensor):
        return [answer]
    values = answer.values() if isinstance(answer, dict) else answer
    return [tensor for value in values for tensor in tensors(value)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo.list_models() if not name.endswith("rcnn")])  # see models/test_rcnn.py
def test_the_same_bits_twice(name: str, record: Callable[..., None]) -> None:
    """Of two steps from the same weights; how weights are drawn at first is the same for all of them."""
    torch.use_deterministic_algorithms(True)
    try:
        net, shape = built(name)
        one, two = step(net, shape), step(net, shape)
    finally:
        torch.use_deterministic_algorithms(False)
    different = sum(not torch.equal(a, b) for a, b in zip(one, two, strict=True))
    record(f"two steps of {name} twice, deterministically", tried=1, lost=int(different > 0))
    assert not different


def test_a_deterministic_run_repeats_itself(verb: Verb, tmp_path: Path) -> None:
    settings = ("model=mlp", "trainer.deterministic=true", "trainer.max_epochs=1", "trainer.limit_train_batches=5")
    for name in ("one", "two"):
        status, out, err = verb("train", *settings, f"run_dir={tmp_path / name}", f"hydra.run.dir={tmp_path / name}")
        assert status == 0, err
        assert "on a GPU, not the same bits twice: no operation" in out
    one, two = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for name in ("one", "two")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("net", "shape", "found"),
    [
        (nn.AdaptiveAvgPool3d(2), (1, 1, 4, 4, 4), ["adaptive_avg_pool3d (backward)"]),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.MaxPool2d(2)), (1, 1, 8, 8), []),
        (nn.Sequential(nn.AvgPool3d(2), nn.ReflectionPad3d(1)), (1, 1, 4, 4, 4), None),
    ],
)
def test_unsteady_operations_are_found_in_the_graph(net: nn.Module, shape: tuple[int, ...], found: list[str] | None) -> None:
    x = torch.rand(shape, requires_grad=True)
    expected = ["avg_pool3d (backward)", "reflection padding in 3-D (backward)"] if found is None else found
    assert nondeterministic({"loss": net(x).sum()}) == expected


@pytest.mark.parametrize("name", ["i3d", "fcn8s"])
def test_they_are_named_for_a_model(name: str) -> None:
    net, shape = built(name)
    found = nondeterministic({"loss": tensors(net(torch.rand(2, *shape)))[0].sum()})
    assert ("avg_pool3d (backward)" in found) == (name == "i3d")


def test_the_list_is_the_installed_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pooling of C3D had no deterministic algorithm on a GPU once, and has one since."""
    assert {"AvgPool3d", "AdaptiveAvgPool3d", "NLLLoss", "interpolate", "grid_sample", "CTCLoss"} <= refused()
    assert refused() <= {listed for listed, _ in NONDETERMINISTIC.values()} | OF_NO_LAYER
    loss = {"loss": nn.MaxPool3d(2)(torch.rand(1, 1, 4, 4, 4, requires_grad=True)).sum()}
    for entry, found in (
        ("nn.MaxPool3d` when attempting to differentiate a CUDA tensor", ["max_pool3d (backward)"]),
        ("nn.MaxPool3d` when attempting to differentiate an MPS tensor", []),
    ):
        text = f"The following will throw a\n:class:`RuntimeError`:\n\n    * :class:`torch.{entry}\n\nIn addition, several"
        monkeypatch.setattr(torch.use_deterministic_algorithms, "__doc__", text)
        assert nondeterministic(loss) == found


OF_NO_LAYER = {"put_", "cumsum", "histc", "bincount", "median", "scatter_reduce", "EmbeddingBag", "MaxUnpool1d", "resize_"}
"""Of the list, what no network of images calls in training."""
