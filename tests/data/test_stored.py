"""Sets in memory: splits, shares of labels, views, and the official Fashion-MNIST files."""

import itertools
import pickle
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torchvision.transforms.v2 import functional as v2

from zoo.common.crops import Crops
from zoo.data.cifar10 import Cifar10
from zoo.data.digits import Digits
from zoo.data.fashion_mnist import FashionMnist
from zoo.data.mnist import Mnist
from zoo.data.reading.stratified import stratified
from zoo.data.stored import TorchvisionSet

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
SETS: list[type[TorchvisionSet]] = [FashionMnist, Mnist, Cifar10]


def idx(path: Path, array: np.ndarray) -> None:
    """The IDX format: two zeros, the type (8 is uint8), the number of axes, their sizes, the values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A data root with 200 and 40 random images in MNIST's and Fashion-MNIST's own files."""
    rng = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for prefix, count in (("train", 200), ("t10k", 40)):
            idx(folder / f"{prefix}-images-idx3-ubyte", rng.integers(256, size=(count, 28, 28)))
            idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


@pytest.mark.parametrize("kind", [FashionMnist, Mnist])
def test_the_splits_are_torchvisions_files(kind: type[TorchvisionSet], mnist: Path) -> None:
    data = kind(shape=(1, 28, 28), root=str(mnist), val=0.2)
    data.setup()
    train, val, test = (data.splits[split] for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (160, 40, 40)
    reference = getattr(torchvision.datasets, kind.dataset)(str(mnist), train=True)
    both = torch.cat([train.images, val.images]).flatten(1)  # type: ignore[attr-defined]
    assert sorted(both.tolist()) == sorted(reference.data.flatten(1).tolist())
    for split in (train, val, test):
        assert torch.bincount(split.labels).unique().numel() == 1, "stratified"  # type: ignore[attr-defined]
    batch = test.__getitems__([(0, 3), (0, 5)])
    assert torch.equal(batch["input"][:, 0], getattr(torchvision.datasets, kind.dataset)(str(mnist), train=False).data[[3, 5]])
    other = kind(shape=(1, 28, 28), root=str(mnist), val=0.2, seed=7)
    other.setup()
    assert torch.equal(other.splits["val"].images, val.images), "validation is the same for every seed"  # type: ignore[attr-defined]


def test_cifars_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 3,072 bytes, red then green then blue, each from left to right and top to bottom (the data set's page)."""
    folder, rng = tmp_path / "cifar-10-batches-py", np.random.default_rng(0)
    folder.mkdir()
    rows = {name: rng.integers(256, size=(20, 3072), dtype=np.uint8) for name in (*BATCHES, "test_batch")}
    for name, data in rows.items():
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [k % 10 for k in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(Cifar10.class_names)}))
    # Only the right files have the right checksums.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, *_: Path(path).is_file())
    data = Cifar10(shape=(3, 32, 32), root=str(tmp_path))
    data.setup()
    assert {split: len(its) for split, its in data.splits.items()} == {"train": 90, "val": 10, "test": 20}
    batch = data.splits["test"].__getitems__([(0, k) for k in range(20)])
    assert torch.equal(batch["label"], torch.arange(20) % 10)
    for k, channel, y, x in itertools.product((0, 7, 19), range(3), (0, 5, 31), (0, 9, 31)):
        assert batch["input"][k, channel, y, x] == rows["test_batch"][k, 1024 * channel + 32 * y + x]
    served = torch.cat([data.splits[split].images for split in ("train", "val")])  # type: ignore[attr-defined]
    assert sorted(served.flatten(1).tolist()) == sorted(np.concatenate([rows[name] for name in BATCHES]).tolist())


@pytest.mark.parametrize("kind", SETS)
def test_where_the_files_are_not_the_remedy_is_said(kind: type[TorchvisionSet], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{kind.dataset} is not complete in .* data\.download=true to fetch it"):
        kind(shape=(1, 32, 32), root=str(tmp_path)).setup()


def test_a_share_of_the_labels_is_stratified_nested_and_of_the_seed(mnist: Path) -> None:
    def train(fraction: float, seed: int = 0) -> torch.Tensor:
        data = FashionMnist(shape=(1, 28, 28), root=str(mnist), val=0.1, fraction=fraction, seed=seed)
        data.setup()
        assert len(data.splits["val"]) == 20, "validation keeps its size"
        return data.splits["train"].images.flatten(1)  # type: ignore[attr-defined, no-any-return]

    small, large = train(0.1), train(0.5)
    assert (len(small), len(large)) == (20, 90)
    assert {tuple(row) for row in small.tolist()} < {tuple(row) for row in large.tolist()}
    assert not torch.equal(small, train(0.1, seed=1))
    with pytest.raises(ValueError, match="share of 0"):
        train(0)


def test_damaged_labels_are_refused(mnist: Path) -> None:
    idx(mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.arange(200) % 11)
    with pytest.raises(ValueError, match=r"MNIST in .* is damaged \(200 images, 200 labels"):
        Mnist(shape=(1, 28, 28), root=str(mnist)).setup()


def test_groups_stay_together() -> None:
    labels, groups = torch.arange(300) % 3, torch.arange(300) // 10
    taken = stratified(labels, 0.2, seed=0, stream=4, groups=groups)
    assert all(len(taken[groups == group].unique()) == 1 for group in range(30))
    assert 40 <= int(taken.sum()) <= 80
    assert torch.equal(stratified(labels, 0.2, seed=0, stream=4, groups=groups), taken)


def test_ten_crops_are_torchvisions() -> None:
    data = Digits(shape=(1, 12, 12), crops=10, scales=[16, 20])
    data.setup()
    test = data.splits["test"]
    assert len(test) == 20 * 359
    batch = test.__getitems__([(0, 5 * 20 + view) for view in range(20)])
    assert batch["id"].tolist() == [5] * 20
    assert batch["view"].tolist() == list(range(20))
    image = test.images[5]  # type: ignore[attr-defined]
    expected = []
    for scale in (16, 20):
        crops = v2.ten_crop(v2.resize(image, [scale], antialias=True), [12, 12])  # corners, centre, then mirrored
        order = [4, 0, 1, 2, 3]
        expected += [crops[k] for k in order] + [crops[5 + mirrored] for mirrored in (4, 1, 0, 3, 2)]
    found = {tuple(crop.flatten().tolist()) for crop in batch["input"]}
    wanted = {tuple(crop.flatten().tolist()) for crop in expected}
    near = [min((abs(torch.tensor(a) - torch.tensor(b)).max().item()) for b in wanted) for a in found]
    assert max(near) <= 1
    assert "10 crops (centre, corners, mirrored) at short sides 16, 20, 12 x 12" in data.protocol


@pytest.mark.parametrize("size", [(16, 21), (21, 16), (19, 19), (18, 23)])
def test_ten_crops_are_torchvisions_to_the_byte(size: tuple[int, int]) -> None:
    """Where the space left is odd, too: the centre of the mirror image is then another than the mirrored centre."""
    image = torch.randint(256, (1, 3, *size), dtype=torch.uint8)
    crops = Crops((3, 12, 12), (min(size),), 10)
    found = [crops.cut(image, view) for view in range(10)]
    # Top left, top right, bottom left, bottom right, centre; then of the mirror.
    corners = torchvision.transforms.v2.TenCrop((12, 12))(image)
    for view, theirs in enumerate((4, 0, 1, 2, 3, 9, 6, 5, 8, 7)):
        assert torch.equal(found[view], corners[theirs]), view


def test_views_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ValueError, match="scored by 1, 3, 10 crops"):
        Digits(shape=(1, 12, 12), crops=5)
    with pytest.raises(ValueError, match="none below 12"):
        Digits(shape=(1, 12, 12), crops=10, scales=[10])


