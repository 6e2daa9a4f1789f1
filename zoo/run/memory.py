"""Inputs in memory, looked at: what is no picture and no clip is refused with the form."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def pixels_of(value: Any, name: str, layout: int) -> NDArray[np.uint8]:
    """(H, W, C), or (T, H, W, C), of an array or a tensor. Raises ValueError."""
    tensor = isinstance(value, Tensor)
    array = value.detach().cpu().numpy() if tensor else value
    form = {
        3: "a file's name, a PIL image, an array (H, W) or (H, W, C), or a tensor (C, H, W)",
        4: "a file's name, an array (T, H, W, C), or a tensor (T, C, H, W) or (C, T, H, W)",
    }[layout]
    wanted = f"It is to be {form}; pixels are of 1 or 3 channels, bytes (uint8) or floats from 0 to 1."
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}. {wanted}")
    said = f"{name} is {'a tensor' if tensor else 'an array'} {tuple(array.shape)} of {array.dtype}"
    if not tensor and layout == 3 and array.ndim == 2:
        array = array[..., None]
    if array.ndim != layout:
        raise ValueError(f"{said}. {wanted}")
    if tensor and layout == 4 and array.shape[1] not in (1, 3):  # (C, T, H, W)
        array = np.moveaxis(array, 0, -1)
    elif tensor:
        array = np.moveaxis(array, -3, -1)
    if array.shape[-1] not in (1, 3) or not array.size:
        raise ValueError(f"{said}. {wanted}")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"{said}, from {array.min():g} to {array.max():g}. {wanted}")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"{said}. {wanted}")
    return np.asarray(array, dtype=np.uint8)
