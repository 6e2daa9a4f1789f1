"""The two claims of motion_digits, on the decoded pixels, and that its files are what they are said to be.

A probe that fails proves nothing unless it could have succeeded: the same network, given the frames' differences in their
order, must tell the classes apart.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo.data.motion_digits import MotionDigits
from zoo.data.rendered import motion as _motion
from zoo.data.rendered.synth import SPLITS, digit_indices, digits, render_files

SHAPE = (3, 16, 32, 32)


@pytest.fixture(scope="module")
def data(cache: Path) -> MotionDigits:
    """The whole set, which takes the better part of a minute to render."""
    data = MotionDigits(shape=SHAPE, num_workers=0, batch_size=100)
    assert data.folder == cache / "motion_digits" / _motion.EDITION
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the first files of each split."""
    folder = tmp_path_factory.mktemp("few")
    firsts = [_motion.clip_path(folder, split, number) for split in SPLITS for number in range(6)]
    for path in {*some(folder), *firsts}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_motion.render(path))
    return folder


Split = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def pixels(data: MotionDigits) -> dict[str, Split]:
    """Each video's central clip, decoded: (N, 3, 16, 32, 32) in -0.5..0.5, and the labels."""
    splits = {}
    for name in ("train", "test"):
        samples = data.splits[name]
        samples.train, samples.views = False, 1  # type: ignore[attr-defined]
        batch = samples.__getitems__([(0, k) for k in range(len(samples))])
        splits[name] = (batch["input"].float() / 255 - 0.5, batch["label"])  # type: ignore[typeddict-item]
    return splits


def probe(train: Split, test: Split) -> float:
    """Test accuracy of a small convolutional network on images, (N, C, 32, 32)."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = train[0].shape[1]
    for width in (24, 48, 96):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, 6))
    epochs, size = 8, 50
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    steps = epochs * (len(train[0]) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for indices in torch.randperm(len(train[0])).split(size):
            # The torus: a shift of the whole picture leaves the label as it is.
            shift = tuple(torch.randint(32, (2,)).tolist())
            loss = cross_entropy(net(train[0][indices].roll(shift, (2, 3))), train[1][indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.inference_mode():
        return (net(test[0]).argmax(1) == test[1]).double().mean().item()


def bound(p: float, count: int) -> float:
    return p + 3 * math.sqrt(p * (1 - p) / count)


def blind(clips: Tensor) -> Tensor:
    """Each pixel's values sorted over time: all that frames tell of a place, whatever their order."""
    return clips.mean(1).sort(1).values[:, ::3]


TOLD: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "the first frame": (lambda clips: clips[:, :, 0], 0, bound(1 / 6, 600)),
    "a frame in the middle": (lambda clips: clips[:, :, 9], 0, bound(1 / 6, 600)),
    # Above 0.4 it tells the three axes apart, or it would be too weak to prove anything.
    "frames without their order": (blind, 0.4, bound(1 / 2, 600)),
    "frames in order": (lambda clips: clips.mean(1)[:, ::2], 0.65, 1),
}
"""What a probe sees of a clip, and the accuracy that it has at least and at most."""


@pytest.mark.slow
@pytest.mark.parametrize("seen", TOLD)
def test_one_frame_tells_nothing_and_their_order_tells_most(seen: str, pixels: dict[str, Split]) -> None:
    view, least, most = TOLD[seen]
    assert least < probe(*((view(clips), labels) for clips, labels in pixels.values())) <= most


def test_translations_go_where_their_label_says() -> None:
    """The peak of the cross-correlation of successive drawn frames says where they moved."""
    for number in range(24):
        motion = _motion.CLASSES[number % 6]
        if motion not in ("left", "right", "up", "down"):
            continue
        clip = _motion.draw_clip("train", number).astype(float).mean(-1)
        moving = clip - clip.mean(0)
        spectrum = np.fft.fft2(moving)
        forward = np.fft.ifft2((spectrum[1:] * spectrum[:-1].conj()).sum(0)).real
        y, x = (int(v + 16) % 32 - 16 for v in np.unravel_index(forward.argmax(), forward.shape))
        expected = {"left": x < 0, "right": x > 0, "up": y < 0, "down": y > 0}
        assert expected[motion], (motion, x, y)


def test_rotations_turn_as_their_label_says() -> None:
    """Unrolled about its own centre, the digit shifts along the angle, which OpenCV counts clockwise on the screen."""
    import cv2

    right = []
    for number in range(240):
        motion = _motion.CLASSES[number % 6]
        if "clockwise" not in motion:
            continue
        clip = _motion.draw_clip("train", number).astype(np.float32).mean(-1)
        energy = clip.std(0)
        turns = np.exp(2j * np.pi * np.arange(32) / 32)
        y, x = (np.angle((energy.sum(axis) ** 2 * turns).sum()) * 32 / (2 * np.pi) for axis in (1, 0))
        middle = np.roll(clip, (round(16 - y), round(16 - x)), (1, 2))
        polar = np.stack([cv2.warpPolar(frame, (10, 64), (16, 16), 10, cv2.WARP_POLAR_LINEAR) for frame in middle])
        spectrum = np.fft.fft(polar - polar.mean(0), axis=1)
        shift = np.fft.ifft((spectrum[1:] * spectrum[:-1].conj()).sum((0, 2))).real.argmax()
        right.append((shift < 32) == (motion == "clockwise"))
    assert np.mean(right) > 0.9


