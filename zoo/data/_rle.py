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
        mask = np.zeros((height, width), bool)
        for polygon in segmentation:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"its polygon has {len(polygon)} numbers; it must have at least three points of two")
            mask |= _filled(np.asarray(polygon, dtype=np.float64).reshape(-1, 2), height, width)
        return mask
    raise ValueError(f"its segmentation is a {type(segmentation).__name__}; it must be polygons or run lengths")


def _filled(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W): the pixels whose middles are inside an odd number of times; points (x, y) count from the picture's corner."""
    crossings = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
        if first < last:
            rows = np.arange(first, last)
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1
    return np.asarray(crossings.cumsum(1)[:, :width] % 2 == 1)


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
