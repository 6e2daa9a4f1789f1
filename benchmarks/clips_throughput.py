"""Clips a second from video files: `ZOO_DATA=FOLDER python benchmarks/clips_throughput.py [--tiny]`.

A clip is 16 frames, the centre square, 112 x 112, bytes. Everyone is given the same files and the same times, except
pytorchvideo's LabeledVideoDataset, which draws its own of the same length. In turns, in one run, in one process with one
torch thread and in a data loader with two workers; the loaders' start is not counted. Files:

(a) jhmdb9, 320 x 240, 16 frames spread over the video;
(b) ten seconds, 640 x 480, 30 frames a second, H.264 as x264 makes it by default (a key frame at least every 250), of
    photographs under a moving camera, made here; 16 frames at 5 a second from a random time;
(c) those of (b) after `zoo.prepare video_folder FOLDER short_side=128`.

What is not installed, or does not load, is named and left out. torchcodec runs with whichever of its settings is fastest
on the files at hand.
"""

import argparse
import importlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from _record import write
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, IterableDataset

from zoo.data._decode import probe
from zoo.data._files import data_root
from zoo.data._prepared import Store, prepare
from zoo.data.video import ClipFiles, Clips

SHAPE = (3, 16, 112, 112)
RATE, SECONDS = 5, 3.2  # of the clips of (b) and (c)
BATCH = 8
Times = np.ndarray


@dataclass(frozen=True)
class Wish:
    """A clip: the seconds after the first frame of the frames that are to be shown."""

    path: str
    times: Times


Read = Callable[[Wish], Tensor]


