"""What every network of the registry promises, and the tables of the papers and lectures."""

import math
import re
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch.nn.functional import cross_entropy

import zoo
from tests.written import chosen
from zoo.models._base import Classifier
from zoo.run.compose import composed
from zoo.run.network import network_of


def of_tasks(*tasks: str) -> list[str]:
    """The models whose YAML chooses one of these tasks."""
    return [name for name in zoo.list_models() if chosen("model", name)["task"] in tasks]


CLASSIFIERS = of_tasks("classification", "video_classification")


def first_of_their_families(names: list[str]) -> list[str]:
    """Of names that differ in a number alone, or in a size, the least: vgg11 of vgg11, vgg13, vgg16 and vgg19, x3d_xs of x3d_l,
    x3d_m, x3d_s and x3d_xs."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(re.sub(r"\d+|_(xs|s|m|l)$", "", name), []).append(name)
    sizes = ("xs", "s", "m", "l")

    def size(name: str) -> list[int]:
        return [int(part) if part.isdigit() else sizes.index(part) for part in re.findall(r"\d+|(?<=_)(?:xs|s|m|l)$", name)]

    return [min(family, key=size) for family in families.values()]


FIRST = first_of_their_families(CLASSIFIERS)
MARKED = [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in CLASSIFIERS]
"""The larger ones of a family run for real in the slow tests only: the smallest proves the same."""


def small(name: str, channels: int | None = None) -> tuple[Classifier, tuple[int, ...]]:
    """A network as its YAML builds it for its embedded set, of five classes; and the shape."""
    config = composed([f"model={name}", "model.num_classes=5"])
    if channels is not None:
        config.input_shape = [channels, *config.input_shape[1:]]
    net = network_of(config)
    assert isinstance(net, Classifier)
    return net, tuple(config.input_shape)


@pytest.mark.parametrize("name", MARKED)
def test_the_contract(name: str, tmp_path: Path) -> None:
    net, shape = small(name)
    with torch.device("meta"):  # without values of its own, which take long to draw
        other, _ = small(name)
    torch.save(net.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True), assign=True)
    for key, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    x = torch.randn(2, *shape)
    net.eval()
    features = net.embed(x)
    assert features.shape == (2, net.num_features)
    assert net(x).shape == (2, 5)
    if name != "single_frame":  # it averages what its head makes of each frame
        assert torch.equal(net(x), net.classify(features))
    assert net.get_classifier() is net.head
    assert set(net.blocks) <= {path for path, _ in net.features.named_modules()}
    with torch.no_grad():
        blocks = net.forward_blocks(x)
    assert set(blocks) == set(net.blocks)
    for block, maps in blocks.items():
        assert len(maps) == 2, block
        assert maps.dim() < 5 or maps.shape[2] <= shape[1], (block, "time is the third axis")
    net.reset_classifier(7)
    assert net(x).shape == (2, 7)
    net.reset_classifier(0)
    assert torch.equal(net(x), features)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_any_number_of_channels(name: str, channels: int) -> None:
    with torch.device("meta"):
        net, shape = small(name, channels)
        assert net.eval()(torch.randn(1, *shape)).shape == (1, 5)
    assert net.in_chans == channels


def optimizer_of(name: str, net: Classifier) -> torch.optim.Optimizer:
    """The optimiser of a model's own recipe, at its rate."""
    optimizer = instantiate(composed([f"model={name}"]).optimizer)(net.parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


@pytest.mark.numerical
@pytest.mark.parametrize("name", FIRST)
def test_it_learns_two_samples_by_heart(name: str) -> None:
    """Until its loss is half of what a network that does not look at its input can reach, at the rate of its recipe."""
    net, shape = small(name)
    levels = torch.tensor([-1.0, 1.0]).view(2, *[1] * len(shape))  # a dark and a bright one, else the small ones take long
    x, y = torch.randn(2, *shape) + levels, torch.arange(2)
    if name == "single_frame":  # what it sees of a clip in training is drawn
        x = x[:, :, :1].expand_as(x)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = optimizer_of(name, net)
    for _ in range(200):  # none of them needed more than 11, of four seeds
        loss = cross_entropy(net(x), y)
        if loss.item() < math.log(2) / 2:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the loss is still {loss.item():.3f}")


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        ("lenet5", {}, 61_706),
        ("lenet_wide", {}, 1_256_080),
        ("lenet_wide", {"padding": 0}, 431_080),
        ("c3d", {"num_classes": 101}, 78_409_573),
        ("c3d", {"num_classes": 101, "pool5_padding": False}, 63_729_509),
    ],
)
def test_parameters_of_the_tables(name: str, arguments: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        net = zoo.create_model(name, **arguments)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_lenet_wide_row_by_row() -> None:
    """The table of the DeepRob lecture: outputs and weights of every row (a linear's weight is stored out x in)."""
    profile = zoo.profile(zoo.create_model("lenet_wide"), (1, 28, 28))
    rows = [(tuple(row.output_shape), tuple(row.weight_shape or ())) for row in profile.layers]
    expected = [
        ((20, 28, 28), (20, 1, 5, 5)),
        ((20, 14, 14), ()),
        ((50, 14, 14), (50, 20, 5, 5)),
        ((50, 7, 7), ()),
        ((2450,), ()),
        ((500,), (500, 2450)),
        ((10,), (10, 500)),
    ]
    assert [row for row, layer in zip(rows, profile.layers, strict=True) if layer.kind != "ReLU"] == expected


def test_c3d_multiply_adds() -> None:
    profile = zoo.profile(zoo.create_model("c3d", num_classes=101), (3, 16, 112, 112))
    rows = [round(row.macs / 1e9, 2) for row in profile.layers if row.kind == "Conv3d"]
    assert rows == [1.04, 11.10, 5.55, 11.10, 2.77, 5.55, 0.69, 0.69]
    assert round(profile.macs / 1e9, 2) == 38.55


def test_c3d_without_padding_is_the_slides_geometry() -> None:
    with torch.device("meta"):
        net = zoo.create_model("c3d", pool5_padding=False)
        padded = zoo.create_model("c3d", input_shape=(3, 16, 112, 112))
    assert net.features.fc6.in_features == 4608
    assert padded.features.fc6.in_features == 8192


def test_c3d_normalisation_is_a_choice() -> None:
    with torch.device("meta"):
        kinds = {norm: {type(m).__name__ for m in zoo.create_model("c3d", norm=norm).modules()} for norm in (False, True)}
    assert "BatchNorm3d" not in kinds[False]
    assert "BatchNorm3d" in kinds[True]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet5", (1, 8, 8)),
        ("lenet_wide", (1, 3, 3)),
        ("c3d", (3, 8, 112, 112)),
        ("c3d", (3, 16, 8, 8)),
        ("alexnet", (3, 62, 62)),
        ("vgg11", (3, 31, 32)),
    ],
)
def test_too_small_an_input_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="too small"):
        zoo.create_model(name, input_shape=shape)


