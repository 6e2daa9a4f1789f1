"""Clips a second from video files: `ZOO_DATA=FOLDER python benchmarks/clips_throughput.py [--tiny] [--rounds 5]`.

A clip is 16 frames, the centre square, 112 x 112, bytes. Everyone is given the same files and the same times, except
pytorchvideo's LabeledVideoDataset, which draws its own of the same length; ours are the batches that training is given. In
turns, in one run, through a DataLoader, in one process (and its threads) and with two workers: from the request for the
first batch to the last batch, after a few others for warmth. Files:

(a) jhmdb9, 320 x 240, 16 frames spread over the video;
(b) ten seconds, 640 x 480, 30 frames a second, H.264 as x264 makes it by default (a key frame at least every 250), of
    photographs under a moving camera, made here; 16 frames at 5 a second, clips spread over the video;
(c) those of (b) after `zoo.prepare video_folder FOLDER short_side=128`.

What is not installed, or does not load, is named and left out. The others run with whichever of their settings, and of
threads that each decode a clip, is fastest on the files at hand.
"""

import argparse
import functools
import gc
import importlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
import torch
from _record import write
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, IterableDataset

from zoo.common.places import data_root
from zoo.data.reading.container import probe
from zoo.data.reading.ledger import Store
from zoo.data.reading.prepared import prepare
from zoo.data.video import ClipFiles, Clips

SHAPE = (3, 16, 112, 112)
RATE, SECONDS = 5, 3.2  # of the clips of (b) and (c)
BATCH = 8
WORKERS = (2, 0)
CORES = os.cpu_count() or 1
Times = np.ndarray


@dataclass(frozen=True)
class Wish:
    """A clip: the seconds after the first frame of the frames that are to be shown."""

    path: str
    times: Times


class Read(Protocol):
    def __call__(self, wish: Wish, /) -> Tensor: ...


