"""Clips of video files: which frames a clip wants, what of them is cut out, and where it is decoded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.common.chance import CLIP_TIME, uniform
from zoo.common.crops import CROPS, check_crops, in_mirror, place, rescaled, resized, size_by, window
from zoo.common.flow import from_bytes, mirrored, to_bytes
from zoo.common.flow import resized as resized_flow
from zoo.data.loading.dataset import DecodedDataset, labeled
from zoo.data.reading.container import Video
from zoo.data.reading.decode import Box, Frames, check_decoder, read_frames
from zoo.data.reading.fields import FlowOf

PICTURE, FLOW = 3, 2
"""Channels of a frame and of a flow field."""

Sampling = Literal["rate", "linspace"]
"""How the frames of a clip, and the clips of a video, are spread."""


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
    resize: int | tuple[int, int] | None = None
    """In place of `short_side`: the whole frame is scaled, its shorter side to so many pixels or both to (H, W), and then cut,
    as published protocols do."""
    antialias: bool = True
    """Widen the kernel where a frame is made smaller."""
    sampling: Sampling = "rate"
    """"rate" takes frames at even times, the first clip at the video's start and the last at its end. "linspace" is
    pytorchvideo's: the frames on display in T / rate seconds, T of them from the first to the last; clips begin where equal
    parts of the video do (`UniformTemporalSubsample`, `ConstantClipsPerVideoSampler`)."""

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
        self._check_resize(*size)
        if self.sampling == "linspace" and self.segments:
            raise ValueError("data.sampling is linspace, but data.segments takes a frame of each part. Set one of them only.")

    def _check_resize(self, height: int, width: int) -> None:
        if self.resize is None:
            return
        if self.short_side is not None:
            raise ValueError(
                f"data.resize is {self.resize}, but data.short_side is {self.short_side}. Set one: resize scales the whole "
                f"frame before the cut, short_side what was cut."
            )
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if sides[0] < height or sides[1] < width:
            raise ValueError(f"data.resize is {self.resize}, but {height} x {width} pixels are cut out. Give as many or more.")

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
        if self.resize is not None:
            sides = f"short side {self.resize}" if isinstance(self.resize, int) else f"{self.resize[0]} x {self.resize[1]}"
            where = f"of the whole frame at {sides}"
        if self.sampling == "linspace":
            time += " on average, from the first to the last of the clip"
        average = ", probabilities averaged" if self.clips * self.crops > 1 else ""
        size = f"{self.size[0]} x {self.size[1]}, bilinear" + ("" if self.antialias else " without antialiasing")
        return f"{clips}, {time}, {CROPS[self.crops]} {where}, {size}, decoded by {self.decoder}{average}"

    def times(self, video: Video, place: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds after the first frame, (T,). `place` in 0..1 puts the clip between the video's start and its end; of
        segments it is the place in each, one number or T."""
        if self.segments:
            return np.asarray((np.arange(self.frames) + place) * (video.duration / self.frames), dtype=np.float64)
        rate = self.rate or video.rate
        slack = max(0.0, video.duration - self.frames / rate)
        return place * slack + np.arange(self.frames) / rate

    def numbers(self, video: Video, place: float | NDArray[np.float64]) -> NDArray[np.int64]:
        """Numbers of the frames in the video, (T,); `place` as of `times`."""
        times = self.times(video, place)
        if self.sampling == "rate":
            return video.at(times)
        length = self.frames / (self.rate or video.rate)
        first, last = video.between(float(times[0]), float(times[0]) + length)
        return first + torch.linspace(0, last - first, self.frames).long().numpy()  # rounded down, as there

    def place_of(self, clip: int) -> float:
        """Where clip 0 <= clip < clips of a video lies at test time."""
        if self.segments:
            return (clip + 0.5) / self.clips
        if self.sampling == "linspace" and self.clips > 1:
            return clip / self.clips
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
        return resized(pixels, self.size, antialias=self.antialias).transpose(0, 1)

    def resized(self, part: NDArray[np.uint8]) -> Tensor:
        """Whole frames (T, h, w, 3) scaled as `resize` says, (3, T, H, W); or fields (T, h, w, 2) of flow in pixels of these,
        floats. One after the other: frames may be large."""
        assert self.resize is not None
        size = size_by(self.resize, *part.shape[1:3])
        frames = [frame[None] for frame in torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2)]
        if part.shape[-1] == FLOW:
            return torch.cat([resized_flow(from_bytes(frame), size) for frame in frames]).transpose(0, 1)
        return torch.cat([rescaled(frame, size, antialias=self.antialias) for frame in frames]).transpose(0, 1)

    def cut(self, whole: Tensor, top: float, left: float, mirror: bool = False) -> Tensor:
        """(c, T, h, w) of `resized` -> (c, T, H, W) bytes, as published protocols round; `top` and `left` in 0..1 are of the
        space left, and of the mirrored frame where it is mirrored."""
        (height, width), full = self.size, whole.shape[2:]
        whole_number = math.ceil if self.crops == 3 else round  # pytorchvideo's `uniform_crop`; torchvision's `center_crop`
        y, x = whole_number((full[0] - height) * top), whole_number((full[1] - width) * left)
        columns = slice(x, x + width)
        part = whole[:, :, y : y + height, in_mirror(columns, full[1]) if mirror else columns]
        if part.dtype == torch.uint8:
            return part.flip(-1) if mirror else part
        fields = part.transpose(0, 1)
        return to_bytes(mirrored(fields) if mirror else fields).transpose(0, 1)

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
    """The frames and fields of a clip at their full size, or at that of `resize`, kept for its other crops."""

    clip: tuple[int, int] = (-1, -1)
    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    scaled: list[Tensor] = field(default_factory=list)


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
            indices = clips.numbers(video, drawn[4:].numpy() if clips.segments else at)
            if clips.resize is not None:
                whole = [clips.resized(part) for part in self._parts(number, video, indices, None)]
                return self._served([clips.cut(part, top, left, flip) for part in whole], number)
            parts = self._parts(number, video, indices, clips.box(top, left))
        else:
            clip, crop = divmod(view, clips.crops)
            flip = place(crop, clips.crops, 1, 1)[2]
            indices = clips.numbers(video, clips.place_of(clip))
            if clips.resize is not None:
                return self._served(self._cuts(number, video, indices, view), number)
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
        return self._served(served, number)

    def _cuts(self, number: int, video: Video, indices: NDArray[np.int64], view: int) -> list[Tensor]:
        """A view of a clip whose frames are scaled whole; its other crops need no second scaling."""
        clip, crop = divmod(view, self.clips.crops)
        if self._whole.clip != (number, clip):
            scaled = [self.clips.resized(part) for part in self._parts(number, video, indices, None)]
            if self.clips.crops == 1:
                return [self.clips.cut(part, 0.5, 0.5) for part in scaled]
            self._whole = _Whole((number, clip), scaled=scaled)
        return [self.clips.cut(part, *place(crop, self.clips.crops, *part.shape[2:])) for part in self._whole.scaled]

    def _served(self, parts: list[Tensor], number: int) -> dict[str, Tensor]:
        return labeled(torch.cat(parts) if len(parts) > 1 else parts[0], self.labels, number)

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