def test_names_and_arguments_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="did you mean c3d"):
        zoo.create_model("c3dd")
    with pytest.raises(ValueError, match="did you mean padding"):
        zoo.create_model("lenet_wide", paddin=0)
    assert zoo.list_models("lenet*") == ["lenet5", "lenet_wide"]
    assert zoo.list_models(["c3d", "lenet5"]) == ["c3d", "lenet5"]
    assert zoo.list_models("nothing*") == []


@pytest.mark.numerical
@pytest.mark.parametrize("block", ["frames.net.pool1", "frames.net.relu_fc1", "frames"])
def test_blocks_of_a_network_on_frames_are_those_of_its_frames(block: str) -> None:
    net = zoo.create_model("single_frame", backbone="lenet5", in_chans=1, input_shape=(1, 5, 32, 32)).eval()
    x = torch.rand(2, 1, 5, 32, 32, requires_grad=True)
    found = net.forward_blocks(x, [block])[block]
    for frame in range(5):
        expected = net.forward_blocks(x[:, :, frame : frame + 1], [block])[block]
        if expected.dim() == found.dim():
            expected = expected[:, :, 0]
        torch.testing.assert_close(found[:, :, frame], expected)
    found.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("name", ["lenet5", "c3d", "rotnet"])
def test_features_at_named_blocks(name: str) -> None:
    net, shape = small(name)
    x = torch.randn(2, *shape)
    net.eval()
    found = net.forward_blocks(x)
    assert tuple(found) == net.blocks
    y = x
    for layer_name, layer in net.features.named_children():
        y = layer(y)
        if layer_name in found:
            assert torch.equal(found[layer_name], y), layer_name
    with pytest.raises(ValueError, match="no block 'pool9'; its blocks are"):
        net.forward_blocks(x, ["pool9"])
    assert not any(module._forward_hooks for module in net.modules())
