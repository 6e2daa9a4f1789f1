"""What a name is made into: the network, its recipe, its weights."""

import ast
import importlib
import inspect
import json
import pickle
import subprocess
import sys
import typing
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights

import zoo
from tests.models.test_models import CLASSIFIERS, small
from zoo.models import Head, Weights, _entries, _heads, _registry, get_weights, list_models, register, register_head
from zoo.models._registry import variant
from zoo.models._start import weights_file

FEW = ("lenet5", "c3d", "cnn_rnn")
MARKED = [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in zoo.list_models()]


@pytest.mark.parametrize("name", MARKED)
def test_a_network_is_built_again_from_its_recipe(name: str) -> None:
    with torch.device("meta"):
        net = small(name)[0] if name in CLASSIFIERS else zoo.create_model(name)
        recipe = vars(net)["recipe"]
        again = zoo.create_model(recipe["name"], **recipe["arguments"])
    assert json.loads(json.dumps(recipe)) == recipe == vars(again)["recipe"]
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (net, again)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_recipe_has_every_argument_as_a_plain_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    builder: Any = _registry.get_builder(name)
    known = inspect.signature(builder)

    def build(**arguments: Any) -> nn.Module:
        return nn.Identity()

    vars(build)["__signature__"] = known
    monkeypatch.setitem(_registry._BUILDERS, name, build)
    recipe = vars(zoo.create_model(name))["recipe"]
    assert recipe["arguments"].keys() == known.parameters.keys()
    assert json.loads(json.dumps(recipe)) == recipe


def test_a_recipe_states_what_the_network_is(tmp_path: Path) -> None:
    net = zoo.create_model("lenet5", pretrained="Fashion_MNIST")
    assert vars(net)["recipe"]["weights"] == "lenet5:fashion_mnist"
    assert vars(net)["recipe"]["arguments"]["input_shape"] == [1, 32, 32]
    net.reset_classifier(3)  # type: ignore[operator]
    assert vars(net)["recipe"]["arguments"]["num_classes"] == 3
    torch.save(net.state_dict(), tmp_path / "net.pt")
    assert vars(zoo.create_model("lenet5", num_classes=3, pretrained=tmp_path / "net.pt"))["recipe"]["weights"] is None
    frames = zoo.create_model("single_frame", backbone=net, in_chans=1, num_classes=3)
    assert "recipe" not in vars(frames)


# Names


def test_names_are_known_without_torch() -> None:
    code = "import sys, zoo; print(*zoo.list_models()); assert not {'torch', 'numpy', 'torchvision'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == zoo.list_models()


def test_what_is_read_is_what_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_BUILDERS", {})
    folder = Path(_registry.__file__).parent
    modules = {f"zoo.models.{path.stem}" for path in folder.glob("[!_]*.py")}
    for name in sorted(modules):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in sorted(modules):
        importlib.import_module(name)
    registered = {name: builder.__module__ for name, builder in _registry._BUILDERS.items()}
    assert registered == _registry._homes()


def test_names_are_found_by_a_part() -> None:
    assert list_models("resnet") == [
        "fcn_resnet101",
        "fcn_resnet50",
        "resnet101",
        "resnet152",
        "resnet18",
        "resnet34",
        "resnet50",
    ]
    assert list_models("resnet*") == ["resnet101", "resnet152", "resnet18", "resnet34", "resnet50"]
    assert list_models(["lenet", "x3d_?"]) == ["lenet5", "lenet_wide", "x3d_l", "x3d_m", "x3d_s"]
    assert list_models("nothing") == list_models([]) == []
    having = list_models(pretrained=True)
    assert having == [name for name in list_models() if _entries.entries_of(name)]
    assert list_models("lenet", pretrained=True) == ["lenet5", "lenet_wide"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    monkeypatch.setattr(_registry, "_BUILDERS", dict(_registry._BUILDERS))


@pytest.mark.usefixtures("own")
def test_a_builder_of_a_users_file() -> None:
    @register
    def two_layers(width: int, num_classes: int = 10, **others: Any) -> nn.Module:
        """Two layers."""
        return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.Linear(width, num_classes))

    assert "two_layers" in list_models()
    net = zoo.create_model("two_layers", width=3, depth=2)
    arguments = {"width": 3, "num_classes": 10, "depth": 2}
    assert vars(net)["recipe"] == {"name": "two_layers", "arguments": arguments, "weights": None}
    assert register(two_layers) is two_layers, "a cell that is run again"
    with pytest.raises(ValueError, match=r"two_layers cannot be built: missing a required argument: 'width'\. Give it"):
        zoo.create_model("two_layers")
    with pytest.raises(ValueError, match="two_layers has no published weights"):
        zoo.create_model("two_layers", width=3, pretrained=True)


