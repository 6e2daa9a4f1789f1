"""Published weights of networks of images: a file of the publisher's names and shapes, fetched by its name, gives the numbers
of the publisher's network, each through its own preprocessing."""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

import zoo
from tests.mirror import Mirror, live, mirror
from zoo.models._entries import entries_of, entry_named
from zoo.models._entries_torchvision import DETECTORS, SEGMENTERS
from zoo.run.build import build_data
from zoo.run.recipe import compose_recipe, read_checkpoint

CLOSE = 1e-5


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirror]:
    with mirror(monkeypatch, tmp_path / "cache") as server:
        yield server


def photo() -> Image.Image:
    return Image.fromarray(load_sample_images().images[0])


def pixels() -> Tensor:
    """(3, 427, 640), from 0 to 1: floats are not rounded on the way."""
    return torchvision.transforms.functional.to_tensor(photo())


def same(found: Tensor, expected: Tensor, what: str = "") -> None:
    assert found.shape == expected.shape, what
    assert (found - expected).abs().max() <= CLOSE * expected.abs().max().clamp_min(1), what


# Detectors


def torchvisions(name: str, tag: str, patch: pytest.MonkeyPatch, server: Mirror) -> torch.nn.Module:
    """torchvision's detector as it loads these weights, with random values; they are published too."""
    builder = DETECTORS[name]
    member = torchvision.models.get_model_weights(builder)[tag.upper()]
    classes = len(member.meta["categories"])
    arguments: dict[str, Any] = {"weights_backbone": None}
    plain = torchvision.models.get_model(builder, weights=None, num_classes=classes, **arguments)
    live(plain)
    heads = plain.roi_heads
    with torch.no_grad():
        heads.box_predictor.cls_score.weight.mul_(40)  # or no class would stand out among so many
    tensors = {key: value for key, value in plain.state_dict().items() if not key.endswith("num_batches_tracked")}
    server.publish(member.url.rpartition("/")[2], tensors)
    patch.setattr(type(member), "get_state_dict", lambda *_, **__: tensors)
    return torchvision.models.get_model(builder, weights=member).eval()


@pytest.mark.slow
@pytest.mark.numerical
@pytest.mark.parametrize(
    ("name", "tag"),
    [("faster_rcnn", "coco_v1"), ("mask_rcnn", "coco_v1"), ("keypoint_rcnn", "coco_v1"), ("keypoint_rcnn", "coco_legacy")],
)
def test_detectors_find_what_torchvisions_find(name: str, tag: str, publisher: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = torchvisions(name, tag, monkeypatch, publisher)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = zoo.create_model(f"{name}:{tag}").eval()
    x = pixels()
    with torch.inference_mode():
        (expected,) = theirs([x])
        (found,) = ours([zoo.get_weights(name, tag).transforms()(x)], sizes=[(427, 640)])
    assert len(expected["boxes"]) > 3
    assert found.keys() == expected.keys()
    # Random scores are all but alike: in which order they come, and which of two boxes outlives the other at the threshold of
    # suppression, is a matter of the last bit of the input, which the transforms compute in another order.
    away, order = torch.cdist(expected["boxes"].double(), found["boxes"].double()).min(1)
    same_place = away < 0.05
    assert same_place.float().mean() > 0.9
    assert len(set(order[same_place].tolist())) == same_place.sum()
    for field, value in expected.items():
        same(found[field][order][same_place].float(), value[same_place].float(), field)


# Any network of timm's or torchvision's


TIMMS = [
    "test_efficientnet.r160_in1k",
    "test_vit.r160_in1k",
    "test_byobnet.r160_in1k",
    "test_resnet.r160_in1k",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "convnext_atto.d2_in1k",
            "resnet18.a1_in1k",
            "mobilenetv3_small_100.lamb_in1k",
            "vit_tiny_patch16_224.augreg_in21k",
            "tf_efficientnet_lite0.in1k",
            "eva02_tiny_patch14_336.mim_in22k_ft_in1k",
        )
    ),
]


