"""Published weights of networks of images: a file of the publisher's names and shapes, fetched by its name, gives the numbers
of the publisher's network, each through its own preprocessing."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

import zoo
from tests.mirror import Mirror, live, mirror
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
    # Where two scores are alike, their order is a matter of the last bit.
    order = torch.cdist(expected["boxes"], found["boxes"]).argmin(1)
    assert len(set(order.tolist())) == len(order)
    for field, value in expected.items():
        same(found[field][order].float(), value.float(), field)


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
    assert (found.int() - expected.int()).abs().max() <= 1
