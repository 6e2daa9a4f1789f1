"""Optical flow: how far each pixel of a frame has moved in the next. Estimators, geometry, bytes, and a picture of it.

A field is (2, H, W): displacements u to the right and v down, in pixels. All functions take any axes before these three.
"""

from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

BOUND = 20.0
"""Pixels. Larger displacements are clipped to it when they are stored (the value of the two-stream networks' public flow
tools; the paper, Simonyan and Zisserman 2014, section 5, says that fields are rescaled to bytes and kept as JPEG)."""

_BYTES = 255 / (2 * BOUND)
"""Bytes a pixel: 6.375, which binary fractions hold exactly, so that standing still is the same byte everywhere."""

STEP = 1 / _BYTES
"""Pixels between two neighboring bytes."""


# Bytes


def to_bytes(flow: Tensor) -> Tensor:
    """Displacements as uint8: -BOUND is 0, BOUND is 255. Standing still, 127.5, becomes 128."""
    return ((flow.clamp(-BOUND, BOUND) + BOUND) * _BYTES).round().to(torch.uint8)


def from_bytes(stored: Tensor) -> Tensor:
    """Displacements from bytes, right to half a `STEP`."""
    return stored.float() / _BYTES - BOUND


# Geometry: what becomes of a field when the frames are mirrored, scaled or turned


def mirrored(flow: Tensor) -> Tensor:
    """Mirror left and right: what went to the right goes to the left."""
    return flow.flip(-1) * flow.new_tensor([-1, 1]).view(2, 1, 1)


def resized(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Scaled to (H, W), bilinear and antialiased; displacements are scaled with the frames."""
    height, width = flow.shape[-2:]
    if (height, width) == size:
        return flow
    flat = interpolate(flow.reshape(-1, 2, height, width), size, mode="bilinear", antialias=True, align_corners=False)
    return flat.reshape(*flow.shape[:-2], *size) * flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)


def turned(flow: Tensor, quarters: int) -> Tensor:
    """Turned counter-clockwise by quarter turns: what went to the right goes up."""
    for _ in range(quarters % 4):
        u, v = torch.rot90(flow, 1, (-2, -1)).unbind(-3)
        flow = torch.stack([v, -u], -3)
    return flow


# Pictures


def picture(flow: Tensor) -> Tensor:
    """(N, 2, H, W) -> (N, 3, H, W) uint8 by the color wheel of Baker et al. 2011: hue is direction, saturation length
    relative to the longest. White stands still."""
    from torchvision.utils import flow_to_image

    colored: Tensor = flow_to_image(flow.float())
    return colored


def wheel(size: int = 101) -> Tensor:
    """(3, size, size) uint8: the legend. A displacement is colored as the place that it points to from the center."""
    place = torch.linspace(-1, 1, size)
    field = torch.stack([place.expand(size, size), place[:, None].expand(size, size)])
    field = torch.where(field.norm(dim=0) <= 1, field, 0.0)
    return picture(field[None])[0]


# Estimators: (T, H, W, 3) uint8 frames -> (T - 1, 2, H, W) float32, from each frame to the next

Estimator = Callable[[NDArray[np.uint8]], Tensor]

_SMALLEST = {"dis": 64, "raft": 128}
"""Pixels. Smaller frames are enlarged first: DIS compares patches of 8 x 8 on a pyramid, and RAFT's has an eighth of the
frame's size at its finest and an eighth of that at its coarsest."""


def estimator(kind: str) -> Estimator:
    """The estimator of a name: "dis" (dense inverse search, Kroeger et al. 2016: on a CPU) or "raft" (Teed and Deng 2020;
    torchvision's
    small one, its weights are fetched)."""
    known = {"dis": _dis, "raft": _raft}
    if kind not in known:
        raise ValueError(f"There is no optical flow {kind!r}; there are {', '.join(known)}.")
    return known[kind]


def _dis(frames: NDArray[np.uint8]) -> Tensor:
    import cv2

    height, width = frames.shape[1:3]
    factor = _enlargement("dis", height, width)
    search = _search()
    fields = np.empty((max(0, len(frames) - 1), 2, height, width), dtype=np.float32)
    before = None
    for number, frame in enumerate(frames):
        gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if factor > 1:
            gray = cv2.resize(gray, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
        if before is not None:
            field = search.calc(before, gray, None)
            if factor > 1:
                field = cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA) / factor
            fields[number - 1] = field.transpose(2, 0, 1)
        before = gray
    return torch.from_numpy(fields)


@cache
def _search() -> Any:
    import cv2

    cv2.setNumThreads(1)  # the files are the parallelism
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)  # small things in small frames count here; the preset stops at half the size
    return search


@torch.inference_mode()
def _raft(frames: NDArray[np.uint8]) -> Tensor:
    height, width = frames.shape[1:3]
    factor = _enlargement("raft", height, width)
    net = _raft_network()
    device = next(net.parameters()).device
    fields = []
    for number in range(len(frames) - 1):
        pair = torch.from_numpy(np.ascontiguousarray(frames[number : number + 2])).to(device).permute(0, 3, 1, 2)
        pair = pair.float() / 127.5 - 1
        if factor > 1:
            pair = interpolate(pair, (height * factor, width * factor), mode="bilinear", align_corners=False)
        pair = pad(pair, (0, -pair.shape[3] % 8, 0, -pair.shape[2] % 8), mode="replicate")
        field = net(pair[:1], pair[1:])[-1][:, :, : height * factor, : width * factor]  # the last refinement
        fields.append(resized(field, (height, width)).cpu())
    return torch.cat(fields) if fields else torch.zeros(0, 2, height, width)


@cache
def _raft_network() -> torch.nn.Module:
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    from zoo.common.download import Address, fetched
    from zoo.common.tensors import read_tensors

    net: torch.nn.Module = raft_small()
    net.load_state_dict(read_tensors(fetched([Address.hashed(Raft_Small_Weights.C_T_V2.url)])))
    return net.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _enlargement(kind: str, height: int, width: int) -> int:
    return max(1, ceil(_SMALLEST[kind] / min(height, width)))