@pytest.mark.numerical
@pytest.mark.parametrize("name", TIMMS)
def test_a_network_of_timms_gives_timms_scores(name: str, publisher: Mirror) -> None:
    theirs = live(timm.create_model(name))
    publisher.publish("model.safetensors", theirs.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = zoo.create_model("backbone", backbone=f"timm/{name}", pretrained=True).eval()
    entry = zoo.get_weights(f"timm/{name}")
    shown = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))(photo())
    assert entry.num_classes == theirs.num_classes == len(entry.class_names)
    with torch.inference_mode():
        same(ours(shown[None]), theirs(shown[None]))
    mean, std = (torch.tensor(each)[:, None, None] for each in (entry.mean, entry.std))
    within_a_byte(*((each * std + mean) * 255 for each in (entry.transforms()(photo()), shown)))


BACKBONES = [
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("densenet121", "googlenet", "inception_v3", "convnext_tiny", "swin_t", "mnasnet0_5", "efficientnet_b0")
    ),
]


@pytest.mark.numerical
@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_of_torchvisions_gives_torchvisions_scores(
    name: str, publisher: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """googlenet and inception_v3 normalize again, with weights; DenseNet's files have names of old."""
    member = torchvision.models.get_model_weights(name).DEFAULT
    sided = name in ("googlenet", "inception_v3")
    plain = live(torchvision.models.get_model(name, **({"aux_logits": True, "init_weights": False} if sided else {})))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): each for key, each in plain.state_dict().items()}
    publisher.publish(member.url.rpartition("/")[2], old if name.startswith("densenet") else plain.state_dict())
    monkeypatch.setattr(type(member), "get_state_dict", lambda *_, **__: plain.state_dict())
    theirs = torchvision.models.get_model(name, weights=member).eval() if not name.startswith("densenet") else plain
    with warnings.catch_warnings():
        warnings.simplefilter("default" if sided else "error")
        ours = zoo.create_model("backbone", backbone=name, pretrained=True).eval()
    x = pixels()[None]
    with torch.inference_mode():
        same(ours(zoo.get_weights(f"backbone:{name}.{member.name}").transforms()(x)), theirs(member.transforms()(x)))


@pytest.mark.parametrize("kind", ["center", "squash", "bilinear", "bicubic"])
def test_pictures_are_cut_as_timm_cuts_them(kind: str) -> None:
    """To one byte, of a few tags of each kind."""
    configs = {name: timm.get_pretrained_cfg(name) for name in timm.list_pretrained()}
    tags = [name for name, config in configs.items() if kind in (config.crop_mode, config.interpolation)]
    for name in tags[:: max(1, len(tags) // 8)]:
        config = timm.get_pretrained_cfg(name)
        entry = zoo.get_weights(f"timm/{name}")
        assert (entry.num_classes, entry.mean, entry.std) == (config.num_classes, config.mean, config.std)
        expected = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=config.to_dict()))(photo())
        mean, std = (torch.tensor(each)[:, None, None] for each in (entry.mean, entry.std))
        within_a_byte(*((each * std + mean) * 255 for each in (entry.transforms()(photo()), expected)))


def test_every_tag_is_an_entry() -> None:
    """But for those whose pictures are padded to a border."""
    known = entries_of("backbone")
    tags = [name for name in timm.list_pretrained() if timm.get_pretrained_cfg(name).crop_mode != "border"]
    missing = [name for name in tags if f"timm/{name}" not in known]
    assert not missing
    for name in torchvision.models.list_models(torchvision.models):
        for member in torchvision.models.get_model_weights(name):
            assert f"{name}.{member.name.lower()}" in known or not member.meta.get("categories")
    assert all((entry.model, entry.tag) == ("backbone", tag) for tag, entry in known.items())
    assert next(iter(known)) == zoo.get_weights("backbone").tag == zoo.get_weights("timm/resnet18").tag


@pytest.mark.parametrize(
    "said", ["timm/resnet18.a2_in1k", "timm/resnet18:a2_in1k", "timm/resnet18:A2_IN1K", "backbone:timm/resnet18.a2_in1k"]
)
def test_spellings_of_timms_weights(said: str) -> None:
    entry = zoo.get_weights("timm/resnet18", "a2_in1k")
    assert zoo.get_weights(said) == entry
    assert entry_named("backbone", said) == entry
    assert read_checkpoint(said)["zoo"]["arguments"]["model"] == {"backbone": "timm/resnet18.a2_in1k"}


