"""Inputs in memory as files of the same pixels, so that there is one way from an input to the network."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """A file that lies in memory."""

    name: str
    content: bytes

    def open(self, mode: str = "rb", /) -> io.BytesIO:
        return io.BytesIO(self.content)

    def __str__(self) -> str:
        return self.name


_AS_TIFF = ("CMYK", "F", "I", "LAB")
"""Modes that PNG has not, and TIFF has. (Pillow before 13 writes TIFF files of YCbCr that it cannot read.)"""


def encoded(image: Image.Image) -> bytes:
    """A picture as a file without loss, so that it is converted as any file is."""
    if image.mode == "RGBa":  # premultiplied
        image = image.convert("RGBA")
    if image.mode not in (*_AS_TIFF, "1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    stream = io.BytesIO()
    if image.mode in _AS_TIFF:
        image.save(stream, "TIFF")
    else:
        image.save(stream, "PNG", compress_level=1, exif=image.getexif())
    return stream.getvalue()


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


def image_of(pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def film(pixels: NDArray[np.uint8], rate: float) -> bytes:
    """Frames (T, H, W, C) as a film without loss."""
    from fractions import Fraction

    import av

    stream = io.BytesIO()
    frames = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    with av.open(stream, "w", format="nut") as container:
        track: Any = container.add_stream("rawvideo", rate=Fraction(rate).limit_denominator(1000))
        track.height, track.width, track.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
        for frame in frames:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()
