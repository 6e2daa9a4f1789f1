"""PASCAL VOC detection, in the layout of its release (Everingham et al. 2010)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from zoo.data._augment import Augment
from zoo.data.base import DataModule, Samples, Unreadable
from zoo.data.images import SUFFIXES
from zoo.data.instances import FACTS, BareImages, Scene, SceneFiles, Sizing, check_scene
from zoo.data.masks import carved
from zoo.data.voc_segmentation import VocSegmentation
from zoo.places import data_root


@dataclass(frozen=True)
class VocFile:
    """An image and the XML file that lists its objects."""

    image: Path
    annotation: Path


class VocDetection(DataModule):
    """`root/VOCdevkit/VOC{YEAR}/{JPEGImages,Annotations,ImageSets/Main}`: boxes of twenty classes, without masks.

    The list `val` is what is scored at the end, as test; validation is a tenth of the training list, chosen by the names
    alone. Objects marked as difficult are left out in training, and what is found there counts neither way. (Scores are
    COCO's, which VOC's own of one overlap, 0.5, is the `box_ap50` of, but for its sampling of the curve.)

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

    layout = 3
    suffixes = SUFFIXES
    targets = ("instances",)
    facts = FACTS
    full_size = True
    class_names = VocSegmentation.class_names[1:]
    category_ids = tuple(range(1, 21))
    fields = ("boxes",)
    keypoint_names = ()
    keypoint_sigmas = ()
    num_keypoints = 0
    # ImageNet's, the field's usual numbers.
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        *,
        shape: Sequence[int],
        root: str | None = None,
        year: int = 2012,
        train_list: str = "train",
        test_list: str = "val",
        short_side: int | None = None,
        scale: Sequence[float] = (1.0, 1.0),
        flip: bool = True,
        batch_size: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        self.folder = data_root(root) / "VOCdevkit" / f"VOC{year}"
        self.train_list = train_list
        self.test_list = test_list
        self.scored_at_end = "" if test_list == "test" else test_list
        self.sizing = Sizing(self.shape, short_side, scale, flip)

    def load(self) -> dict[str, Samples]:
        train, val = carved(self._listed(self.train_list), 0.1)
        splits = {"train": train, "val": val, "test": self._listed(self.test_list)}
        return {
            split: SceneFiles(
                [scene for _, scene in self.readable(files, self._scene, split)],
                self.sizing,
                train=split == "train",
                seed=self.seed,
            )
            for split, files in splits.items()
        }

    def _listed(self, name: str) -> list[VocFile]:
        path = self.folder / "ImageSets" / "Main" / f"{name}.txt"
        if not path.is_file():
            raise ValueError(f"There is no list {path}. Unpack the archive of VOC in the data root, or set data.root.")
        images, annotations = self.folder / "JPEGImages", self.folder / "Annotations"
        return [VocFile(images / f"{each}.jpg", annotations / f"{each}.xml") for each in path.read_text().split()]

    def _scene(self, file: VocFile) -> Scene:
        """What the XML lists. Raises `Unreadable`."""
        known = {name: number for number, name in enumerate(self.class_names, start=1)}
        try:
            root = ElementTree.parse(file.annotation).getroot()
            objects = root.findall("object")
            names = [(each.findtext("name") or "").strip() for each in objects]
            boxes = [[float(each.findtext(f"bndbox/{edge}") or "") for edge in _EDGES] for each in objects]
            height, width = (int(root.findtext(f"size/{axis}") or "") for axis in ("height", "width"))
        except (OSError, ElementTree.ParseError, ValueError) as error:
            raise Unreadable(file.image, f"{file.annotation} does not list its objects ({error})") from None
        scene = Scene(
            image=file.image,
            number=int(re.sub(r"\D", "", file.image.stem) or 0),
            height=height,
            width=width,
            # Its pixels count from 1, and the last is in the box.
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4) - [1, 1, 0, 0],
            labels=np.array([known.get(name, 0) for name in names], dtype=np.int64),
            crowd=np.array([each.findtext("difficult") == "1" for each in objects], dtype=bool),
            names=[f"object {number} ({name})" for number, name in enumerate(names, start=1)],
        )
        for name, label in zip(scene.names, scene.labels, strict=True):
            if not label:
                raise scene.refused(f"{name} is of no class of VOC")
        return check_scene(scene)

    def files(self, paths: Sequence[Path]) -> Samples:
        return BareImages(paths, self.sizing)


_EDGES = ("xmin", "ymin", "xmax", "ymax")
