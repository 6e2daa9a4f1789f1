"""Networks that start from another network's weights: which tensors go where, that they compute the same there, and how such
weights are named."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.vgg import VGG, cfgs, make_layers

import zoo
from tests.written import written
from zoo.models import _entry
from zoo.models._entries import entry_named, full_name
from zoo.models._start import check_pretrained
from zoo.models._weights import fit, fresh_tensors, translated

CLIP = {"input_shape": (3, 4, 32, 32), "stem": "imagenet"}


POOLS = [-1, *(at for at, each in enumerate(make_layers(cfgs["D"], batch_norm=True)) if isinstance(each, nn.MaxPool2d))]


def in_stages(name: str) -> str:
    """Of VGG-16's layer behind `encoder.`, torchvision's place of it: counted over the poolings that stages end in."""
    stage, at, rest = name.split(".", 2)
    return f"{POOLS[int(stage)] + 1 + int(at)}.{rest}"


def place(prefix: str, name: str) -> str | None:
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def of_fcn(name: str) -> str | None:
    for ours, theirs in (("fc6.0.", "classifier.0."), ("fc7.0.", "classifier.3."), ("features.", "features.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None


def of_deconvnet(name: str) -> str | None:
    for ours, theirs in (("fc.0.", "classifier.0."), ("fc.4.", "classifier.3.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    inner = place("encoder.", name)
    return inner and f"features.{in_stages(inner)}"


def behind(prefix: str) -> Callable[[str], str | None]:
    return lambda name: place(prefix, name)


SOURCES: dict[str, tuple[str, dict[str, Any], Callable[[str], str | None]]] = {
    "fcn8s": ("vgg16", {}, of_fcn),
    "fcn16s": ("vgg16", {}, of_fcn),
    "fcn32s": ("vgg16", {}, of_fcn),
    "deconvnet": ("vgg16_bn", {}, of_deconvnet),
    "fcn_resnet50": ("resnet50", {}, behind("backbone.")),
    "fcn_resnet101": ("resnet101", {}, behind("backbone.")),
    "faster_rcnn": ("resnet50", {}, behind("backbone.body.")),
    "mask_rcnn": ("resnet50", {}, behind("backbone.body.")),
    "keypoint_rcnn": ("resnet50", {}, behind("backbone.body.")),
    "two_stream": ("resnet18", {}, behind("features.spatial.")),
    "two_stream of flow": ("resnet18", {"streams": "temporal"}, behind("features.temporal.")),
    "inflated": ("resnet18", {}, behind("features.")),
    "cnn_rnn": ("resnet18", {}, behind("features.frames.net.")),
    "cnn_rnn of maps": ("resnet18", {"cell": "conv_gru"}, behind("features.frames.net.net.")),
    "space_time_attention": ("resnet18", {}, behind("features.frames.net.net.")),
    "space_time_attention inflated": ("resnet18", {"time": 3}, behind("features.frames.net.")),
    "single_frame": ("resnet18", {}, behind("features.frames.net.")),
    "early_fusion": ("resnet18", {}, behind("features.net.")),
    "late_fusion": ("resnet18", {}, behind("features.frames.net.")),
}
"""Network -> the one whose published weights its paper, or this project, starts it from; its arguments; and of a tensor of ours
torchvision's name there, from which it must come."""


def test_each_file_of_a_model_names_weights_that_are_in_it() -> None:
    """Those of its own name, or of the network that goes into it below."""
    named = {
        name: found[1]
        for name in zoo.list_models()
        if (found := re.search(r"\$\{size:null,'([^']+)'\}", str(written("model", name)["model"]["pretrained"])))
    }
    assert {"fcn8s", "deconvnet", "mask_rcnn", "two_stream"} <= named.keys()
    for name, weights in named.items():
        entry = entry_named(name, weights)
        assert entry is not None, name
        assert entry.model == SOURCES.get(name, (name,))[0]


@pytest.mark.parametrize("case", SOURCES)
def test_all_but_the_classifier_goes_where_it_belongs(case: str) -> None:
    """Under torchvision's names, under ours, and out of a checkpoint of ours."""
    source, arguments, origin = SOURCES[case]
    with torch.device("meta" if "attention" not in case and "maps" not in case else "cpu"):  # these measure their maps
        net = zoo.create_model(case.partition(" ")[0], **arguments).to("meta")
    with torch.device("meta"):
        theirs = torchvision.models.get_model(source, weights=None).state_dict()
        own = zoo.create_model(source, num_classes=1000)
    origins = {key: there for key in net.state_dict() if (there := origin(key)) in theirs}
    without = {key for key in theirs.keys() - origins.values() if not key.endswith("num_batches_tracked")}
    if case == "deconvnet":  # in whose BatchNorm they go
        without = {key for key in without if not key.endswith(".bias")} | {"classifier.6.bias"}
    assert without in ({"fc.weight", "fc.bias"}, {"classifier.6.weight", "classifier.6.bias"}), "the classifier"
    in_ours = translated(own, theirs)
    heads = {*without, "head.weight", "head.bias", "net.head.weight", "net.head.bias"}
    for names in (theirs, in_ours, {f"net.{key}": value for key, value in in_ours.items()}):
        found = translated(net, names)
        assert all(found[key] is theirs[there] for key, there in origins.items())
        result = fit(net, names)
        assert {key for key in origins if not key.endswith("num_batches_tracked")} <= set(result.taken)
        assert set(result.left) <= heads, "nothing else has no place"


