"""Weights of a network of images in every network that is composed of one, by one argument."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import zoo
from tests.models.test_other_networks import SOURCES, disturbed, narrow_vgg
from zoo.common.signature import parameters
from zoo.models import _entry
from zoo.models._registry import get_builder
from zoo.models._weights import fresh_tensors
from zoo.run.check import check_parts
from zoo.run.compose import composed
from zoo.run.facts import pretrained_facts
from zoo.run.transfer import fetch_weights

Verb = Callable[..., tuple[int, str, str]]
SMALL = {
    **{name: {"width": 0.125} for name in ("fcn8s", "fcn16s", "fcn32s", "deconvnet")},
    **{
        name: {"backbone": "resnet18", "channels": 8, "head_options": {"box": {"width": 8}}}
        for name in ("faster_rcnn", "mask_rcnn", "keypoint_rcnn")
    },
    "two_stream": {"in_chans": 5, "input_shape": (5, 4, 32, 32)},
}
"""Arguments that make a network quick."""
COMPOSED = [name for name in zoo.list_models() if "backbone_weights" in parameters(get_builder(name))]


def arguments_of(case: str) -> dict[str, Any]:
    name = case.partition(" ")[0]
    clip = {"input_shape": (3, 4, 32, 32)} if "stem" in parameters(get_builder(name)) else {}
    stem = {"stem": "imagenet"} if clip else {}
    return {**clip, **stem, **SMALL.get(name, {}), **SOURCES[case][1]}


def source_of(case: str) -> nn.Module:
    """The network of images that a composed one has inside."""
    if case.startswith(("fcn", "deconvnet")) and "resnet" not in case:
        return narrow_vgg(norm=case == "deconvnet")
    name = SOURCES[case][0] if "rcnn" not in case else "resnet18"
    return disturbed(torchvision.models.get_model(name, weights=None))


def test_whatever_is_composed_of_a_network_of_images_takes_its_weights() -> None:
    """By the list of cases below."""
    assert {case.partition(" ")[0] for case in SOURCES} == {*COMPOSED}
    for name in COMPOSED:
        assert parameters(get_builder(name))["backbone_weights"].default is None
    for name in ("single_frame", "faster_rcnn", "fcn8s", "deconvnet", "fcn_resnet50"):  # a file of each family
        assert composed([f"model={name}"]).model.backbone_weights is None


@pytest.mark.numerical
@pytest.mark.parametrize("case", SOURCES)
def test_a_file_goes_where_the_backbone_is(case: str, tmp_path: Path) -> None:
    name, source = case.partition(" ")[0], source_of(case)
    torch.save({"model_state": source.state_dict()}, tmp_path / "source.pyth")
    arguments = arguments_of(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = zoo.create_model(name, backbone_weights=str(tmp_path / "source.pyth"), **arguments)
    begun, origin = source.state_dict(), SOURCES[case][2]
    places = {key: there for key in net.state_dict() if (there := origin(key)) in begun}
    assert len(places) >= 26
    for key, there in places.items():
        if key.endswith("running_mean") and "vgg" in SOURCES[case][0]:
            continue  # has the bias of its convolution in it
        own, value = net.state_dict()[key], begun[there]
        if own.dim() == 5:
            value = value.unsqueeze(2).expand_as(own) / own.shape[2]
        elif own.shape != value.shape:  # FC6 and FC7 as kernels; the first kernel of flow, or of frames as channels
            value = (
                value.reshape(own.shape)
                if own.numel() == value.numel()
                else value.repeat(1, 4, 1, 1) / 4
                if name == "early_fusion"
                else value.mean(1, keepdim=True).expand_as(own) * (3 / own.shape[1])
            )
        torch.testing.assert_close(own, value, rtol=1e-6, atol=1e-6)
    assert not places.keys() & fresh_tensors(net)
    assert net.recipe["arguments"]["backbone_weights"] is None, "the network has them"


@pytest.mark.numerical
def test_both_streams_start_from_images(tmp_path: Path) -> None:
    source = source_of("two_stream")
    torch.save(source.state_dict(), tmp_path / "source.pt")
    with pytest.warns(UserWarning, match="have no place in resnet18"):
        net = zoo.create_model("two_stream", backbone_weights=str(tmp_path / "source.pt"), **arguments_of("two_stream"))
    assert fresh_tensors(net) == {key for key in net.state_dict() if key.startswith("head.")}
    kernel = source.state_dict()["conv1.weight"]
    torch.testing.assert_close(net.features.spatial.conv1.weight, kernel)
    torch.testing.assert_close(net.features.temporal.conv1.weight, kernel.mean(1, keepdim=True).expand(-1, 8, -1, -1) * 3 / 8)


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("key", ["pretrained", "backbone_weights"])
def test_a_still_clip_in_color_is_seen_as_its_image_by_frames_as_channels(key: str, tmp_path: Path) -> None:
    source = disturbed(torchvision.models.resnet18(weights=None))
    torch.save(source.state_dict(), tmp_path / "source.pt")
    with pytest.warns(UserWarning, match="source"):
        net = zoo.create_model("early_fusion", **arguments_of("early_fusion"), **{key: str(tmp_path / "source.pt")}).eval()
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = nn.Sequential(*list(source.children())[:-1], nn.Flatten())(image)
        torch.testing.assert_close(net.embed(image.unsqueeze(2).expand(-1, -1, 4, -1, -1)), expected, rtol=1e-9, atol=1e-9)


# How they are named


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """torchvision's ResNet-18 with a file that its entry leads to."""
    source = disturbed(torchvision.models.resnet18(weights=None))
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.setattr(_entry.Weights, "path", lambda entry: tmp_path / f"{entry.model}.pth")
    return source


