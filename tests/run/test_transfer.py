"""What a run starts from: published weights or a sentence, and nothing frozen that nobody trained."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import zoo
from zoo.common.download import Address, fetched, weights_folder
from zoo.models import _entry
from zoo.models._weights import fresh_tensors
from zoo.run.build import build_task
from zoo.run.check import check_parts
from zoo.run.compose import composed
from zoo.run.facts import pretrained_facts, publish
from zoo.run.freeze import Freeze, names_of, still
from zoo.run.recipe import compose_recipe, recipe_of
from zoo.run.transfer import check_frozen, fetch_weights, ways_out

Verb = Callable[..., tuple[int, str, str]]
SHORT = ("model=lenet5", "data.fraction=0.1", "trainer.max_epochs=1", "trainer.limit_val_batches=1", "test=false")
DETECTOR = {
    "num_classes": 3,
    "backbone": "resnet18",
    "levels": 2,
    "channels": 8,
    "rpn_options": {"anchors": (16, 32, 64)},
    "head_options": {"box": {"width": 8}},
}
GONE = Address("http://127.0.0.1:1/vgg16-01234567.pth", "01234567")


# Weights that are not there


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All published weights are at an address where nobody answers; which were asked for."""
    asked = []

    def path(entry: _entry.Weights) -> Path:
        asked.append(entry.model)
        return fetched([GONE])

    monkeypatch.setattr(_entry.Weights, "path", path)
    return asked


NOT_THERE = (
    rf"The weights vgg16-01234567\.pth are not in .*weights, and could not be fetched from {re.escape(GONE.url)} \(.*\)\. "
    r"Fetch the file on a machine with a network and put it at \S+vgg16-01234567\.pth\. Or set model\.pretrained=null, which "
    r"trains from random weights"
)


@pytest.mark.slow
def test_without_network_and_cache_the_file_the_places_and_the_ways_out_are_named(verb: Verb, offline: list[str]) -> None:
    status, _, err = verb("train", "model=fcn8s", "model.pretrained=vgg16:imagenet1k_v1")
    assert status == 1
    assert re.fullmatch(rf"Error: {NOT_THERE}.*\.\n", err), err
    assert str(weights_folder()) in err
    assert "frozen" not in err
    assert offline == ["vgg16"], "once, before data are read"
    frozen = ("model=mask_rcnn", "model.norm=frozen", "model.trained=2", "model.pretrained=resnet18:default")
    status, _, err = verb("train", *frozen)
    assert status == 1
    assert re.search(rf"{NOT_THERE} \(with model\.norm=batch and model\.trained=null, for", err), err


def test_a_small_network_is_a_way_out_of_the_papers_alone() -> None:
    for size, said in (("paper", True), ("small", False), (None, False)):
        with (
            pytest.raises(ValueError, match=r"\(with freeze=null, for") as caught,
            ways_out(OmegaConf.create({"model": {"pretrained": "x:y"}, "freeze": "all", "size": size})),
        ):
            fetched([GONE])
        assert ("size=small" in str(caught.value)) is said


def test_a_detectors_own_key_is_named_where_it_is_what_is_missing(offline: list[str]) -> None:
    config = composed(["model=faster_rcnn", "model.backbone_weights=default"])
    publish(config, {"num_classes": 10, "class_names": list("0123456789"), "mean": [0.5], "std": [0.5]})
    with pytest.raises(ValueError, match=r"Or set model\.backbone_weights=null, which trains from random weights"):
        build_task(config)


def test_in_python_nothing_is_said_of_settings(offline: list[str]) -> None:
    with pytest.raises(ValueError, match="are not in") as caught:
        zoo.create_model("fcn8s", pretrained="vgg16:imagenet1k_v1")
    assert "model." not in str(caught.value)


def test_a_run_that_has_begun_needs_its_first_weights_no_more(verb: Verb, tmp_path: Path) -> None:
    """Taken up or scored, it has its weights in its checkpoint: nothing is looked for, and nothing frozen is random."""
    torch.save(zoo.create_model("lenet5").state_dict(), tmp_path / "start.pt")
    begun = (*SHORT, "model.pretrained=start.pt", "freeze=[pool1]")
    status, _, err = verb("train", *begun, "hydra.run.dir=run")
    assert status == 0, err
    (tmp_path / "start.pt").unlink()
    status, _, err = verb("train", *begun, "resume=run", "trainer.max_epochs=2")
    assert status == 0, err
    status, out, err = verb("evaluate", "run")
    assert status == 0, err
    assert "scored 359" in out


