"""The annotation files of COCO, and what their entries may hold."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from zoo.data.reading.schema import checked, plain, read_json

_Number = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Category(msgspec.Struct):
    """A class of a COCO file."""

    id: _Number
    name: str
    keypoints: list[str] = []


class Picture(msgspec.Struct):
    """An image of a COCO file."""

    id: _Number
    file_name: str
    height: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    width: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Runs(msgspec.Struct):
    """A mask as run lengths, in numbers or in their text form."""

    size: tuple[int, int]
    counts: str | list[Annotated[int, msgspec.Meta(ge=0, le=2**62)]]


class Annotation(msgspec.Struct):
    """An object of a COCO file; what the measure does not need may be missing."""

    id: _Number
    image_id: _Number
    category_id: _Number
    bbox: tuple[float, float, float, float] | None = None
    area: Annotated[float, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    iscrowd: Literal[0, 1] | bool = 0
    segmentation: list[list[float]] | Runs | None = None
    keypoints: list[float] | None = None


class _File(msgspec.Struct):
    categories: list[Category]
    images: list[Picture]
    annotations: list[Any]


class _RawFile(msgspec.Struct):
    """The same, each annotation as its text: one that is wrong costs its image, not the file."""

    categories: list[Category]
    images: list[Picture]
    annotations: list[msgspec.Raw]


def read_annotations(path: Path) -> _File | _RawFile:
    """The file, and every id in it once. Raises ValueError."""
    content: _File | _RawFile
    try:
        content = read_json(path, _RawFile)
    except ValueError:
        content = read_json(path, _File)  # with NaN in it, which is refused where it stands
    for kind, entries in (("categories", content.categories), ("images", content.images)):
        _once(path, kind, (each.id for each in entries))
    return content


def _once(path: Path, kind: str, numbers: Iterable[int]) -> None:
    (number, times), *_ = Counter(numbers).most_common(1) or [(0, 0)]
    if times > 1:
        raise ValueError(f"{path} has {times} {kind} with the id {number}. Give each an id of its own.")


def by_image(path: Path, content: _File | _RawFile) -> tuple[dict[int, list[Annotation]], dict[int, str]]:
    """The annotations of each image, and of some images what is wrong with one. Raises ValueError: it is of no image."""
    found: dict[int, list[Annotation]] = {each.id: [] for each in content.images}
    problems: dict[int, str] = {}
    for at, entry in enumerate(content.annotations):
        try:
            each = checked(entry, Annotation)
        except ValueError as error:
            parts = plain(entry)
            number, owner = (parts.get(key) if isinstance(parts, dict) else None for key in ("id", "image_id"))
            if type(owner) is not int or owner not in found:
                raise ValueError(f"{path}: of annotation {number} (entry {at}), {error}.") from None
            problems.setdefault(owner, f"annotation {number} cannot be used: {error}")
            continue
        if each.image_id not in found:
            raise ValueError(f"{path} has an annotation {each.id} of image {each.image_id}, which it does not list.")
        found[each.image_id].append(each)
    _once(path, "annotations", (each.id for several in found.values() for each in several))
    return found, problems
