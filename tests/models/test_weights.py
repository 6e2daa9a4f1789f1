"""Weights from files: what fits is loaded, what does not is named, and nothing in a file is ever run."""

import argparse
import os
import pickle
import re
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from lightning.fabric.utilities.data import AttributeDict
from omegaconf import OmegaConf
from safetensors.torch import save_file

import zoo
from tests.precision import assert_same
from zoo.common.tensors import CONTAINERS, read_tensors, write_tensors
from zoo.models._weights import load_fitting, translated


def test_weights_of_another_size_keep_the_trunk_and_renew_fc6(tmp_path: Path) -> None:
    big = zoo.create_model("c3d", num_classes=5, input_shape=(3, 16, 64, 64))
    torch.save(big.state_dict(), tmp_path / "big.pt")
    with pytest.warns(UserWarning, match="features.fc6.weight") as caught:
        small = zoo.create_model("c3d", num_classes=6, input_shape=(3, 16, 32, 32), pretrained=tmp_path / "big.pt")
    said = str(caught[0].message)
    for key, value in small.state_dict().items():
        kept = key in big.state_dict() and torch.equal(value, big.state_dict()[key])
        assert kept == (key not in said) or (key == "features.fc6.bias")
    assert torch.equal(small.features.conv5b.weight, big.features.conv5b.weight)
    assert "head.weight (6, 4096), not (5, 4096)" in said


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".ckpt"])
def test_a_file_gives_back_the_same_tensors(tmp_path: Path, suffix: str) -> None:
    net = zoo.create_model("lenet5")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(net.state_dict(), path)
    elif suffix == ".ckpt":
        torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()} | {"mean": torch.zeros(1)}}, path)
    else:
        torch.save(net.state_dict(), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("lenet5", pretrained=path)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "content",
    [{}, {"epoch": 3}, {"model": {}}, {"model_state": {"epoch": 3}}, {"state_dict": {}}, {"optimizer": {"a": torch.zeros(3)}}],
)
def test_a_file_without_weights_is_refused(content: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"empty\.pt holds no tensors"):
        zoo.create_model("lenet5", pretrained=saved(tmp_path / "empty.pt", content))
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(ValueError, match=r"empty\.safetensors holds no tensors"):
        zoo.create_model("lenet5", pretrained=tmp_path / "empty.safetensors")


