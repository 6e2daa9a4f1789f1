"""Clips of video files: which frames a clip wants, what of them is cut out, and where it is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.common.chance import CLIP_TIME, uniform
from zoo.common.crops import CROPS, check_crops, in_mirror, place, resized, window
from zoo.common.flow import from_bytes, mirrored, to_bytes
from zoo.common.flow import resized as resized_flow
from zoo.data.loading.dataset import DecodedDataset, labeled
from zoo.data.reading.container import Video
from zoo.data.reading.decode import Box, Frames, check_decoder, read_frames
from zoo.data.reading.fields import FlowOf

PICTURE, FLOW = 3, 2
"""Channels of a frame and of a flow field."""


@dataclass(frozen=True)
class Clips:
    """How clips are cut from videos."""

    shape: tuple[int, ...]
    """(C, T, H, W) as served: C is 3 of pictures, 5 with flow behind them, 2 of flow alone."""
    rate: float | None = None
    """Frames a second; None takes every frame of the file (dense). A clip lasts T / rate seconds; where the video is
    shorter, its last frame is held."""
    segments: bool = False
    """One frame from each of T equal parts of the video instead: at a random time in training, in the middle otherwise
    (Wang et al. 2016, "Temporal segment networks"). There is no rate then."""
    clips: int = 1
    """The number of clips of a video at test time, spread evenly; in training one, at a random time."""
    crops: int = 1
    """The number of crops of a clip at test time; see `zoo.common.crops.CROPS`."""
    short_side: int | None = None
    """To this many pixels the video's shorter side is scaled before (H, W) is cut out: at a random place in training, at
    the crops' otherwise. None is the largest cut there is."""
    flip: bool = False
    """Mirror half of the training clips. Wrong where left and right are labels."""
    decoder: str = "pyav"

    def __post_init__(self) -> None:
        channels, frames, *size = self.shape
        if channels not in (PICTURE, PICTURE + FLOW, FLOW) or frames < 1:
            raise ValueError(
                f"Videos are served in 3 channels, with flow behind them in 5, flow alone in 2, at least 1 frame long; the "
                f"shape asked for is {self.shape}. Set data.shape."
            )
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"data.rate is {self.rate}; it is a number of frames a second above 0, or null for every frame.")
        if self.clips < 1:
            raise ValueError(f"data.clips is {self.clips}; a video is scored by at least 1 clip.")
        check_crops(self.crops)
        if self.short_side is not None and self.short_side < min(size):
            raise ValueError(
                f"data.short_side is {self.short_side}, but {size[0]} x {size[1]} pixels are cut out. Give {min(size)} or more."
            )
        check_decoder(self.decoder)

    @property
    def frames(self) -> int:
        return self.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[2], self.shape[3]

    @property
    def has_pictures(self) -> bool:
        return self.shape[0] != FLOW

    @property
    def has_flow(self) -> bool:
        return self.shape[0] != PICTURE

    def __str__(self) -> str:
        """The protocol, as it is written beside a figure."""
        clips = f"{self.clips} clip{'s' * (self.clips > 1)} a video"
        when = "every frame" if self.rate is None else f"{self.rate:g} a second"
        time = f"one from each of {self.frames} parts" if self.segments else f"{self.frames} frames, {when}"
        where = f"at short side {self.short_side}" if self.short_side else "of the largest region"
        average = ", probabilities averaged" if self.clips * self.crops > 1 else ""
        size = f"{self.size[0]} x {self.size[1]}, bilinear"
        return f"{clips}, {time}, {CROPS[self.crops]} {where}, {size}, decoded by {self.decoder}{average}"

    def times(self, video: Video, place: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds after the first frame, (T,). `place` in 0..1 puts the clip between the video's start and its end; of
        segments it is the place in each, one number or T."""
        if self.segments:
            return np.asarray((np.arange(self.frames) + place) * (video.duration / self.frames), dtype=np.float64)
        rate = self.rate or video.rate
        slack = max(0.0, video.duration - self.frames / rate)
        return place * slack + np.arange(self.frames) / rate

    def place_of(self, clip: int) -> float:
        """Where clip 0 <= clip < clips of a video lies at test time."""
        if self.segments:
            return (clip + 0.5) / self.clips
        return clip / (self.clips - 1) if self.clips > 1 else 0.5

    def box(self, top: float, left: float) -> Box:
        """What is cut out of a frame; `top` and `left` in 0..1 are of the space left."""

        def cut(height: int, width: int) -> tuple[slice, slice]:
            # More than there is shrinks to the largest region.
            scale = min(height, width) / self.short_side if self.short_side else float(max(height, width))
            return window((height, width), top, left, scale, self.size)

        return cut

    def crop_box(self, crop: int) -> Box:
        """What crop 0 <= crop < crops is of a frame."""

        def cut(height: int, width: int) -> tuple[slice, slice]:
            top, left, mirrored = place(crop, self.crops, height, width)
            rows, columns = self.box(top, left)(height, width)
            return rows, in_mirror(columns, width) if mirrored else columns

        return cut

    def scaled(self, frames: Frames) -> Tensor:
        """(T, h, w, 3) that were cut out -> (3, T, H, W). All frames at once, antialiased."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        return resized(pixels, self.size).transpose(0, 1)

    def scaled_flow(self, fields: NDArray[np.uint8], mirror: bool) -> Tensor:
        """(T, h, w, 2) bytes that were cut out -> (2, T, H, W) bytes; displacements are scaled and mirrored too.

        They are served in steps of `zoo.common.flow.STEP` pixels of what is served: 1 pixel in a file 320 wide is a tenth of
        one at 32, hence no step or one. Two-stream networks of the paper read 224 (Simonyan and Zisserman 2014), where little
        is lost.
        """
        stored = torch.from_numpy(np.ascontiguousarray(fields)).permute(0, 3, 1, 2)
        flow = resized_flow(from_bytes(stored), self.size)
        return to_bytes(mirrored(flow) if mirror else flow).transpose(0, 1)


@dataclass
class _Whole:
    """The frames and fields of a clip at their full size, kept for its other crops."""

    clip: tuple[int, int] = (-1, -1)
    parts: list[NDArray[np.uint8]] = field(default_factory=list)


class ClipFiles(DecodedDataset):
    """Clips of labeled video files, decoded where they are asked for (in a loader's worker).

    Args:
        flow: of each video, where `clips` has channels for it.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        labels: Sequence[int] | None,
        clips: Clips,
        *,
        train: bool,
        seed: int,
        flow: Sequence[FlowOf] | None = None,
    ) -> None:
        super().__init__(len(videos), 1 if train else clips.clips * clips.crops)
        # The crops of a clip share its frames, one after the other; estimators of flow have threads of their own.
        self.threads = 1 if clips.has_flow or (clips.crops > 1 and not train) else 8
        self.videos = videos
        self.labels = labels
        self.clips = clips
        self.train = train
        self.seed = seed
        self.flow = flow
        self._whole = _Whole()

    def name(self, number: int) -> str:
        return str(self.videos[number].path)

    def blank(self) -> dict[str, Tensor]:
        return labeled(torch.zeros(self.clips.shape, dtype=torch.uint8), self.labels, 0)

    def stacked(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Clips in `channels_last_3d`: as frames lie in memory, and as 3-D convolutions take them fastest."""
        clips = torch.empty((len(samples), *self.clips.shape), dtype=torch.uint8, memory_format=torch.channels_last_3d)
        for clip, sample in zip(clips.numpy(), samples, strict=True):  # torch would wake all its threads for a copy
            clip[...] = sample["input"].numpy()
        others = [{name: value for name, value in sample.items() if name != "input"} for sample in samples]
        return {"input": clips, **super().stacked(others)}

    def read(self, epoch: int, number: int, view: int) -> dict[str, Tensor]:
        clips, video = self.clips, self.videos[number]
        if self.train:
            drawn = uniform(self.seed, epoch, torch.tensor([number]), 4 + clips.frames, CLIP_TIME)[0]
            at, top, left, mirror = drawn[:4].tolist()
            flip = clips.flip and mirror < 0.5
            indices = video.at(clips.times(video, drawn[4:].numpy() if clips.segments else at))
            parts = self._parts(number, video, indices, clips.box(top, left))
        else:
            clip, crop = divmod(view, clips.crops)
            flip = place(crop, clips.crops, 1, 1)[2]
            indices = video.at(clips.times(video, clips.place_of(clip)))
            box = clips.crop_box(crop)
            if clips.crops == 1:
                parts = self._parts(number, video, indices, box)
            else:
                if self._whole.clip != (number, clip):
                    self._whole = _Whole((number, clip), self._parts(number, video, indices, None))
                parts = [part[(slice(None), *box(*part.shape[1:3]))] for part in self._whole.parts]
        served = []
        if clips.has_pictures:
            picture = clips.scaled(parts[0])
            served.append(picture.flip(-1) if flip else picture)
        if clips.has_flow:
            served.append(clips.scaled_flow(parts[-1], flip))
        return labeled(torch.cat(served) if len(served) > 1 else served[0], self.labels, number)

    def _parts(self, number: int, video: Video, indices: NDArray[np.int64], box: Box | None) -> list[NDArray[np.uint8]]:
        """The frames (T, h, w, 3), then the fields (T, h, w, 2): of those whichever are served."""
        parts = []
        if self.clips.has_pictures:
            parts.append(read_frames(video, indices, box, self.clips.decoder))
        if self.clips.has_flow:
            assert self.flow is not None
            fields = self.flow[number].read(indices)
            parts.append(fields[(slice(None), *box(*fields.shape[1:3]))] if box else fields)
        return parts