def test_a_recipe_of_a_network_that_starts_from_others_looks_for_none(offline: list[str]) -> None:
    config = composed(["model=lenet5", "model.pretrained=fashion_mnist"])
    facts = {"num_classes": 10, "class_names": list("0123456789"), "mean": [0.5], "std": [0.5], "shape": [1, 32, 32]}
    publish(config, facts)
    recipe = recipe_of(config, facts)
    assert compose_recipe(recipe, ["model.pretrained=fashion_mnist"], with_data=False).model.pretrained is None
    assert not offline


FACTS = {"num_classes": 10, "class_names": list("0123456789"), "mean": [0.5], "std": [0.5], "shape": [1, 32, 32]}


@pytest.mark.parametrize("said", ["true", "FASHION_MNIST", "lenet5:default", "run", "run/checkpoints/best.ckpt"])
def test_a_command_names_what_a_run_starts_from_as_python_does(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = zoo.create_model("lenet5:fashion_mnist")
    Path("run/checkpoints").mkdir(parents=True)
    torch.save({"state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}}, "run/checkpoints/best.ckpt")
    config = composed(["model=lenet5", f"model.pretrained={said}"])
    check_parts(config)
    publish(config, FACTS)
    fetch_weights(config)
    assert bool(pretrained_facts(config, {})) == ("run" not in said)
    started = build_task(config).net.state_dict()
    assert all(torch.equal(started[key], value) for key, value in net.state_dict().items())


def test_a_command_that_starts_from_nothing_says_so() -> None:
    config = composed(["model=lenet5", "model.pretrained=false"])
    check_parts(config)
    publish(config, FACTS)
    fetch_weights(config)
    assert pretrained_facts(config, {}) == {}
    assert fresh_tensors(build_task(config).net)
    net = zoo.create_model("lenet5")
    with pytest.raises(ValueError, match=r"model\.pretrained is null"):
        check_frozen(net, {"pretrained": False}, held(net, "all"))


def held(net: nn.Module, parts: str | list[str]) -> Freeze:
    freeze = Freeze(parts)
    freeze.hold(net)
    return freeze


# What is frozen


FITS = "Set model.pretrained to weights that fit, or"
REFUSED = [
    (
        ("freeze=all",),
        "freeze=all would keep pool1, pool2, relu_fc1, relu_fc2 at values that nobody trained (features.conv1.weight, "
        f"features.conv1.bias, features.conv2.weight, and 5 more), as model.pretrained is null. {FITS} freeze=null.",
    ),
    (
        ("freeze=head",),
        "freeze=head would keep head at values that nobody trained (head.weight, head.bias), as model.pretrained is null. "
        f"{FITS} freeze=null.",
    ),
    (
        ("freeze=[pool2]", "unfreeze=[0.5]"),
        "freeze=[pool2] would keep pool2 at values that nobody trained (features.conv2.weight, features.conv2.bias), as "
        f"model.pretrained is null. {FITS} freeze=null.",
    ),
    (
        ("freeze=all", "model.pretrained=stem.pt"),
        "freeze=all would keep pool1 at values that nobody trained (features.conv1.weight), as model.pretrained=stem.pt does "
        f"not hold them in their shape. {FITS} freeze=[pool2, relu_fc1, relu_fc2].",
    ),
    (
        ("freeze=[pool2,head]", "model.pretrained=classes.pt"),
        "freeze=[pool2, head] would keep head at values that nobody trained (head.weight, head.bias), as "
        f"model.pretrained=classes.pt does not hold them in their shape. {FITS} freeze=[pool2].",
    ),
]


@pytest.mark.filterwarnings("ignore:.*afresh")
@pytest.mark.parametrize(("settings", "sentence"), REFUSED, ids=[" ".join(each) for each, _ in REFUSED])
def test_frozen_parts_that_are_random_are_named_and_refused(
    settings: tuple[str, ...], sentence: str, verb: Verb, tmp_path: Path
) -> None:
    state = zoo.create_model("lenet5").state_dict()
    torch.save({**state, "features.conv1.weight": torch.zeros(6, 1, 3, 3)}, tmp_path / "stem.pt")
    torch.save(zoo.create_model("lenet5", num_classes=4).state_dict(), tmp_path / "classes.pt")
    status, _, err = verb("train", *SHORT, *settings)
    assert status == 1
    assert err.splitlines()[-1] == f"Error: {sentence}"


@pytest.mark.filterwarnings("ignore:.*afresh")
@pytest.mark.parametrize(
    "settings", [("freeze=all", "model.pretrained=classes.pt"), ("freeze=head", "model.pretrained=fashion_mnist")]
)
def test_frozen_parts_that_a_file_gave_are_not(settings: tuple[str, ...], verb: Verb, tmp_path: Path) -> None:
    torch.save(zoo.create_model("lenet5", num_classes=4).state_dict(), tmp_path / "classes.pt")
    status, _, err = verb("train", *SHORT, *settings)
    assert status == 0, err


def test_statistics_that_nobody_measured_are_random_too(tmp_path: Path) -> None:
    state = zoo.create_model("resnet18").state_dict()
    kept = {key: value for key, value in state.items() if "layer2.0.bn1.running" not in key}
    torch.save(kept, tmp_path / "net.pt")
    with pytest.warns(UserWarning, match="afresh"):
        net = zoo.create_model("resnet18", pretrained=tmp_path / "net.pt")
    check_frozen(net, {"pretrained": "net.pt"}, held(net, ["layer1", "layer3", "layer4"]))
    with pytest.raises(ValueError, match=r"would keep layer2 .*\(features\.layer2\.0\.bn1\.running_mean, .*running_var\)"):
        check_frozen(net, {"pretrained": "net.pt"}, held(net, "all"))


def test_what_a_detector_freezes_as_it_is_built_is_refused_at_random(tmp_path: Path) -> None:
    def check(*settings: str, **arguments: object) -> None:
        with torch.device("cpu" if {"pretrained", "backbone_weights"} & arguments.keys() else "meta"):
            net = zoo.create_model("faster_rcnn", **DETECTOR, **arguments)
        check_frozen(net, composed(["model=faster_rcnn", *settings]).model)

    check("model.norm=batch", norm="batch")
    for settings, arguments, what, remedy in (
        (("model.norm=frozen",), {"norm": "frozen"}, "model.norm=frozen", "model.norm=batch"),
        (("model.trained=1",), {"norm": "batch", "trained": 1}, "model.trained=1", "model.trained=null"),
        (
            ("model.norm=frozen", "model.trained=0"),
            {"norm": "frozen", "trained": 0},
            "model.norm=frozen and model.trained=0",
            "model.norm=batch and model.trained=null",
        ),
    ):
        sentence = (
            rf"{what} would keep \d+ tensors at values that nobody trained \(backbone\.body\.\S+, .*, and \d+ more\), as "
            rf"model\.pretrained is null\. {FITS} {remedy}\."
        )
        with pytest.raises(ValueError, match=sentence):
            check(*settings, **arguments)
    # Not with weights of the backbone, by either of the two keys, nor of a whole detector.
    torch.save(zoo.create_model("resnet18").state_dict(), tmp_path / "body.pt")
    frozen = ("model.norm=frozen", "model.trained=1", f"model.pretrained={tmp_path / 'body.pt'}")
    with pytest.warns(UserWarning, match="afresh"):
        check(*frozen, norm="frozen", trained=1, pretrained=tmp_path / "body.pt")
    check(*frozen[:2], norm="frozen", trained=1, backbone_weights=str(tmp_path / "body.pt"))
    torch.save(zoo.create_model("faster_rcnn", **DETECTOR).state_dict(), tmp_path / "whole.pt")
    check(*frozen, norm="frozen", trained=1, pretrained=tmp_path / "whole.pt")
    # And a file without the statistics leaves them as nobody measured them.
    state = {key: value for key, value in torch.load(tmp_path / "body.pt").items() if "layer1.0.bn1.r" not in key}
    torch.save(state, tmp_path / "body.pt")
    with (
        pytest.warns(UserWarning, match="afresh"),
        pytest.raises(ValueError, match=r"running_mean.*body\.pt does not hold them"),
    ):
        check(*frozen, norm="frozen", trained=1, pretrained=tmp_path / "body.pt")


def test_what_is_still_is_what_training_does_not_move() -> None:
    net = zoo.create_model("faster_rcnn", **DETECTOR, norm="batch", trained=1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    target = {"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sum(net([torch.randn(3, 64, 64)], [target]).values()).backward()
    optimizer.step()
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert not moved & set(names_of(net, still(net)))
    assert {key for key in before if key.startswith("backbone.body.layer1")} <= set(names_of(net, still(net)))
    assert fresh_tensors(net) >= {key for key in before if "num_batches" not in key}


@pytest.mark.parametrize("pretrained", ["true", "default", "fashion_mnist", "lenet5:fashion_mnist"])
def test_the_block_says_what_the_weights_start_from(pretrained: str, verb: Verb) -> None:
    limits = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    status, out, err = verb(
        "train", "model=lenet5", f"model.pretrained={pretrained}", *limits, "trainer.max_epochs=1", "test=false"
    )
    assert status == 0, err
    assert "pretrained     lenet5:fashion_mnist\n" in out
