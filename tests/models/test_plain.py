"""Networks are plain PyTorch: they are copied, saved whole, trained in a loop of one's own, compiled and exported."""

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.run.compose import composed
from zoo.run.network import arguments_of

FEW = ("lenet5", "inflated", "single_frame")
"""What runs each time; the others are slow, the dearest of them minutes to compile."""
CUT = ("cnn_rnn", "faster_rcnn")
"""Networks that are cut out of others; copies and saved files of them need care of their own."""
REGIONS = "how many regions there are depends on what is in the picture, which torch.export refuses"
NOT_EXPORTED = {"faster_rcnn": REGIONS, "mask_rcnn": REGIONS, "keypoint_rcnn": REGIONS}


def marked(few: Sequence[str], excepted: Mapping[str, str] | None = None) -> list[Any]:
    """All models, the exceptions with their reason; should one of them work, its test fails, and it is to be struck out."""
    marks: dict[str, list[pytest.MarkDecorator]] = {name: [] for name in zoo.list_models()}
    for name in marks.keys() - {*few}:
        marks[name].append(pytest.mark.slow)
    for name, reason in (excepted or {}).items():
        marks[name].append(pytest.mark.xfail(strict=True, reason=reason))
    return [pytest.param(name, marks=each) for name, each in marks.items()]


def built(name: str, **arguments: Any) -> tuple[nn.Module, Any]:
    """A small network in evaluation, and what it reads."""
    config = composed([f"model={name}", "size=small"])
    net = zoo.create_model(name, **{**arguments_of(config), **arguments}).eval()
    shape = tuple(config.input_shape)
    return net, [torch.rand(shape), torch.rand(shape)] if isinstance(net, zoo.models.Detector) else torch.rand(2, *shape)


def results(net: Callable[[Any], Any], x: Any) -> list[Tensor]:
    """All tensors that come out, in order."""

    def flat(value: Any) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        return [tensor for each in (value.values() if isinstance(value, dict) else value) for tensor in flat(each)]

    with torch.no_grad():
        return flat(net(x))


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    """Compiled code adds in another order."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def assert_the_same(again: nn.Module, net: nn.Module, x: Any) -> None:
    """In both modes, and without sharing a tensor."""
    expected = results(net, x)
    for one, other in zip(results(again, x), expected, strict=True):
        assert torch.equal(one, other)
    assert vars(again)["recipe"] == vars(net)["recipe"]
    assert [(name, part.training) for name, part in again.named_modules()] == [
        (name, part.training) for name, part in net.named_modules()
    ]
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    for one, other in zip(results(net, x), expected, strict=True):
        assert torch.equal(one, other)


def saved_and_loaded(net: nn.Module) -> nn.Module:
    stream = io.BytesIO()
    torch.save(net, stream)
    stream.seek(0)
    loaded: nn.Module = torch.load(stream, weights_only=False)
    return loaded


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "copied": copy.deepcopy,
    "saved": saved_and_loaded,
    "copied_and_saved": lambda net: saved_and_loaded(copy.deepcopy(net)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", marked(["lenet5", *CUT]))
def test_a_copy_computes_the_same(name: str, way: str) -> None:
    net, x = built(name)
    assert_the_same(WAYS[way](net), net, x)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CUT)
def test_a_copy_trains_as_the_network_does(name: str, way: str) -> None:
    """It turns from one mode to the other, as the network, and has the layers of both."""
    net, _ = built(name)
    again = WAYS[way](net)
    for mode in (True, False, True):
        assert {part.training for part in again.train(mode).modules()} == {mode}
    graphs = [getattr(part, "graph", None) for part in again.modules()]
    trained = [getattr(part, "train_graph", None) for part in again.modules()]
    assert [str(graph) for graph in graphs] == [str(graph) for graph in trained]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["inflated", pytest.param("r3d_18", marks=pytest.mark.slow)])
def test_checkpointing_is_copied(name: str, way: str) -> None:
    net, x = built(name)
    net.checkpoint_blocks()  # type: ignore[operator]
    again = WAYS[way](net)
    for each in (net, again):
        each.train()
        each.zero_grad()
        torch.manual_seed(0)
        each(x).sum().backward()
    for mine, its in zip(net.parameters(), again.parameters(), strict=True):
        assert mine.grad is not None
        assert its.grad is not None
        assert torch.equal(mine.grad, its.grad)


@pytest.mark.parametrize("name", marked(FEW))
def test_a_loop_of_ones_own_trains_it(name: str) -> None:
    net, x = built(name)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    before = {key: value.clone() for key, value in net.named_parameters() if value.requires_grad}
    losses = []
    for _ in range(2):
        if isinstance(net, zoo.models.Detector):
            loss = sum(net(x, [objects(x[0]) for _ in x]).values())
        else:
            loss = sum((each.float() - 1).square().mean() for each in outputs(net(x)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(map(torch.isfinite, map(torch.tensor, losses)))
    parameters = dict(net.named_parameters())
    assert all(parameters[key].grad is not None for key in before)
    assert any(not torch.equal(parameters[key], value) for key, value in before.items())


def outputs(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value.values() if isinstance(value, dict) else value)


def objects(image: Tensor) -> dict[str, Tensor]:
    """One object of everything that heads learn from."""
    height, width = image.shape[1:]
    masks = torch.zeros(1, height, width, dtype=torch.uint8)
    masks[:, 4 : height // 2, 4 : width // 2] = 1
    boxes = torch.tensor([[4.0, 4.0, width / 2, height / 2]])
    keypoints = torch.tensor([8.0, 8.0, 1.0]).expand(1, 17, 3)
    return {"boxes": boxes, "labels": torch.tensor([1]), "masks": masks, "keypoints": keypoints}


@pytest.mark.numerical
@pytest.mark.parametrize("name", marked(FEW))
def test_it_is_compiled(name: str) -> None:
    """As one graph, but for detectors."""
    net, x = built(name)
    torch._dynamo.reset()
    whole = name not in NOT_EXPORTED
    assert_close(results(torch.compile(net, backend="aot_eager", fullgraph=whole), x), results(net, x))


@pytest.mark.slow
@pytest.mark.numerical
@pytest.mark.parametrize("name", FEW)
def test_it_is_compiled_by_inductor(name: str) -> None:
    net, x = built(name)
    torch._dynamo.reset()
    assert_close(results(torch.compile(net), x), results(net, x))


@pytest.mark.numerical
@pytest.mark.parametrize("name", marked(FEW, NOT_EXPORTED))
def test_it_is_exported(name: str) -> None:
    net, x = built(name)
    assert_close(results(torch.export.export(net, (x,)).module(), x), results(net, x))
