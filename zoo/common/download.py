"""Download weights: once, checked by hash, kept in the cache; an interrupted download resumes."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.common.places import alone, cache_folder, written
from zoo.common.tensors import read_tensors

_CHUNK = 1 << 20
_PATIENCE = 30  # seconds without a byte


@dataclass(frozen=True)
class Address:
    """Where a file is published."""

    url: str
    sha256: str | None = None
    """The publisher's, whole or its first digits; None where nobody published one."""

    @property
    def name(self) -> str:
        """The file's name in the cache: two publishers of a `model.safetensors` do not collide."""
        parts = self.url.split("/")
        name = parts[-1]
        return name if self.sha256 or len(parts) < 6 else "-".join([*parts[3:5], name])


class NotThereError(ValueError):
    """No address gave the file, and it is not in the cache."""


def weights_folder() -> Path:
    return cache_folder() / "weights"


def fetched(addresses: Sequence[Address]) -> Path:
    """The file of the first address that works, from the cache if it is there.

    Raises:
        NotThereError: no address gave it; the sentence names the file, where it was looked for, and where to put it.
        ValueError: the file in the cache is another.
    """
    folder = weights_folder()
    failures = []
    for address in addresses:
        path = folder / address.name
        if path.is_file():
            if not matches(path, address.sha256):
                raise ValueError(
                    f"{path} is not the published file: its SHA-256 does not begin with {address.sha256}. Remove it."
                )
            return path
    for address in addresses:
        path = folder / address.name
        try:
            with alone(path):
                if not path.is_file():  # another process may have fetched it meanwhile
                    _download(address, path)
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            failures.append(f"{address.url} ({getattr(error, 'reason', None) or error})")
            continue
        return path
    raise NotThereError(
        f"The weights {addresses[0].name} are not in {folder}, and could not be fetched from {'; nor from '.join(failures)}. "
        f"Fetch the file on a machine with a network and put it at {folder / addresses[0].name}."
    )


def _download(address: Address, path: Path) -> None:
    """To a `.part` file first, resumed if there is one, and renamed once its hash is right; where none is published, once it
    can be read from end to end (a network's login page cannot), and never made of two halves."""

    def check(part: Path) -> None:
        if not matches(part, address.sha256):
            raise ValueError(f"what came does not have the SHA-256 {address.sha256}...")
        if address.sha256 is None:
            try:
                read_tensors(part, path.suffix)
            except ValueError as error:
                raise ValueError(f"what came is no file of weights: {error}") from None

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with written(path, check, partial=part, resumed=address.sha256 is not None) as stream:
        have = stream.seek(0, os.SEEK_END)
        request = urllib.request.Request(address.url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            response = urllib.request.urlopen(request, timeout=_PATIENCE)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # the part was complete already, or is of another file
                raise
            return
        with response:
            if response.status != 206:
                stream.truncate(0)
            expected = response.headers.get("Content-Length")
            received = 0
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                received += len(chunk)
        if expected is not None and received < int(expected):
            raise OSError(f"the connection ended after {received} of {expected} bytes; what came is kept")


def matches(path: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return True
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().startswith(sha256)