def test_channels_are_copied_or_averaged() -> None:
    grey, colour = Digits(shape=(1, 8, 8)), Digits(shape=(3, 8, 8))
    for data in (grey, colour):
        data.setup()
    one, three = (data.splits["val"].__getitems__([(0, 0)])["input"] for data in (grey, colour))
    assert torch.equal(one.expand(-1, 3, -1, -1), three)
    assert len(colour.mean) == len(colour.std) == 3
    assert len(Cifar10(shape=(1, 32, 32)).mean) == 1


@pytest.mark.realdata
def test_the_official_fashion_mnist(real_data: Callable[[str], Path]) -> None:
    root = real_data("FashionMNIST").parent
    data = FashionMnist(shape=(1, 28, 28), root=str(root))
    data.setup()
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 54_000, "val": 6_000, "test": 10_000}
    pixels = torch.cat([data.splits[name].images for name in ("train", "val")]).double() / 255  # type: ignore[attr-defined]
    assert pixels.mean().item() == pytest.approx(data.mean[0], abs=1e-4)
    assert pixels.std().item() == pytest.approx(data.std[0], abs=1e-4)


@pytest.mark.parametrize("last", range(5))
def test_a_download_is_whole_or_absent(last: int, mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with `last` files there and a half of the next, nothing is taken for the set; run again, it is all there."""
    from torchvision.datasets import mnist as theirs

    fetched: list[str] = []

    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        name = filename.removesuffix(".gz")
        content = (mnist / "MNIST" / "raw" / name).read_bytes()
        fetched.append(name)
        killed = len(fetched) == last + 1
        (Path(download_root) / name).write_bytes(content[: len(content) // 2] if killed else content)
        if killed:
            raise KeyboardInterrupt

    monkeypatch.setattr(theirs, "download_and_extract_archive", fetch)
    root = tmp_path / "root"
    data = Mnist(shape=(1, 28, 28), root=str(root), download=True)
    if last < 4:
        with pytest.raises(KeyboardInterrupt):
            data.prepare_data()
        assert not (root / "MNIST").exists()
    data.prepare_data()
    assert len(fetched) == (last + 1 if last < 4 else 0) + 4
    data.setup()
    assert len(data.splits["test"]) == 40
    assert [path.name for path in root.iterdir()] == ["MNIST"], "no part is left"
    data.prepare_data()
    assert len(fetched) == (last + 1 if last < 4 else 0) + 4, "what is there is not fetched again"


def test_two_at_once_download_once(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import mnist as theirs

    fetched: list[str] = []

    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        name = filename.removesuffix(".gz")
        fetched.append(name)
        time.sleep(0.02)
        shutil.copy(mnist / "MNIST" / "raw" / name, download_root)

    monkeypatch.setattr(theirs, "download_and_extract_archive", fetch)
    sets = [Mnist(shape=(1, 28, 28), root=str(tmp_path / "root"), download=True) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Mnist.prepare_data, sets))
    assert len(fetched) == 4
    for data in sets:
        data.setup()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "another kind": lambda path: path.write_bytes(b"<html>Please log in</html>"),
    "another file": lambda path: idx(path, np.zeros((40, 3))),
    "another shape": lambda path: idx(path, np.zeros((40, 14, 56))),
}


@pytest.mark.parametrize("file", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_by_the_sets_name(mnist: Path, damage: str, part: str, file: str) -> None:
    DAMAGE[damage](mnist / "MNIST" / "raw" / f"{part}-{file}-ubyte")
    data = Mnist(shape=(1, 28, 28), root=str(mnist))
    with pytest.raises(ValueError, match=r"MNIST in .* is damaged .* data\.download=true"):
        data.setup()