def test_the_verb_names_what_a_network_of_timms_sees(
    publisher: Mirror, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    name = "test_resnet.r160_in1k"
    theirs = live(timm.create_model(name))
    publisher.publish("model.safetensors", theirs.state_dict())
    photo().save(tmp_path / "photo.png")
    status, out, err = verb("predict", f"timm/{name}", "photo.png", "json=-")
    assert status == 0, err
    (said,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    shown = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))(photo())
    with torch.inference_mode():
        best = theirs(shown[None]).softmax(1)[0].topk(5)
    assert [each["probability"] for each in said["top"]] == pytest.approx(best.values.tolist(), abs=1e-3)
    assert said["top"][0]["class"] == zoo.get_weights(f"timm/{name}").class_names[int(best.indices[0])]


# Segmentation


@pytest.mark.slow
@pytest.mark.numerical
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmentation_scores_are_torchvisions(name: str, publisher: Mirror) -> None:
    """The file has the auxiliary head, which is left out, and said."""
    member = torchvision.models.get_model_weights(name).DEFAULT
    theirs = live(torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True))
    publisher.publish(member.url.rpartition("/")[2], theirs.state_dict())
    with pytest.warns(UserWarning, match=r"of the file have no place in fcn_resnet\d+: aux_classifier"):
        ours = zoo.create_model(f"{name}:{member.name}").eval()
    with torch.inference_mode():
        expected = theirs(member.transforms()(pixels()[None]))["out"]
        found = ours(zoo.get_weights(name).transforms()(pixels()[None]))
    same(found, expected)


