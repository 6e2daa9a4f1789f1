"""Networks of other libraries under our contract, held to those libraries: their logits, their metadata, their names."""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import zoo
from tests.precision import SINGLE, assert_same
from zoo.data.rendered import motion, scenes
from zoo.models._base import Classifier
from zoo.models._entries import entries_of
from zoo.models._entries_torchvision import SEGMENTERS
from zoo.models._entry import FOLDER
from zoo.models._weights import load_fitting

TORCHVISION = zoo.list_models(["alexnet", "vgg*", "resnet*"])
ENTRIES = [(name, tag) for name in zoo.list_models() for tag in entries_of(name) if name != "backbone"]


def filled(net: nn.Module) -> nn.Module:
    """Random statistics too, so that a BatchNorm that was not loaded would show."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def both(ours: nn.Module, theirs: nn.Module, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
    """What the two give for `x`, theirs for `y` if there is one, in double precision."""
    with torch.inference_mode():
        return [net.eval().double()(each.double()) for net, each in ((ours, x), (theirs, x if y is None else y))]


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["alexnet", pytest.param("vgg16", marks=pytest.mark.slow), "resnet50"])
def test_torchvisions_state_dict_gives_torchvisions_logits(name: str, tmp_path: Path) -> None:
    theirs = filled(torchvision.models.get_model(name))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = zoo.create_model(name, pretrained=tmp_path / "weights.pth").eval()
    entry = zoo.get_weights(name)
    picture = torch.randint(256, (1, 3, 300, 260), dtype=torch.uint8)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    x = entry.transforms()(picture)
    assert x.shape == (1, 3, 224, 224)
    assert (x - preset(picture)).abs().max() < SINGLE * x.abs().max()
    assert_same(*both(ours, theirs, x[:, :, :96, :64]))


@pytest.mark.parametrize("name", TORCHVISION)
def test_parameters_and_multiply_adds_are_those_of_torchvisions_metadata(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        net = zoo.create_model(name)
    profile = zoo.profile(net, (3, 224, 224))
    assert profile.params == meta["num_params"]
    assert round(profile.macs / 1e9, 3) == pytest.approx(meta["_ops"], abs=0.0011)


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_name_of_torchvisions_and_timms_finds_its_place(name: str) -> None:
    with torch.device("meta"):
        ours = zoo.create_model(name, num_classes=1000)
        theirs = torchvision.models.get_model(name)
    own = {key: value.shape for key, value in ours.state_dict().items()}
    from zoo.models._weights import translated

    assert {key: value.shape for key, value in translated(ours, theirs.state_dict()).items()} == own
    if name in timm.list_models():
        with torch.device("meta"):
            copy = timm.create_model(name)
        shapes = {key: value.shape.numel() for key, value in translated(ours, copy.state_dict()).items()}
        assert shapes == {key: shape.numel() for key, shape in own.items()}


@pytest.mark.slow
@pytest.mark.numerical
def test_timms_fully_connected_convolutions_give_timms_logits(tmp_path: Path) -> None:
    theirs = filled(timm.create_model("vgg11"))
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = zoo.create_model("vgg11", pretrained=tmp_path / "weights.safetensors").eval()
    x = torch.randn(1, 3, 96, 64)
    assert_same(*both(ours, theirs, x))


@pytest.mark.parametrize("published", ["conv1", "conv1a.conv"])
def test_the_released_c3ds_names_find_their_place(published: str) -> None:
    """The first release's names (conv1, ..., fc8), and mmaction2's (conv1a.conv, ...), which leave out the classifier."""
    with torch.device("meta"):
        ours = zoo.create_model("c3d")
    layers = {"1": 64, "2": 128, "3a": 256, "3b": 256, "4a": 512, "4b": 512, "5a": 512, "5b": 512}
    tensors, channels = {}, 3
    for stage, width in layers.items():
        key = f"conv{stage}" if published == "conv1" else f"conv{stage if len(stage) > 1 else stage + 'a'}.conv"
        tensors |= {f"{key}.weight": torch.empty(width, channels, 3, 3, 3, device="meta")}
        tensors |= {f"{key}.bias": torch.empty(width, device="meta")}
        channels = width
    for key, size in (("fc6", 8192), ("fc7", 4096), ("fc8", 4096)):
        if key != "fc8" or published == "conv1":
            width = 487 if key == "fc8" else 4096
            tensors |= {f"{key}.weight": torch.empty(width, size, device="meta")}
            tensors |= {f"{key}.bias": torch.empty(width, device="meta")}
    fresh = load_fitting(ours, tensors)
    assert [line.split()[0] for line in fresh] == ([] if published == "conv1" else ["head.weight", "head.bias"])


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_another_number_of_classes_keeps_the_trunk_and_says_so(name: str, tmp_path: Path) -> None:
    theirs = torchvision.models.get_model(name)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    with pytest.warns(UserWarning, match=r"2 tensors .* start afresh: head\.weight \(7, \d+\), not \(1000, \d+\); head\.bias"):
        ours = zoo.create_model(name, num_classes=7, pretrained=tmp_path / "weights.pth")
    x = torch.randn(1, 3, 96, 64)
    ours.reset_classifier(0)  # type: ignore[operator]
    parent, _, leaf = list(theirs.named_modules())[-1][0].rpartition(".")
    setattr(theirs.get_submodule(parent), leaf, nn.Identity())
    assert_same(*both(ours, theirs, x))


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize(
    ("name", "channels"), [pytest.param("alexnet", 20, marks=pytest.mark.slow), ("resnet18", 1), ("resnet18", 20)]
)
def test_a_grey_input_has_the_response_of_a_grey_picture(name: str, channels: int, tmp_path: Path) -> None:
    theirs = filled(torchvision.models.get_model(name))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = zoo.create_model(name, in_chans=channels, pretrained=tmp_path / "weights.pth").eval()
    grey = torch.randn(1, 1, 64, 64)
    assert_same(*both(ours, theirs, grey.expand(-1, channels, -1, -1), grey.expand(-1, 3, -1, -1)))


def test_the_small_stem_keeps_the_resolution() -> None:
    net = zoo.create_model("resnet18", in_chans=1, stem="small").eval()
    assert net.features.get_submodule("conv1")(torch.randn(1, 1, 28, 28)).shape == (1, 64, 28, 28)
    with pytest.raises(ValueError, match="there are imagenet and small"):
        zoo.create_model("resnet18", stem="tiny")


@pytest.mark.parametrize(
    "name",
    ["timm/regnety_002", "timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224", "mobilenet_v2", "densenet121", "swin_t"],
)
def test_any_network_by_name(name: str) -> None:
    size = 64
    net = zoo.create_model("backbone", backbone=name, num_classes=5, in_chans=2, input_shape=(2, size, size)).eval()
    assert isinstance(net, Classifier)
    x = torch.randn(1, 2, size, size)
    with torch.inference_mode():
        assert net(x).shape == (1, 5)
        assert net.embed(x).shape == (1, net.num_features)
    assert net.blocks
    assert set(net.blocks) <= {path for path, _ in net.features.named_modules()}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm/resnet81", "There is no timm network 'resnet81'; did you mean"),
        ("resnet81", "There is no torchvision network 'resnet81'; did you mean"),
        ("squeezenet1_0", "does not end in one linear layer"),
    ],
)
def test_networks_that_cannot_be_had(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model("backbone", backbone=name)


@pytest.mark.parametrize(
    ("name", "tag"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (zoo.get_weights(*each).task == "detection")) for each in ENTRIES],
)
def test_an_entry_is_complete_and_true(name: str, tag: str) -> None:
    entry = zoo.get_weights(name, tag)
    assert (entry.model, entry.tag) == (name, tag)
    assert entry.source
    assert entry.licence
    assert len(entry.mean) == len(entry.std) == entry.input_shape[0]
    assert len(entry.class_names) in (0, entry.num_classes)
    assert bool(entry.file) != bool(entry.addresses)
    assert entry.whole == (entry.task in ("detection", "segmentation"))
    with torch.device("meta"):
        net = zoo.create_model(name, num_classes=entry.num_classes, in_chans=entry.input_shape[0], **entry.arguments)
    cost = zoo.profile(net, entry.input_shape)
    params, macs = auxiliary(name, entry.input_shape)
    assert cost.params + params == entry.parameters
    if entry.task != "detection":  # counted by the publisher for pictures of its own
        assert cost.macs + macs == pytest.approx(entry.multiply_adds, rel=2e-3)
    shown = str(entry)
    for part in (f"{name}:{tag}", entry.source, entry.licence, f"{entry.parameters:,}", *map(str, entry.accuracies)):
        assert part in shown


def auxiliary(name: str, shape: Sequence[int]) -> tuple[int, int]:
    """Parameters and multiply-adds of a head that torchvision counts, and our networks are without."""
    if name not in SEGMENTERS:
        return 0, 0
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True).aux_classifier
    cost = zoo.profile(net, (1024, shape[1] // 8, shape[2] // 8))
    return cost.params, cost.macs


def test_every_file_of_the_folder_belongs_to_an_entry() -> None:
    packaged = [zoo.get_weights(*path.stem.split("-")) for path in FOLDER.glob("*.json")]
    assert {path.name for path in FOLDER.glob("*.safetensors")} == {entry.file for entry in packaged if entry.file}
    for entry in packaged:
        assert json.loads((FOLDER / f"{entry.model}-{entry.tag}.json").read_text())["tag"] == entry.tag


def test_names_of_weights_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="no published weights of 'linear'"):
        zoo.get_weights("linear")
    with pytest.raises(ValueError, match="did you mean imagenet1k_v1"):
        zoo.get_weights("alexnet", "imagenet1k")
    with pytest.raises(ValueError, match="did you mean imagenet1k_v1"):
        zoo.create_model("alexnet", pretrained="imagenet1k")


PACKAGED = [(name, tag) for name, tag in ENTRIES if zoo.get_weights(name, tag).file]
LABELED = ("classification", "rotation")


def test_packaged_weights_are_of_every_kind_of_task_and_fit_into_a_wheel() -> None:
    entries = [zoo.get_weights(*each) for each in PACKAGED]
    assert {entry.task for entry in entries} >= {*LABELED, "segmentation", "detection", "video_classification"}
    assert sum(entry.path().stat().st_size for entry in entries) < 60_000_000


@pytest.mark.parametrize(("name", "tag"), PACKAGED)
def test_packaged_weights_are_whole_small_and_load_without_a_word(name: str, tag: str) -> None:
    entry = zoo.get_weights(name, tag)
    content = entry.path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry.sha256
    assert len(content) < 10_000_000
    with safe_open(entry.path(), framework="pt") as file:
        assert file.metadata().keys() == {"sha256"}, "which is compared when the file is read"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.create_model(name, pretrained=tag)


@pytest.mark.numerical
@pytest.mark.parametrize(("name", "tag"), [each for each in PACKAGED if zoo.get_weights(*each).task in LABELED])
def test_predict_from_packaged_weights(name: str, tag: str, verb: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The verb's probabilities are those of the entry's own transforms: no network, data set or checkpoint is needed."""
    pixels = torch.randint(256, (1, 1, 40, 30), dtype=torch.uint8)
    Image.fromarray(pixels[0, 0].numpy()).save(tmp_path / "shoe.png")
    status, out, err = verb("predict", f"{name}:{tag}", "shoe.png", "json=-", "top_k=10")
    assert status == 0, err
    entry = zoo.get_weights(name, tag)
    with torch.inference_mode(), Image.open(tmp_path / "shoe.png") as shoe:
        expected = zoo.create_model(name, pretrained=tag).eval()(entry.transforms()(shoe)[None]).softmax(1)[0]
    top = json.loads(out.splitlines()[-1])["top"]
    assert len(top) == entry.num_classes
    for answer in top:
        assert answer["probability"] == pytest.approx(expected[entry.class_names.index(answer["class"])].item(), abs=1e-5)


