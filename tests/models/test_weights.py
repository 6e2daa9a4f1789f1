"""Weights from files: what fits is loaded, what does not is named, and nothing in a file is ever run."""

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo.models._weights import read_tensors


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
