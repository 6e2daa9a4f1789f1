"""COCO's masks: run lengths, as lists or as their text form, and polygons (cocodataset.org; `maskApi.c` of cocoapi)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as masks


def object_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W): where an annotation's `segmentation` is; polygons, or a run-length dictionary. Raises ValueError: it does not
    fit the image, or is neither."""
    runs = check_segmentation(segmentation, height, width)
    if runs is not None:
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return flat.reshape(width, height).T  # COCO counts down the columns
    if not segmentation:
        return np.zeros((height, width), bool)
    # COCO's own rasteriser, so that the pixels are those that its evaluation counts.
    return np.asarray(masks.decode(masks.merge(masks.frPyObjects(segmentation, height, width))), dtype=bool)


def check_segmentation(segmentation: Any, height: int, width: int) -> NDArray[np.int64] | None:
    """Find what is wrong with an annotation's `segmentation` without drawing it; its run lengths, if it has any. Raises
    ValueError."""
    if isinstance(segmentation, dict):
        counts, (rows, columns) = segmentation["counts"], segmentation["size"]
        if (rows, columns) != (height, width):
            raise ValueError(f"its mask is {columns} x {rows} pixels, not {width} x {height}")
        runs = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, dtype=np.int64)
        # Each by itself first: the sum of some that are huge could come out right.
        if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
            raise ValueError("its mask's run lengths do not add up to the image")
        return runs
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"its polygon has {len(polygon)} numbers; it must have at least three points of two")
            corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
            if not np.isfinite(corners).all():
                raise ValueError("its polygon has a corner that is not a number")
            # COCO's rasteriser walks along each edge, pixel by pixel, and dies of one that is too long.
            if (corners < [-width, -height]).any() or (corners > [2 * width, 2 * height]).any():
                far = corners[np.abs(corners).max(1).argmax()]
                raise ValueError(
                    f"its polygon has a corner at ({far[0]:g}, {far[1]:g}), far outside of its {width} x {height} pixels"
                )
        return None
    raise ValueError(f"its segmentation is a {type(segmentation).__name__}; it must be polygons or run lengths")


def _unpacked(text: str) -> list[int]:
    """The text form: each number in groups of five bits, low ones first, bit 6 set while more follow, from the third on as
    the difference to the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        group = character - 48
        if not 0 <= group < 64 or shift > 55:
            raise ValueError("its mask's run lengths are not in COCO's text form")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift  # the sign is in the last group
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its mask's run lengths end in the middle of one")
    return runs
