"""The order of an epoch, the ranks' shares of it, and the same batches whatever the number of workers."""

import re
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from zoo.common.crops import Crops
from zoo.common.files import Unreadable
from zoo.data import images
from zoo.data.base import DataModule
from zoo.data.digits import Digits
from zoo.data.image_folder import ImageFolder
from zoo.data.images import PixelDataset
from zoo.data.loading import loader
from zoo.data.loading.dataset import DecodedDataset, SplitDataset
from zoo.data.loading.sampler import EpochSampler


@pytest.mark.parametrize("length", [1, 7, 8, 100])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_ranks_share_an_epoch(length: int, world: int) -> None:
    for epoch in range(2):
        shares = []
        for rank in range(world):
            sampler = EpochSampler(length, seed=0, shuffle=True, rank=rank, world=world)
            sampler.set_epoch(epoch)
            shares.append(list(sampler))
            assert len(shares[-1]) == len(sampler)
        assert len({len(share) for share in shares}) == 1, "every rank takes the same number of steps"
        assert {draw[0] for share in shares for draw in share} == {epoch}
        assert {draw[1] for share in shares for draw in share} == set(range(length))
        assert sum(map(len, shares)) < length + world


def test_two_ranks_together_see_the_batches_of_one() -> None:
    one = list(EpochSampler(40, seed=3, shuffle=True))
    shares = [list(EpochSampler(40, seed=3, shuffle=True, rank=rank, world=2)) for rank in range(2)]
    for step in range(4):
        together = {draw for share in shares for draw in share[step * 5 : (step + 1) * 5]}
        assert together == set(one[step * 10 : (step + 1) * 10])


def batches(workers: int, epoch: int = 0) -> list[dict[str, torch.Tensor]]:
    data = Digits(shape=(1, 16, 16), batch_size=50, num_workers=workers)
    data.setup()
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader)  # type: ignore[arg-type]


def test_workers_change_nothing() -> None:
    alone, helped = batches(0), batches(2)
    assert len(alone) == len(helped) == 1258 // 50
    for one, two in zip(alone, helped, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
    other = batches(0, epoch=1)
    assert not torch.equal(alone[0]["id"], other[0]["id"])


class Broken(DataModule):
    """Ten files, of which the named ones cannot be read."""

    layout = 3
    class_names = ("a",)
    mean = std = (0.5,)

    def __init__(self, bad: set[int], max_bad: float) -> None:
        super().__init__(shape=(1, 1, 1), batch_size=5, max_bad=max_bad)
        self.broken = bad

    def load(self) -> dict[str, SplitDataset]:
        def check(path: Path) -> Path:
            if int(path.name) in self.broken:
                raise Unreadable(path, "it is torn")
            return path

        good = list(self.readable([Path(str(k)) for k in range(10)], check, "train"))
        return {"train": PixelDataset(torch.zeros(len(good), 1, 1, 1, dtype=torch.uint8), torch.zeros(len(good)).long())}


def test_unreadable_files_are_booked_and_too_many_refused() -> None:
    data = Broken({3, 7}, max_bad=0.2)
    data.setup()
    assert len(data.splits["train"]) == 8
    assert data.skipped == {"3": "it is torn", "7": "it is torn"}
    with pytest.raises(ValueError, match=r"2 of 10 files cannot be read, more than data\.max_bad=0 allows; .*3 \(it is torn\)"):
        Broken({3, 7}, max_bad=0).setup()
    Broken({1, 2, 3, 4, 5}, max_bad=0.01).setup()  # a handful
    with pytest.raises(ValueError, match=r"6 of 10 files cannot be read, more than data\.max_bad=0\.01 allows"):
        Broken({1, 2, 3, 4, 5, 6}, max_bad=0.01).setup()
    with pytest.raises(ValueError, match="Not one of 10 files can be read"):
        Broken({*range(10)}, max_bad=1).setup()


def test_a_failure_while_decoding_counts_too() -> None:
    """In files, however many views are served of each."""
    data = Broken(set(), max_bad=0.3)
    data.setup()
    data.splits["train"] = PixelDataset(
        torch.zeros(20, 1, 1, 1, dtype=torch.uint8), torch.zeros(20).long(), Crops((1, 1, 1), crops=10)
    )
    assert len(data.splits["train"]) == 200
    batch = data.splits["train"].__getitems__([(0, 1)])
    names = [f"{number}.png" for number in range(6)]
    data.on_before_batch_transfer({**batch, "bad": dict.fromkeys(names, "torn")}, 0)  # type: ignore[typeddict-item]
    assert [*data.skipped] == names
    with pytest.raises(ValueError, match="7 of 20 files"):
        data.on_before_batch_transfer({**batch, "bad": {"y": "torn"}}, 0)  # type: ignore[typeddict-item]


class Torn(DecodedDataset):
    """Samples of which only some can be read."""

    def __init__(self, count: int, good: set[int]) -> None:
        super().__init__(count)
        self.good = good

    def read(self, epoch: int, number: int, view: int) -> dict[str, torch.Tensor]:
        if number not in self.good:
            raise Unreadable(Path(f"{number}.png"), "torn")
        return {"input": torch.full((1, 1, 1), number, dtype=torch.uint8)}

    def blank(self) -> dict[str, torch.Tensor]:
        return {"input": torch.zeros(1, 1, 1, dtype=torch.uint8)}


def test_a_batch_of_which_nothing_can_be_read_is_of_the_next_samples() -> None:
    """So that each process has something to take its step with."""
    samples = Torn(20, good={0, 9, 11, 12})
    batch = samples.__getitems__([(3, 5), (3, 17), (3, 6)])
    assert batch["id"].tolist() == batch["input"].flatten().tolist() == [9, 11], "two: BatchNorm cannot learn from one"
    assert batch["epoch"].tolist() == [3, 3]
    assert {*batch["bad"]} == {f"{number}.png" for number in (5, 6, 7, 8, 10, 17)}
    assert samples.__getitems__([(0, 18)])["id"].tolist() == [0]
    assert samples.__getitems__([(0, 5), (0, 12)])["id"].tolist() == [12]
    assert Torn(7, good=set()).__getitems__([(0, 2)])["id"].tolist() == []


def test_a_shape_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"serves \(C, H, W\) images"):
        Digits(shape=(3, 16, 32, 32))
    with pytest.raises(ValueError, match="batch_size"):
        Digits(shape=(1, 8, 8), batch_size=0)


