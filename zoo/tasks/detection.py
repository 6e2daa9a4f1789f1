"""Detection: the objects of an image, each with a box, and with what further heads of the network say of it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from zoo.batch import InstanceBatch, Instances
from zoo.common import coco, draw
from zoo.common.places import write_whole
from zoo.tasks.base import Optimization, Task
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.predictions import FilePrediction, a_few

Detections = dict[str, Tensor]
"""What is found in an image: `boxes` (N, 4), `labels`, `scores`, and `masks` (N, 1, H, W), `keypoints` (N, K, 3) or others."""


class DetectionTask(Task):
    """The network's own losses; COCO's figures of what it finds, at the full size of each image.

    Metrics are `box_ap`, `mask_ap`, `keypoint_ap` and the rest of `coco.scores`, of each field that the network says and
    the data know. The network returns losses in training mode only, so there is none in evaluation.

    Args:
        class_names: without the background, in order; empty: the data's, as what follows, or numbers.
        category_ids: the data set's own numbers of the classes, in order; results are written with them.
        fields: what the data know of an object, beside its class: `boxes`, `masks`, `keypoints`.
        keypoint_sigmas: of each keypoint; see `coco.scores`.
        threshold: score from which an object is named and drawn.
        max_detections: results of an image that count, the surest (of keypoints a fifth of them). None is COCO's 100, or as
            many as the network gives at most, if that is more; a network that gives fewer is made to give as many.
        results: folder into which the last evaluation writes what was found as COCO results, `box.json`, `mask.json`,
            `keypoint.json`, and in `images.json` which file each image id is; None writes nothing.
    """

    target = "instances"
    facts = ("class_names", "category_ids", "fields", "keypoint_sigmas")
    unscored = Task.unscored | {"threshold", "results"}
    default_arguments = Optimization(metric="box_ap", mode="max", channels_last=False)

    def __init__(
        self,
        net: nn.Module,
        *,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] = (),
        fields: Sequence[str] = (),
        keypoint_sigmas: Sequence[float] = (),
        threshold: float = 0.5,
        max_detections: int | None = None,
        results: str | None = None,
        **optimization: Unpack[Optimization],
    ) -> None:
        super().__init__(net, **optimization)
        heads: Any = getattr(net, "heads", None)
        if heads is None:
            raise ValueError(f"A {type(net).__name__} does not detect objects. Choose model=mask_rcnn, or another task=.")
        self.class_names = tuple(class_names)
        self.category_ids = tuple(category_ids)
        self.fields = tuple(fields)
        self.keypoint_sigmas = tuple(keypoint_sigmas)
        self.threshold = threshold
        self.max_detections = self._most(max_detections)
        self.results = results
        self._check_heads()

    def adopt(self, data: Any) -> None:
        super().adopt(data)
        self._check_heads()

    def _check_heads(self) -> None:
        """Refuse heads that learn from what the data do not know, once it is known what they do."""
        heads: Any = self.net.heads
        for head in heads:
            for need in head.needs if self.fields else ():
                if need not in self.fields:
                    raise ValueError(
                        f"The head {head.name} learns from {need}, but the data have {' and '.join(self.fields)} only. Drop it "
                        f"from model.heads, or choose another data=."
                    )

    def _most(self, wished: int | None) -> int:
        """How many results of an image count; the network is made to give as many."""
        if wished is not None and wished < 1:
            raise ValueError(f"task.max_detections is {wished}; it must be at least 1, or null for COCO's {coco.MOST}.")
        heads: Any = getattr(self.net, "roi_heads", None)
        given = getattr(heads, "detections_per_img", 0)
        if wished is not None and wished > given > 0:
            heads.detections_per_img = wished
        return wished or max(coco.MOST, given)

    def conditions(self) -> dict[str, Any]:
        return {"max_detections": self.max_detections}

    def images(self, batch: InstanceBatch) -> list[Tensor]:
        """Each normalized, (C, h, w), without its padding."""
        pixels = self.normalized(batch["input"])
        return [image[:, :height, :width] for image, (height, width) in zip(pixels, batch["size"].tolist(), strict=True)]

    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.net(self.images(batch), batch["instances"])
        return losses

    def predict(self, batch: InstanceBatch) -> list[Detections]:
        """What is found in each image, in pixels of its full size, the highest score first.

        Images of one size go through the network together: filled up to the size of a larger one, an image would give
        another answer, and so the figures would depend on the batches that the processes make.
        """
        images, sizes = self.images(batch), batch["full"].tolist()
        alike: dict[torch.Size, list[int]] = {}
        for at, image in enumerate(images):
            alike.setdefault(image.shape, []).append(at)
        found: dict[int, Detections] = {}
        for group in alike.values():
            answers = self.net([images[at] for at in group], sizes=[tuple(sizes[at]) for at in group])
            found.update(zip(group, answers, strict=True))
        return [found[at] for at in range(len(images))]

    # Evaluation

    def sample_outputs(self, batch: InstanceBatch) -> SampleOutputs:
        """The size of each image, and what is there and what was found, as COCO's dictionaries."""
        numbers, sizes = batch["image_id"].tolist(), batch["full"].tolist()
        files = batch.get("file") or [""] * len(numbers)
        return {
            "id": batch["id"],
            "view": batch["view"],
            "image": [
                {"id": number, "height": height, "width": width, **({"file_name": file} if file else {})}
                for number, (height, width), file in zip(numbers, sizes, files, strict=True)
            ],
            "annotations": [self._annotations(number, each) for number, each in zip(numbers, batch["instances"], strict=True)],
            "results": [self._results(number, each) for number, each in zip(numbers, self.predict(batch), strict=True)],
        }

    def metrics(self, outputs: SampleOutputs) -> dict[str, float]:
        annotations, results = ([each for image in outputs[key] for each in image] for key in ("annotations", "results"))
        if not annotations:
            raise ValueError("Not one image of the split has an object, so there is nothing to score. Look at the annotations.")
        numbers = self.category_ids or sorted({each["category_id"] for each in (*annotations, *results)})
        kinds = [kind for kind, field in coco.FIELDS.items() if field in annotations[0] and (self._says(kind))]
        if self.results and self.global_rank == 0:
            self._write(Path(self.results), kinds, results, outputs["image"])
        self.remarks = self._limits(outputs, kinds)
        return {
            f"{kind}_{name}": value
            for kind in kinds
            for name, value in coco.scores(
                outputs["image"], annotations, results, numbers, kind, self.keypoint_sigmas, self.max_detections
            ).items()
        }

    def _limits(self, outputs: SampleOutputs, kinds: Sequence[str]) -> list[str]:
        """How many results count, and what there is beyond them: the engine cuts both off for each class of an image."""
        said = []
        for kind in kinds:
            most = coco.most_of(kind, self.max_detections)
            said.append(f"The {most:,} surest detections of a class in an image count for {kind}_ap (task.max_detections).")
            beyond = {}
            for name in ("annotations", "results"):
                counts = (Counter(each["category_id"] for each in image) for image in outputs[name])
                beyond[name] = sum(max(0, each - most) for image in counts for each in image.values())
            full = sum(len(image) >= most for image in outputs["results"])
            if beyond["annotations"] or beyond["results"]:
                said.append(
                    f"Beyond them are {beyond['annotations']:,} objects that cannot be found and {beyond['results']:,} "
                    f"detections that count for nothing. Raise task.max_detections to score them."
                )
            elif full and any(len(image) > most for image in outputs["annotations"]):
                said.append(f"{full:,} images reach that limit; there are more objects in some. Raise task.max_detections.")
        return said

    def _says(self, kind: str) -> bool:
        heads: Any = self.net.heads
        return kind == "box" or any(head.name == kind for head in heads)

    def _annotations(self, number: int, truth: Instances) -> list[dict[str, Any]]:
        """What is there, as COCO annotations; of objects with a mask the area is the mask's unless it is stated."""
        count = len(truth["boxes"])
        columns: dict[str, list[Any]] = {
            "image_id": [number] * count,
            "category_id": self._categories(truth["labels"]),
            "bbox": _corners_to_sizes(truth["boxes"]),
            "iscrowd": truth["crowd"].int().tolist() if "crowd" in truth else [0] * count,
        }
        areas = (truth["boxes"][:, 2:] - truth["boxes"][:, :2]).prod(1)
        if "masks" in truth:
            columns["segmentation"] = [coco.run_lengths(mask) for mask in truth["masks"].cpu().numpy()]
            areas = truth["masks"].flatten(1).sum(1)
        if "keypoints" in truth:
            columns["keypoints"] = truth["keypoints"].double().flatten(1).tolist()
            columns["num_keypoints"] = (truth["keypoints"][..., 2] > 0).sum(1).tolist()
        columns["area"] = truth.get("area", areas.double()).tolist()
        return _rows(columns)

    def _results(self, number: int, found: Detections) -> list[dict[str, Any]]:
        columns: dict[str, list[Any]] = {
            "image_id": [number] * len(found["boxes"]),
            "category_id": self._categories(found["labels"]),
            "score": found["scores"].double().tolist(),
            "bbox": _corners_to_sizes(found["boxes"]),
        }
        if "masks" in found:
            columns["segmentation"] = [coco.run_lengths(mask) for mask in _binary(found["masks"])]
        if "keypoints" in found:
            columns["keypoints"] = found["keypoints"].double().flatten(1).tolist()
        return _rows(columns)

    def _categories(self, labels: Tensor) -> list[int]:
        return [self.category_ids[label - 1] if self.category_ids else label for label in labels.tolist()]

    def _write(
        self,
        folder: Path,
        kinds: Sequence[str],
        results: Sequence[Mapping[str, Any]],
        images: Sequence[Mapping[str, Any]],
    ) -> None:
        """COCO's files of results, one for each kind, as its server takes them; and the images, each with its file."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "images.json", json.dumps(images).encode())
        for kind in kinds:
            keys = ("image_id", "category_id", "score", coco.FIELDS[kind])
            write_whole(folder / f"{kind}.json", json.dumps([{key: each[key] for key in keys} for each in results]).encode())

    # Pictures

    def prediction(self, batch: InstanceBatch, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """The objects above the threshold, the `top_k` surest in words and all of them in the picture."""
        (found,) = self.predict(batch)
        found = {name: values[found["scores"] >= self.threshold].cpu() for name, values in found.items()}
        columns = {name: values.tolist() for name, values in found.items() if name != "masks"}
        columns["name"] = [class_names[label - 1] for label in columns.pop("labels")]
        if "masks" in found:
            columns["mask"] = [coco.run_lengths(mask) for mask in _binary(found["masks"])]
        named = [f"{name} {score:.3f}" for name, score in zip(columns["name"], columns["scores"], strict=True)]
        more = f" and {len(named) - top_k} more" if len(named) > top_k else ""
        return FilePrediction(
            text=(", ".join(named[:top_k]) + more) or "nothing",
            fields={"objects": _rows({_SINGULAR.get(name, name): column for name, column in columns.items()})},
            pictures={"objects": draw.to_pil(self.picture(batch, found))},
        )

    def picture(self, batch: InstanceBatch, found: Mapping[str, Tensor]) -> Tensor:
        """The first image of a batch at its full size, (3, H, W) uint8, with objects drawn on it."""
        height, width = batch["size"][0].tolist()
        image = draw.at_size(batch["input"][:1, :, :height, :width], batch["full"][0].tolist())[0]
        names = self.class_names or [str(label) for label in range(1, 1 + max(found["labels"].tolist(), default=0))]
        return draw.objects(image, found, names)

    def draw(self, samples: Sequence[InstanceBatch], folder: Path) -> None:
        """`predictions.png`: images, what is there, and what was found above the threshold."""
        rows = []
        for batch in a_few(samples):
            (found,) = self.predict(batch)
            found = {name: values[found["scores"] >= self.threshold] for name, values in found.items()}
            truth: dict[str, Any] = {**batch["instances"][0]}
            image = self.picture(batch, {"boxes": truth["boxes"][:0], "labels": truth["labels"][:0]})
            rows.append([image, self.picture(batch, truth), self.picture(batch, found)])
        draw.save(draw.sheet(rows, ["image", "truth", "prediction"], edge=256), folder / "predictions.png")


_SINGULAR = {"boxes": "box", "scores": "score"}


def _corners_to_sizes(boxes: Tensor) -> list[list[float]]:
    """(N, 4) x0, y0, x1, y1 -> x, y, width, height."""
    sizes: list[list[float]] = box_convert(boxes.double(), "xyxy", "xywh").tolist()
    return sizes


def _binary(masks: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(N, 1, H, W) probabilities -> (N, H, W), 1 where it is more likely than not."""
    return (masks[:, 0] > 0.5).to(torch.uint8).cpu().numpy()


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
