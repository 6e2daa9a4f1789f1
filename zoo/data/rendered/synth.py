"""What the embedded sets are made of: real handwritten digits, patches of real photographs, and a way to render files.

Everything here is a function of its arguments, so that a file rendered twice is the same file. This module imports neither
torch nor Lightning: the processes that render start in a moment.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.common.files import reason
from zoo.common.places import write_whole
from zoo.data.loading.parallel import mapped

SPLITS = ("train", "val", "test")
_SHARES = (0.70, 0.10, 0.20)  # of the digits of each class


@cache
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 handwritten digits inside scikit-learn: (1797, 8, 8) uint8, 0 to 255, strokes bright; and their labels.

    Source: UCI, Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998), its test part. The originals
    count 0 to 16; they are scaled to bytes.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    return images, np.asarray(bunch.target, dtype=np.int64)


@cache
def digit_indices(split: str) -> NDArray[np.int64]:
    """Which of the digits belong to a split: fixed, stratified by class, 70 / 10 / 20 %, the same for every embedded set."""
    labels = digits()[1]
    rng = np.random.default_rng(0)
    parts: list[NDArray[np.int64]] = []
    for value in range(10):
        members = rng.permutation(np.flatnonzero(labels == value))
        ends = np.rint(np.cumsum((0.0, *_SHARES)) * len(members)).astype(int)
        at = SPLITS.index(split)
        parts.append(members[ends[at] : ends[at + 1]])
    return np.sort(np.concatenate(parts))


@cache
def _photographs(split: str) -> tuple[NDArray[np.uint8], ...]:
    """The split's own columns of scikit-learn's two sample photographs (a Chinese temple, a flower; 427 x 640)."""
    from sklearn.datasets import load_sample_images

    ends = np.rint(np.cumsum((0.0, *_SHARES)) * 640).astype(int)
    at = SPLITS.index(split)
    return tuple(np.ascontiguousarray(image[:, ends[at] : ends[at + 1]]) for image in load_sample_images().images)


def texture(rng: np.random.Generator, split: str, size: int) -> NDArray[np.float32]:
    """A background of (size, size, 3), values 0 to 255: a patch of a photograph, turned, mirrored, its colors permuted.

    The splits cut their patches from disjoint columns. The patch is dimmed to at most half the range, so that a bright
    digit stays legible on the brightest sky.
    """
    import cv2

    photographs = _photographs(split)
    image = photographs[rng.integers(len(photographs))]
    shortest = min(image.shape[:2])
    edge = int(rng.integers(min(size, shortest), min(4 * size, shortest) + 1))
    top, left = (int(rng.integers(extent - edge + 1)) for extent in image.shape[:2])
    patch = cv2.resize(image[top : top + edge, left : left + edge], (size, size), interpolation=cv2.INTER_AREA)
    patch = np.rot90(patch, int(rng.integers(4)))
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    return np.ascontiguousarray(patch[..., rng.permutation(3)], dtype=np.float32) * np.float32(rng.uniform(0.25, 0.5))


def render_files(render: Callable[[Path], bytes], paths: Sequence[Path], title: str, processes: int | None = None) -> None:
    """Render every file that is not there yet, in several processes, with a progress bar.

    `render(path)` must be picklable and depend on nothing but the path's last parts. Its bytes reach the path in one
    step: an interrupted run leaves no half-written file, a second run goes on where the first stopped, and two runs at
    once write the same bytes.
    """
    missing = [path for path in paths if not path.exists()]
    for folder in {path.parent for path in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    for _ in mapped(partial(_render, render), missing, title, chunk=32, processes=processes):
        pass


def renewed(render: Callable[[Path], bytes], path: Path) -> None:
    """Render a file again, in whose place another lies. Raises ValueError: it cannot be replaced."""
    try:
        write_whole(path, render(path))
    except OSError as error:
        raise ValueError(f"{path} is damaged, and cannot be rendered anew ({reason(error)}). Remove it.") from None


def _render(render: Callable[[Path], bytes], path: Path) -> None:
    write_whole(path, render(path))
