"""Pixels in memory in place of a file: they are scaled, cut and converted as those of a file, and no file is written."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Pixels:
    """A picture, or the frames of a film, in memory: a `File` to whoever reads pictures and films.

    Args:
        name: by which a message knows it.
        content: a picture of Pillow's in any mode, or bytes (H, W, C); of a film bytes (T, H, W, C). C is 1 or 3.
        rate: frames a second of a film.
    """

    name: str
    content: "Image | NDArray[np.uint8]"
    rate: float = 25.0

    def __str__(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C), (T, H, W, C), or nothing of a picture of Pillow's."""
        return self.content.shape if isinstance(self.content, np.ndarray) else ()

    def open(self, mode: Any = "rb", /) -> NoReturn:
        raise Unreadable(self, "it is pixels in memory, not a file")

    def picture(self) -> "Image":
        """As a picture of Pillow's, in a mode that files have."""
        from PIL import Image

        if not isinstance(self.content, Image.Image):
            height, width, channels = self.content.shape
            mode = "L" if channels == 1 else "RGB"
            return Image.frombuffer(mode, (width, height), np.ascontiguousarray(self.content), "raw", mode, 0, 1)
        image = self.content
        image.load()  # so that it is converted as it is, and not as its file's header says
        if image.mode == "RGBa":  # premultiplied
            image = image.convert("RGBA")
        if image.mode not in _MODES:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return image

    def film(self) -> tuple[NDArray[np.uint8], float]:
        """Its frames (T, H, W, 3), and the seconds of each."""
        frames = np.broadcast_to(self.content, (*self.shape[:3], 3))  # type: ignore[arg-type]
        return frames, float(1 / Fraction(self.rate).limit_denominator(1000))


_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "F", "I", "LAB")
"""Those of PNG and of TIFF."""
