"""COCO's forms of objects and results, and its measure of them, by its own code, pycocotools (Lin et al. 2014).

An annotation is what is there, a result what was found; both are dictionaries with `image_id`, `category_id` and one or
more of `bbox` [x, y, width, height], `segmentation` (run lengths) and `keypoints` [x, y, visible, x, y, ...].
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELDS = {"box": "bbox", "mask": "segmentation", "keypoint": "keypoints"}
"""What can be scored, and the field of an annotation or a result that it is about."""
_KINDS = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}
_SUMMARY = {
    "box": "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large".split(),
    "keypoint": "ap ap50 ap75 ap_medium ap_large ar ar50 ar75 ar_medium ar_large".split(),
}
_SUMMARY["mask"] = _SUMMARY["box"]


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
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    field = FIELDS[kind]
    known = [{"id": each} for each in categories]
    # Only the field that is scored: of a result with a box the engine would take the box's area for the mask's.
    found = [{key: each[key] for key in ("image_id", "category_id", "score", field)} for each in results]
    truth = [dict(each, id=number) for number, each in enumerate(annotations, start=1)]
    with contextlib.redirect_stdout(io.StringIO()):
        gold = _indexed(COCO(), images, known, truth)
        guess = gold.loadRes(found) if found else _indexed(COCO(), images, known, [])
        judge = COCOeval(gold, guess, _KINDS[kind])
        if kind == "keypoint":
            judge.params.kpt_oks_sigmas = np.asarray(sigmas)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: float(value) for name, value in zip(_SUMMARY[kind], judge.stats, strict=True) if value >= 0}


def _indexed(coco: Any, images: Sequence[Any], categories: Sequence[Any], annotations: Sequence[Any]) -> Any:
    coco.dataset = {"images": list(images), "categories": list(categories), "annotations": list(annotations)}
    coco.createIndex()
    return coco
