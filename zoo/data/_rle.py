"""COCO's masks: run lengths, as lists or as their text form, and polygons (cocodataset.org; `maskApi.c` of cocoapi)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def object_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W): where an annotation's `segmentation` is; polygons, or a run-length dictionary. Raises ValueError: it does not
    fit the image, or is neither."""
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        rows, columns = segmentation["size"]
        if (rows, columns) != (height, width):
            raise ValueError(f"its mask is {columns} x {rows} pixels, not {width} x {height}")
        runs = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, dtype=np.int64)
        if (runs < 0).any() or runs.sum() != height * width:
            raise ValueError("its mask's run lengths do not add up to the image")
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return flat.reshape(width, height).T  # COCO counts down the columns
    if isinstance(segmentation, list):
        import cv2

        mask = np.zeros((height, width), np.uint8)
        for polygon in segmentation:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"its polygon has {len(polygon)} numbers; it must have at least three points of two")
            # Vertices are in pixel edges, OpenCV's in pixel middles, here in sixteenths.
            points = np.rint((np.asarray(polygon, dtype=np.float64).reshape(-1, 2) - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(mask, [points], [1], shift=4)
        return mask.astype(bool)
    raise ValueError(f"its segmentation is a {type(segmentation).__name__}; it must be polygons or run lengths")


def _unpacked(text: str) -> list[int]:
    """The text form: each number in groups of five bits, low ones first, bit 6 set while more follow, from the third on as
    the difference to the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        group = character - 48
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift  # the sign is in the last group
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
