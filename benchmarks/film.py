"""A film through a network of images: `python benchmarks/film.py [--rounds 7]`. Ten seconds at 30 frames a second, 640 x 480,
through LeNet-5, in turns in one process.

Before, each frame was written as a BMP, read again and asked about alone; that way is enacted here. Both ways give the same
bits, which is checked.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from _record import write
from PIL import Image

import zoo
from zoo.data.reading.container import probe
from zoo.data.reading.decode import each_frame
from zoo.run.trained import Trained

SECONDS, RATE, HEIGHT, WIDTH = 10, 30, 480, 640


def written(path: Path) -> Path:
    """A disc that moves over a ground of blocks, which moves too."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    blocks = np.random.default_rng(0).integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    ground = blocks.repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for at in range(SECONDS * RATE):
            frame = np.roll(ground, (2 * at, 3 * at), (0, 1))
            center = HEIGHT / 2 + 150 * np.sin(at / 15), WIDTH / 2 + 200 * np.cos(at / 20)
            frame[(y - center[0]) ** 2 + (x - center[1]) ** 2 < 60**2] = 255
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    return path


@dataclass(frozen=True)
class Bmp:
    """A frame as a file in memory."""

    content: bytes

    def open(self, mode: str = "rb", /) -> io.BytesIO:
        return io.BytesIO(self.content)


def through_files(run: Trained, film: Path) -> list[Any]:
    said = []
    for frame in each_frame(probe(film)):
        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "BMP")
        said += [result for _, result in run.ask([Bmp(stream.getvalue())])]
    return said


def through_memory(run: Trained, film: Path) -> list[Any]:
    return list(run.frames(film))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    run = zoo.load("lenet5:fashion_mnist", device="cpu")
    ways: dict[str, Callable[[Trained, Path], list[Any]]] = {
        "a file for each frame": through_files,
        "frames from memory": through_memory,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        film = written(Path(folder) / "film.mp4")
        expected, *others = (way(run, film) for way in ways.values())  # warms up too
        assert all(each == expected for each in others), "the ways differ"
        for _ in range(rounds):
            for name, way in ways.items():
                begun = time.perf_counter()
                way(run, film)
                seconds[name].append(time.perf_counter() - begun)
    before, after = seconds.values()
    ratios = [one / other for one, other in zip(before, after, strict=True)]
    rows = [("way", "seconds: median (least to most)")]
    rows += [(name, f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})") for name, each in seconds.items()]
    rows.append(("times as fast", f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"))
    write(
        "film",
        "A film of ten seconds through LeNet-5",
        f"{SECONDS * RATE} frames of {WIDTH} x {HEIGHT}, H.264; {rounds} rounds in turns after one to warm up, each from the "
        f"loaded network to all predictions, decoding included; all bits the same",
        rows,
    )


if __name__ == "__main__":
    main()
