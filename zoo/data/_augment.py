"""Augmentation of whole batches on the device they lie on: uint8 in, uint8 out, every choice a function of the sample."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from zoo.data._random import uniform


@dataclass(frozen=True)
class Chance:
    """Where an augmentation's randomness comes from."""

    seed: int
    epoch: Tensor
    """int64 (B,)."""
    ids: Tensor
    """int64 (B,)."""
    stream: int

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, count) float32 in [low, high)."""
        drawn = uniform(self.seed, self.epoch, self.ids, count, self.stream)
        return (low + (high - low) * drawn).float()


class Augment(Protocol):
    """(B, C, H, W) or (B, C, T, H, W) uint8 -> the same shape and type. A clip's frames share one choice."""

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor: ...


@dataclass(frozen=True)
class Flip:
    """Mirror each image, left for right, with this probability."""

    probability: float = 0.5

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        mirrored = chance.uniform(1) < self.probability
        return torch.where(mirrored.view(-1, *(1,) * (pixels.dim() - 1)), pixels.flip(-1), pixels)


@dataclass(frozen=True)
class Affine:
    """Turn, scale and shift each image about its centre, bilinear; what enters from outside is black.

    Args:
        degrees: turned by up to this much either way.
        scale: enlarged by a factor between 1 - scale and 1 + scale.
        shift: moved by up to this share of the width and of the height.
    """

    degrees: float = 0.0
    scale: float = 0.0
    shift: float = 0.0

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        turn, zoom, right, down = (2 * chance.uniform(4) - 1).to(pixels.device).unbind(1)
        angle, factor = turn * math.radians(self.degrees), 1 / (1 + zoom * self.scale)
        cos, sin = angle.cos() * factor, angle.sin() * factor
        # affine_grid maps the output's coordinates, -1..1 on each axis, to the input's.
        aspect = pixels.shape[-2] / pixels.shape[-1]
        rows = [cos, sin * aspect, 2 * right * self.shift, -sin / aspect, cos, 2 * down * self.shift]
        theta = torch.stack(rows, dim=1).reshape(-1, 2, 3)
        flat = pixels.flatten(1, -3).float()
        grid = affine_grid(theta, list(flat.shape), align_corners=False)
        moved = grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return moved.round_().to(torch.uint8).reshape(pixels.shape)
