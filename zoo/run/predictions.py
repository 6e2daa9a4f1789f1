"""Where predictions go: lines of a file, written as they come, and pictures whose names cannot collide."""

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zoo.common.places import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo.common.draw import VideoWriter

_BEGIN = b'{"file": '
"""The keys of each line."""


class Lines:
    """Lines that are in their file as soon as they are written, so that a prediction that is stopped keeps what it said.

    The place is opened before the work begins, and what stands there is replaced by the first line. A link is followed; a pipe
    or a device gets the lines. A file that holds anything but predictions is refused, for it was not meant.

    Args:
        patience: seconds to wait for somebody who reads, where the place is a pipe.

    Raises:
        ValueError: it cannot be written to, with the reason.
    """

    def __init__(self, place: str | Path, patience: float = 10.0) -> None:
        self.place = Path(place)
        self.written = 0
        self._end = 0
        new = not self.place.exists()
        try:
            if _is_shared(self.place):
                self._handle = os.dup(sys.stderr.fileno())  # opened again it would be written from its beginning
            else:
                self._refuse_foreign()
                self._handle = _opened(self.place, patience)
        except OSError as error:
            raise ValueError(
                f"The predictions cannot be written to {place}: {error.strerror}. Choose another json=FILE."
            ) from None
        self._file = stat.S_ISREG(os.fstat(self._handle).st_mode) and not _is_shared(self.place)
        self._made = self._file and new

    def _refuse_foreign(self) -> None:
        if not self.place.is_file():
            return
        with self.place.open("rb") as stream:
            if stream.read(len(_BEGIN)) not in (b"", _BEGIN):
                raise ValueError(f"{self.place} holds something else than predictions. Choose another json=FILE, or remove it.")

    def write(self, line: str) -> None:
        """Add a whole line, or, where that fails, nothing. Raises ValueError."""
        if self._file and not self._end:
            os.ftruncate(self._handle, 0)
        content = memoryview(f"{line}\n".encode())
        done = 0
        try:
            while done < len(content):
                done += os.write(self._handle, content[done:])
        except OSError as error:
            raise ValueError(
                f"The predictions cannot be written to {self.place}: {error.strerror}. It holds those of {self.written} files."
            ) from None
        finally:
            if done == len(content):
                self._end += done
                self.written += 1
            elif self._file:
                os.ftruncate(self._handle, self._end)
                os.lseek(self._handle, self._end, os.SEEK_SET)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)
        if self._made and not self.written:
            self.place.unlink(missing_ok=True)  # nothing was said


def _opened(place: Path, patience: float) -> int:
    """Open a file for writing without changing it; a pipe is opened when somebody reads it."""
    until = time.monotonic() + patience
    while True:
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
            os.set_blocking(handle, True)
            return handle
        except OSError as error:
            if error.errno != errno.ENXIO or not place.is_fifo():
                raise
            if time.monotonic() >= until:
                raise OSError(error.errno, "nobody reads this pipe") from None
            time.sleep(0.05)


def is_standard_output(place: str) -> bool:
    """Whether a path is this process's standard output: /dev/stdout, or the file that a shell redirects it to."""
    return _is_open_as(Path(place), sys.stdout)


def _is_shared(place: Path) -> bool:
    return _is_open_as(place, sys.stderr)


