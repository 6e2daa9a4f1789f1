"""Splits as data sets of torch's: one sample at a time, and by any loader, of every data set."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

import zoo
from tests.test_odd_contents import OF_PICTURES, SETS, Sound, built, few
from zoo.common.pixels import Pixels
from zoo.data import DataModule, Unreadable, collate
from zoo.data.images import ImageFiles
from zoo.data.loading.dataset import SplitDataset

few = few  # rendered sets of a few samples
READ = [name for name in SETS if name != "cifar10"]  # which is told by its checksum


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], DataModule]:
    """The data set of a name, sound and small, made once."""
    found: dict[str, DataModule] = {}

    def one(name: str) -> DataModule:
        if name not in found:
            sound = Sound({}, []) if name == "digits" else SETS[name](tmp_path_factory.mktemp("set"))
            found[name] = built(name, sound.arguments)
            found[name].prepare_data()
            found[name].setup()
        return found[name]

    return one


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def few_of(samples: SplitDataset) -> range:
    return range(min(len(samples), 3))


@pytest.mark.parametrize("name", ["digits", *READ])
def test_an_item_is_a_row_of_the_batch(name: str, made: Callable[[str], DataModule]) -> None:
    for samples in made(name).splits.values():
        assert isinstance(samples, Dataset)
        assert len(samples)
        for at, epoch in itertools.product(few_of(samples), (0, 3)):
            item = samples[epoch, at]
            batch = samples.__getitems__([(epoch, at)])
            assert batch.pop("bad", {}) == {}
            assert item.keys() == batch.keys()
            assert alike(item, {key: value[0] for key, value in batch.items()})
            assert item["input"].dim() == made(name).layout
            assert int(item["id"]) * samples.views + int(item["view"]) == at
        assert alike(samples[-1], samples[len(samples) - 1])
        assert alike(samples[np.int64(0)], samples[0])  # type: ignore[index]
        for beyond in (len(samples), -len(samples) - 1):
            with pytest.raises(IndexError, match=f"There is no sample {beyond}"):
                samples[beyond]


@pytest.mark.parametrize("name", ["digits", *READ])
def test_any_loader_serves_a_split(name: str, made: Callable[[str], DataModule]) -> None:
    samples = made(name).splits["train"]
    few_ones = Subset(samples, [*few_of(samples)])
    ours = next(iter(DataLoader(few_ones, batch_size=3, collate_fn=collate)))
    batch = samples.__getitems__([(0, at) for at in few_of(samples)])
    batch.pop("bad", None)
    assert alike(ours, batch)
    if "instances" not in batch:  # which differ in number
        assert alike(next(iter(DataLoader(few_ones, batch_size=3))), batch)
        first = next(iter(DataLoader(samples, batch_size=3, num_workers=0)))
        assert alike(first, batch)


@pytest.mark.parametrize("name", [name for name in ["digits", *OF_PICTURES] if name != "cifar10"])
def test_ones_own_images_of_one_size_are_read_together(name: str, tmp_path: Path) -> None:
    """Each as it is read alone, whatever the set is of; and from memory as from its file."""
    data = built(
        name, {} if name == "digits" else {"root": str(tmp_path), "target": "instances" if "inst" in name else "semantic"}
    )
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(np.random.default_rng(int(path.stem)).integers(0, 256, (24, 33, 3), dtype=np.uint8)).save(path)
    samples = data.files(paths)
    batch: Any = samples.__getitems__([(0, at) for at in range(len(samples))])
    assert batch.pop("bad", {}) == {}
    held = data.files([Pixels(str(path), np.asarray(Image.open(path))) for path in paths])
    assert alike(held[3], samples[3])
    for at in range(len(samples)):
        alone: Any = data.files(paths[at // samples.views : at // samples.views + 1])[at % samples.views]
        for key, value in alone.items():
            if key not in ("id", "image_id"):
                assert alike(value, batch[key][at]), key
    paths[1].write_bytes(b"torn")
    torn: Any = samples.__getitems__([(0, at) for at in range(len(samples))])
    assert set(torn["bad"]) == {str(paths[1])}
    assert 1 not in torn["id"].tolist()
    with pytest.raises(Unreadable, match=r"1\.png cannot be read"):
        samples[samples.views]


def test_workers_and_shuffles_are_the_loaders_own() -> None:
    data = zoo.data.Digits(shape=(1, 8, 8))
    data.setup()
    batches = list(DataLoader(data.splits["val"], batch_size=50, num_workers=1, shuffle=True))
    ids = torch.cat([batch["id"] for batch in batches])
    assert sorted(ids.tolist()) == list(range(180))
    assert ids.tolist() != sorted(ids.tolist())


def test_a_split_can_be_walked_through() -> None:
    data = zoo.data.Digits(shape=(1, 8, 8))
    data.setup()
    samples: Iterator[dict[str, Any]] = iter(data.splits["val"])  # type: ignore[call-overload]
    assert [int(each["id"]) for each in samples] == list(range(180))


def test_a_sample_that_cannot_be_read_is_raised(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"torn")
    from zoo.common.crops import Crops

    samples = ImageFiles([tmp_path / f"{number}.png" for number in range(3)], [0, 1, 2], Crops((1, 8, 8)))
    assert samples[2]["label"] == 2
    with pytest.raises(Unreadable, match=r"1\.png cannot be read"):
        samples[1]


def test_images_of_several_sizes_are_padded_or_refused() -> None:
    one, other = torch.full((3, 4, 6), 7, dtype=torch.uint8), torch.full((3, 5, 2), 9, dtype=torch.uint8)
    samples = [{"input": image, "size": torch.tensor(image.shape[1:]), "instances": {}} for image in (one, other)]
    batch = collate(samples)
    assert batch["input"].shape == (2, 3, 5, 6)
    for image, (height, width), whole in zip(batch["input"], batch["size"].tolist(), (one, other), strict=True):
        assert torch.equal(image[:, :height, :width], whole)
        assert image.sum() == whole.sum()
    with pytest.raises(ValueError, match=r"These samples are of 2 shapes, \(3, 4, 6\) and \(3, 5, 2\), and make no batch"):
        collate([{"input": one}, {"input": other}])
