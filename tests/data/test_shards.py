"""Samples in archives: the same as from files, each once an epoch, resumable, written whole, and readable by WebDataset."""

import functools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data.image_folder import ImageFolder
from zoo.data.image_shards import ImageShards
from zoo.data.loading.sampler import MIXED, EpochSampler
from zoo.data.reading import shards
from zoo.data.rendered import motion
from zoo.data.video_folder import VideoFolder
from zoo.data.video_shards import VideoShards
from zoo.run.recipe import compose_recipe

webdataset = pytest.importorskip("webdataset", reason="the extra `shards` is not installed")

Started = Callable[..., Any]
SHAPE = (3, 12, 12)
SMALL = 6000
"""Bytes of an archive: some five of the pictures."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of forty pictures each, none like another, one of them torn."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(80):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16 + number % 5, 20, 3)).astype(np.uint8)).save(path)
    (folder / "a" / "torn.png").write_bytes(b"torn")
    return folder


def written(pictures: Path, folder: Path) -> ImageShards:
    data = ImageShards(root=str(folder), source=str(pictures), shape=SHAPE, shard_bytes=SMALL, batch_size=8, max_bad=0.1)
    data.prepare_data()
    return data


@pytest.fixture(scope="module")
def archives(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    written(pictures, folder)
    return folder


def test_they_hold_what_the_files_hold(pictures: Path, archives: Path) -> None:
    data, files = ImageShards(root=str(archives), shape=SHAPE), ImageFolder(root=str(pictures), shape=SHAPE, max_bad=0.1)
    data.setup()
    files.setup()
    assert data.class_names == files.class_names == ("a", "b")
    for split, samples in files.splits.items():
        assert len(data.splits[split]) == len(samples)
        ours, theirs = (
            {
                (int(batch["label"][0]), batch["input"].numpy().tobytes())  # type: ignore[typeddict-item]
                for batch in (each.__getitems__([(0, at)]) for at in range(len(each)))
            }
            for each in (data.splits[split], samples)
        )
        assert ours == theirs
        assert len(ours) == len(samples)


def test_webdataset_reads_them(archives: Path) -> None:
    data = ImageShards(root=str(archives), shape=SHAPE)
    data.setup()
    tars = sorted(str(path) for path in (archives / "train").glob("*.tar"))
    assert len(tars) > MIXED
    read = list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8").to_tuple("png", "cls"))
    samples = data.splits["train"]
    assert len(read) == len(samples)
    batch = samples.__getitems__([(0, at) for at in range(len(read))])
    assert batch["label"].tolist() == [label for _, label in read]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_each_sample_once_an_epoch_whatever_the_ranks(world: int, length: int) -> None:
    blocks = [min(6, length - first) for first in range(0, length, 6)]
    orders = []
    for epoch in range(2):
        shares = []
        for rank in range(world):
            sampler = EpochSampler(length, seed=1, shuffle=True, rank=rank, world=world, blocks=blocks)
            sampler.set_epoch(epoch)
            shares.append([index for _, index in sampler])
        assert {index for share in shares for index in share} == set(range(length))
        assert len({len(share) for share in shares}) == 1
        assert sum(map(len, shares)) < length + world
        orders.append(shares)
    assert length < 7 or orders[0] != orders[1]


def test_few_archives_are_needed_at_a_time() -> None:
    blocks = [10] * 40
    order = [index // 10 for _, index in EpochSampler(400, seed=0, shuffle=True, blocks=blocks)]
    for first in range(0, 400, 10 * MIXED):
        assert len(set(order[first : first + 10 * MIXED])) == MIXED
    assert order[: 10 * MIXED] != sorted(order[: 10 * MIXED]), "the samples of these few are mixed"
    assert order != sorted(order)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_exactly(workers: int, archives: Path, started: Started, tmp_path: Path) -> None:
    settings = ("model=mlp", "input_shape=[3,28,28]", "data=image_shards", f"data.root={archives}", "data.batch_size=8")
    settings = (*settings, f"data.num_workers={workers}", "trainer.max_epochs=3", "callbacks.savepoints.minutes=0")
    whole = started(*settings, "hydra.run.dir=whole", cwd=tmp_path, tiny=True, count=True)
    assert whole.status == 0, whole.err
    arguments = (*settings, "hydra.run.dir=killed", "resume=auto")
    assert started(*arguments, cwd=tmp_path, tiny=True, kill_at=whole.calls // 2).status == -signal.SIGKILL
    again = started(*arguments, cwd=tmp_path, tiny=True)
    assert again.status == 0, again.err
    one, other = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "killed")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_two_processes_read_each_sample_once(archives: Path, started: Started, tmp_path: Path) -> None:
    settings = ("model=mlp", "input_shape=[3,28,28]", "data=image_shards", f"data.root={archives}", "data.batch_size=8")
    settings = (*settings, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1")
    done = started(*settings, "hydra.run.dir=run", cwd=tmp_path, processes=2)
    assert done.statuses == [0, 0], done.err
    data = ImageShards(root=str(archives), shape=SHAPE)
    data.setup()
    count = len(data.splits["test"])
    assert f"scored {count} of {count} test samples" in done.out[0]


def test_writing_can_be_killed_anywhere(pictures: Path, started: Started, tmp_path: Path) -> None:
    """Before and after each of its renames in turn; what is there at last is, byte for byte, what one run writes."""
    arguments = ("image_shards", f"data.source={pictures}", "data.shard_bytes=40000", "data.max_bad=0.1")
    once = started(*arguments, "data.root=once", cwd=tmp_path, module="zoo.prepare")
    assert once.status == 0, once.err
    kills = 0
    while True:
        code = (
            "import os, signal, zoo.prepare\n"
            "from pathlib import Path\n"
            "rename, count = Path.replace, 0\n"
            "def kill(self, target):\n"
            "    global count\n"
            "    count += 'made' in str(target)\n"
            f"    if count == {kills // 2 + 1} and {kills % 2}:\n"
            "        rename(self, target)\n"
            f"    if count == {kills // 2 + 1}:\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return rename(self, target)\n"
            "Path.replace = kill\n"
            "zoo.prepare.main()"
        )
        done = started(*arguments, "data.root=made", cwd=tmp_path, code=code)
        if done.status != -signal.SIGKILL:
            break
        kills += 1
    assert done.status == 0, done.err
    assert kills > 5
    assert "2 classes" in done.out[0]
    assert contents(tmp_path / "made") == contents(tmp_path / "once")


def test_two_at_once_write_one_set(pictures: Path, archives: Path, tmp_path: Path) -> None:
    writers = [threading.Thread(target=written, args=(pictures, tmp_path)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert contents(tmp_path) == contents(archives)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(archives: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(archives)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_from_an_address_with_room_for_a_few(
    address: str, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data, local = (ImageShards(root=root, shape=SHAPE, cache_bytes=3 * 2 * SMALL) for root in (address, str(archives)))
    data.setup()
    local.setup()
    for at in range(len(data.splits["train"])):
        ours, theirs = (each.splits["train"].__getitems__([(0, at)])["input"] for each in (data, local))
        assert torch.equal(ours, theirs)
    kept = list(tmp_path.rglob("*.tar"))
    assert 0 < sum(path.stat().st_size for path in kept) <= 3 * 2 * SMALL
    with pytest.raises(ValueError, match="could not be read"):
        ImageShards(root=f"{address}/nothing", shape=SHAPE).setup()


@pytest.mark.parametrize(
    "root", ["pipe:touch pwned", "https://x/';touch pwned;'", "simplecache::s3://x", "file:///etc", "ftp://x/y"]
)
def test_other_addresses_are_refused(root: str) -> None:
    with pytest.raises(ValueError, match=r"archives are read from a folder, or from http"):
        shards.Store(root, 0)


def test_a_checkpoint_chooses_no_address() -> None:
    recipe = {
        "names": {"model": "mlp", "task": "classification", "data": "image_shards"},
        "arguments": {"model": {}, "task": {}, "data": {"root": "http://169.254.169.254/latest"}},
        "facts": {"shape": [3, 28, 28]},
    }
    with pytest.raises(ValueError, match=r"If you trust that place, say it yourself: data\.root="):
        compose_recipe(recipe, [])
    assert compose_recipe(recipe, ["data.root=mine"]).data.root == "mine"


HOSTILE: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("a name that leads out", lambda c: c["splits"]["train"][0].update(name="../../x.tar"), "leads out of"),
    ("an absolute name", lambda c: c["splits"]["train"][0].update(name="/etc/passwd"), "leads out of"),
    ("a split that leads out", lambda c: c["splits"].update({"../x": []}), "object contains unknown field"),
    ("another size", lambda c: c["splits"]["train"][0].update(bytes=10), "it is not whole"),
    ("fewer classes", lambda c: c.update(classes=["a"]), "a label is of no class"),
    ("no classes", lambda c: c.pop("classes"), "does not describe a set of archives"),
]


@pytest.mark.parametrize(
    ("change", "said"), [(change, said) for _, change, said in HOSTILE], ids=[name for name, *_ in HOSTILE]
)
def test_a_hostile_table_of_contents_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, pictures: Path, tmp_path: Path
) -> None:
    written(pictures, tmp_path)
    path = tmp_path / shards.CONTENTS
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=said):
        ImageShards(root=str(tmp_path), shape=SHAPE).setup()


def test_a_torn_archive_is_named(pictures: Path, tmp_path: Path) -> None:
    written(pictures, tmp_path)
    victim = tmp_path / "train" / "000001.tar"
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"000001\.tar has \d+ bytes, not \d+: it is not whole"):
        ImageShards(root=str(tmp_path), shape=SHAPE).setup()


def test_videos_from_archives_are_those_of_the_files(tmp_path: Path) -> None:
    for number in range(36):
        path = motion.clip_path(tmp_path / "films", "x", number)
        if path.parent.name in ("left", "up"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(motion.render(motion.clip_path(tmp_path, "train", number)))
    settings: dict[str, Any] = {"shape": (3, 4, 16, 16), "clips": 2, "flip": False}
    source = str(tmp_path / "films" / "x")
    data = VideoShards(root=str(tmp_path / "archives"), source=source, shard_bytes=3000, **settings)
    data.prepare_data()
    files = VideoFolder(root=source, **settings)
    for each in (data, files):
        each.setup()
    assert len(list((tmp_path / "archives" / "train").iterdir())) > 1
    assert data.class_names == files.class_names
    for split in ("val", "test"):
        ours, theirs = (
            sorted((int(batch["label"][k]), batch["input"][k].numpy().tobytes()) for k in range(len(batch["id"])))  # type: ignore[typeddict-item]
            for batch in (
                each.splits[split].__getitems__([(0, k) for k in range(len(each.splits[split]))]) for each in (data, files)
            )
        )
        assert ours == theirs
    (tmp_path / "films").rename(tmp_path / "gone")
    assert len(data.splits["train"].__getitems__([(0, 0), (0, 1)])["id"]) == 2
