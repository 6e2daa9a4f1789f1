"""Augmentation of whole batches on the device they lie on: uint8 in, uint8 out, every choice a function of the sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from zoo.batch import VOID
from zoo.common.chance import uniform
from zoo.common.crops import brightness


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


@runtime_checkable
class Placed(Protocol):
    """An augmentation that moves pixels by an affine map, so that a mask can be moved with them."""

    def theta(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        """(B, 2, 3): from a place in the result, -1..1 on each axis, to its place in the source."""
        ...


@runtime_checkable
class Fitted(Protocol):
    """An augmentation that must see training images first."""

    def fit(self, pixels: Tensor) -> None: ...


@dataclass(frozen=True)
class Flip:
    """Mirror each image, left for right, with this probability."""

    probability: float = 0.5

    def _mirrored(self, pixels: Tensor, chance: Chance) -> Tensor:
        return (chance.uniform(1).squeeze(1) < self.probability).to(pixels.device)

    def theta(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        x = torch.where(self._mirrored(pixels, chance), -1.0, 1.0)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        return torch.stack([x, zero, zero, zero, one, zero], dim=1).reshape(-1, 2, 3)

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        mirrored = self._mirrored(pixels, chance)
        rows = torch.arange(len(pixels), device=pixels.device) + len(pixels) * mirrored
        return torch.cat([pixels, pixels.flip(-1)]).index_select(0, rows)  # a choice of rows is faster than one of pixels


@dataclass(frozen=True)
class Affine:
    """Turn, scale, stretch, shear and shift each image about its center, bilinear; what enters from outside is black.

    Args:
        degrees: turned by up to this much either way.
        scale: enlarged by a factor between 1 - scale and 1 + scale.
        shift: moved by up to this share of the width and of the height.
        stretch: widened by a factor of up to 1 + stretch and flattened by as much, or the other way round.
        shear: upright lines lean by up to this many degrees either way.
    """

    degrees: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0

    def theta(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        turn, zoom, right, down, wide, lean = (2 * chance.uniform(6) - 1).to(pixels.device).unbind(1)
        angle, slope = turn * math.radians(self.degrees), (lean * math.radians(self.shear)).tan()
        factor, wider = 1 / (1 + zoom * self.scale), (1 + self.stretch) ** wide
        # In pixels: turned, then sheared, then scaled.
        cos, sin = angle.cos() * factor, angle.sin() * factor
        xx, xy, yx, yy = cos / wider, (cos * slope + sin) * wider, -sin / wider, (cos - sin * slope) * wider
        aspect = pixels.shape[-2] / pixels.shape[-1]  # the sampler counts -1..1 on either axis
        rows = [xx, xy * aspect, 2 * right * self.shift, yx / aspect, yy, 2 * down * self.shift]
        return torch.stack(rows, dim=1).reshape(-1, 2, 3)

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        return (_sampled if self.degrees or self.shear else _resampled)(pixels, self.theta(pixels, chance))


@dataclass(frozen=True)
class ScaleCrop:
    """ResNet's training crop of images that are served whole: enlarged by a random factor, and cut at a random place.

    The paper draws the short side from [256, 480] and cuts 224 (He et al. 2016, section 3.4): factors 1.14 to 2.14. Image
    files are better cut where they are decoded, by `data.short_side`: no pixel is then made up.
    """

    low: float = 256 / 224
    high: float = 480 / 224

    def theta(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        length, right, down = chance.uniform(3).to(pixels.device).unbind(1)
        share = 1 / (self.low + length * (self.high - self.low))
        zero = torch.zeros_like(share)
        rows = [share, zero, (2 * right - 1) * (1 - share), zero, share, (2 * down - 1) * (1 - share)]
        return torch.stack(rows, dim=1).reshape(-1, 2, 3)

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        return _resampled(pixels, self.theta(pixels, chance))


def _resampled(pixels: Tensor, theta: Tensor) -> Tensor:
    """What `_sampled` makes of upright rectangles, faster: bilinear weights of rows times those of columns."""
    x_share, y_share, x_middle, y_middle = theta[:, 0, 0], theta[:, 1, 1], theta[:, 0, 2], theta[:, 1, 2]
    flat = pixels.flatten(1, -3).float()

    def weights(extent: int, share: Tensor, middle: Tensor) -> Tensor:
        """(B, out, in): how much of each source line goes into each line of the result."""
        lines = torch.arange(extent, device=flat.device, dtype=flat.dtype)
        places = (((2 * lines + 1) / extent - 1) * share[:, None] + middle[:, None] + 1) * (extent / 2) - 0.5
        return (places[:, :, None] - lines).abs_().neg_().add_(1).clamp_min_(0)

    count, channels, height, width = flat.shape
    moved = flat.reshape(count, -1, width) @ weights(width, x_share, x_middle).transpose(1, 2)
    down = weights(height, y_share, y_middle)
    moved = moved.reshape(count, channels, height, width)
    moved = (down @ moved[:, 0])[:, None] if channels == 1 else down[:, None] @ moved
    return moved.round_().to(torch.uint8).reshape(pixels.shape)


def _sampled(pixels: Tensor, theta: Tensor) -> Tensor:
    """Bilinear, black outside."""
    flat = pixels.flatten(1, -3).float()
    moved = grid_sample(flat, _grid(flat, theta), mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round_().to(torch.uint8).reshape(pixels.shape)


def sampled_classes(mask: Tensor, theta: Tensor) -> Tensor:
    """(B, H, W) uint8 classes moved as `_sampled` moves pixels: each place takes its nearest one's, outside is void."""
    shifted = (mask.to(torch.int16) - VOID)[:, None].float()  # so that void is the zero that enters from outside
    moved = grid_sample(shifted, _grid(shifted, theta), mode="nearest", padding_mode="zeros", align_corners=False)
    return (moved[:, 0] + VOID).to(torch.uint8)


