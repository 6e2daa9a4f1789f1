"""Flow fields on disk: of a video one zip file of JPEG pictures, two for each frame but the last, and what they are of."""

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.common.files import Unreadable, reason, regular
from zoo.common.places import write_whole
from zoo.data.reading.container import Video
from zoo.data.reading.decode import read_frames
from zoo.data.reading.schema import checked

Fields = NDArray[np.uint8]
"""(T, H, W, 2): displacements to the right and down as `zoo.common.flow.to_bytes` makes them."""

STILL = 128
"""The byte of a pixel that stands still."""

_QUALITY = 95
"""The quality of the JPEG pictures: the error stays within a few steps of `zoo.common.flow.STEP`."""


_PIXELS_A_BYTE = 128
"""More than JPEG makes of nothing: a block of 8 x 8 pixels takes six bits."""


class FlowOf(Protocol):
    """The flow of one video."""

    def read(self, frames: Sequence[int] | NDArray[np.int64], /) -> Fields:
        """From each of these frames to the next in the file; the last frame's is that of the one before it, and a video
        of one frame stands still. Raises `Unreadable`."""
        ...


@dataclass(frozen=True, slots=True)
class FlowFile:
    """Fields that were extracted before."""

    path: Path
    count: int
    height: int
    width: int

    def read(self, frames: Sequence[int] | NDArray[np.int64], /) -> Fields:
        fields = np.full((len(frames), self.height, self.width, 2), STILL, dtype=np.uint8)
        if not self.count:
            return fields
        wanted, places = np.unique(np.minimum(np.asarray(frames), self.count - 1), return_inverse=True)
        try:
            with zipfile.ZipFile(self.path) as archive:
                for at, number in enumerate(wanted.tolist()):
                    for axis, letter in enumerate("xy"):
                        fields[places == at, :, :, axis] = self._picture(archive, _name(letter, number))
        except Unreadable:
            raise
        except Exception as error:  # zipfile raises what its parsers raise: struct.error, zlib.error, NotImplementedError, ...
            raise Unreadable(self.path, reason(error)) from error
        return fields

    def _picture(self, archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
        """Its size is compared before it is decoded; what is packed may be another program's, and could unpack to anything."""
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise Unreadable(self.path, f"its picture {name} is packed")
        content = archive.read(name)
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as header:
            if header.size != (self.width, self.height):
                raise Unreadable(self.path, f"its picture {name} has {header.size[0]} x {header.size[1]} pixels")
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (self.height, self.width):
            raise Unreadable(self.path, f"its picture {name} is torn")
        return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class FlowNow:
    """Fields computed when they are asked for: of a user's file, which nobody prepared."""

    video: Video
    kind: str
    short_side: int | None

    def read(self, frames: Sequence[int] | NDArray[np.int64], /) -> Fields:
        numbers = np.minimum(np.asarray(frames), max(0, len(self.video) - 2))
        pairs = [read_frames(self.video, [number, min(number + 1, len(self.video) - 1)]) for number in numbers.tolist()]
        return np.concatenate([computed(shrunk(pair, self.short_side), self.kind) for pair in pairs])


def computed(frames: NDArray[np.uint8], kind: str) -> Fields:
    """The T - 1 fields between frames (T, H, W, 3)."""
    from zoo.common.flow import estimator, to_bytes

    return to_bytes(estimator(kind)(frames)).permute(0, 2, 3, 1).numpy()


def shrunk(frames: NDArray[np.uint8], short_side: int | None) -> NDArray[np.uint8]:
    """(T, H, W, 3), its shorter side scaled to this many pixels where it is longer."""
    factor = short_side / min(frames.shape[1:3]) if short_side else 1.0
    if factor >= 1:
        return frames
    size = (round(frames.shape[2] * factor), round(frames.shape[1] * factor))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def write_fields(path: Path, kind: str, pieces: Iterable[Fields]) -> None:
    """The fields of a video, in pieces as they are computed; the file appears whole or not at all."""
    buffer = io.BytesIO()
    facts: dict[str, int | str] = {"flow": kind, "fields": 0, "height": 0, "width": 0}
    count = 0
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: JPEG has nothing left to compress
        for fields in pieces:
            for field in fields:
                for axis, letter in enumerate("xy"):
                    image = np.ascontiguousarray(field[:, :, axis])
                    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
                    archive.writestr(_name(letter, count), coded.tobytes())
                count += 1
            facts |= {"fields": count, "height": fields.shape[1], "width": fields.shape[2]}
        archive.comment = json.dumps(facts).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


class _Facts(msgspec.Struct):
    fields: Annotated[int, msgspec.Meta(ge=0)]
    height: Annotated[int, msgspec.Meta(ge=0)]
    width: Annotated[int, msgspec.Meta(ge=0)]


def open_fields(path: Path, frames: int) -> FlowFile:
    """Look at a file's facts, at none of its pictures.

    Raises:
        Unreadable: this package has not written it, or it is not of a video of so many frames.
    """
    try:
        regular(path)
        with zipfile.ZipFile(path) as archive:
            facts = checked(json.loads(archive.comment), _Facts)
    except Unreadable:
        raise
    except Exception as error:  # as above
        raise Unreadable(path, f"it is not a file of flow fields ({reason(error)})") from None
    if 2 * facts.fields * facts.width * facts.height > _PIXELS_A_BYTE * path.stat().st_size:
        raise Unreadable(path, f"it promises {facts.fields:,} fields of {facts.width} x {facts.height}, more than it can hold")
    found = FlowFile(path, facts.fields, facts.height, facts.width)
    if found.count != frames - 1:
        raise Unreadable(path, f"it holds {found.count} flow fields, but its video has {frames} frames, hence {frames - 1}")
    return found


def _name(letter: str, number: int) -> str:
    return f"flow_{letter}_{number:05d}.jpg"