@pytest.mark.parametrize("name", ["fcn8s", "mask_rcnn"])
def test_packaged_networks_name_the_digits_of_a_scene(name: str) -> None:
    """Most of them, though scenes are of digits that cover one another."""
    run, there, named = zoo.load(f"{name}:digit_scenes"), 0, 0
    for number in range(8):
        scene = scenes.draw_scene("test", number)
        digits = {str(label) for label in scene.labels[0].tolist() if label < 10}
        (found,) = run.predict([scene.images[0]])
        assert found.result is not None
        there, named = there + len(digits), named + len(digits & set(re.findall(r"(?:^|, )(\d) ", found.result.text)))
    assert named > there / 2


@pytest.mark.numerical
def test_predict_videos_from_packaged_weights(verb: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Six films, one a motion: named right, by the network's probabilities of the frames that PyAV alone decodes."""
    entry = zoo.get_weights("cnn_rnn", "motion_digits")
    net = zoo.create_model("cnn_rnn", pretrained="motion_digits").eval()
    for number, name in enumerate(entry.class_names):
        (tmp_path / f"{name}.mp4").write_bytes(motion.encode(motion.draw_clip("test", number), int(entry.rate or 0)))
    status, out, err = verb("predict", "cnn_rnn:motion_digits", str(tmp_path), "json=-", "top_k=6", "data.clips=1")
    assert status == 0, err
    answers = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(answers) == 6
    for answer in answers:
        film = Path(answer["file"])
        with av.open(str(film)) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        clip = entry.transforms()(frames[4:20])  # sixteen of twenty-four, from the middle
        with torch.inference_mode():
            expected = net(clip[None]).softmax(1)[0]
        assert answer["top"][0]["class"] == film.stem
        for each in answer["top"]:
            assert each["probability"] == pytest.approx(expected[entry.class_names.index(each["class"])].item(), abs=1e-4)