FAMILIES = [name for name in zoo.list_models() if hasattr(_registry.get_builder(name), "__wrapped__")]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_builder_whose_arguments_stand_elsewhere_is_a_function_like_any_other(name: str) -> None:
    builder: Any = _registry.get_builder(name)
    signature = inspect.signature(builder)
    assert pickle.loads(pickle.dumps(builder)) is builder
    assert getattr(sys.modules[builder.__module__], name) is builder
    assert typing.get_type_hints(builder).keys() == {*signature.parameters, "return"}
    assert next(iter(signature.parameters)) in ("num_classes", "in_chans")
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'colour'"):
        builder(colour=3)
    with pytest.raises(TypeError, match=rf"{name}\(\) too many positional arguments"):
        builder(*range(30))


@pytest.mark.usefixtures("own")
def test_a_variant_states_what_differs() -> None:
    said: list[Any] = []

    def family(name: str, num_classes: int = 10, width: float = 1.0, deep: bool = True) -> nn.Module:
        """A family."""
        said.append((name, num_classes, width, deep))
        return nn.Linear(2, num_classes)

    plain = variant(family, "plain")
    narrow = variant(family, "narrow", "A narrow one.", without=["deep"], width=0.5, deep=False)
    known = {"num_classes": 10, "width": 1.0, "deep": True}
    for built, arguments in ((plain, known), (narrow, {"num_classes": 10, "width": 0.5})):
        signature = inspect.signature(built)
        assert {name: each.default for name, each in signature.parameters.items()} == arguments
        assert signature.return_annotation is nn.Module
    for built, name, doc in ((plain, "plain", "A family."), (narrow, "narrow", "A narrow one.")):
        assert (built.__name__, built.__qualname__, built.__doc__, built.__module__) == (name, name, doc, __name__)
    plain(3)
    zoo.create_model("narrow", num_classes=4)
    assert said == [("plain", 3, 1.0, True), ("narrow", 4, 0.5, False)]
    with pytest.raises(ValueError, match="narrow takes no argument 'deep'"):
        zoo.create_model("narrow", deep=True)
    with pytest.raises(ValueError, match=r"There is a model lenet5 already \(zoo\.models\.lenet\.lenet5\)"):
        variant(family, "lenet5")


def test_names_of_variants_are_read_from_the_source() -> None:
    source = """
plain = variant(family, "plain")
other = family("other")
@register
@composed(num_classes=3)
def decorated(): ...
def helper(): ...
"""
    assert [_registry._registers(node) for node in ast.parse(source).body] == ["plain", None, "decorated", None]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("imported", [True, False])
def test_a_name_that_is_taken_is_refused(imported: bool) -> None:
    def lenet5() -> nn.Module:
        return nn.Identity()

    if imported:
        _registry.get_builder("lenet5")
    else:
        _registry._BUILDERS.pop("lenet5", None)
    with pytest.raises(ValueError, match=r"There is a model lenet5 already \(zoo\.models\.lenet\.lenet5\), so .* another name"):
        register(lenet5)


def test_heads_are_registered_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_heads, "HEADS", dict(_heads.HEADS))

    class Odd(Head):
        name = "odd"

    assert register_head(Odd) is register_head(Odd) is Odd
    for name, said in (("odd", "a head odd already"), ("mask", "a head mask already"), ("no word", "is named 'no word'")):
        with pytest.raises(ValueError, match=said):
            register_head(type("Other", (Head,), {"name": name}))
    with pytest.raises(ValueError, match="is named None"):
        register_head(type("Nameless", (Head,), {}))


# What a network starts from


def tensors(net: nn.Module) -> list[torch.Tensor]:
    return list(net.state_dict().values())


def equal_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


@pytest.mark.parametrize("name", list_models(pretrained=True))
def test_a_publishers_weights_are_the_default_where_there_are_some(name: str) -> None:
    entries = list(_entries.entries_of(name).values())
    assert get_weights(name) == entries[0]
    assert entries[0].addresses or not any(entry.addresses for entry in entries)


@pytest.mark.parametrize(
    "pretrained", [True, "True", "fashion_mnist", "FASHION_MNIST", "default", "lenet5:fashion_mnist", get_weights("lenet5")]
)
def test_all_that_names_the_default_weights(pretrained: str | bool | Weights) -> None:
    named = zoo.create_model("lenet5:fashion_mnist")
    net = zoo.create_model("lenet5", pretrained=pretrained)
    assert equal_weights(net, named)
    assert vars(net)["recipe"] == vars(named)["recipe"]


