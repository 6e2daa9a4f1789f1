"""The clips of motion_digits: what is drawn, and how it becomes an H.264 file. (No torch here: see `_synth`.)"""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.reading.container import Video
from zoo.data.rendered.synth import SPLITS, digit_indices, digits, texture

CLASSES = ("left", "right", "up", "down", "clockwise", "counter-clockwise")
CLIPS = {"train": 2400, "val": 600, "test": 600}
EDITION = "1"  # of the drawing: clips of another one lie in another folder, and are never taken for these
SIZE, FRAMES, RATE = 32, 24, 8  # pixels, frames, frames a second: three seconds
_GLYPH = 16  # edge of a digit in the picture, pixels
_SHIFT = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # of (x, y)
_TURN = {"clockwise": 1, "counter-clockwise": -1}  # as seen on a screen, where y points down


def clip_path(folder: Path, split: str, number: int) -> Path:
    """Clip `number` of a split; its class is `number` modulo six, so that the classes are equal in size."""
    return folder / split / CLASSES[number % len(CLASSES)] / f"{number:05d}.mp4"


def draw_clip(split: str, number: int) -> NDArray[np.uint8]:
    """One clip, (24, 32, 32, 3): a real digit moving over a still patch of a photograph.

    Digit, background, color, speed (1 to 2 pixels a frame; turning moves a stroke half-way out as far), start position and
    start angle are drawn before the class is looked at. Positions wrap round, so that in every class and in every frame
    position and angle are uniform: one frame tells nothing, and a class played backwards is its opposite.
    """
    motion = CLASSES[number % len(CLASSES)]
    rng = np.random.default_rng((20, SPLITS.index(split), number))
    image = digits()[0][rng.choice(digit_indices(split))]
    background = texture(rng, split, SIZE)
    color = rng.uniform(200, 255, size=3).astype(np.float32)
    speed = rng.uniform(1, 2)
    start = rng.uniform(0, SIZE, size=2)
    angle = rng.uniform(0, 2 * np.pi)

    steps = np.arange(FRAMES)
    center = start + speed * steps[:, None] * np.array(_SHIFT.get(motion, (0, 0)))
    angles = np.asarray(angle + speed * steps * _TURN.get(motion, 0) / (_GLYPH / 4), dtype=np.float64)
    coverage = _stamp(image, center, angles)[..., None]
    return np.rint(background * (1 - coverage) + color * coverage).astype(np.uint8)


def _stamp(image: NDArray[np.uint8], center: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """How much of each pixel the digit covers, (T, S, S) in 0..1; `center` is (T, 2) as (x, y), the picture a torus."""
    import cv2

    glyph = cv2.resize(image, (4 * _GLYPH, 4 * _GLYPH), interpolation=cv2.INTER_CUBIC)
    glyph = cv2.GaussianBlur(glyph, (0, 0), 1.5)  # four samples a pixel are averaged before one is taken
    grid = np.arange(SIZE) + 0.5
    x = (grid[None, None, :] - center[:, 0, None, None] + SIZE / 2) % SIZE - SIZE / 2
    y = (grid[None, :, None] - center[:, 1, None, None] + SIZE / 2) % SIZE - SIZE / 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    # A point of the picture, turned back by the digit's angle, is the point of the glyph it shows.
    u = ((x * cos + y * sin) * 4 + 2 * _GLYPH - 0.5).astype(np.float32)
    v = ((y * cos - x * sin) * 4 + 2 * _GLYPH - 0.5).astype(np.float32)
    flat = cv2.remap(glyph, u.reshape(-1, SIZE), v.reshape(-1, SIZE), cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(flat.reshape(len(angles), SIZE, SIZE) / 255, dtype=np.float32)


def encode(frames: NDArray[np.uint8], rate: int) -> bytes:
    """An MP4 file of H.264, every frame a key frame: nothing of the past, hence of the motion, is in a frame's errors."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # One thread and no lookahead: the bytes depend on nothing but the frames.
        options = {"crf": "12", "preset": "veryfast", "x264-params": "keyint=1:scenecut=0:threads=1:rc-lookahead=0"}
        stream = container.add_stream("libx264", rate=Fraction(rate), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def is_clip(video: Video) -> bool:
    """Whether a film has the form of a clip."""
    places = video.places
    return len(video) == FRAMES and places is not None and places.settings["width"] == places.settings["height"] == SIZE


def render(path: Path) -> bytes:
    """The file that belongs at `clip_path(folder, split, number)`."""
    return encode(draw_clip(path.parts[-3], int(path.stem)), RATE)