def of_the_authors(stride: int, width: int, classes: int = 21) -> dict[str, Tensor]:
    """Random tensors under the names of wkentaro/pytorch-fcn, all layers narrower."""
    tensors: dict[str, Tensor] = {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        tensors[f"{name}.weight"] = torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5
        if bias:
            tensors[f"{name}.bias"] = torch.randn(shape[0]) * 0.1

    channels, depths = 3, [64, 128, 256, 512, 512]
    for stage, (depth, rows) in enumerate(zip(depths, [2, 2, 3, 3, 3], strict=True), start=1):
        for row in range(1, rows + 1):
            layer(f"conv{stage}_{row}", depth // width, channels, 3, 3)
            channels = depth // width
    layer("fc6", 4096 // width, channels, 7, 7)
    layer("fc7", 4096 // width, 4096 // width, 1, 1)
    layer("score_fr", classes, 4096 // width, 1, 1)
    for pool, depth in [("pool4", 512), ("pool3", 256)][: {32: 0, 16: 1, 8: 2}[stride]]:
        layer(f"score_{pool}", classes, depth // width, 1, 1)
        layer("upscore2" if pool == "pool4" else "upscore_pool4", classes, classes, 4, 4, bias=False)
    final = "upscore" if stride == 32 else f"upscore{stride}"
    line = 1 - (torch.arange(2 * stride) + 0.5 - stride).abs() / stride
    tensors[f"{final}.weight"] = torch.eye(classes)[:, :, None, None] * torch.outer(line, line)  # fixed, as theirs
    return tensors


def scores_of_the_authors(w: dict[str, Tensor], stride: int, x: Tensor) -> Tensor:
    """The network of `voc-fcn32s`, `voc-fcn16s` and `voc-fcn8s`, as their definitions draw it, of convolutions alone."""
    conv, up = torch.nn.functional.conv2d, torch.nn.functional.conv_transpose2d
    height, width, pools = *x.shape[2:], {}
    for stage, rows in enumerate([2, 2, 3, 3, 3], start=1):
        for row in range(1, rows + 1):
            name = f"conv{stage}_{row}"
            x = conv(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=100 if name == "conv1_1" else 1).relu()
        pools[stage] = x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
    for name in ("fc6", "fc7"):
        x = conv(x, w[f"{name}.weight"], w[f"{name}.bias"]).relu()
    x = conv(x, w["score_fr.weight"], w["score_fr.bias"])
    for name, upscore, stage, margin in (("score_pool4", "upscore2", 4, 5), ("score_pool3", "upscore_pool4", 3, 9)):
        if 2**stage >= stride:
            x = up(x, w[f"{upscore}.weight"], stride=2)
            skip = conv(pools[stage], w[f"{name}.weight"], w[f"{name}.bias"])
            x = x + skip[:, :, margin : margin + x.shape[2], margin : margin + x.shape[3]]
    x = up(x, w["upscore.weight" if stride == 32 else f"upscore{stride}.weight"], stride=stride)
    margin = {32: 19, 16: 27, 8: 31}[stride]
    return x[:, :, margin : margin + height, margin : margin + width]


@pytest.mark.numerical
@pytest.mark.parametrize(("name", "stride"), [("fcn32s", 32), ("fcn16s", 16), ("fcn8s", 8)])
def test_fcns_scores_are_the_authors(
    name: str, stride: int, publisher: Mirror, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Blue, green, red from 0 to 255 without their mean; layers an eighth as wide, for the file has half a gigabyte."""
    tensors = of_the_authors(stride, 8)
    publisher.publish(f"{name}_from_caffe.pth", tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = zoo.create_model(f"{name}:voc2011", width=1 / 8).eval()
    image = photo().resize((160, 120))
    blue_first = torch.from_numpy(np.array(image)[:, :, ::-1].copy()).permute(2, 0, 1).float()
    read = blue_first - torch.tensor([104.00698793, 116.66876762, 122.67891434])[:, None, None]
    entry = zoo.get_weights(name)
    found = entry.transforms()(image)
    assert (found - read).abs().max() < 1e-3, "of 255"
    with torch.inference_mode():
        expected = scores_of_the_authors(tensors, stride, read[None])
        same(ours(found[None]), expected)
    image.save(tmp_path / "photo.png")
    status, out, err = verb("predict", f"{name}:voc2011", "photo.png", "json=-", "model.width=0.125")
    assert status == 0, err
    (said,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    with Image.open(next(each for each in said["pictures"] if "classes" in each or "mask" in each)) as drawn:
        assert (np.array(drawn) == expected[0].argmax(0).numpy()).mean() > 0.999


@pytest.mark.slow
def test_the_verb_draws_and_names_what_a_published_detector_finds(
    publisher: Mirror, monkeypatch: pytest.MonkeyPatch, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    torchvisions("mask_rcnn", "coco_v1", monkeypatch, publisher)
    photo().save(tmp_path / "photo.png")
    status, out, err = verb("predict", "mask_rcnn:coco_v1", "photo.png", "json=-", "task.threshold=0.1")
    assert status == 0, err
    (said,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(said["objects"]) > 3
    names = {each["name"] for each in said["objects"]}
    assert names <= set(zoo.get_weights("mask_rcnn").class_names)
    assert all({"box", "mask", "score"} <= each.keys() for each in said["objects"])
    with Image.open(said["pictures"][0]) as drawn:
        assert drawn.size == (640, 427)
        assert np.any(np.array(drawn.convert("RGB")) != np.array(photo()))


# Preprocessing


def served(name: str, path: Path) -> Tensor:
    """The bytes that a loaded network is served of a file."""
    config = compose_recipe(read_checkpoint(name)["zoo"], [], with_data=False)
    sample = build_data(config).files([path]).__getitems__([(0, 0)])
    return sample["input"][0]


SIZES = [(300, 200), (200, 300), (1400, 500), (501, 1003), (64, 64)]


@pytest.mark.numerical
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", [*DETECTORS])
def test_a_detector_is_shown_what_torchvisions_is(name: str, height: int, width: int, tmp_path: Path) -> None:
    image = photo().resize((width, height))
    image.save(tmp_path / "photo.png")
    with torch.device("meta"):
        theirs = torchvision.models.get_model(DETECTORS[name], weights=None, weights_backbone=None).eval().transform
    x = torchvision.transforms.functional.to_tensor(image)
    scaled = theirs.resize(x)[0]
    found = zoo.get_weights(name).transforms()(x)
    same(found, theirs.normalize(scaled))
    bytes_ = served(f"{name}:default", tmp_path / "photo.png")
    assert bytes_.shape == scaled.shape
    assert (bytes_.float() - scaled * 255).abs().max() <= 0.501


@pytest.mark.numerical
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmentation_network_is_shown_what_torchvisions_is(name: str, height: int, width: int, tmp_path: Path) -> None:
    image = photo().resize((width, height))
    image.save(tmp_path / "photo.png")
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    x = torchvision.transforms.functional.to_tensor(image)
    same(zoo.get_weights(name).transforms()(x), preset(x))
    scaled = torchvision.transforms.functional.resize(image, preset.resize_size)
    within_a_byte(served(f"{name}:default", tmp_path / "photo.png"), torchvision.transforms.functional.pil_to_tensor(scaled))


def within_a_byte(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found.float() - expected.float()).abs().max() <= 1.001
