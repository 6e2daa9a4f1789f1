"""Weights from where people have them, else downloaded: once, checked by hash, kept in the cache; an interrupted download
resumes."""

import contextlib
import errno
import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch

from zoo.common.places import alone, cache_folder, safe_join, written
from zoo.common.tensors import read_tensors
from zoo.common.words import warn

_CHUNK = 1 << 20
_PATIENCE = 30  # seconds without a byte
_HUB = "https://huggingface.co"
_GENERIC = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt", "weights.pth", "weights.pt")
"""Names that many publishers give."""


@dataclass(frozen=True)
class Address:
    """Where a file is published."""

    url: str
    sha256: str | None = None
    """The publisher's, whole or its first digits; None where nobody published one."""

    @classmethod
    def hashed(cls, url: str) -> "Address":
        """One whose file is named NAME-HASH.SUFFIX, the first digits that PyTorch's own downloader checks; or is not."""
        digits = re.search(r"-([0-9a-f]{8,64})\.[^./]+$", url)
        return cls(url, digits[1] if digits else None)

    @property
    def name(self) -> str:
        """The file's name in the cache: two publishers of a `model.safetensors` do not collide."""
        parts = self.url.split("/")
        name = parts[-1]
        return name if self.sha256 or len(parts) < 6 else "-".join([*parts[3:5], name])

    @property
    def generic(self) -> bool:
        """Whether files of many publishers are called so."""
        return self.url.rpartition("/")[2] in _GENERIC

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called in a folder, or on a mirror, that others filled."""
        parts = self.url.split("/")
        own = "/".join([*parts[3:5], parts[-1]]) if self.generic else parts[-1]
        return tuple(dict.fromkeys((own, self.name)))


class NotThereError(ValueError):
    """No address gave the file, and it is in none of the places."""


def weights_folder() -> Path:
    return cache_folder() / "weights"


def fetched(addresses: Sequence[Address]) -> Path:
    """The file, from where people have it (see `_places`), else of the first address that works: a mirror's, then the
    publishers'.

    Raises:
        NotThereError: no address gave it; the sentence names the file, where it was looked for, and where to put it.
        ValueError: the file in the cache is another, or nothing can be written there.
    """
    folders, mirrors = _further()
    if (known := _found(addresses, folders)) is not None:
        return known
    failures: dict[str, object] = {}
    asked = [
        *((mirror, f"{mirror}/{name}", each) for mirror in mirrors for each in addresses for name in each.names),
        *((url, url, each) for each in addresses if (url := _of_endpoint(each.url))),
    ]
    for who, url, address in asked:
        path = weights_folder() / address.name
        try:
            with alone(path):
                if not path.is_file():  # another process may have fetched it meanwhile
                    _download(url, address, path)
        except (OSError, HTTPException, ValueError) as error:  # urllib's errors are OSErrors
            if _is_local(error):
                why = getattr(error, "strerror", None) or error
                raise ValueError(
                    f"The weights {address.name} cannot be kept in {path.parent}: {why}. Make room there, let it be written "
                    f"to, or set XDG_CACHE_HOME to another folder."
                ) from None
            failures[who] = _reason(error)
            continue
        return path
    looked = ", ".join(map(str, (*folders, _torch_folder(), hub_folder())))
    tried = "; nor from ".join(f"{who} ({why})" for who, why in failures.items())
    own = weights_folder() / addresses[0].name
    raise NotThereError(
        f"The weights {own.name} are not in {looked} or {own.parent}, and could not be fetched from {tried}. "
        f"Fetch the file on a machine with a network and put it at {own}."
    )


# Where people have it


def _found(addresses: Sequence[Address], folders: Sequence[Path]) -> Path | None:
    """The file in the cache; or as it lies elsewhere, where it is the published one."""
    for address in addresses:
        path = weights_folder() / address.name
        if path.is_file():
            if matches(path, address.sha256):
                return path
            raise ValueError(f"{path} is not the published file: its SHA-256 does not begin with {address.sha256}. Remove it.")
    for address in addresses:
        for path in _places(address, folders):
            if matches(path, address.sha256):
                return path
            warn(f"{path} is not used: its SHA-256 does not begin with {address.sha256}, as the published file's does.")
    return None


def _further() -> tuple[list[Path], list[str]]:
    """The folders and the mirrors' addresses that $ZOO_WEIGHTS names, separated as in $PATH."""
    said = os.environ.get("ZOO_WEIGHTS", "")
    found = re.findall(rf"(\w+://[^/:]*(?::\d+)?[^{os.pathsep}]*)|([^{os.pathsep}]+)", said)
    folders = [Path(folder).expanduser() for _, folder in found if folder]
    return folders, [mirror.rstrip("/") for mirror, _ in found if mirror]


def _places(address: Address, folders: Sequence[Path]) -> Iterator[Path]:
    """Files that may be this one: in the folders of $ZOO_WEIGHTS, and in the caches of torch.hub and of Hugging Face."""
    candidates = [folder / name for folder in folders for name in address.names]
    if not address.generic:
        candidates.append(_torch_folder() / address.url.rpartition("/")[2])
    if hub := re.fullmatch(rf"{re.escape(_HUB)}/([^/]+)/([^/]+)/resolve/([^/]+)/(.+)", address.url):
        repository = hub_folder() / f"models--{hub[1]}--{hub[2]}"
        with contextlib.suppress(OSError):
            commit = (repository / "refs" / hub[3]).read_text().strip()
            candidates.append(safe_join(repository / "snapshots" / commit, hub[4]))
    return (path for path in candidates if path.is_file())


def _torch_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def hub_folder() -> Path:
    """Hugging Face's cache, as its library finds it, which reads the environment once."""
    said = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or cache_folder().parent / "huggingface"
    return Path(said or Path(home) / "hub").expanduser()


def hub_endpoint() -> str:
    """Where Hugging Face is: $HF_ENDPOINT, else its own address."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB


def _of_endpoint(url: str) -> str:
    """An address of Hugging Face at the place that it has."""
    return hub_endpoint() + url.removeprefix(_HUB) if url.startswith(f"{_HUB}/") else url


# The download


def _is_local(error: Exception) -> bool:
    """Whether it is about a file or the disk here, not about the network."""
    if not isinstance(error, OSError) or isinstance(error, urllib.error.URLError):
        return False
    return error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def _reason(error: Exception) -> object:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, HTTPException) and not isinstance(error, OSError):
        return "its answer is broken"
    return getattr(error, "reason", None) or str(error) or type(error).__name__


def _download(url: str, address: Address, path: Path) -> None:
    """To a `.part` file first, resumed if there is one, and renamed once its hash is right; where none is published, once it
    can be read from end to end (a network's login page cannot), and never made of two halves."""

    def check(part: Path) -> None:
        with part.open("rb") as came:
            start = came.read(512).lstrip()
        if not start or start.startswith(b"<"):
            raise ValueError(f"what came is no file of weights, but {'a web page' if start else 'nothing'}")
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
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
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