@pytest.mark.parametrize("said", [True, "true", "default", "IMAGENET1K_V1", "resnet18:imagenet1k_v1"])
def test_published_weights_are_named_as_those_of_a_whole_network(said: object, published: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"2 tensors of the file have no place in resnet18: fc\.weight"):
        net = zoo.create_model("single_frame", **arguments_of("single_frame"), backbone_weights=said)
    assert torch.equal(net.features.frames.net.conv1.weight, published.state_dict()["conv1.weight"])
    assert net.normalization["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert net.recipe["weights"] is None


LIBRARIES = [
    ("timm/test_resnet", True),
    ("timm/test_resnet", "r160_in1k"),
    ("timm/test_resnet.r160_in1k", True),
    ("mobilenet_v3_small", True),
    ("mobilenet_v3_small", "IMAGENET1K_V1"),
]


@pytest.mark.parametrize(("backbone", "said"), LIBRARIES)
def test_other_libraries_networks_have_their_own(
    backbone: str, said: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    name = backbone.removeprefix("timm/")
    theirs = timm.create_model(name) if backbone != name else torchvision.models.get_model(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    monkeypatch.setattr(_entry.Weights, "path", lambda entry: tmp_path / "theirs.pth")
    with pytest.warns(UserWarning, match="2 tensors of the file have no place in "):
        net = zoo.create_model("single_frame", backbone=backbone, backbone_weights=said, input_shape=(3, 2, 96, 96))
    assert fresh_tensors(net) == {"head.weight", "head.bias"}
    begun = {tuple(value.shape): value for value in theirs.state_dict().values() if value.dim() == 4}
    own = {tuple(value.shape): value for value in net.state_dict().values() if value.dim() == 4}
    assert all(torch.equal(value, own[shape]) for shape, value in begun.items())
    assert len(net.normalization["mean"]) == 3


def test_a_run_starts_from_them_and_says_so(published: nn.Module) -> None:
    for size in ("paper", "small"):
        chosen = ("model=single_frame", "model.backbone=resnet18", f"size={size}")
        config = composed([*chosen, "model.backbone_weights=true"])
        check_parts(config)
        fetch_weights(config)
        assert pretrained_facts(config, {"mean": [0.5] * 3, "std": [0.5] * 3})["mean"] == pytest.approx([0.485, 0.456, 0.406])
    # The weights that a network's file names for the paper's size are the same network's, and give way.
    assert composed(["model=cnn_rnn", "size=paper"]).model.pretrained
    assert composed(["model=cnn_rnn", "size=paper", "model.backbone_weights=true"]).model.pretrained is None


@pytest.mark.slow
def test_a_run_on_a_frozen_backbone_trains_what_is_new(verb: Verb, tmp_path: Path) -> None:
    torch.save(zoo.create_model("lenet_wide", in_chans=3, input_shape=(3, 32, 32)).state_dict(), tmp_path / "body.pt")
    limits = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    short = ("model=single_frame", *limits, "trainer.max_epochs=1", "trainer.max_steps=1", "data.batch_size=2", "freeze=all")
    status, _, err = verb("train", *short, "test=false")
    assert status == 1
    assert "nobody trained" in err
    status, out, err = verb("train", *short, "model.backbone_weights=body.pt", "hydra.run.dir=run")
    assert status == 0, err
    assert "backbone weights  body.pt" in out
    (tmp_path / "body.pt").unlink()
    status, _, err = verb("evaluate", "run", "trainer.limit_test_batches=1")
    assert status == 0, err
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert "backbone_weights" not in content["zoo"]["arguments"]["model"]


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("single_frame", {"backbone_weights": "imagenet"}, "backbone_weights is imagenet, but resnet18 has no weights"),
        ("single_frame", {"backbone_weights": 3}, "backbone_weights is 3; it is true, the tag of weights"),
        ("single_frame", {"backbone_weights": "nowhere.pt"}, r"There is no weights file nowhere\.pt"),
        ("single_frame", {"backbone_weights": True, "backbone": "lenet300"}, "backbone_weights is true|There is no model"),
        ("single_frame", {"backbone_weights": True, "pretrained": "x.pt"}, "from one of them. Leave one out"),
        ("single_frame", {"backbone_weights": True, "backbone": nn.Conv2d(3, 3, 3)}, "are for a backbone by name"),
        ("c3d", {"backbone_weights": True}, "c3d is composed of no other network|takes no argument 'backbone_weights'"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model(name, **given)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    torch.save(zoo.create_model("lenet5").state_dict(), tmp_path / "lenet.pt")
    for case in ("single_frame", "fcn8s", "faster_rcnn"):
        with pytest.raises(ValueError, match=r"lenet\.pt does not hold weights of (resnet18|FCN)"):
            zoo.create_model(case, backbone_weights=str(tmp_path / "lenet.pt"), **arguments_of(case))
