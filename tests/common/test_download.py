"""Downloads, against a server on this machine: whole, resumed, refused, and explained where there is no network."""

import hashlib
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
