"""Downloads, against a server on this machine: whole, resumed, refused, and explained where there is no network."""

import errno
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from zoo.common.download import Address, fetched, weights_folder

CONTENT = save({"weight": torch.arange(1 << 18).float()})
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    ranges = True
    cut: int | None = None
    """Drop the connection after so many bytes of an answer."""
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if not self.path.endswith((".pth", ".safetensors")):
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: Server, sha256: str | None = SHA256, name: str = "net.pth") -> Address:
    return Address(f"http://127.0.0.1:{server.server_port}/{name}", sha256)


def test_a_file_is_fetched_once(server: Server) -> None:
    for _ in range(2):
        path = fetched([address(server, SHA256[:8])])
        assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert [file.name for file in weights_folder().iterdir()] == ["net.pth"], "no part is left"


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server: Server, ranges: bool) -> None:
    server.cut, server.ranges = 300_000, ranges
    with pytest.raises(ValueError, match="what came is kept"):
        fetched([address(server)])
    assert not (weights_folder() / "net.pth").exists()
    server.cut = None
    assert fetched([address(server)]).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_a_part_that_is_whole_needs_no_more(server: Server) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "net.pth.part").write_bytes(CONTENT)
    assert fetched([address(server)]).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_the_next_address_tried(server: Server) -> None:
    wrong = address(server, "0" * 8)
    with pytest.raises(ValueError, match="does not have the SHA-256 00000000"):
        fetched([wrong])
    assert not list(weights_folder().iterdir())
    assert fetched([wrong, address(server, name="copy.pth")]).name == "copy.pth"


def test_a_spoilt_cache_is_said_and_not_used(server: Server) -> None:
    fetched([address(server)]).write_bytes(b"spoilt")
    with pytest.raises(ValueError, match=r"net\.pth is not the published file"):
        fetched([address(server)])


def test_a_file_without_a_hash_is_kept_under_its_publishers_name(server: Server) -> None:
    path = fetched([address(server, None, "someone/net/resolve/model.safetensors")])
    assert path.read_bytes() == CONTENT
    assert path.name.endswith("model.safetensors")


def test_what_is_no_weights_file_gets_no_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's login page, where no hash is published that would tell."""
    monkeypatch.setitem(globals(), "CONTENT", b"<html>log in</html>")
    with pytest.raises(ValueError, match="what came is no file of weights"):
        fetched([address(server, None, "net.safetensors")])
    assert not list(weights_folder().iterdir())


def test_offline_the_message_names_file_places_and_remedy(server: Server) -> None:
    gone = Address("http://127.0.0.1:1/net-0123.pth", "0123")
    missing = address(server, name="nothing")
    with pytest.raises(ValueError, match=r"net-0123\.pth are not in .*weights, and could not be fetched") as caught:
        fetched([gone, missing])
    assert "404" in str(caught.value) or "Not Found" in str(caught.value)
    assert f"put it at {weights_folder() / 'net-0123.pth'}" in str(caught.value)


def test_several_at_once_fetch_once(server: Server) -> None:
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda _: fetched([address(server, None, "net.safetensors")]), range(4)))
    assert server.asked == [None]
    assert {path.read_bytes() for path in paths} == {CONTENT}


# Where people have it


def hub_folder(root: Path, repository: str = "timm/net", revision: str = "main") -> Path:
    """A repository in a cache of Hugging Face's, where files of it lie."""
    folder = root / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / revision).write_text("0123abcd")
    (folder / "snapshots/0123abcd").mkdir(parents=True)
    return folder / "snapshots/0123abcd"


HUB = "https://huggingface.co/timm/net/resolve/main/model.safetensors"
GONE = "http://127.0.0.1:1/someone/files/net-0123.pth"
KNOWN = [
    ("torch/hub/checkpoints/net-0123.pth", {}, GONE, SHA256),
    ("torch/hub/checkpoints/net-0123.pth", {}, GONE, None),
    ("elsewhere/hub/checkpoints/net-0123.pth", {"TORCH_HOME": "elsewhere"}, GONE, SHA256),
    ("huggingface/hub", {}, HUB, None),
    ("home/hub", {"HF_HOME": "home"}, HUB, None),
    ("cache", {"HF_HUB_CACHE": "cache"}, HUB, None),
    ("mine/net-0123.pth", {"ZOO_WEIGHTS": "mine"}, GONE, SHA256),
    ("mine/net-0123.pth", {"ZOO_WEIGHTS": "mine"}, GONE, None),
    ("mine/net-0123.pth", {"ZOO_WEIGHTS": "other:mine:http://127.0.0.1:1/mirror"}, GONE, SHA256),
    ("mine/net-0123.pth", {"ZOO_WEIGHTS": "http://127.0.0.1:1:mine"}, GONE, SHA256),
    ("mine/timm/net/model.safetensors", {"ZOO_WEIGHTS": "mine"}, HUB, None),
    ("mine/timm-net-model.safetensors", {"ZOO_WEIGHTS": "mine"}, HUB, None),
]