def served(frames: Tensor) -> Tensor:
    """(16, H, W, 3) -> (3, 16, 112, 112): the centre square, scaled."""
    edge = min(frames.shape[1:3])
    top, left = ((extent - edge) // 2 for extent in frames.shape[1:3])
    square = frames[:, top : top + edge, left : left + edge].permute(0, 3, 1, 2)
    return interpolate(square, SHAPE[2:], mode="bilinear", antialias=True, align_corners=False).transpose(0, 1)


def plain_pyav(wish: Wish) -> Tensor:
    """Decode from the start to the last frame that is wanted."""
    frames, shown = [], []
    with av.open(wish.path) as container:
        container.streams.video[0].thread_type = "SLICE"
        for frame in container.decode(video=0):
            frames.append(frame)
            shown.append(frame.time)
            if frame.time - shown[0] > wish.times[-1] + 1e-3:
                break
    indices = np.searchsorted(np.array(shown) - shown[0], wish.times + 1e-3, side="right") - 1
    return served(torch.from_numpy(np.stack([frames[k].to_ndarray(format="rgb24", threads=1) for k in indices])))


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

            height, width = sizes[wish.path]
            factor = SHAPE[2] / min(height, width)
            settings["transforms"] = [Resize((round(height * factor), round(width * factor)))]
        decoder = VideoDecoder(wish.path, **settings)
        first, end = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
        frames = decoder.get_frames_played_at(np.clip(first + wish.times + 1e-3, first, end - 1e-3).tolist()).data
        return served(frames)


def decord(wish: Wish) -> Tensor:
    import decord

    reader = decord.VideoReader(wish.path, num_threads=1)
    shown = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    indices = np.searchsorted(shown - shown[0], wish.times + 1e-3, side="right") - 1
    return served(torch.from_numpy(reader.get_batch(indices).asnumpy()))


class Wishes(Dataset[Tensor]):
    def __init__(self, wishes: Sequence[Wish], read: Read) -> None:
        self.wishes = wishes
        self.read = read

    def __len__(self) -> int:
        return len(self.wishes)

    def __getitem__(self, index: int) -> Tensor:
        return self.read(self.wishes[index])


class Ours:
    """The project's reader; the videos are demuxed before, as `setup` does."""

    def __init__(self, wishes: Sequence[Wish], clips: Clips) -> None:
        paths = list(dict.fromkeys(wish.path for wish in wishes))
        self.videos = {path: probe(Path(path)) for path in paths}
        self.clips = clips

    def __call__(self, wish: Wish) -> Tensor:
        video = self.videos[wish.path]
        files = ClipFiles([video], None, self.clips, train=False, seed=0)
        (part,) = files._parts(0, video, video.at(wish.times), self.clips.box(0.5, 0.5))
        return self.clips.scaled(part)


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


def rate(dataset: Dataset[Tensor], workers: int, batches: int) -> float:
    """Clips a second after the first batch."""
    found = iter(DataLoader(dataset, batch_size=BATCH, num_workers=workers))
    next(found)
    start = time.perf_counter()
    count = sum(len(batch) for batch in itertools.islice(found, batches))
    return count / (time.perf_counter() - start)


def rate_if_able(dataset: Dataset[Tensor]) -> float:
    """0 for a setting that fails on these files: approximate seeking believes their headers, which may be wrong."""
    try:
        return rate(dataset, 0, 2)
    except RuntimeError:
        return 0.0


def missing() -> dict[str, str]:
    """Of each library that cannot be used here, why."""
    absent = {}
    for name, module in (("torchcodec", "torchcodec.decoders"), ("decord", "decord"), ("pytorchvideo", "pytorchvideo.data")):
        try:
            importlib.import_module(module)
            if name == "torchcodec":
                from zoo.data._decode import check_decoder

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


sizes: dict[str, tuple[int, int]] = {}


def wishes_of(paths: Sequence[Path], clips: Clips, count: int, seed: int = 0) -> list[Wish]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        video = probe(paths[number % len(paths)])
        with av.open(str(video.path)) as container:
            stream = container.streams.video[0]
            sizes[str(video.path)] = (stream.height, stream.width)
        place = 0.5 if clips.segments else float(rng.uniform())
        found.append(Wish(str(video.path), clips.times(video, place)))
    return found


def compare(
    title: str, paths: Sequence[Path], clips: Clips, rounds: int, batches: int, absent: dict[str, str]
) -> list[list[str]]:
    """Rows of the table: each reader's clips a second, in one process and with two workers, and ours relative to it."""
    wishes = wishes_of(paths, clips, BATCH * (batches + 1))
    ours = Ours(wishes, clips)
    for wish in wishes[:3]:
        assert torch.equal(ours(wish), plain_pyav(wish)), "the frames are those of plain decoding"
    readers: dict[str, Dataset[Tensor]] = {"zoo": Wishes(wishes, ours), "plain PyAV": Wishes(wishes, plain_pyav)}
    if "torchcodec" not in absent:
        settings = [TorchCodec(*each) for each in itertools.product(("exact", "approximate"), (1, 2), (False, True))]
        tuned = max(settings, key=lambda each: rate_if_able(Wishes(wishes[: 3 * BATCH], each)))
        readers[f"torchcodec ({tuned.seek_mode}, {tuned.threads} threads{', resizing' * tuned.resize})"] = Wishes(wishes, tuned)
    if "decord" not in absent:
        readers["decord"] = Wishes(wishes, decord)
    if "pytorchvideo" not in absent:
        readers["pytorchvideo LabeledVideoDataset"] = PyTorchVideo(wishes, clips.segments)
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for (name, reader), workers in itertools.product(readers.items(), (0, 2)):
            found.setdefault((name, workers), []).append(rate(reader, workers, batches))
    rows = []
    for name in readers:
        row = [title, name]
        for workers in (0, 2):
            mine = found["zoo", workers]
            its = found[name, workers]
            ratios = [a / b for a, b in zip(mine, its, strict=True)]
            row.append(f"{statistics.median(its):.1f} ({min(its):.1f} to {max(its):.1f})")
            row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(row)
        print(*row, sep=" | ", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few clips of each, to see that it runs; nothing is written")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    files, frames, rounds, batches = (2, 120, 1, 1) if tiny else (8, 300, 5, 12)
    absent = missing()
    for name, reason in absent.items():
        print(f"{name} is left out: {reason}")
    rows = [["files", "reader", "1 process: clips/s", "zoo is faster by", "2 workers: clips/s", "zoo is faster by"]]
    real = data_root(None) / "jhmdb9"
    spread, timed = Clips(SHAPE, segments=True), Clips(SHAPE, RATE)
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
            f"{rounds} rounds in turns, medians (least to most), batches of {BATCH} after the first; one torch thread. "
            + (" ".join(f"{name} was left out: {reason}." for name, reason in absent.items())),
            rows,
        )


if __name__ == "__main__":
    main()
