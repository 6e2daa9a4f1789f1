"""Clips cut as published protocols cut them: frames scaled whole, spread and cropped as the publishers' own functions do."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional

from tests.data.test_video import labelled, moving, plain, write
from tests.published_clips import part_of_pytorchvideo
from zoo.common.crops import sides_of
from zoo.common.flow import to_bytes
from zoo.data.reading.container import probe
from zoo.data.video import ClipFiles, Clips
from zoo.data.video_folder import VideoFolder


def films(tmp_path: Path, count: int, rate: int, size: tuple[int, int] = (48, 64)) -> tuple[Path, Tensor]:
    """A film, and its frames (T, 3, H, W) as PyAV alone decodes them."""
    path = write(tmp_path / f"{count}-{rate}-{size[0]}x{size[1]}.mp4", moving(count, *size), rate=rate)
    return path, torch.from_numpy(np.stack(plain(path))).permute(0, 3, 1, 2)


def views(path: Path, clips: Clips) -> list[Tensor]:
    files = ClipFiles([probe(path)], None, clips, train=False, seed=0)
    return [files.read(0, 0, view)["input"] for view in range(files.views)]


@pytest.mark.parametrize("resize", [32, (32, 43), (36, 32)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(48, 64), (66, 52), (40, 40)])
def test_a_whole_frame_is_scaled_as_torchvision_scales_it(
    tmp_path: Path, size: tuple[int, int], antialias: bool, resize: int | tuple[int, int]
) -> None:
    path, frames = films(tmp_path, 10, 10, size)
    (found,) = views(path, Clips((3, 4, 30, 31), 10, resize=resize, antialias=antialias))
    sides = [resize] if isinstance(resize, int) else list(resize)
    scaled = functional.resize(frames[3:7], sides, antialias=antialias)
    assert torch.equal(found, functional.center_crop(scaled, [30, 31]).transpose(0, 1))


def test_its_crops_are_the_publishers(tmp_path: Path) -> None:
    uniform_crop = part_of_pytorchvideo("transforms/functional").uniform_crop
    for size in ((48, 62), (62, 48)):  # scaled to 32 x 41: the space left is odd
        path, frames = films(tmp_path, 4, 10, size)
        scaled = functional.resize(frames, [32], antialias=True)
        three = views(path, Clips((3, 4, 32, 32), 10, crops=3, resize=32))
        expected = [uniform_crop(scaled.transpose(0, 1), 32, place) for place in (1, 0, 2)]
        assert all(torch.equal(*pair) for pair in zip(three, expected, strict=True))
        ten = views(path, Clips((3, 4, 28, 28), 10, crops=10, resize=32))
        corners = functional.ten_crop(scaled, [28, 28])
        order = [corners[at] for at in (4, 0, 1, 2, 3, 9, 6, 5, 8, 7)]  # the center, each corner, each mirrored
        assert all(torch.equal(view, each.transpose(0, 1)) for view, each in zip(ten, order, strict=True))


@pytest.mark.parametrize(("count", "rate"), [(90, 30), (75, 25), (61, 24), (20, 30)])
@pytest.mark.parametrize(("frames", "asked", "clips"), [(8, 3.75, 1), (4, 2.5, 10), (13, 5.0, 3), (16, 15.0, 10)])
def test_linspace_is_pytorchvideos_sampling(
    tmp_path: Path, count: int, rate: int, frames: int, asked: float, clips: int
) -> None:
    """Its sampler of clips, its selection of the frames within one, its subsampling of these."""
    video = probe(write(tmp_path / "film.mp4", moving(count, 16, 16), rate=rate))
    how = Clips((3, frames, 16, 16), asked, clips=clips, sampling="linspace")
    sampler = part_of_pytorchvideo("data/clip_sampling").ConstantClipsPerVideoSampler(frames / asked, clips)
    subsample = part_of_pytorchvideo("transforms/functional").uniform_temporal_subsample
    shown = video.pts * video.time_base
    for clip in range(clips):
        start, end, *_ = sampler(0, count / rate, {})
        if clips == 1:  # a single one is in the middle here, and at the start there
            start, end = (each + max(0.0, count / rate - frames / asked) / 2 for each in (float(start), float(end)))
        within = torch.from_numpy(np.flatnonzero((shown >= float(start) - 1e-6) & (shown < float(end) - 1e-6)))
        assert how.numbers(video, how.place_of(clip)).tolist() == subsample(within, frames, 0).tolist()


def test_training_clips_are_cut_of_whole_frames_too(tmp_path: Path) -> None:
    videos = labelled(tmp_path, 2).videos
    clips = Clips((3, 4, 20, 22), 5, flip=True, resize=(24, 40), sampling="linspace")
    found = [ClipFiles(videos, [0, 1], clips, train=True, seed=seed).read(epoch, 1, 0) for seed in (0, 1) for epoch in (0, 1)]
    again = ClipFiles(videos, [0, 1], clips, train=True, seed=0).read(0, 1, 0)
    assert all(each["input"].shape == (3, 4, 20, 22) for each in found)
    assert torch.equal(found[0]["input"], again["input"])
    assert any(not torch.equal(found[0]["input"], each["input"]) for each in found[1:])


@pytest.mark.numerical
def test_flow_is_scaled_with_the_whole_frame() -> None:
    """A displacement of 2 pixels in a frame 64 wide and 48 high is 1 of 32 x 24, and -1 in its mirror."""
    clips = Clips((2, 3, 20, 20), None, resize=24)
    field = torch.tensor([2.0, -4.0])[:, None, None].expand(2, 48, 64)
    stored = to_bytes(field).permute(1, 2, 0).expand(3, -1, -1, -1).numpy()
    whole = clips.resized(stored)
    assert whole.shape == (2, 3, 24, 32)
    cut, mirror = clips.cut(whole, 0.5, 0.5), clips.cut(whole, 0.5, 0.5, mirror=True)
    step = 20 / 127.5
    for part, horizontal in ((cut, 1.0), (mirror, -1.0)):
        assert part.shape == (2, 3, 20, 20)
        pixels = part.float() * step - 20
        assert (pixels[0] - horizontal).abs().max() < step
        assert (pixels[1] + 2).abs().max() < step


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"resize": 100}, "data.resize is 100, but 112 x 112 pixels are cut out. Give as many or more."),
        ({"resize": (128, 100)}, "data.resize is (128, 100), but 112 x 112"),
        ({"resize": 128, "short_side": 128}, "data.resize is 128, but data.short_side is 128. Set one"),
        ({"sampling": "linspace", "segments": True}, "data.sampling is linspace, but data.segments"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Clips((3, 16, 112, 112), **settings)


def test_a_size_is_one_number_or_two(tmp_path: Path) -> None:
    assert (sides_of(128, "size"), sides_of([128, 171], "size")) == (128, (128, 171))
    with pytest.raises(
        ValueError, match=r"data\.resize names \[1, 2, 3\]; a size is the shorter side's pixels, or \[height, width\]"
    ):
        VideoFolder(root=str(tmp_path), resize=[1, 2, 3])


def test_the_protocol_says_so() -> None:
    usual = str(Clips((3, 16, 112, 112), 15))
    assert str(Clips((3, 16, 112, 112), 15, resize=(128, 171), antialias=False, sampling="linspace")) == usual.replace(
        "of the largest region", "of the whole frame at 128 x 171"
    ).replace("bilinear", "bilinear without antialiasing").replace(
        "15 a second", "15 a second on average, from the first to the last of the clip"
    )