@pytest.mark.parametrize(("place", "variables", "url", "sha256"), KNOWN)
def test_what_is_on_this_machine_is_not_fetched(
    place: str, variables: dict[str, str], url: str, sha256: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / place
    if not path.suffix:
        path = hub_folder(path) / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert fetched([Address(url, sha256)]).samefile(path)
    assert not weights_folder().exists(), "it stays where it is"


def test_a_file_that_many_are_called_by_is_no_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "torch/hub/checkpoints"):
        (folder / "model.safetensors").write_bytes(CONTENT)
    with pytest.raises(ValueError, match=r"could not be fetched from http://127\.0\.0\.1:1/timm/net/resolve/main/model"):
        fetched([Address(HUB)])


def test_another_file_of_the_name_is_said_and_not_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/net.pth").write_bytes(b"another")
    with pytest.warns(UserWarning, match=r"mine/net\.pth is not used: its SHA-256 does not begin with"):
        path = fetched([address(server)])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_mirror_is_asked_first_and_the_publisher_where_it_is_offline(
    sha256: str | None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("ZOO_WEIGHTS", f"{mirror}/mirror/")
    assert fetched([Address("http://127.0.0.1:1/a/b/c.safetensors", sha256)]).read_bytes() == CONTENT
    monkeypatch.setenv("ZOO_WEIGHTS", "http://127.0.0.1:1/mirror")
    assert fetched([address(server, sha256, "other.safetensors")]).read_bytes() == CONTENT
    with pytest.raises(ValueError, match=r"fetched from http://127\.0\.0\.1:1/mirror \(.*\); nor from http\S*1:1/someone"):
        fetched([Address(GONE.replace("net", "more"), sha256)])


def test_offline_all_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ZOO_WEIGHTS", f"{tmp_path}/mine:/nowhere")
    with pytest.raises(ValueError, match=r"The weights net-0123\.pth are not in") as caught:
        fetched([Address(GONE, "0123")])
    for place in (f"{tmp_path}/mine", "/nowhere", f"{tmp_path}/torch/hub/checkpoints", f"{tmp_path}/huggingface/hub", GONE):
        assert place in str(caught.value)
    assert str(caught.value).endswith(f"put it at {weights_folder() / 'net-0123.pth'}.")


# What is no file of weights


class Odd(BaseHTTPRequestHandler):
    """Answers that are none."""

    def do_GET(self) -> None:
        kind = self.path.strip("/").partition(".")[0]
        if kind.isdigit():
            self.send_error(int(kind))
        elif kind == "closed":
            self.close_connection = True
        elif kind == "garbage":
            self.wfile.write(b"\x00\x01garbage\r\n\r\n")
        else:
            body = {"page": b"<!DOCTYPE html><p>log in", "empty": b"", "half": CONTENT[:1000]}.get(kind, b"")
            self.send_response(200)
            if kind == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            elif kind != "half":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"ffff\r\nhalf" if kind == "chunked" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("sha256", [SHA256, None])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("403", "403 Forbidden"),
        ("404", "404 Not Found"),
        ("503", "503 Service Unavailable"),
        ("page", "no file of weights, but a web page"),
        ("empty", "no file of weights, but nothing"),
        ("half", "does not have the SHA-256|what came is no file of weights"),
        ("chunked", "its answer is broken"),
        ("closed", "closed connection"),
        ("garbage", "its answer is broken"),
    ],
)
def test_an_answer_that_is_none_is_a_sentence_and_leaves_nothing(
    kind: str, reason: str, sha256: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as odd:
        thread = threading.Thread(target=odd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with pytest.raises(ValueError, match=rf"could not be fetched from \S+ \(.*({reason}).*\)\. Fetch") as caught:
            fetched([Address(f"http://127.0.0.1:{odd.server_port}/{kind}.safetensors", sha256)])
        odd.shutdown()
        thread.join()
    assert "\n" not in str(caught.value)
    assert not [path for path in weights_folder().iterdir() if path.suffix != ".part"]


def test_two_processes_fetch_once(server: Server) -> None:
    there = [address(server, None, "net.safetensors")]
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            try:
                os._exit(0 if fetched(there).read_bytes() == CONTENT else 1)
            except BaseException:
                os._exit(2)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert server.asked == [None]
    assert [path.name for path in weights_folder().iterdir()] == [there[0].name]


@pytest.mark.parametrize("what", ["file", "full"])
def test_a_cache_that_cannot_be_written_to_is_named(
    what: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "file":
        (tmp_path / "closed").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "closed"))
    else:

        def full(stream: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match=r"net\.pth cannot be kept in \S+weights: \w.*set XDG_CACHE_HOME to another folder"):
        fetched([address(server)])


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_killed_before_the_file_has_its_name_it_goes_on(
    moment: str, server: Server, started: Callable[..., Any], tmp_path: Path
) -> None:
    there = address(server)
    code = (
        "import os, pathlib, signal\n"
        "from zoo.common.download import Address, fetched\n"
        f"{moment} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"fetched([Address({there.url!r}, {there.sha256!r})])"
    )
    assert started(cwd=tmp_path, code=code, env={"XDG_CACHE_HOME": str(tmp_path)}).status == -signal.SIGKILL
    assert not (weights_folder() / "net.pth").exists()
    assert fetched([there]).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT)}-"], "what had come was not fetched again"