# What they compute there


def disturbed(net: nn.Module) -> Any:
    """Every tensor at random, biases before BatchNorm and its statistics too."""
    with torch.no_grad():
        for name, value in (*net.named_parameters(), *net.named_buffers()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point() and value.dim() < 2:
                value.uniform_(-0.5, 0.5)
    return net.eval()


def narrow_vgg(norm: bool) -> Any:
    """torchvision's VGG-16 of an eighth of the filters."""
    net = VGG(make_layers([each if isinstance(each, str) else each // 8 for each in cfgs["D"]], norm), init_weights=False)
    net.classifier[0] = nn.Linear(64 * 49, 512)
    net.classifier[3] = nn.Linear(512, 512)
    net.classifier[6] = nn.Linear(512, 10)
    return disturbed(net)


def started(name: str, source: nn.Module, folder: Path, **arguments: Any) -> Any:
    """The network in double precision, as is its source from here on: what is one function is held to 1e-10."""
    if not (folder / "source.pt").exists():
        torch.save(source.state_dict(), folder / "source.pt")
        source.double()
    with pytest.warns(UserWarning, match="afresh"):
        return zoo.create_model(name, pretrained=folder / "source.pt", **arguments).eval().double()


EXACT = {"rtol": 1e-10, "atol": 1e-10}
ROUNDED = {"rtol": 1e-4, "atol": 1e-5}
"""Where kernels or means are computed anew, in single precision."""


@pytest.mark.numerical
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", ["fcn8s", "deconvnet"])
def test_vgg_computes_the_same_inside_dense_networks(name: str, norm: bool, tmp_path: Path) -> None:
    """With BatchNorm a convolution has no bias here: what VGG's adds is taken off the mean."""
    vgg = narrow_vgg(norm)
    net = started(name, vgg, tmp_path, width=0.125, norm=norm)
    x = torch.randn(1, 3, 224, 224, dtype=torch.double)
    with torch.no_grad():
        features, found = vgg.features(x), x
        if name == "fcn8s":
            fc7, found = net.fc7(net.fc6(features))[:, :, 3, 3], net.features(x)
        else:
            fc7 = net.fc[: 7 if norm else 5](features).flatten(1)
            for stage in net.encoder:
                found = nn.functional.max_pool2d(stage(found), 2)
        torch.testing.assert_close(found, features, **(ROUNDED if norm else EXACT))
        expected = vgg.classifier[:5](features.flatten(1))
        # The BatchNorm that VGG has not is one but for its epsilon.
        torch.testing.assert_close(fc7, expected, **({"rtol": 1e-3, "atol": 1e-3} if norm else EXACT))


@pytest.mark.numerical
def test_a_detectors_body_computes_what_the_backbone_did(tmp_path: Path) -> None:
    source = disturbed(torchvision.models.resnet18(weights=None))
    x = torch.randn(1, 3, 64, 64, dtype=torch.double)
    small = {"backbone": "resnet18", "channels": 8, "head_options": {"box": {"width": 8}}, "levels": 4}
    for norm in ("batch", "frozen"):
        net = started("faster_rcnn", source, tmp_path, norm=norm, **small)
        with torch.no_grad():
            stem = source.maxpool(source.relu(source.bn1(source.conv1(x))))
            expected = source.layer4(source.layer3(source.layer2(source.layer1(stem))))
            torch.testing.assert_close(net.backbone.body(x)["3"], expected, **EXACT)


@pytest.mark.numerical
def test_frames_and_clips_are_seen_as_images_were(tmp_path: Path) -> None:
    """A clip that stands still, grey where channels are not colours any more."""
    source = disturbed(torchvision.models.resnet18(weights=None, num_classes=7))
    net = started("single_frame", source, tmp_path, **CLIP)
    image, grey = (torch.randn(2, channels, 32, 32, dtype=torch.double) for channels in (3, 1))
    still = image.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    with torch.no_grad():
        below = nn.Sequential(*list(source.children())[:-1], nn.Flatten())
        expected, in_grey = below(image), below(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.features.frames(still), expected[:, None].expand(-1, 4, -1), **EXACT)
        net = started("inflated", source, tmp_path, **CLIP)
        torch.testing.assert_close(net.embed(still), expected, **ROUNDED)
        net = started("early_fusion", source, tmp_path, **CLIP)
        torch.testing.assert_close(net.embed(grey.unsqueeze(2).expand(-1, 3, 4, -1, -1)), in_grey, **ROUNDED)
        arguments = {"in_chans": 5, "input_shape": (5, 4, 32, 32), "stem": "imagenet"}
        net = started("two_stream", source, tmp_path, **arguments)
        torch.testing.assert_close(net.features.spatial(image), expected, **EXACT)
        fresh = fresh_tensors(net)
        assert {key for key in net.state_dict() if ".temporal." in key and "num_batches" not in key} <= fresh
        assert not any(".spatial." in key for key in fresh)
        net = started("two_stream", source, tmp_path, streams="temporal", **arguments)
        torch.testing.assert_close(net.features.temporal(grey.expand(-1, 8, -1, -1)), in_grey, **ROUNDED)


# How they are named


def test_other_networks_weights_start_one_and_its_arguments_stay_its_own() -> None:
    small = {"backbone": "lenet5", "in_chans": 1, "input_shape": (1, 3, 32, 32)}
    source = zoo.create_model("lenet5", pretrained="fashion_mnist")
    for named in ("lenet5:fashion_mnist", "lenet5:FASHION_MNIST", "lenet5:default"):
        with pytest.warns(UserWarning, match=r"2 tensors of single_frame start afresh: head\.weight"):
            net = zoo.create_model("single_frame", num_classes=4, pretrained=named, **small)
        assert torch.equal(net.features.frames.net.conv1.weight, source.features.conv1.weight)
        assert net.num_classes == 4
        assert fresh_tensors(net) == {"head.weight", "head.bias"}
    assert zoo.create_model("lenet5", pretrained="lenet5:fashion_mnist").num_classes == 10
    with pytest.warns(UserWarning, match="afresh"):
        assert zoo.create_model("single_frame", pretrained="lenet5:default", **small).num_classes == 487


@pytest.mark.parametrize("tag", ["imagenet1k_v1", "ImageNet1K_V1", "ResNet18_Weights.IMAGENET1K_V1", "DEFAULT"])
def test_a_tag_is_spelt_as_with_the_network_itself(tag: str) -> None:
    entry = entry_named("two_stream", f"resnet18:{tag}")
    assert entry is not None
    assert (entry.model, entry.tag) == ("resnet18", "imagenet1k_v1")
    check_pretrained("two_stream", f"resnet18:{tag}")


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("vgg17:imagenet1k_v1", "there is no model 'vgg17', nor is there a file of that name; did you mean vgg1"),
        ("vgg-16:imagenet1k_v1", "there is no model 'vgg-16'.* did you mean vgg16"),
        ("vgg16:imagenet", "vgg16 has no weights 'imagenet'.* did you mean imagenet1k_v1"),
        ("vgg16:", "vgg16 has no weights ''.* there are imagenet1k_v1"),
        ("*:imagenet1k_v1", r"there is no model '\*'"),
        ("mlp:default", "mlp has no weights 'default'.* it has no published weights"),
        ("imagenet1k_v1", "fcn8s has no weights 'imagenet1k_v1'.* there are digit_scenes, voc2011"),
    ],
)
def test_a_name_that_does_not_exist_is_one_sentence_with_the_nearest(
    named: str, sentence: str, verb: Callable[..., tuple[int, str, str]]
) -> None:
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model("fcn8s", pretrained=named)
    status, _, err = verb("train", "model=fcn8s", f"model.pretrained={named}")
    assert status == 1
    assert re.fullmatch(rf"Error: model\.pretrained is .*{sentence}.*\n", err)


def test_a_file_whose_path_has_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = zoo.create_model("lenet5")
    for named in ("lenet5:fashion_mnist", "my:weights.pt", "a:b/c:d.pt"):
        Path(named).parent.mkdir(exist_ok=True)
        torch.save(net.state_dict(), named)
        assert full_name(named) is None
        again = zoo.create_model("lenet5", pretrained=named)
        assert torch.equal(again.head.weight, net.head.weight)
    with pytest.raises(ValueError, match=r"There is no weights file nowhere/a:b\.pt"):
        zoo.create_model("lenet5", pretrained="nowhere/a:b.pt")


def test_published_weights_are_looked_for_once_and_under_their_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    source = torchvision.models.resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")

    def path(entry: _entry.Weights) -> Path:
        asked.append((entry.model, entry.tag))
        return tmp_path / "resnet18.pth"

    monkeypatch.setattr(_entry.Weights, "path", path)
    small = {"num_classes": 2, "backbone": "resnet18", "channels": 8, "head_options": {"box": {"width": 8}}}
    with pytest.warns(UserWarning, match="afresh"):
        net = zoo.create_model("faster_rcnn", pretrained="resnet18:imagenet1k_v1", **small)
    assert torch.equal(net.backbone.body.conv1.weight, source.conv1.weight)
    assert asked == [("resnet18", "imagenet1k_v1")]


@pytest.mark.parametrize(
    "backbone",
    ["timm/tf_efficientnet_lite0", "timm/mobilenetv3_small_050", "timm/resnet10t", "timm/convnext_atto", "efficientnet_b0"],
)
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_a_head_of_few_classes_is_drawn_no_wider_than_others(backbone: str, num_classes: int) -> None:
    head = zoo.create_model("backbone", backbone=backbone, num_classes=num_classes).head
    assert isinstance(head, nn.Linear)
    assert head.weight.std() < 1 / head.in_features**0.5