def _is_open_as(place: Path, stream: IO[str]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return os.path.samestat(place.stat(), os.fstat(stream.fileno()))
    return False


class Gallery:
    """The pictures of a prediction, in one folder: as many as were drawn, whatever their inputs are called.

    A picture is named after its input and what it shows, `a_overlay.png`; where that name is another's, `a-2_overlay.png`.
    Names that differ by case or by the form of their letters count as one. Files that were there are kept, but for the
    pictures of the same input by an earlier prediction: each carries a mark of its input, and is replaced.

    Raises:
        ValueError: the folder cannot be made, or is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._names: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def check(self) -> None:
        """Refuse a folder that cannot hold pictures, before any is drawn."""
        nearest = self.folder
        while not os.path.lexists(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            raise ValueError(
                f"The pictures cannot be written to {self.folder}: {nearest} is no folder. Choose another out=FOLDER."
            )
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise ValueError(f"The pictures cannot be written to {self.folder}: no permission. Choose another out=FOLDER.")

    def save(self, source: Path, pictures: Mapping[str, "Image"]) -> tuple[str, ...]:
        """Write the pictures of an input, by what they show; return their files."""
        if not pictures:
            return ()
        from PIL.PngImagePlugin import PngInfo

        marked = PngInfo()
        marked.add_text(_KEY, mark(source))
        with self._places(source, pictures, ".png") as places:
            for place, picture in zip(places, pictures.values(), strict=True):
                content = io.BytesIO()
                picture.save(content, "PNG", pnginfo=marked)
                write_whole(place, content.getvalue())
        return tuple(map(str, places))

    @contextlib.contextmanager
    def room(self) -> Iterator[Path]:
        """A hidden folder in this one, for what is not finished."""
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".unfinished-") as place:
            yield Path(place)

    def add(self, source: Path, films: Mapping[str, "VideoWriter"]) -> tuple[str, ...]:
        """Move the finished videos of an input from `room` into the gallery; return their files."""
        with self._places(source, films, ".mp4") as places:
            for place, film in zip(places, films.values(), strict=True):
                film.path.replace(place)
        return tuple(map(str, places))

    @contextlib.contextmanager
    def _places(self, source: Path, names: Iterable[str], suffix: str) -> Iterator[list[Path]]:
        """New files, one for each name. Where they cannot be filled, those that were made are gone."""
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = _plain(source.stem)
        while True:
            self._numbers[_folded(stem)] += 1
            number = self._numbers[_folded(stem)]
            places = [self.folder / f"{stem}{f'-{number}' if number > 1 else ''}_{name}{suffix}" for name in names]
            if (made := self._claimed(places, mark(source))) is not None:
                break
        try:
            yield places
        except BaseException as error:
            for place in made:
                place.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise ValueError(f"The pictures cannot be written to {self.folder}: {error.strerror}.") from None
            raise

    def _claimed(self, places: list[Path], its: str) -> list[Path] | None:
        """The files that were made to hold the names; None where one of the names is another's."""
        made: list[Path] = []
        for place in places:
            with contextlib.suppress(FileExistsError):
                if _folded(place.name) not in self._names:
                    place.open("xb").close()
                    made.append(place)
                    continue
            if _folded(place.name) in self._names or marked_by(place) != its:
                for each in made:
                    each.unlink()
                return None
        self._names |= {_folded(place.name) for place in places}
        return made


_KEY = "comment"
"""Under which a picture carries its mark; MP4 has few names, and this is one."""


def mark(source: Path) -> str:
    """A short mark that tells an input from others by its path, and from which the path cannot be read."""
    return f"zoo.predict {hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:32]}"


def marked_by(place: Path) -> str | None:
    """The mark of the input that a picture or video of a gallery was drawn from; None for any other file."""
    if place.is_symlink() or not place.is_file():
        return None
    if place.suffix == ".mp4":
        import av
        import av.error

        with contextlib.suppress(av.error.FFmpegError, OSError), place.open("rb") as stream:
            container = av.open(stream, format="mp4", metadata_errors="replace")
            with container:
                return container.metadata.get(_KEY)
        return None
    from PIL import Image

    with (
        contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError),
        Image.open(place, formats=["PNG"]) as picture,
    ):
        said = picture.info.get(_KEY)
        return said if isinstance(said, str) else None
    return None


def _plain(stem: str) -> str:
    """A name of letters that every file system takes, short enough to have something added."""
    shown = "".join(char if char.isprintable() and char not in '\\/:*?"<>|' else "_" for char in stem)
    shown = re.sub(r"^[-.]", "_", shown)  # of which a shell would make an option, or hide the file
    return shown.encode()[:180].decode(errors="ignore") or "_"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