def test_splits_share_no_digit_and_are_stratified() -> None:
    labels = digits()[1]
    sets = [set(digit_indices(split).tolist()) for split in SPLITS]
    assert sum(map(len, sets)) == len(set().union(*sets)) == 1797
    for indices, share in zip(sets, (0.7, 0.1, 0.2), strict=True):
        counts = np.bincount(labels[sorted(indices)], minlength=10)
        assert np.abs(counts - share * np.bincount(labels)).max() <= 1


def test_counts_and_balance() -> None:
    classes, splits = MotionDigits(shape=SHAPE).find()
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 2400, "val": 600, "test": 600}
    for samples in splits.values():
        labels = [label for _, label in samples]
        assert np.bincount(labels).tolist() == [len(samples) // len(classes)] * len(classes)


def test_files_are_h264_of_key_frames_and_nearly_what_was_drawn(few: Path) -> None:
    for split in SPLITS:
        for number in (0, 1, 5):
            path = _motion.clip_path(few, split, number)
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                assert stream.codec_context.name == "h264"
                assert all(packet.is_keyframe for packet in container.demux(stream) if packet.size)
            with av.open(str(path)) as container:
                read = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
            drawn = _motion.draw_clip(split, number)
            assert read.shape == drawn.shape == (24, 32, 32, 3)
            grey = np.array([0.299, 0.587, 0.114])
            error = ((read.astype(float) - drawn) @ grey) ** 2
            assert 10 * math.log10(255**2 / error.mean()) > 34, "decibels of the luma"


@pytest.mark.numerical
@pytest.mark.slow
def test_stated_mean_and_deviation(data: MotionDigits, pixels: dict[str, Split]) -> None:
    values = pixels["train"][0] + 0.5
    assert torch.allclose(values.mean((0, 2, 3, 4)), torch.tensor(data.mean), atol=0.005)
    assert torch.allclose(values.std((0, 2, 3, 4)), torch.tensor(data.std), atol=0.005)


def some(folder: Path, count: int = 48) -> list[Path]:
    return [_motion.clip_path(folder, "train", number) for number in range(count)]


def test_rendering_twice_gives_the_same_bytes(few: Path, tmp_path: Path) -> None:
    render_files(_motion.render, some(tmp_path, 12), "again", processes=2)
    for path in some(tmp_path, 12):
        assert path.read_bytes() == (few / path.relative_to(tmp_path)).read_bytes()


SCRIPT = """
import sys
from pathlib import Path
from zoo.data.rendered import motion
from zoo.data.rendered.synth import render_files
if __name__ == "__main__":
    paths = [motion.clip_path(Path(sys.argv[1]), "train", number) for number in range(48)]
    render_files(motion.render, paths, "test", processes=2)
"""


def start(folder: Path, script: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "render.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.slow
def test_a_killed_rendering_leaves_whole_files_and_goes_on(few: Path, tmp_path: Path, script: Path) -> None:
    folder = tmp_path / "motion"
    process = start(folder, script)
    while process.poll() is None and sum(path.exists() for path in some(folder)) < 5:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in some(folder):
        assert not path.exists() or path.read_bytes() == (few / path.relative_to(folder)).read_bytes()
    assert start(folder, script).wait(120) == 0
    assert all(path.exists() for path in some(folder))


@pytest.mark.slow
def test_two_renderings_at_once_do_not_disturb_each_other(few: Path, tmp_path: Path, script: Path) -> None:
    folder = tmp_path / "motion"
    both = [start(folder, script) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    for path in some(folder):
        assert path.read_bytes() == (few / path.relative_to(folder)).read_bytes()
    assert not [p for p in folder.rglob("*") if p.is_file() and p not in some(folder)]


def _other_film(path: Path) -> None:
    path.write_bytes(_motion.encode(np.zeros((_motion.FRAMES, 48, 48, 3), np.uint8), 8))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:700]),
        lambda path: path.write_bytes(b"<html>Please log in</html>"),
        lambda path: path.write_bytes(_motion.encode(_motion.draw_clip("val", 1)[:7], 8)),
        _other_film,
    ],
    ids=["empty", "cut", "a page", "seven frames", "another size"],
)
def test_what_is_no_clip_is_rendered_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(_motion, "CLIPS", dict.fromkeys(_motion.CLIPS, 2))
    data = MotionDigits(shape=(3, 8, 32, 32), root=str(tmp_path))
    for split in _motion.CLIPS:
        for path in data._paths(split):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_motion.render(path))
    victim = data._paths("val")[1]
    whole = victim.read_bytes()
    damage(victim)
    data.setup()
    assert victim.read_bytes() == whole
    assert not data.skipped
    assert {split: len(samples) for split, samples in data.splits.items()} == dict.fromkeys(_motion.CLIPS, 2)


def test_a_clip_that_cannot_be_replaced_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_motion, "CLIPS", dict.fromkeys(_motion.CLIPS, 1))
    data = MotionDigits(shape=(3, 8, 32, 32), root=str(tmp_path))
    for split in _motion.CLIPS:
        (path,) = data._paths(split)
        path.parent.mkdir(parents=True)
        path.symlink_to("nothing")
    with pytest.raises(ValueError, match=r"00000\.mp4 is no regular file, so it is not replaced"):
        data.setup()