def test_torchvisions_spelling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = zoo.create_model("resnet18")
    torch.save(source.state_dict(), tmp_path / "net.pt")
    asked = []

    def path(entry: Weights) -> Path:
        asked.append((entry.model, entry.tag))
        return tmp_path / "net.pt"

    monkeypatch.setattr(Weights, "path", path)
    member = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    for spelt in (member, str(member), "IMAGENET1K_V1", "imagenet1k_v1", zoo.get_weights("resnet18", str(member))):
        weights_file("resnet18", spelt)
        assert asked.pop() == ("resnet18", "imagenet1k_v1")
    assert equal_weights(zoo.create_model("resnet18", pretrained=member), source)
    with pytest.warns(UserWarning, match="afresh"):  # another network's is not taken for one's own of the same tag
        zoo.create_model("single_frame", pretrained=member, num_classes=2)
    assert asked == [("resnet18", "imagenet1k_v1")] * 2


@pytest.mark.parametrize("nothing", [None, False, "false"])
def test_nothing_to_start_from(nothing: Any) -> None:
    torch.manual_seed(0)
    plain = zoo.create_model("lenet5")
    torch.manual_seed(0)
    assert equal_weights(zoo.create_model("lenet5", pretrained=nothing), plain)


def test_a_network_of_timms_by_its_name() -> None:
    with torch.device("meta"):
        net = zoo.create_model("timm/resnet10t", num_classes=3)
    assert vars(net)["recipe"]["name"] == "backbone"
    assert vars(net)["recipe"]["arguments"]["backbone"] == "timm/resnet10t"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("c3f", {}, "There is no model 'c3f'; did you mean c3d"),
        (3, {}, "A model is asked for by its name, not by 3"),
        ("mobilenet_v2", {}, r'torchvision\'s is create_model\("backbone", backbone="mobilenet_v2"\)'),
        ("resnet10t", {}, r'timm\'s is create_model\("timm/resnet10t"\)'),
        ("timm/resnet10x", {}, "There is no timm network 'resnet10x'; did you mean"),
        ("timm/resnet18", {"backbone": "resnet18"}, "timm/resnet18 is the backbone already"),
        ("lenet5:fashion", {}, "lenet5 has no weights 'fashion'; did you mean fashion_mnist"),
        ("lenet5:", {}, "lenet5 has no weights ''"),
        ("lenet6:fashion_mnist", {}, "There is no model 'lenet6'; did you mean lenet5"),
        ("slow_fusion:default", {}, "There are no published weights of 'slow_fusion'"),
        ("lenet5:fashion_mnist", {"pretrained": True}, "says already which weights lenet5 starts from"),
        (
            "slow_fusion",
            {"pretrained": True},
            "slow_fusion has no published weights; those that have some are alexnet, ",
        ),
        ("lenet5", {"pretrained": 3}, "pretrained is 3; it is true, the tag of weights, a file or the folder of a run"),
        ("lenet5", {"pretrained": "nowhere.pt"}, "There is no weights file nowhere.pt"),
        ("lenet5", {"pretrained": LRASPP_MobileNet_V3_Large_Weights.DEFAULT}, "there is no model 'lraspp_mobilenet_v3_large'"),
    ],
)
def test_what_cannot_be_made_is_said(name: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        zoo.create_model(name, **arguments)


@pytest.mark.parametrize("named", [("lenet5:Fashion_MNIST",), ("lenet5", "FASHION_MNIST"), ("lenet5",)])
def test_weights_are_had_by_their_names(named: tuple[str, ...]) -> None:
    assert zoo.get_weights(*named) == get_weights("lenet5", "fashion_mnist")


# Runs and their checkpoints

GRU = {"num_classes": 3, "in_chans": 1, "input_shape": [1, 4, 32, 32], "backbone": "lenet5", "cell": "gru", "hidden": 5}


def checkpoint(path: Path, net: nn.Module, name: str, arguments: dict[str, Any], version: str = "0.1.0") -> Path:
    """As a run leaves one."""
    model = {"name": name, **arguments}
    recipe = {"version": version, "names": {"model": name}, "arguments": {"model": model}, "facts": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}, "zoo": recipe}, path)
    return path