@pytest.mark.parametrize("container", [*CONTAINERS, None])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "backbone.", "model.", "model._orig_mod.", "module.model.backbone."]
)
def test_weights_are_found_in_what_others_save(container: str | None, prefix: str, tmp_path: Path) -> None:
    net = zoo.create_model("lenet5")
    state = {prefix + key: value for key, value in net.state_dict().items()}
    path = saved(tmp_path / "weights.pt", {container: state, "epoch": 3} if container else state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("lenet5", pretrained=path)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


class HistoryBuffer:
    """As mmengine's, which writes such objects, an array and methods in them, into a checkpoint."""

    def __init__(self) -> None:
        self.history = np.zeros(3)
        self.statistics = {"mean": HistoryBuffer.mean}

    def mean(self) -> None: ...


HistoryBuffer.__module__ = "mmengine.logging.history_buffer"


State = dict[str, torch.Tensor]
FORMS: dict[str, Callable[[State, Path], None]] = {
    "a state dict (torchvision)": lambda state, path: torch.save(OrderedDict(state), path),
    "a file of before torch 1.6": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors (timm)": lambda state, path: save_file(state, path.with_suffix(".safetensors")),
    "state_dict in DataParallel (PyTorch's ImageNet example)": lambda state, path: torch.save(
        {"epoch": 90, "arch": "resnet18", "state_dict": named("module.", state), "best_acc1": torch.tensor(69.8)}, path
    ),
    "state_dict of Lightning": lambda state, path: torch.save(
        {
            "state_dict": named("model.", state),
            "hyper_parameters": AttributeDict(lr=0.1, net=OmegaConf.create({"widths": [1, 2], "name": "resnet18"})),
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        },
        path,
    ),
    "state_dict of a compiled network": lambda state, path: torch.save({"state_dict": named("_orig_mod.", state)}, path),
    "state_dict with a backbone and notes (mmaction2)": lambda state, path: torch.save(
        {
            "meta": {"epoch": 45, "cfg": "..."},
            "message_hub": {"loss": HistoryBuffer()},
            "state_dict": {
                f"cls_head.fc_cls.{key.removeprefix('fc.')}" if key.startswith("fc.") else f"backbone.{key}": value
                for key, value in state.items()
            },
        },
        path,
    ),
    "model_state (pytorchvideo, SlowFast)": lambda state, path: torch.save({"model_state": state}, path),
    "model with its arguments (torchvision's references, DeiT)": lambda state, path: torch.save(
        {"model": state, "args": argparse.Namespace(lr=0.1, output=Path("x")), "lr": np.float64(0.1)}, path
    ),
    "model_state_dict": lambda state, path: torch.save({"model_state_dict": state, "optimizer_state_dict": {}}, path),
    "model_ema of a wrapper with a counter": lambda state, path: torch.save(
        {"model_ema": {"n_averaged": torch.tensor(3), **named("module.", state)}}, path
    ),
    "state_dict_ema (timm)": lambda state, path: torch.save({"state_dict_ema": state, "epoch": 3}, path),
    "params (BasicSR)": lambda state, path: torch.save({"params": state}, path),
    "net, inside another one, compiled in DistributedDataParallel": lambda state, path: torch.save(
        {"net": {"state_dict": named("module._orig_mod.", state)}, "acc": 93.1}, path
    ),
}
"""How publishers save a network's tensors."""


def named(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("form", FORMS)
def test_a_publishers_file_is_read_as_it_is(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries that its notes are of need not be here, and nothing of them is called."""
    theirs = torchvision.models.resnet18(num_classes=7)
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging", HistoryBuffer.__module__):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setattr(sys.modules[HistoryBuffer.__module__], "HistoryBuffer", HistoryBuffer, raising=False)
        FORMS[form](theirs.state_dict(), tmp_path / "weights.pth")
    (path,) = tmp_path.iterdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        ours = zoo.create_model("resnet18", num_classes=7, pretrained=path)
    found = translated(ours, theirs.state_dict())
    assert found.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, found[key]) for key, value in ours.state_dict().items())


def test_what_is_missing_and_what_is_too_much_is_named_in_short(tmp_path: Path) -> None:
    net = zoo.create_model("resnet18", num_classes=3)
    state = net.state_dict()
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    for key in [*counters, *(key for key in state if "layer4.1" in key)]:
        state.pop(key, None)
    state["extra.weight"] = torch.zeros(2)
    with pytest.warns(UserWarning, match="10 tensors of resnet18 start afresh") as caught:
        zoo.create_model("resnet18", num_classes=3, pretrained=saved(tmp_path / "w.pt", state))
    said = str(caught[0].message)
    assert "10 tensors of resnet18 start afresh: features.layer4.1.conv" in said
    assert said.count("not in the file") == 3
    assert "; and 7 more." in said
    assert "num_batches_tracked" not in said
    assert "1 tensor of the file has no place in resnet18: extra.weight." in said
    assert caught[0].filename == __file__


def test_torchvisions_second_detector_is_named_on_both_sides(tmp_path: Path) -> None:
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    with pytest.warns(UserWarning, match=r"afresh: roi_heads\.box_head\.fc6.* of the file have no place .*box_head\.5"):
        zoo.create_model("faster_rcnn", pretrained=saved(tmp_path / "v2.pt", theirs.state_dict()))


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_mnasnets_layout_is_known_from_the_file(tmp_path: Path) -> None:
    theirs = torchvision.models.mnasnet0_5()
    path = saved(tmp_path / "mnasnet.pt", theirs.state_dict())
    assert read_tensors(path)._metadata[""]["version"] == 2  # type: ignore[attr-defined]
    ours = zoo.create_model("backbone", backbone="mnasnet0_5", pretrained=path).eval()
    save_file(theirs.state_dict(), tmp_path / "mnasnet.safetensors")  # which has no place for it
    again = zoo.create_model("backbone", backbone="mnasnet0_5", pretrained=tmp_path / "mnasnet.safetensors").eval()
    x = torch.randn(1, 3, 64, 64)
    for net in (ours, again):
        assert_same(net(x), theirs.eval()(x))


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_mnasnets_first_layout_has_another_stem(tmp_path: Path) -> None:
    """Files of torchvision before 0.4: a stem of fixed width. The network takes it on, and keeps it when it is saved."""
    theirs = torchvision.models.mnasnet0_5()
    old: Any = OrderedDict()
    old._metadata = OrderedDict({"": {"version": 1}})
    with pytest.warns(UserWarning, match="previous version"):
        theirs.load_state_dict(old, strict=False)
    assert theirs.layers[0].weight.shape[0] == 32
    path = saved(tmp_path / "mnasnet.pt", theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = zoo.create_model("backbone", backbone="mnasnet0_5", pretrained=path).eval()
    assert not [each for each in said if "afresh" in str(each.message)]
    assert_same(ours(x), theirs.eval()(x))
    again = zoo.create_model("backbone", backbone="mnasnet0_5")
    again.load_state_dict(read_tensors(saved(tmp_path / "again.pt", ours.state_dict())))
    assert_same(again.eval()(x), ours(x))


def test_mmaction2s_recognizers_are_read(tmp_path: Path) -> None:
    net = zoo.create_model("c3d", num_classes=5, input_shape=(3, 16, 32, 32))
    theirs = {}
    for key, value in net.state_dict().items():
        layer, kind = key.split(".")[-2:]
        layer = {"conv1": "conv1a", "conv2": "conv2a"}.get(layer, layer)
        name = f"backbone.{layer}.conv" if layer.startswith("conv") else f"backbone.{layer}"
        theirs["cls_head.fc_cls." + kind if layer == "head" else f"{name}.{kind}"] = value
    path = saved(tmp_path / "c3d.pth", {"meta": {"epoch": 45}, "state_dict": theirs})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("c3d", num_classes=5, input_shape=(3, 16, 32, 32), pretrained=path)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())


UNITS = {
    r"\bdownsample\.0\.": "downsample.conv.",
    r"\bdownsample\.1\.": "downsample.bn.",
    r"\bconv(\d)\.": r"conv\1.conv.",
    r"\bbn(\d)\.": r"conv\1.bn.",
}
"""From torchvision's names to those of mmcv's ConvModule, as mmaction2's ResNet has them."""
PATHS = {
    r"blocks\.0\.multipathway_blocks\.(\d)\.conv\.": r"P\1.conv1.conv.",
    r"blocks\.0\.multipathway_blocks\.(\d)\.norm\.": r"P\1.conv1.bn.",
    r"blocks\.0\.multipathway_fusion\.conv_fast_to_slow\.": "P0.conv1_lateral.conv.",
    r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.": r"P0.layer\1_lateral.conv.",
    r"blocks\.(\d)\.multipathway_blocks\.(\d)\.res_blocks\.": r"P\2.layer\1.",
    r"branch1_conv\.": "downsample.conv.",
    r"branch1_norm\.": "downsample.bn.",
    **{rf"branch2\.conv_{'abc'[at]}\.": f"conv{at + 1}.conv." for at in range(3)},
    **{rf"branch2\.norm_{'abc'[at]}\.": f"conv{at + 1}.bn." for at in range(3)},
    "P0": "slow_path",
    "P1": "fast_path",
}
"""From pytorchvideo's names to those of mmaction2's ResNet3dSlowFast."""
INNER = [
    ("single_frame", {"backbone": "resnet50"}, "features.frames.net.", UNITS),
    ("single_frame", {"backbone": "resnet18"}, "features.frames.net.", UNITS),
    ("resnet34", {}, "features.", UNITS),
    ("inflated", {"backbone": "resnet18"}, "features.", UNITS),
    ("slowfast_r50_4x16", {}, "features.net.", PATHS),
]


@pytest.mark.parametrize(("name", "arguments", "place", "table"), INNER, ids=[f"{each[0]}-{each[1]}" for each in INNER])
def test_mmaction2s_inner_names_are_read(name: str, arguments: dict[str, Any], place: str, table: dict[str, str]) -> None:
    with torch.device("meta"):
        net = zoo.create_model(name, num_classes=5, **arguments)
    theirs = {}
    for key, value in net.state_dict().items():
        if "multipathway_fusion.norm" in key:
            continue  # which theirs has not
        inner = re.sub("^head\\.", "cls_head.fc_cls.", key)
        if inner == key:
            inner = "backbone." + key.removeprefix(place)
            for old, new in table.items():
                inner = re.sub(old, new, inner)
        theirs[inner] = value
    assert any(".bn." in key for key in theirs)
    ours = {key for key in net.state_dict() if "multipathway_fusion.norm" not in key}
    found = translated(net, theirs)
    assert set(found) == ours
    assert all(found[key].shape == value.shape for key, value in net.state_dict().items() if key in ours)


def test_mmaction2s_frames_give_the_same_answer(tmp_path: Path) -> None:
    arguments = {"num_classes": 5, "backbone": "resnet18", "input_shape": (3, 2, 32, 32)}
    net = zoo.create_model("single_frame", **arguments).eval()
    theirs = {}
    for key, value in net.state_dict().items():
        inner = key
        for old, new in {**UNITS, r"^features\.frames\.net\.": "backbone.", r"^head\.": "cls_head.fc_cls."}.items():
            inner = re.sub(old, new, inner)
        theirs[inner] = value
    path = saved(tmp_path / "tsn.pth", {"meta": {}, "state_dict": theirs})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("single_frame", **arguments, pretrained=path).eval()
    x = torch.randn(1, 3, 2, 32, 32)
    assert torch.equal(net(x), again(x))


@pytest.mark.parametrize("norm", [False, True])
def test_deconvnet_takes_vgg16s_fully_connected_layers(norm: bool) -> None:
    torch.manual_seed(0)
    arguments = {"width": 0.125, "norm": norm, "input_shape": (3, 224, 224)}
    net = zoo.create_model("deconvnet", **arguments)
    fully = {"0": torch.randn(512, 64 * 49), "3": torch.randn(512, 512)}
    load_fitting(net, {f"classifier.{at}.weight": weight for at, weight in fully.items()})
    assert torch.equal(net.fc[0].weight.flatten(1), fully["0"])
    assert torch.equal(net.fc[4 if norm else 3].weight.flatten(1), fully["3"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_flipped_bit_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    state = zoo.create_model("lenet5").state_dict()
    write_tensors(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert set(read_tensors(path)) == set(state)
    content = bytearray(path.read_bytes())
    values = next(value for key, value in state.items() if key.endswith("conv1.weight")).numpy().tobytes()
    content[bytes(content).index(values) + 3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\{suffix} is damaged"):
        read_tensors(path)


def test_a_table_that_promises_more_than_the_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(1 << 24))
    with pytest.raises(ValueError, match="promises 16,777,216 bytes"):
        read_tensors(tmp_path / "bomb.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(1 << 40),
        torch.eye(3).to_sparse(),
        torch.empty(3, device="meta"),
    ],
)
def test_tensors_that_no_network_has_are_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"odd\.pt: 'weight'|odd\.pt is damaged|odd\.pt holds something"):
        read_tensors(saved(tmp_path / "odd.pt", {"weight": tensor}))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = zoo.create_model("lenet5").state_dict()
    next(iter(state.values()))[0] = float("nan")
    with pytest.raises(ValueError, match=r"nan\.pt: features\.conv1\.weight holds values that are infinite or no numbers"):
        zoo.create_model("lenet5", pretrained=saved(tmp_path / "nan.pt", state))


def test_tags_are_taken_as_torchvision_spells_them() -> None:
    for spelt in ("IMAGENET1K_V1", "ImageNet1k_v1", "ResNet18_Weights.IMAGENET1K_V1", "DEFAULT"):
        assert zoo.get_weights("resnet18", spelt).tag == "imagenet1k_v1"
    assert zoo.create_model("lenet5", pretrained="FASHION_MNIST").num_classes == 10


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(zoo.create_model("lenet_wide").state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ValueError, match="does not hold weights of c3d"):
        zoo.create_model("c3d", input_shape=(3, 16, 32, 32), pretrained=tmp_path / "wide.pt")


class Bomb:
    """What a hostile pickle does: it calls a function of its choice when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_file_is_refused_without_running_it(tmp_path: Path) -> None:
    struck = tmp_path / "struck"
    torch.save({"state_dict": {"net.x": torch.zeros(1)}, "evil": Bomb(struck)}, tmp_path / "evil.ckpt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb(struck)))
    with pytest.raises(ValueError, match="could run code"):
        read_tensors(tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"plain\.pkl"):
        read_tensors(tmp_path / "plain.pkl")
    assert not struck.exists()


def test_a_container_that_holds_settings_is_none(tmp_path: Path) -> None:
    state = zoo.create_model("lenet5").state_dict()
    notes = {"model": {"name": "lenet5", "sizes": [1, 2]}, "net": argparse.Namespace(width=1)}
    path = saved(tmp_path / "noted.pt", {**notes, "params": state})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_tensors(path).keys() == state.keys()


@pytest.mark.parametrize("function", [eval, exec, print, __import__, os.system, Path.unlink, torch.hub.load])
def test_whatever_is_no_note_is_refused(function: Any, tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return function, ("1",)

    torch.save({"state_dict": {"x": torch.zeros(1)}, "evil": Call()}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="could run code"):
        read_tensors(tmp_path / "evil.ckpt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 a torn zip"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(path)


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    torch.save(zoo.create_model("lenet5").state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for keep in (10, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "torn.pt").write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=r"torn\.pt"):
            read_tensors(tmp_path / "torn.pt")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pt"):
        zoo.create_model("lenet5", pretrained="nowhere.pt")
