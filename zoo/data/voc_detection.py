"""PASCAL VOC detection, in the layout of its release (Everingham et al. 2010)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, Unpack
from xml.etree import ElementTree

import numpy as np

from zoo.common.files import Unreadable, reason, regular
from zoo.common.places import data_root, safe_join
from zoo.data.images import WholeLoading
from zoo.data.instances import Scene, SceneSet
from zoo.data.reading.carving import apart, completed
from zoo.data.voc_segmentation import VocSegmentation, listed

_Kind = TypeVar("_Kind", int, float)


@dataclass(frozen=True)
class VocFile:
    """An image and the XML file that lists its objects."""

    image: Path
    annotation: Path
    number: int


class VocDetection(SceneSet):
    """`root/VOCdevkit/VOC{YEAR}/{JPEGImages,Annotations,ImageSets/Main}`: boxes of twenty classes, without masks.

    The list `val` is what is scored at the end, as test; validation is a tenth of the training list, chosen by the names
    alone. An image of both lists is scored, and not trained on. Objects of other classes than the twenty are background, as
    what nobody marked. Objects marked as difficult are left out in training, and what is found there counts neither way, as
    of COCO's crowds: a box of which so much lies in a difficult one as the overlap asks for. (Scores are COCO's, which VOC's
    own of one overlap, 0.5, is the `box_ap50` of, but for its sampling of the curve.)

    Args:
        root: the data root; None is $ZOO_DATA or the cache folder.
        year: 2007 or 2012.
        train_list: the training images' list in ImageSets/Main.
        test_list: the list that is scored at the end; `test` is published for 2007 only.
        short_side: pixels to which the shorter side is scaled; None is the shorter side of `shape`, whose longer one limits
            an image's longer side. Scores are at full size anyway.
        scale: training images are scaled further by a factor between these two.
        flip: mirror half of the training images.
    """

    class_names = VocSegmentation.class_names[1:]
    category_ids = tuple(range(1, 21))
    fields = ("boxes",)

    def __init__(
        self,
        *,
        root: str | None = None,
        year: int = 2012,
        train_list: str = "train",
        test_list: str = "val",
        **loading: Unpack[WholeLoading],
    ) -> None:
        super().__init__(**loading)
        self.folder = data_root(root) / "VOCdevkit" / f"VOC{year}"
        self.train_list = train_list
        self.test_list = test_list
        self.scored_at_end = "" if test_list == "test" else test_list

    def find(self) -> dict[str, list[VocFile]]:
        learned = self._listed(self.train_list)
        scored = self._listed(self.test_list, len(learned) + 1)
        learned = apart(learned, scored, f"{self.train_list}.txt and {self.test_list}.txt", self.notes)
        return completed({"train": learned, "test": scored})

    def _listed(self, name: str, first: int = 1) -> list[VocFile]:
        """The images of a list, numbered from `first` on: the digits in their names need not be unique."""
        path = safe_join(self.folder / "ImageSets" / "Main", f"{name}.txt")
        remedy = "Unpack the archive of VOC in the data root, or set data.root."
        files = listed(path, self.folder / "Annotations", ".xml", remedy, self.notes)
        return [VocFile(*each, number) for number, each in enumerate(files, start=first)]

    def scene(self, file: VocFile) -> Scene:
        """What the XML lists."""
        known = {name: number for number, name in enumerate(self.class_names, start=1)}
        listed, (height, width) = _objects(file)
        objects = {number: each for number, each in enumerate(listed, start=1) if each.name in known}
        return Scene(
            image=file.image,
            number=file.number,
            height=height,
            width=width,
            # Its pixels count from 1, and the last is in the box.
            boxes=np.array([each.box for each in objects.values()], dtype=np.float64).reshape(-1, 4) - [1, 1, 0, 0],
            labels=np.array([known[each.name] for each in objects.values()], dtype=np.int64),
            crowd=np.array([each.difficult for each in objects.values()], dtype=bool),
            names=[f"object {number} ({each.name})" for number, each in objects.items()],
            strange=[each.name for each in listed if each.name not in known],
        )


@dataclass(frozen=True)
class _Object:
    name: str
    box: tuple[float, ...]
    """As it is written: x0, y0, x1, y1."""
    difficult: bool


def _objects(file: VocFile) -> tuple[list[_Object], tuple[int, int]]:
    """What the file lists, and the height and width that it states. Raises `Unreadable`."""
    path = file.annotation

    def text(node: ElementTree.Element, place: str, owner: str) -> str:
        found = node.findall(place)
        if len(found) != 1:
            raise Unreadable(file.image, f"{path} has {len(found)} fields {place} {owner}, not one")
        return (found[0].text or "").strip()

    def number(node: ElementTree.Element, place: str, owner: str, kind: type[_Kind]) -> _Kind:
        said = text(node, place, owner)
        try:
            return kind(said)
        except ValueError:
            raise Unreadable(file.image, f"{path} has the {place} {said[:60]!r} {owner}, which is no number") from None

    objects = []
    root = _tree(file)
    for at, each in enumerate(root.findall("object"), start=1):
        owner = f"of object {at}"
        difficult = text(each, "difficult", owner) if each.find("difficult") is not None else "0"
        if difficult not in ("0", "1"):
            raise Unreadable(file.image, f"{path} has the difficult {difficult[:60]!r} {owner}, which must be 0 or 1")
        box = tuple(number(each, f"bndbox/{edge}", owner, float) for edge in ("xmin", "ymin", "xmax", "ymax"))
        name = text(each, "name", owner)
        if not name:
            raise Unreadable(file.image, f"{path} has an empty name {owner}")
        objects.append(_Object(name, box, difficult == "1"))
    height, width = (number(root, f"size/{axis}", "of the image", int) for axis in ("height", "width"))
    return objects, (height, width)


def _tree(file: VocFile) -> ElementTree.Element:
    """Without entities: a few lines of them unfold to more than the memory holds, and VOC has none."""
    path = regular(file.annotation)
    parser = ElementTree.XMLParser()
    assert isinstance(path, Path)
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content.replace(b"\0", b""):
            raise Unreadable(file.image, f"{path} has a document type, of which VOC's files have none")
        parser.feed(content)
        root: ElementTree.Element = parser.close()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise Unreadable(file.image, f"{path} does not list its objects ({reason(error)})") from None
    return root
