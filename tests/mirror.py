"""A publisher's server on this machine: files of random values under the names of the real ones."""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from zoo.common.download import Address, fetched
from zoo.models import _entry


class Mirror(ThreadingHTTPServer):
    """Serves `files`, by name. Published weights are fetched from it by the real downloading code, once `patched`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}

    def publish(self, name: str, tensors: Mapping[str, Tensor], container: Callable[[Any], Any] = dict) -> None:
        """Put a state dict under a file's name, in a publisher's container."""
        stream = io.BytesIO()
        if name.endswith(".safetensors"):
            stream.write(save({key: value.contiguous() for key, value in tensors.items()}))
        else:
            torch.save(container(tensors), stream)
        self.files[name] = stream.getvalue()

    def address(self, url: str) -> Address:
        name = url.rpartition("/")[2]
        hashed = hashlib.sha256(self.files[name]).hexdigest() if name in self.files else None
        return Address(f"http://127.0.0.1:{self.server_port}/{name}", hashed)

    def fetched(self, addresses: Sequence[Address]) -> Path:
        return fetched([self.address(each.url) for each in addresses])


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.rpartition("/")[2])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def mirror(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[Mirror]:
    """A mirror that all entries are fetched from, into an empty cache."""
    patch.setenv("XDG_CACHE_HOME", str(cache))
    server = Mirror()
    patch.setattr(_entry, "fetched", server.fetched)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def live(net: nn.Module) -> nn.Module:
    """Random values, random statistics too, so that a BatchNorm that was not loaded would show."""
    for module in net.modules():
        if hasattr(module, "running_var") and isinstance(module.running_var, Tensor):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.3, 0.7)  # of random convolutions the residuals would grow beyond all bounds
            module.bias.data.normal_(0, 0.1)
    return net.eval()
