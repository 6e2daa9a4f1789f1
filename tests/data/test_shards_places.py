"""Archives over a network: each address has its own place, what changed is fetched anew, and no other file takes a name."""

import functools
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.data.reading import shards, write_shards


def tar_set(root: Path, classes: list[str], count: int) -> None:
    described = {}
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    for split in ("train", "val", "test"):
        path = root / split / "000000.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for number in range(count):
                for kind, content in (("png", buffer.getvalue()), ("cls", str(number % len(classes)).encode())):
                    info = tarfile.TarInfo(f"{number:09d}.{kind}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        np.savez_compressed(root / f"{split}.npz", **vars(write_shards.scan(path, 0)))
        described[split] = [{"name": f"{split}/000000.tar", "bytes": path.stat().st_size}]
    (root / "shards.json").write_text(json.dumps({"classes": classes, "splits": described}))


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "www"
    folder.mkdir()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}", folder
    serving.shutdown()
    serving.server_close()


def read(address: str) -> tuple[tuple[str, ...], int]:
    classes, splits = shards.read_contents(shards.Store(address, 10**9))
    assert splits["train"].read(0)[:4] == b"\x89PNG"
    return classes, len(splits["train"])


def test_addresses_that_look_alike_are_two_and_a_set_written_anew_is_fetched_anew(server: tuple[str, Path]) -> None:
    address, folder = server
    names = ("set-a", "set_a", "set/a", "set.a")
    for count, name in enumerate(names, start=3):
        tar_set(folder / name, ["cat", "dog", "eel"], count)
    for count, name in enumerate(names, start=3):
        assert read(f"{address}/{name}")[1] == count
    tar_set(folder / "set-a", ["elm", "fir"], 9)
    assert read(f"{address}/set-a") == (("elm", "fir"), 9)
    assert read(f"{address}/set_a")[1] == 4


@pytest.mark.parametrize("name", ["shards.json", "train.npz", "train/000000.tar"])
@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", None])
def test_what_is_not_the_set_is_not_kept_for_it(server: tuple[str, Path], name: str, content: bytes | None) -> None:
    address, folder = server
    tar_set(folder / "set", ["cat", "dog"], 4)
    sound = (folder / "set" / name).read_bytes()
    (folder / "set" / name).write_bytes(sound[: len(sound) // 2] if content is None else content)
    with pytest.raises(ValueError, match=name):
        read(f"{address}/set")
    (folder / "set" / name).write_bytes(sound)
    assert read(f"{address}/set") == (("cat", "dog"), 4)


def test_what_is_kept_is_read_without_the_server(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = server
    tar_set(folder / "set", ["cat", "dog"], 4)
    read(f"{address}/set")

    def away(*_: object) -> dict[str, str]:
        raise OSError("no network")

    monkeypatch.setattr(shards.Store, "_facts", away)
    assert read(f"{address}/set") == (("cat", "dog"), 4)


def test_an_index_that_promises_more_than_archives_hold_is_not_built(tmp_path: Path) -> None:
    tar_set(tmp_path, ["cat", "dog"], 4)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "train.npz", "w") as archive:
        for key in ("shard", "offset", "size", "label"):
            archive.writestr(f"{key}.npy", head.getvalue())
    with pytest.raises(ValueError, match=r"train\.npz cannot be read: it promises 1,000,000,000,000 shard"):
        shards.read_contents(shards.Store(str(tmp_path), 0))


WRONG: dict[str, Any] = {
    "classes": [None, "cat", [], [1, 2], ["cat", "cat"], {}],
    "splits": [None, [], {}, {"train": []}, {"../train": []}],
    "name": [None, 3, "", "../x.tar", "/etc/passwd", "a\0b"],
    "bytes": [None, "3", 1.5, True, -1, 2**63],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_table_of_contents_is_checked_field_by_field(tmp_path: Path, field: str, value: Any) -> None:
    tar_set(tmp_path, ["cat", "dog"], 4)
    described = json.loads((tmp_path / "shards.json").read_text())
    target = described["splits"]["train"][0] if field in ("name", "bytes") else described
    target[field] = value
    (tmp_path / "shards.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"shards\.json"):
        shards.read_contents(shards.Store(str(tmp_path), 0))


def test_writing_archives_leaves_other_files_alone(tmp_path: Path) -> None:
    pictures, root = tmp_path / "pictures", tmp_path / "set"
    pictures.mkdir()
    (root / "train").mkdir(parents=True)
    mine = [root / ".env", root / ".gitignore", root / "train" / ".keep"]
    for path in mine:
        path.write_text("mine")
    (root / "train" / ".000000.tar.part").write_bytes(b"what a kill left")
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    write_shards.write(root, ["cat"], {split: [(pictures / "a.png", 0)] for split in ("train", "val", "test")}, 10**6)
    assert all(path.read_text() == "mine" for path in mine)
    assert sorted(os.listdir(root / "train")) == [".keep", "000000.tar"]  # noqa: PTH208
    assert read(str(root)) == (("cat",), 1)


def _member(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo("000000009.png")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        *(_member(kind, to) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) for to in ("/etc/passwd", "000000000.png", "../x")),
        *(_member(kind) for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)),
        *(tarfile.TarInfo(name) for name in ("../000000009.png", "a/../../9.png", "/tmp/9.png")),
    ],
    ids=lambda member: f"{member.name} {member.type.decode()} {member.linkname}",
)
@pytest.mark.parametrize("suffix", ["png", "cls"])
def test_a_member_that_is_no_plain_file_or_leads_out_is_refused_by_name(
    tmp_path: Path, member: tarfile.TarInfo, suffix: str
) -> None:
    tar_set(tmp_path, ["cat", "dog"], 4)
    path = tmp_path / "train" / "000000.tar"
    with tarfile.open(path, "a") as archive:
        archive.addfile(member.replace(name=member.name.replace("png", suffix), deep=False))
    with pytest.raises(ValueError, match=rf"000000\.tar is not an archive of labeled samples .*9\.{suffix}"):
        write_shards.scan(path, 0)


def test_without_its_writer_the_extra_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"webdataset, which .* does not load .*pip install 'lightning-vision-zoo\[shards\]'"):
        write_shards.write(tmp_path / "set", ["cat"], {"train": [(tmp_path / "a.png", 0)]}, 10**6)
    assert not (tmp_path / "set").exists()
