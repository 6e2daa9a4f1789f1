"""Weights that cannot be used, as the verbs and Python say it: one sentence, and nothing half-written."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import zoo
from tests.common.test_download import Odd
from zoo.common.download import Address, fetched, weights_folder
from zoo.models import _entry
from zoo.run.compose import composed
from zoo.run.transfer import fetch_weights

Verb = Callable[..., tuple[int, str, str]]
HASH = hashlib.sha256(b"the published file").hexdigest()[:8]
KINDS = {
    "403": "403 Forbidden",
    "404": "404 Not Found",
    "page": "what came is no file of weights, but a web page",
    "empty": "what came is no file of weights, but nothing",
    "half": f"what came does not have the SHA-256 {HASH}",
    "closed": "closed connection without response",
    "garbage": "its answer is broken",
}


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """All published weights are at a server that answers so; change `kind`."""
    asked = {"kind": ""}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def path(entry: _entry.Weights) -> Path:
        return fetched([Address(f"http://127.0.0.1:{server.server_port}/{asked['kind']}.net-{HASH}.pth", HASH)])

    monkeypatch.setattr(_entry.Weights, "path", path)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_does_not_give_the_file(
    kind: str, odd: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    odd["kind"] = kind
    for name in ("resnet18", "fcn_resnet50"):
        with pytest.raises(ValueError, match=rf"{re.escape(KINDS[kind])}.*\)\. Fetch the file on a machine") as caught:
            zoo.create_model(name, pretrained=True)
        assert "\n" not in str(caught.value)
    assert not list(weights_folder().glob("*.pth")), "nothing has the name of the file"


def test_what_wants_the_file_says_so(odd: dict[str, str], verb: Verb, tmp_path: Path) -> None:
    odd["kind"] = "403"
    said = rf"The weights 403\.net-{HASH}\.pth are not in .*403 Forbidden.*"
    Image.new("RGB", (300, 300)).save(tmp_path / "photo.png")
    status, _, err = verb("predict", "resnet18:imagenet1k_v1", "photo.png")
    assert status == 1
    assert re.fullmatch(rf"Error: {said}\n", err), err
    config = composed(["model=single_frame", "model.backbone=resnet18", "model.backbone_weights=true"])
    with pytest.raises(ValueError, match=rf"{said} Or set model\.backbone_weights=null"):
        fetch_weights(config)
    with pytest.raises(ValueError, match=said):
        zoo.create_model("single_frame", backbone_weights=True)


@pytest.mark.parametrize(
    ("name", "tag", "ending"),
    [
        ("resnet18", "coco_v1", "there are imagenet1k_v1."),
        ("fcn_resnet50", "imagenet1k_v1", "there are coco_with_voc_labels_v1."),
        ("mask_rcnn", "coco_legacy", "did you mean coco_v1?"),
    ],
)
def test_a_tag_of_another_model(name: str, tag: str, ending: str, verb: Verb) -> None:
    for ask in (lambda: zoo.get_weights(name, tag), lambda: zoo.load(f"{name}:{tag}")):
        with pytest.raises(ValueError, match=rf"{name} has no weights '{tag}'.*; {re.escape(ending)}"):
            ask()
    with pytest.raises(ValueError, match=rf"pretrained is {tag}, but {name} has no weights '{tag}'.*{re.escape(ending)}"):
        zoo.create_model(name, pretrained=tag)
    status, _, err = verb("predict", f"{name}:{tag}", "photo.png")
    assert (status, err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "layer"),
    [
        ("lenet5", {}, "head"),
        ("fcn32s", {"width": 0.125}, "score"),
        ("deconvnet", {"width": 0.125, "input_shape": (3, 32, 32)}, "score"),
        (
            "faster_rcnn",
            {"backbone": "resnet18", "channels": 8, "head_options": {"box": {"width": 8}}},
            "roi_heads.box_predictor",
        ),
    ],
)
def test_weights_of_21_classes_for_20(name: str, arguments: dict[str, Any], layer: str, tmp_path: Path) -> None:
    torch.save(zoo.create_model(name, num_classes=21, **arguments).state_dict(), tmp_path / "net.pth")
    with pytest.warns(UserWarning, match=rf"start afresh: {layer}\S* \(2\d, .*\), not \(2\d, .*\)") as caught:
        zoo.create_model(name, num_classes=20, pretrained=tmp_path / "net.pth", **arguments)
    assert len([each for each in caught if "afresh" in str(each.message)]) == 1
