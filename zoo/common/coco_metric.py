"""COCO's figures as a metric of torchmetrics' form."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_convert

from zoo.common import coco
from zoo.common.coco import Scoring


class CocoMetric(Metric):
    """COCO's figures of boxes, masks or keypoints by pycocotools, as `coco.scores` names them.

    It takes whole images, each once; processes bring theirs together before.

    Args:
        kind: one of `coco.FIELDS`.
        scoring: numbers of the classes, and what counts.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, kind: str, scoring: Scoring) -> None:
        super().__init__()
        self.kind = kind
        self.scoring = scoring
        self.images: list[dict[str, Any]] = []
        self.annotations: list[list[dict[str, Any]]] = []
        self.found: list[list[dict[str, Any]]] = []

    def update(self, found: Sequence[Mapping[str, Any]], truth: Sequence[Mapping[str, Any]]) -> None:
        """Add images.

        Args:
            found: `boxes` (N, 4), `labels`, `scores`; `masks` as run lengths and `keypoints` (N, K, 3) where they are scored.
            truth: the same without scores, with `iscrowd`, `area` and, of the image, `image_id`, `size` (height, width) and
                perhaps `file`.
        """
        for mine, there in zip(found, truth, strict=True):
            (height, width), file = there["size"], there.get("file")
            named = {"file_name": file} if file else {}
            self.images.append({"id": there["image_id"], "height": height, "width": width, **named})
            self.found.append(self._rows(there["image_id"], mine, score=mine["scores"].double().tolist()))
            crowd, area = there["iscrowd"].int().tolist(), there["area"].tolist()
            more = {}
            if self.kind == "keypoint":
                more["num_keypoints"] = (there["keypoints"][..., 2] > 0).sum(1).tolist()
            self.annotations.append(self._rows(there["image_id"], there, iscrowd=crowd, area=area, **more))

    def compute(self) -> dict[str, float]:
        """Return the figures by name. Raises ValueError where two images have one id."""
        annotations, found = ([each for image in rows for each in image] for rows in (self.annotations, self.found))
        numbers = self.scoring.category_ids or sorted({each["category_id"] for each in (*annotations, *found)})
        most, sigmas = self.scoring.max_detections, self.scoring.keypoint_sigmas
        return coco.scores(self.images, annotations, found, numbers, self.kind, sigmas, most)

    def reset(self) -> None:
        super().reset()
        self.images, self.annotations, self.found = [], [], []

    def results(self) -> list[dict[str, Any]]:
        """What was found as COCO results, as its server takes them."""
        keys = ("image_id", "category_id", "score", coco.FIELDS[self.kind])
        return [{key: each[key] for key in keys} for image in self.found for each in image]

    def remarks(self) -> list[str]:
        """How many results count, and what there is beyond them: the engine cuts both off for each class of an image."""
        most = coco.most_of(self.kind, self.scoring.max_detections)
        said = [f"The {most:,} surest detections of a class in an image count for {self.kind}_ap (task.max_detections)."]
        beyond = []
        for rows in (self.annotations, self.found):
            counts = (Counter(each["category_id"] for each in image) for image in rows)
            beyond.append(sum(max(0, each - most) for image in counts for each in image.values()))
        full = sum(len(image) >= most for image in self.found)
        if any(beyond):
            said.append(
                f"Beyond them are {beyond[0]:,} objects that cannot be found and {beyond[1]:,} detections that count for "
                f"nothing. Raise task.max_detections to score them."
            )
        elif full and any(len(image) > most for image in self.annotations):
            said.append(f"{full:,} images reach that limit; there are more objects in some. Raise task.max_detections.")
        return said

    def _rows(self, number: int, objects: Mapping[str, Any], **more: list[Any]) -> list[dict[str, Any]]:
        """Objects of an image in COCO's form, with the field that is scored; x, y, width, height of each box."""
        columns: dict[str, list[Any]] = {
            "image_id": [number] * len(objects["boxes"]),
            "category_id": [self._category(label) for label in objects["labels"].tolist()],
            "bbox": box_convert(objects["boxes"].double(), "xyxy", "xywh").tolist(),
            **more,
        }
        if self.kind == "mask":
            columns["segmentation"] = list(objects["masks"])
        if self.kind == "keypoint":
            keypoints: Tensor = objects["keypoints"]
            columns["keypoints"] = keypoints.double().flatten(1).tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _category(self, label: int) -> int:
        return self.scoring.category_ids[label - 1] if self.scoring.category_ids else label