@pytest.mark.parametrize("file", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize("named", ["run", "file", "home"])
def test_a_run_is_built_as_it_was(tmp_path: Path, file: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = zoo.create_model("cnn_rnn", **GRU)
    path = checkpoint(tmp_path / "run" / "checkpoints" / file, net, "cnn_rnn", GRU)
    place = {"file": path, "run": tmp_path / "run", "home": "~/run"}[named]
    monkeypatch.setenv("HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("cnn_rnn", pretrained=place)
    assert equal_weights(net, again)
    assert vars(again)["recipe"] == vars(net)["recipe"]
    with pytest.warns(UserWarning, match="head.weight"):
        assert zoo.create_model("cnn_rnn", pretrained=str(place), num_classes=7).num_classes == 7


def test_another_networks_run_lends_its_weights_alone(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.ckpt", zoo.create_model("lenet5", num_classes=3), "lenet5", {"num_classes": 3})
    with pytest.warns(UserWarning, match="afresh"):
        net = zoo.create_model("single_frame", pretrained=path, backbone="lenet5", in_chans=1, input_shape=(1, 4, 32, 32))
    assert net.num_classes == 487


def test_a_run_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=r"The folder .*run holds no checkpoint"):
        zoo.create_model("lenet5", pretrained=tmp_path / "run")
    net = zoo.create_model("lenet5", num_classes=3)
    for version, said in (("9.0.1", "was written by version 9.0.1 of zoo, a later one than this. Update it"), ("0.0.1", "")):
        path = checkpoint(tmp_path / "new.ckpt", net, "lenet5", {"num_classes": 3, "attention": 4}, version)
        with pytest.raises(ValueError, match=f"{said}.*model.attention to 4, which this version does not know"):
            zoo.create_model("lenet5", pretrained=path)
    whole = {"num_classes": 3, "in_chans": 1, "input_shape": (1, 32, 32)}
    assert equal_weights(zoo.create_model("lenet5", pretrained=path, **whole), net), "a caller who says all needs no recipe"
    path = checkpoint(tmp_path / "new.ckpt", zoo.create_model("lenet_wide"), "lenet5", {}, "0.2.0")
    with pytest.raises(ValueError, match=r"version 0\.2\.0 of zoo, a later one than this.*does not hold weights of lenet5"):
        zoo.create_model("lenet5", pretrained=path)


def test_a_later_version_that_can_be_read_is_read(tmp_path: Path) -> None:
    net = zoo.create_model("lenet5", num_classes=3)
    assert equal_weights(
        zoo.create_model("lenet5", pretrained=checkpoint(tmp_path / "new.ckpt", net, "lenet5", {"num_classes": 3}, "9.0")), net
    )


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("num_classes", "${oc.env:HOME}", "which this version does not know"),
        ("num_classes", {"_target_": "os.system"}, "which this version does not know"),
        ("num_classes", 10**12, "cannot be built|describes a network of"),
        ("hidden", 10**6, "describes a network of"),
        ("backbone", "../../etc/passwd", "not for a checkpoint to say"),
        ("block", "https://example.org/x", "not for a checkpoint to say"),
    ],
)
def test_a_checkpoint_decides_no_more_than_it_may(tmp_path: Path, argument: str, value: Any, said: str) -> None:
    net = zoo.create_model("cnn_rnn", **GRU)
    path = checkpoint(tmp_path / "best.ckpt", net, "cnn_rnn", {**GRU, argument: value})
    with pytest.raises(ValueError, match=said):
        zoo.create_model("cnn_rnn", pretrained=path)


@pytest.mark.parametrize("recipe", [3, {}, {"names": 3}, {"names": {"model": "lenet5"}, "arguments": [3]}, {"version": [1]}])
def test_an_odd_recipe_is_none(tmp_path: Path, recipe: Any) -> None:
    net = zoo.create_model("lenet5")
    torch.save(
        {"state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}, "zoo": recipe}, tmp_path / "a.ckpt"
    )
    assert equal_weights(zoo.create_model("lenet5", pretrained=tmp_path / "a.ckpt"), net)


@pytest.mark.slow
def test_weights_that_a_checkpoint_names_are_not_fetched(tmp_path: Path) -> None:
    """`backbone_weights` leads somewhere; of a checkpoint it is not read."""
    small = {"num_classes": 2, "backbone": "resnet18", "channels": 8, "head_options": {"box": {"width": 8}}}
    net = zoo.create_model("faster_rcnn", **small)
    path = checkpoint(tmp_path / "best.ckpt", net, "faster_rcnn", {**small, "backbone_weights": str(tmp_path / "trap.pt")})
    assert equal_weights(zoo.create_model("faster_rcnn", pretrained=path), net)
