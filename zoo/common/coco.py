"""COCO's forms of objects and results, and its measure of them, by its own code, pycocotools (Lin et al. 2014).

An annotation is what is there, a result what was found; both are dictionaries with `image_id`, `category_id` and one or
more of `bbox` [x, y, width, height], `segmentation` (run lengths) and `keypoints` [x, y, visible, x, y, ...].
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scoring:
    """What figures of detections depend on, beside what is there and what was found."""

    class_names: Sequence[str] = ()
    """Of the labels from 1 on; empty where they are not known."""
    category_ids: Sequence[int] = ()
    """The data set's own numbers of the classes, likewise."""
    keypoint_sigmas: Sequence[float] = ()
    """Of each keypoint; see `scores`."""
    max_detections: int = 100
    """Results of an image that count, the surest."""


FIELDS = {"box": "bbox", "mask": "segmentation", "keypoint": "keypoints"}
"""What can be scored, and the field of an annotation or a result that it is about."""
_KINDS = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}
MOST = 100
"""Results of an image that count in COCO's figures of boxes and masks, the surest; of keypoints a fifth of them, 20."""


def run_lengths(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """(H, W), 0 or 1 -> run lengths in their text form."""
    from pycocotools import mask as masks

    encoded = masks.encode(np.asfortranarray(mask))
    return {"size": [int(extent) for extent in encoded["size"]], "counts": encoded["counts"].decode()}


def scores(
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    categories: Sequence[int],
    kind: str,
    sigmas: Sequence[float] = (),
    most: int = MOST,
) -> dict[str, float]:
    """COCO's twelve figures of boxes or masks, its ten of keypoints, by name; those of sizes that do not occur are left out.

    `ap` is the mean over the overlaps 0.50 to 0.95 and the categories, `ap50` and `ap75` those of one overlap; small is
    below 32 x 32 pixels, large from 96 x 96 on; `ar10` is the mean recall where ten results an image count.

    Args:
        images: `id`, `height` and `width` of each.
        annotations: with `area`, `iscrowd` and all fields that are scored.
        results: with `score`.
        kind: one of `FIELDS`.
        sigmas: of each keypoint: an error of 2 sigma sqrt(area) makes the similarity exp(-1/2).
        most: results of an image that count, the surest.

    Raises:
        ValueError: two images have one id.
    """
    _check_ids(images)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    field = FIELDS[kind]
    known = [{"id": each} for each in categories]
    # Only the field that is scored: of a result with a box the engine would take the box's area for the mask's.
    found = [{key: each[key] for key in ("image_id", "category_id", "score", field)} for each in results]
    truth = [dict(each, id=number) for number, each in enumerate(annotations, start=1)]
    with contextlib.redirect_stdout(io.StringIO()):
        gold = _indexed(COCO(), images, known, truth)
        predicted = gold.loadRes(found) if found else _indexed(COCO(), images, known, [])
        judge = COCOeval(gold, predicted, _KINDS[kind])
        if kind == "keypoint":
            judge.params.kpt_oks_sigmas = np.asarray(sigmas)
        judge.params.maxDets = [most_of("keypoint", most)] if kind == "keypoint" else [min(1, most), min(10, most), most]
        judge.evaluate()
        judge.accumulate()
    return _summary(judge.eval["precision"], judge.eval["recall"], judge.params)


def most_of(kind: str, most: int) -> int:
    """The number of results of an image that count."""
    return max(1, most // 5) if kind == "keypoint" else most


def _check_ids(images: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two images of one id: the engine would take them for one image."""
    known: dict[int, Mapping[str, Any]] = {}
    for each in images:
        if (other := known.setdefault(each["id"], each)) is not each:
            files = " and ".join(str(one.get("file_name") or "an image") for one in (other, each))
            raise ValueError(f"{files} both have the image id {each['id']}. Give each image an id of its own.")


def _summary(precision: NDArray[np.float64], recall: NDArray[np.float64], how: Any) -> dict[str, float]:
    """COCO's figures of (overlap, recall, category, size, results) and (overlap, category, size, results), by its rule: the
    mean over what occurs. (Its own `summarize` knows no other number of results than 100.)"""
    overlaps = {"": slice(None)} | {f"{at}": slice(row, row + 1) for at, row in ((50, 0), (75, 5))}
    figures = {f"ap{name}": precision[rows, :, :, 0, -1] for name, rows in overlaps.items()}
    figures |= {f"ap_{size}": precision[:, :, :, at, -1] for at, size in enumerate(how.areaRngLbl) if at}
    if how.iouType == "keypoints":
        figures |= {f"ar{name}": recall[rows, :, 0, -1] for name, rows in overlaps.items()}
    else:
        figures |= {f"ar{most}": recall[:, :, 0, at] for at, most in enumerate(how.maxDets)}
    figures |= {f"ar_{size}": recall[:, :, at, -1] for at, size in enumerate(how.areaRngLbl) if at}
    return {name: float(np.mean(values[values > -1])) for name, values in figures.items() if (values > -1).any()}


def _indexed(coco: Any, images: Sequence[Any], categories: Sequence[Any], annotations: Sequence[Any]) -> Any:
    coco.dataset = {"images": list(images), "categories": list(categories), "annotations": list(annotations)}
    coco.createIndex()
    return coco