@pytest.mark.slow
def test_a_file_over_which_a_worker_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer, after the headers were checked."""
    for number in range(12):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    data = ImageFolder(root=str(tmp_path), shape=(3, 8, 8), batch_size=3, num_workers=2)
    data.setup()
    victim = data.splits["train"].paths[0]  # type: ignore[attr-defined]
    before = images.read_image

    def read(path: Path, *arguments: object) -> torch.Tensor:
        while path == victim:
            time.sleep(0.1)
        return before(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "read_image", read)
    monkeypatch.setattr(ImageFolder, "patience", 1)
    with pytest.raises(
        ValueError, match=r"The workers made no batch in 1 seconds; they are reading .*" + re.escape(str(victim))
    ):
        list(data.train_dataloader())


@pytest.mark.parametrize("room", [0, 16_000_000, 64_000_000, None])
def test_workers_without_room_for_their_batches_are_done_without(room: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four batches of each of four workers are 33.6 MB: two of training and two of validation wait in shared memory."""
    monkeypatch.setattr(loader, "shared_room", lambda: room)
    shape, size = (1, 64, 64), 512
    data = Digits(shape=shape, batch_size=size)
    monkeypatch.setattr(data, "default_workers", lambda: 4)
    data.setup()
    wished = Digits(shape=shape, batch_size=size, num_workers=4)
    none = Digits(shape=shape, batch_size=size, num_workers=0)
    none.setup()
    assert not none.notes
    if room is None or room > 33_554_432:
        wished.setup()
        assert (data.workers(), data.notes, wished.workers()) == (4, [], 4)
        return
    said = f"/dev/shm has {room / 1e6:.0f} MB of free room, but 4 workers put batches of about 34 MB there"
    assert data.workers() == 0
    (note,) = data.notes
    assert note.startswith(f"{said}: the main process reads instead.")
    assert "--shm-size" in note
    with pytest.raises(ValueError, match=rf"{said}\. Set data\.num_workers=0, or give /dev/shm more room"):
        wished.setup()


def test_workers_that_find_no_room_end_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> object:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)")

    data = Digits(shape=(1, 8, 8), num_workers=0)
    data.setup()
    loader = data.val_dataloader()
    monkeypatch.setattr("torch.utils.data.dataloader._SingleProcessDataLoaderIter._next_data", full)
    with pytest.raises(ValueError, match=r"do not fit into the shared memory\. Set data\.num_workers=0"):
        next(iter(loader))