def served(frames: Tensor) -> Tensor:
    """(16, H, W, 3) -> (3, 16, 112, 112): the centre square, scaled."""
    edge = min(frames.shape[1:3])
    top, left = ((extent - edge) // 2 for extent in frames.shape[1:3])
    square = frames[:, top : top + edge, left : left + edge].permute(0, 3, 1, 2)
    return interpolate(square, SHAPE[2:], mode="bilinear", antialias=True, align_corners=False).transpose(0, 1)


@dataclass(frozen=True)
class PlainPyAV:
    """Decode from the start to the last frame that is wanted, and convert those that are."""

    thread_type: str

    def __call__(self, wish: Wish) -> Tensor:
        convert = VideoReformatter()
        images: list[np.ndarray] = []
        with av.open(wish.path) as container:
            container.streams.video[0].thread_type = self.thread_type
            first, shown, image = None, None, None
            for frame in container.decode(video=0):
                first = frame.time if first is None else first
                while len(images) < SHAPE[1] and frame.time - first > wish.times[len(images)] + 1e-3:
                    image = convert.reformat(shown, format="rgb24", threads=1).to_ndarray() if image is None else image
                    images.append(image)
                if len(images) == SHAPE[1]:
                    break
                shown, image = frame, None
            else:
                image = convert.reformat(shown, format="rgb24", threads=1).to_ndarray()
                images += [image] * (SHAPE[1] - len(images))
        return served(torch.from_numpy(np.stack(images)))


@dataclass(frozen=True)
class TorchCodec:
    """Everything that torchcodec offers to be tuned."""

    seek_mode: str
    threads: int
    resize: bool
    """Inside the decoder (0.8 and later), then cropped; else cropped, then scaled, as ours."""

    def __call__(self, wish: Wish) -> Tensor:
        from torchcodec.decoders import VideoDecoder

        settings = {"dimension_order": "NHWC", "num_ffmpeg_threads": self.threads, "seek_mode": self.seek_mode}
        if self.resize:
            from torchcodec.transforms import Resize

            height, width = size_of(wish.path)
            factor = SHAPE[2] / min(height, width)
            settings["transforms"] = [Resize((round(height * factor), round(width * factor)))]
        decoder = VideoDecoder(wish.path, **settings)
        first, end = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
        frames = decoder.get_frames_played_at(np.clip(first + wish.times + 1e-3, first, end - 1e-3).tolist()).data
        return served(frames)


@dataclass(frozen=True)
class Decord:
    threads: int

    def __call__(self, wish: Wish) -> Tensor:
        import decord

        reader = decord.VideoReader(wish.path, num_threads=self.threads)
        shown = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        indices = np.searchsorted(shown - shown[0], wish.times + 1e-3, side="right") - 1
        return served(torch.from_numpy(reader.get_batch(indices).asnumpy()))


@functools.cache
def size_of(path: str) -> tuple[int, int]:
    with av.open(path) as container:
        return container.streams.video[0].height, container.streams.video[0].width


class Wishes(Dataset[Tensor]):
    """Batches of what a library reads, by threads of which each reads a clip."""

    def __init__(self, wishes: Sequence[Wish], read: Read, threads: int) -> None:
        self.wishes = wishes
        self.read = read
        self.threads = threads

    def __getitems__(self, draws: Sequence[tuple[int, int]]) -> Tensor:
        wishes = [self.wishes[index] for _, index in draws]
        if self.threads == 1:
            return torch.stack([self.read(wish) for wish in wishes])
        with ThreadPoolExecutor(self.threads) as pool:
            return torch.stack(list(pool.map(self.read, wishes)))


class PyTorchVideo(IterableDataset[Tensor]):
    """LabeledVideoDataset with its usual random sampler; its own transforms do not import with today's torchvision."""

    def __init__(self, wishes: Sequence[Wish], spread: bool) -> None:
        from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler

        # A clip longer than the video is the video.
        sampler = make_clip_sampler("random", 1000 if spread else SECONDS)
        self.data = LabeledVideoDataset(
            [(wish.path, {}) for wish in wishes],
            sampler,
            torch.utils.data.SequentialSampler,
            transform=self.transform,
            decode_audio=False,
        )

    @staticmethod
    def transform(sample: dict[str, Tensor]) -> Tensor:
        video = sample["video"]  # (3, T, H, W), float
        picks = torch.linspace(0, video.shape[1] - 1, SHAPE[1]).long()
        return served(video[:, picks].permute(1, 2, 3, 0))

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield from iter(self.data)


class Draws(list[tuple[int, int]]):
    """What a loader asks for: at first only a few."""

    few = True

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return itertools.islice(super().__iter__(), 2 * BATCH if self.few else None)


def rate(dataset: Any, workers: int, order: Sequence[int]) -> float:
    """Clips a second, by workers that are there already and have read nothing ahead."""
    gc.collect()  # a loader from before would be collected by the new workers, which complain of it
    draws, batches = Draws((0, index) for index in order), len(order) // BATCH
    how: dict[str, Any] = {"sampler": draws, "collate_fn": lambda batch: batch}
    if isinstance(dataset, IterableDataset):  # endless, and slow
        how, batches = {}, max(1, batches // 4)
    loader = DataLoader(dataset, BATCH, num_workers=workers, persistent_workers=workers > 0, **how)
    for draws.few in (True, False):
        start = time.perf_counter()
        count = 0
        for batch in itertools.islice(loader, 2 if draws.few else batches):
            count += len(batch["input"] if isinstance(batch, Mapping) else batch)
    return count / (time.perf_counter() - start)


def fastest(wishes: Sequence[Wish], settings: Sequence[Read], workers: int, order: Sequence[int]) -> tuple[str, Wishes]:
    """With how many threads, and which of its settings, a library is fastest."""
    best = (0.0, "", Wishes(wishes, settings[0], 1))
    for read, threads in itertools.product(settings, (1,) if workers else (1, CORES)):
        dataset = Wishes(wishes, read, threads)
        try:
            clips = rate(dataset, workers, order[: 4 * BATCH])
        except RuntimeError:  # approximate seeking believes the files' headers, which may be wrong
            continue
        best = max(best, (clips, f"{read} by {threads}", dataset), key=lambda each: each[0])
    return best[1:]


def missing() -> dict[str, str]:
    """Of each library that cannot be used here, why."""
    absent = {}
    for name, module in (("torchcodec", "torchcodec.decoders"), ("decord", "decord"), ("pytorchvideo", "pytorchvideo.data")):
        try:
            importlib.import_module(module)
            if name == "torchcodec":
                from zoo.data.reading.decode import check_decoder

                check_decoder(name)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            absent[name] = str(error).strip().splitlines()[0]
    return absent


def film(path: Path, number: int, frames: int, height: int = 480, width: int = 640) -> None:
    """A photograph under a camera that drifts, turns and zooms, with the noise of a sensor."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(number)
    source = cv2.resize(load_sample_images().images[number % 2], (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    phase, speed = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.2, 0.6, 4)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))  # x264's defaults: preset medium, CRF 23, GOP 250
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_type = "FRAME"  # as x264 has it; PyAV would cut each frame into slices
        for step in range(frames):
            wave = np.sin(phase + speed * step / 30 * 2)
            matrix = cv2.getRotationMatrix2D((width + 150 * wave[0], height + 120 * wave[1]), 6 * wave[2], 0.8 + 0.15 * wave[3])
            matrix[:, 2] -= (width / 2, height / 2)
            image = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            noisy = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode())


def compare(
    title: str, paths: Sequence[Path], clips: Clips, rounds: int, batches: int, absent: Mapping[str, str]
) -> list[list[str]]:
    """Rows of the table: each reader's clips a second, in one process and with two workers, and ours relative to it."""
    videos = [probe(path) for path in paths]
    ours = ClipFiles(videos, None, clips, train=False, seed=0)
    wishes = [
        Wish(str(video.path), clips.times(video, clips.place_of(clip))) for video in videos for clip in range(clips.clips)
    ]
    order = np.random.default_rng(0).permutation(len(wishes)).tolist()[: BATCH * batches]
    for index in order[:3]:
        same = torch.equal(ours.__getitems__([(0, index)])["input"][0], PlainPyAV("NONE")(wishes[index]))
        assert same, "the frames are those of plain decoding"
    peers: dict[str, list[Read]] = {
        "plain PyAV": [PlainPyAV("NONE"), PlainPyAV("SLICE"), PlainPyAV("AUTO")],
        "torchcodec": [TorchCodec(*each) for each in itertools.product(("exact", "approximate"), (1, 2), (False, True))],
        "decord": [Decord(1), Decord(2)],
    }
    found: dict[tuple[str, int], list[float]] = {}
    readers: dict[tuple[str, int], Any] = {}
    for workers in WORKERS:
        readers["zoo", workers] = ours
        for name, settings in peers.items():
            if name not in absent:
                chosen, dataset = fastest(wishes, settings, workers, order)
                print(f"{title}, {workers} workers: {chosen}", flush=True)
                readers[name, workers] = dataset
        if "pytorchvideo" not in absent:
            readers["pytorchvideo", workers] = PyTorchVideo(wishes, clips.segments)
    for _ in range(rounds):
        for (name, workers), dataset in readers.items():
            found.setdefault((name, workers), []).append(rate(dataset, workers, order))
    rows = []
    for name in dict.fromkeys(name for name, _ in readers):
        row = [title, name]
        for workers in reversed(WORKERS):
            its = found[name, workers]
            ratios = [mine / each for mine, each in zip(found["zoo", workers], its, strict=True)]
            row.append(f"{statistics.median(its):.1f} ({min(its):.1f} to {max(its):.1f})")
            row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(row)
        print(*row, sep=" | ", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few clips of each, to see that it runs; nothing is written")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    tiny, rounds = given.tiny, given.rounds
    files, frames, batches = (2, 120, 2) if tiny else (8, 300, 12)
    torch.set_num_threads(CORES)
    absent = missing()
    for name, reason in absent.items():
        print(f"{name} is left out: {reason}")
    rows = [["files", "reader", "1 process: clips/s", "zoo is faster by", "2 workers: clips/s", "zoo is faster by"]]
    real = data_root(None) / "jhmdb9"
    spread, timed = Clips(SHAPE, segments=True, clips=4), Clips(SHAPE, RATE, clips=96)
    if real.is_dir():
        paths = sorted(real.rglob("*.avi"))[:: 40 if tiny else 3]
        rows += compare("(a) jhmdb9", paths, spread, rounds, batches * 4, absent)
    else:
        print(f"(a) is left out: there is no {real}; set ZOO_DATA")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.mp4" for number in range(files)]
        for number, path in enumerate(paths):
            film(path, number, frames)
        rows += compare("(b) 640 x 480, GOP 250", paths, timed, rounds, batches, absent)
        store = Store(Path(folder))
        prepare(store, paths, 128, None)
        rows += compare("(c) after prepare", [store.copy(path, 128) for path in paths], timed, rounds, batches * 8, absent)
    if not tiny:
        write(
            "clips_throughput",
            "Clips a second from video files: 16 frames, 112 x 112",
            f"{rounds} rounds in turns, medians (least to most), batches of {BATCH}"
            + ("; " * bool(absent) + " ".join(f"{name} was left out: {reason}." for name, reason in absent.items())),
            rows,
        )


if __name__ == "__main__":
    main()