def _grid(flat: Tensor, theta: Tensor) -> Tensor:
    """Where each pixel of (B, C, H, W) comes from, (B, H, W, 2)."""
    # What affine_grid computes by a matrix product for each pixel is the sum of a row and a column: eight times as fast.
    x, y = ((2 * torch.arange(extent, device=flat.device) + 1) / extent - 1 for extent in (flat.shape[-1], flat.shape[-2]))
    grid = flat.new_empty(len(flat), len(y), len(x), 2)
    by_x, by_y, offset = theta.unbind(2)
    for axis in range(2):
        across, down = by_x[:, axis, None] * x, by_y[:, axis, None] * y + offset[:, axis, None]
        torch.add(across[:, None, :], down[:, :, None], out=grid[..., axis])
    return grid


@dataclass(frozen=True)
class LensDistortion:
    """The barrel or the pincushion of a lens: a point at radius r moves by k r^3, |k| up to `strength` (r = 1 at an edge).

    Sampled by torchvision's `elastic`, one image at a time.
    """

    strength: float = 0.2

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        from torchvision.transforms.v2 import functional as v2

        height, width = pixels.shape[-2:]
        y = torch.linspace(-1, 1, height, device=pixels.device).view(-1, 1, 1).expand(-1, width, 1)
        x = torch.linspace(-1, 1, width, device=pixels.device).view(1, -1, 1).expand(height, -1, 1)
        place = torch.cat([x, y], dim=-1)[None]
        field = place * place.square().sum(-1, keepdim=True)
        amounts = (2 * chance.uniform(1) - 1).squeeze(1) * self.strength
        flat = pixels.flatten(1, -3)
        bent = [v2.elastic(image, field * amount) for image, amount in zip(flat, amounts.tolist(), strict=True)]
        return torch.stack(bent).reshape(pixels.shape)


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, then contrast, then saturation, each by a factor between 1 - amount and 1 + amount."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        amounts = torch.tensor([self.brightness, self.contrast, self.saturation])
        factors = (1 + (2 * chance.uniform(3).cpu() - 1) * amounts).clamp_min(0).to(pixels.device)
        shape = (-1,) + (1,) * (pixels.dim() - 1)
        bright, contrast, saturation = (factor.reshape(shape) for factor in factors.unbind(1))
        x = (pixels.float() * bright).clamp_(0, 255)
        mean = brightness(x).flatten(1).mean(1).reshape(shape)
        x = (mean + (x - mean) * contrast).clamp_(0, 255)
        gray = brightness(x)
        return (gray + (x - gray) * saturation).clamp_(0, 255).round_().to(torch.uint8)


class PcaShift:
    """AlexNet's color shift: one offset for all pixels of an image, along the principal components of the training set's
    colors, each drawn from a normal distribution of `std` times the component's variance (Krizhevsky et al. 2012,
    section 4.1). Variances are of values in 0..1, as is usual; in bytes the paper's factor would drown every image."""

    def __init__(self, std: float = 0.1) -> None:
        self.std = std
        self.components: Tensor | None = None
        """(C, C): each column a component times its variance."""

    def fit(self, pixels: Tensor) -> None:
        """Find the components of training images, (N, C, ...) uint8."""
        colors = pixels.transpose(0, 1).flatten(1).double() / 255
        variances, vectors = torch.linalg.eigh(torch.cov(colors).reshape(len(colors), -1))
        self.components = (vectors * variances).float()

    def __call__(self, pixels: Tensor, chance: Chance, /) -> Tensor:
        assert self.components is not None, "the data module fits it to the training set"
        channels = len(self.components)
        radius, angle = chance.uniform(2 * channels).chunk(2, dim=1)
        normal = (-2 * (1 - radius).log()).sqrt() * (2 * math.pi * angle).cos()  # Box and Muller 1958
        offset = (self.std * 255 * normal.to(pixels.device)) @ self.components.to(pixels.device).T
        shape = (-1, channels, *(1,) * (pixels.dim() - 2))
        return (pixels + offset.reshape(shape)).clamp_(0, 255).round_().to(torch.uint8)


GEOMETRIC = (Flip, Affine, ScaleCrop, LensDistortion)
"""Those that move pixels, and would have to move masks and boxes with them."""


def check_unmoved(augments: Sequence[Augment], served: str) -> None:
    """Refuse what would move an image's pixels away from what is known of them, `label`, `semantic` or `instances`. Raises
    ValueError."""
    moving = [
        type(each).__name__
        for each in augments
        if isinstance(each, GEOMETRIC) and not (served == "label" or (served == "semantic" and isinstance(each, Placed)))
    ]
    if moving:
        raise ValueError(
            f"data.augment has {' and '.join(moving)}, which would move an image's pixels away from their labels. Use the "
            f"data set's own arguments (flip, scale), and ColorJitter or PcaShift here."
        )
