"""Augmentations against torchvision's, and as functions of the sample alone."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from zoo.data._augment import Affine, Chance


def chance(ids: Tensor, epoch: int = 0, seed: int = 0) -> Chance:
    return Chance(seed, torch.full_like(ids, epoch), ids, stream=1000)


def smooth(count: int, *shape: int) -> Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(count, shape[0], 6, 6)
    return (torch.nn.functional.interpolate(coarse, shape[-2:], mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_affine_is_torchvisions(size: tuple[int, int]) -> None:
    images, ids = smooth(6, 3, *size), torch.arange(6)
    moved = Affine(degrees=20, scale=0.2, shift=0.1)(images, chance(ids))
    turn, zoom, right, down = (2 * chance(ids).uniform(4) - 1).double().unbind(1)
    for k in range(6):
        reference = affine(
            images[k].float(),
            angle=20 * turn[k].item(),
            translate=[0, 0],
            scale=1 + 0.2 * zoom[k].item(),
            shear=[0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        shifted = torch.stack([right[k] * 0.1 * size[1], down[k] * 0.1 * size[0]])
        assert shifted.abs().max() <= 0.1 * max(size)
        unshifted = Affine(degrees=20, scale=0.2)(images[k : k + 1], chance(ids[k : k + 1]))[0]
        assert (unshifted.float() - reference).abs()[:, 2:-2, 2:-2].max() <= 1.0
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8


def test_nothing_asked_nothing_done() -> None:
    images = smooth(4, 1, 16, 16)
    assert torch.equal(Affine()(images, chance(torch.arange(4))), images)


def test_a_sample_is_moved_alike_in_any_batch_and_otherwise_in_another_epoch() -> None:
    images, ids = smooth(5, 3, 16, 16), torch.arange(5)
    augment = Affine(degrees=30, scale=0.1, shift=0.1)
    together = augment(images, chance(ids))
    alone = torch.cat([augment(images[k : k + 1], chance(ids[k : k + 1])) for k in range(5)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, augment(images, chance(ids, epoch=1)))
    assert not torch.equal(together, augment(images, chance(ids, seed=1)))


def test_a_clips_frames_move_together() -> None:
    frame = smooth(2, 3, 16, 16)
    clips = frame.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    moved = Affine(degrees=30, shift=0.1)(clips, chance(torch.arange(2)))
    for t in range(4):
        assert torch.equal(moved[:, :, t], Affine(degrees=30, shift=0.1)(frame, chance(torch.arange(2))))
