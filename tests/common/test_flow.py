"""Optical flow: bytes, geometry, estimators against known motion, and its picture."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.common import flow as zoo_flow
from zoo.common.flow import BOUND, STEP, estimator, from_bytes, mirrored, picture, resized, to_bytes, turned, wheel

Frames = NDArray[np.uint8]


def photograph(height: int, width: int) -> Frames:
    from sklearn.datasets import load_sample_images

    return cv2.resize(load_sample_images().images[0], (width, height), interpolation=cv2.INTER_AREA)


def turning(height: int = 96, width: int = 128, count: int = 2) -> tuple[Frames, Tensor]:
    """A photograph that turns about its centre and grows, and the field that does it."""
    source = photograph(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - width / 2 + 0.5, y - height / 2 + 0.5
    angle, growth = 0.06, 1.05
    frames = []
    for step in range(count):
        cos, sin = np.cos(angle * step) / growth**step, np.sin(angle * step) / growth**step
        back = ((x * cos + y * sin) + width / 2 - 0.5, (y * cos - x * sin) + height / 2 - 0.5)
        frames.append(cv2.remap(source, *(b.astype(np.float32) for b in back), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    cos, sin = np.cos(angle) * growth, np.sin(angle) * growth
    field = np.stack([x * cos - y * sin - x, x * sin + y * cos - y])
    return np.stack(frames), torch.from_numpy(field)


def error(one: Tensor, other: Tensor, border: int = 8) -> float:
    """Median distance of two fields' ends, in pixels, away from the border."""
    inside = (one - other)[..., border:-border, border:-border]
    return inside.norm(dim=-3).median().item()


@pytest.mark.numerical
def test_bytes_are_right_to_half_a_step() -> None:
    flow = torch.linspace(-BOUND, BOUND, 100_001)
    stored = to_bytes(flow)
    assert stored.dtype == torch.uint8
    assert (stored.min(), stored.max()) == (0, 255)
    assert (from_bytes(stored) - flow).abs().max() <= STEP / 2 * (1 + 1e-5)
    assert to_bytes(torch.tensor([-1e9, 1e9, 0.0])).tolist() == [0, 255, 128]
    everything = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(from_bytes(everything)), everything)
    assert torch.equal(to_bytes(-from_bytes(everything)), 255 - everything), "negating loses nothing"


@pytest.mark.numerical
def test_dis_finds_a_known_motion() -> None:
    frames, field = turning()
    found = estimator("dis")(frames)
    assert found.shape == (1, 2, 96, 128)
    assert field.norm(dim=0).median() > 1
    assert error(found[0], field) < 0.25
    assert estimator("dis")(frames[:1]).shape == (0, 2, 96, 128)
    still = estimator("dis")(np.repeat(frames[:1], 3, 0))
    assert still.abs().max() < 0.05


@pytest.mark.numerical
def test_dis_sees_small_frames() -> None:
    """32 x 32 pixels, as of motion_digits: a square that moves 2 pixels to the right and 1 up."""
    frames = np.full((2, 32, 32, 3), 40, np.uint8)
    texture = np.random.default_rng(0).integers(100, 255, (10, 10, 3), dtype=np.uint8)
    frames[0, 12:22, 8:18], frames[1, 11:21, 10:20] = texture, texture
    inside = estimator("dis")(frames)[0, :, 14:20, 10:16].flatten(1).median(1).values
    assert inside.tolist() == pytest.approx([2, -1], abs=0.4)


T = Callable[[Frames], Frames]
MOVES: dict[str, tuple[T, Callable[[Tensor], Tensor]]] = {
    "mirrored": (lambda frames: frames[:, :, ::-1], mirrored),
    "turned": (lambda frames: np.rot90(frames, 1, (1, 2)), lambda flow: turned(flow, 1)),
    "upside down": (lambda frames: np.rot90(frames, 2, (1, 2)), lambda flow: turned(flow, 2)),
    "turned back": (lambda frames: np.rot90(frames, 3, (1, 2)), lambda flow: turned(flow, 3)),
    "halved": (
        lambda frames: np.stack([cv2.resize(f, (64, 48), interpolation=cv2.INTER_AREA) for f in frames]),
        lambda flow: resized(flow, (48, 64)),
    ),
    "flattened": (
        lambda frames: np.stack([cv2.resize(f, (128, 64), interpolation=cv2.INTER_AREA) for f in frames]),
        lambda flow: resized(flow, (64, 128)),
    ),
}


@pytest.mark.numerical
@pytest.mark.parametrize("name", MOVES)
def test_what_is_done_to_the_video_is_done_to_its_flow(name: str) -> None:
    """flow(T(video)) is close to T(flow(video)), and far from the field that was only moved as a picture."""
    frames, field = turning()
    change, change_flow = MOVES[name]
    of_changed = estimator("dis")(np.ascontiguousarray(change(frames)))[0]
    assert error(of_changed, change_flow(estimator("dis")(frames)[0])) < 0.3
    assert error(of_changed, change_flow(field)) < 0.3, "the known field, too"
    as_picture = torch.from_numpy(np.ascontiguousarray(change(field.permute(1, 2, 0)[None].numpy()))[0]).permute(2, 0, 1)
    assert error(of_changed, as_picture) > 3 * error(of_changed, change_flow(field))


@pytest.mark.numerical
def test_the_colour_wheel() -> None:
    """Baker et al. 2011: to the right is red, and hue runs round with the direction; standing still is white."""
    import colorsys

    legend = wheel(101).permute(1, 2, 0).numpy() / 255
    assert legend[50, 50].min() > 0.99
    assert legend[0, 0].tolist() == [1, 1, 1], "outside of the circle"
    hues = []
    for angle in np.deg2rad(np.arange(0, 360, 20)):
        y, x = 50 + round(48 * np.sin(angle)), 50 + round(48 * np.cos(angle))
        hue, saturation, _ = colorsys.rgb_to_hsv(*legend[y, x])
        assert saturation > 0.9
        hues.append(hue)
    assert min(hues[0], 1 - hues[0]) < 0.03
    assert np.all(np.diff(np.unwrap(np.array(hues), period=1)) > 0)
    flow = torch.zeros(1, 2, 4, 4)
    flow[0, 0, :, 2:] = 3
    coloured = picture(flow)[0]
    assert coloured[:, 0, 0].tolist() == [255, 255, 255]
    assert coloured[0, 0, 3] > 200 > 100 > coloured[1, 0, 3]


def test_raft_is_fetched_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The publisher's weights cannot be had here, so a file of the right tensors stands at another address."""
    import hashlib

    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(raft_small().state_dict(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(tmp_path / f"raft_small-{digits}.pth")

    class Here:
        C_T_V2 = type("Weights", (), {"url": path.as_uri()})

    monkeypatch.setattr("torchvision.models.optical_flow.Raft_Small_Weights", Here)
    zoo_flow._raft_network.cache_clear()
    try:
        frames = np.ascontiguousarray(turning(60, 84)[0])
        fields = estimator("raft")(frames)
        assert fields.shape == (1, 2, 60, 84)
        assert torch.isfinite(fields).all()
        assert (cache / "weights" / path.name).is_file()
        assert estimator("raft")(frames[:1]).shape == (0, 2, 60, 84)
    finally:
        zoo_flow._raft_network.cache_clear()
    digits = Raft_Small_Weights.C_T_V2.url.rpartition("-")[2].removesuffix(".pth")
    assert len(digits) == 8
    assert int(digits, 16)


def test_there_is_no_other_estimator() -> None:
    with pytest.raises(ValueError, match="there are dis, raft"):
        estimator("farneback")
