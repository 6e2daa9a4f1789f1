"""Detection: the objects of an image, each with a box, and with what further heads of the network say of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from zoo.batch import InstanceBatch, Instances
from zoo.common import coco, draw
from zoo.common.coco_metric import CocoMetric
from zoo.common.places import write_whole
from zoo.tasks.base import Optimization, Task
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import Measure
from zoo.tasks.predictions import FilePrediction, a_few, apart

Detections = dict[str, Tensor]
"""What is found in an image: `boxes` (N, 4), `labels`, `scores`, and `masks` (N, 1, H, W), `keypoints` (N, K, 3) or others."""


class DetectionTask(Task):
    """The network's own losses; COCO's figures of what it finds, at the full size of each image.

    Metrics are `box_ap`, `mask_ap`, `keypoint_ap` and the rest of `coco.scores`, and those that heads of one's own state
    (`zoo.models.Head.metric`), as far as the data know what a head says. The network returns losses in training mode only, so
    there is none in evaluation.

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

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self._check_heads()

    def _check_heads(self) -> None:
        """Refuse to train heads that learn from what no image of the data has. (A batch may lack it, and evaluation too.)"""
        for head in self.heads:
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
        """What was found in each image and what is there, in the form that `zoo.models.Head.metric` states."""
        numbers, sizes = batch["image_id"].tolist(), batch["full"].tolist()
        files = batch.get("file") or [""] * len(numbers)
        images = [
            {"image_id": number, "size": size, **({"file": file} if file else {})}
            for number, size, file in zip(numbers, sizes, files, strict=True)
        ]
        return {
            "id": batch["id"],
            "view": batch["view"],
            "found": [self._kept(found) for found in self.predict(batch)],
            "truth": [{**_truth(each), **image} for each, image in zip(batch["instances"], images, strict=True)],
        }

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        """COCO's figures of boxes, and what each further head states, of the images that have what it learns from."""
        found, truth = outputs["found"], outputs["truth"]
        if not any(len(each["labels"]) for each in truth):
            raise ValueError("Not one image of the split has an object, so there is nothing to score. Look at the annotations.")
        scoring = coco.Scoring(self.class_names, self.category_ids, self.keypoint_sigmas, self.max_detections)
        metrics: dict[str, Any] = {"box": CocoMetric("box", scoring)}
        metrics["box"].update(found, truth)
        for head in self.heads:
            told = [at for at, each in enumerate(truth) if each.keys() >= {*head.needs}]
            if head.name not in metrics and told and (metric := head.metric(scoring)) is not None:
                metric.update([found[at] for at in told], [truth[at] for at in told])
                metrics[head.name] = metric
        known = {name: each for name, each in metrics.items() if isinstance(each, CocoMetric)}
        if self.results and self.global_rank == 0:
            self._write(Path(self.results), known)
        self.remarks = [said for each in known.values() for said in each.remarks()]
        return {name: (metric, ()) for name, metric in metrics.items()}

    def pairs(self, outputs: SampleOutputs) -> list[tuple[Any, ...]]:
        return [(outputs["found"], outputs["truth"])]

    @property
    def heads(self) -> Sequence[Any]:
        """The network's: `zoo.models.Head`s."""
        heads: Sequence[Any] = self.net.heads  # type: ignore[assignment]
        return heads

    def _kept(self, found: Detections) -> dict[str, Any]:
        """What is kept of the detections of an image: as its heads say, the rest as it is, on the CPU."""
        kept = {field: value for head in self.heads for field, value in head.kept(found).items()}
        return {name: value.cpu() for name, value in found.items() if name not in kept} | kept

    def _write(self, folder: Path, metrics: Mapping[str, CocoMetric]) -> None:
        """COCO's files of results, one for each kind, as its server takes them; and the images, each with its file."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "images.json", json.dumps(metrics["box"].images).encode())
        for kind, metric in metrics.items():
            write_whole(folder / f"{kind}.json", json.dumps(metric.results()).encode())

    # Pictures

    def predictions(self, batches: Sequence[InstanceBatch], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
        several: list[Any] = list(batches)
        each = apart(several, self.predict, ["size", "full"], self.net)
        found = [{**batch, "predicted": detections} for batch, detections in zip(several, each, strict=True)]
        return super().predictions(found, class_names, top_k)

    def prediction(self, batch: InstanceBatch, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """The objects above the threshold, the `top_k` surest in words and all of them in the picture."""
        found = self._sure(batch)
        names = [class_names[label - 1] for label in found["labels"].tolist()]
        named = [f"{name} {score:.3f}" for name, score in zip(names, found["scores"].tolist(), strict=True)]
        said = []
        for head in self.heads:
            words = head.words(found, class_names)
            if head.dense:
                said += words
            elif words:
                named = [f"{name} {more}".rstrip() for name, more in zip(named, words, strict=True)]
        more = f" and {len(named) - top_k} more" if len(named) > top_k else ""
        kept = self._kept(found)
        columns: dict[str, Any] = {name: value.tolist() for name, value in kept.items() if isinstance(value, Tensor)}
        del columns["labels"]
        columns |= {"name": names} | {name: value for name, value in kept.items() if not isinstance(value, Tensor)}
        fields = {name: columns.pop(name) for name in kept if self._of_image(name)}
        return FilePrediction(
            text="; ".join([(", ".join(named[:top_k]) + more) or "nothing", *said]),
            fields={"objects": _rows({_SINGULAR.get(name, name): column for name, column in columns.items()}), **fields},
            pictures={"objects": draw.to_pil(self._drawn(batch, found))},
        )

    def _sure(self, batch: InstanceBatch) -> Detections:
        """What is found in the one image of a batch, on the CPU: objects above the threshold, and what is said of the image."""
        known: Any = batch
        (found,) = known["predicted"] if "predicted" in known else self.predict(batch)
        at = found["scores"] >= self.threshold
        return {name: (values if self._of_image(name) else values[at]).cpu() for name, values in found.items()}

    def _of_image(self, field: str) -> bool:
        """Whether a dense head says this, of the image and not of each object."""
        return any(head.dense and (field == head.name or field.startswith(f"{head.name}_")) for head in self.heads)

    def picture(self, batch: InstanceBatch, found: Mapping[str, Tensor]) -> Tensor:
        """The first image of a batch at its full size, (3, H, W) uint8, with objects drawn on it."""
        return self._with_objects(self._image(batch), found)

    def _image(self, batch: InstanceBatch) -> Tensor:
        height, width = batch["size"][0].tolist()
        return draw.at_size(batch["input"][:1, :, :height, :width], batch["full"][0].tolist())[0]

    def _with_objects(self, image: Tensor, found: Mapping[str, Tensor]) -> Tensor:
        names = self.class_names or [str(label) for label in range(1, 1 + max(found["labels"].tolist(), default=0))]
        return draw.objects(image, found, names)

    def _drawn(self, batch: InstanceBatch, found: Detections) -> Tensor:
        """The same with what further heads draw, below the objects."""
        image = self._image(batch)
        for head in self.heads:
            image = head.draw(image, found)
        return self._with_objects(image, found)

    def draw(self, samples: Sequence[InstanceBatch], folder: Path) -> None:
        """`predictions.png`: images, what is there, and what was found above the threshold."""
        rows = []
        for batch in a_few(samples):
            found = self._sure(batch)
            truth: dict[str, Any] = {**batch["instances"][0]}
            image = self.picture(batch, {"boxes": truth["boxes"][:0], "labels": truth["labels"][:0]})
            rows.append([image, self.picture(batch, truth), self._drawn(batch, found)])
        draw.save(draw.sheet(rows, ["image", "truth", "prediction"], edge=256), folder / "predictions.png")


_SINGULAR = {"boxes": "box", "scores": "score", "masks": "mask"}


def _truth(objects: Instances) -> dict[str, Any]:
    """What is there, on the CPU, in torchmetrics' form; of objects with a mask the area is the mask's unless it is stated."""
    areas = (objects["boxes"][:, 2:] - objects["boxes"][:, :2]).prod(1)
    found: dict[str, Any] = {name: value.cpu() for name, value in objects.items() if isinstance(value, Tensor)}
    if "masks" in objects:
        areas = objects["masks"].flatten(1).sum(1)
        found["masks"] = [coco.run_lengths(mask) for mask in objects["masks"].cpu().numpy()]
    found["iscrowd"] = found.get("crowd", torch.zeros(len(areas), dtype=torch.bool))
    found.setdefault("area", areas.double().cpu())
    return found


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
