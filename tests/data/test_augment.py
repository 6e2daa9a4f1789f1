"""Augmentations against torchvision's, and as functions of the sample alone."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine
from torchvision.transforms.v2 import functional as v2

from zoo.data.digits import Digits
from zoo.data.loading.augment import Affine, Augment, Chance, ColorJitter, Flip, LensDistortion, PcaShift, ScaleCrop


def chance(ids: Tensor, epoch: int = 0, seed: int = 0) -> Chance:
    return Chance(seed, torch.full_like(ids, epoch), ids, stream=1000)


def smooth(count: int, *shape: int) -> Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(count, shape[0], 6, 6)
    return (torch.nn.functional.interpolate(coarse, shape[-2:], mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


@pytest.mark.numerical
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


@pytest.mark.numerical
@pytest.mark.parametrize("augment", [Affine(degrees=30, scale=0.1, shift=0.1), Affine(scale=0.1, shift=0.1), ScaleCrop()])
def test_a_sample_is_moved_alike_in_any_batch_and_otherwise_in_another_epoch(augment: Augment) -> None:
    images, ids = smooth(5, 3, 16, 16), torch.arange(5)
    together = augment(images, chance(ids))
    alone = torch.cat([augment(images[k : k + 1], chance(ids[k : k + 1])) for k in range(5)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, augment(images, chance(ids, epoch=1)))
    assert not torch.equal(together, augment(images, chance(ids, seed=1)))


@pytest.mark.numerical
def test_a_clips_frames_move_together() -> None:
    frame = smooth(2, 3, 16, 16)
    clips = frame.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    moved = Affine(degrees=30, shift=0.1)(clips, chance(torch.arange(2)))
    for t in range(4):
        assert torch.equal(moved[:, :, t], Affine(degrees=30, shift=0.1)(frame, chance(torch.arange(2))))


def test_flip_mirrors_about_half() -> None:
    images, ids = smooth(200, 1, 8, 8), torch.arange(200)
    flipped = Flip()(images, chance(ids))
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(flipped, images, strict=True)])
    same = torch.tensor([torch.equal(a, b) for a, b in zip(flipped, images, strict=True)])
    assert (mirrored ^ same).all()
    assert 70 < int(mirrored.sum()) < 130


@pytest.mark.numerical
def test_scale_crop_cuts_what_resizing_and_cutting_gives() -> None:
    images, ids = smooth(4, 3, 32, 32), torch.arange(4)
    cut = ScaleCrop(1.5, 2.0)(images, chance(ids))
    length, right, down = chance(ids).uniform(3).unbind(1)
    for k in range(4):
        edge = round(32 * (1.5 + 0.5 * length[k].item()))
        large = v2.resize(images[k], [edge, edge], antialias=False)
        x, y = round((edge - 32) * right[k].item()), round((edge - 32) * down[k].item())
        expected = large[:, y : y + 32, x : x + 32].float()
        half = (expected.diff(dim=1).abs().mean() + expected.diff(dim=2).abs().mean()) / 2
        assert (cut[k] - expected).abs().mean() < half + 1, (
            "places are rounded by up to half a pixel, values by half a byte, twice"
        )


@pytest.mark.numerical
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 24, 40), (3, 4, 16, 20)], ids=str)
def test_upright_affine_is_grid_samples(shape: tuple[int, ...]) -> None:
    """Without a turn the pixels go through two matrix products, with one through `grid_sample`: a turn of nearly nothing."""
    images, ids = smooth(8, shape[0], *shape[-2:]), torch.arange(8)
    if len(shape) == 4:
        images = images.unsqueeze(2).repeat(1, 1, shape[1], 1, 1)
    moved = Affine(scale=0.3, shift=0.2, stretch=0.2)(images, chance(ids))
    reference = Affine(degrees=1e-6, scale=0.3, shift=0.2, stretch=0.2)(images, chance(ids))
    assert (moved.int() - reference.int()).abs().max() <= 1
    assert (moved != reference).float().mean() < 1e-2, "only what lies on the edge between two bytes"
    assert (moved != images).float().mean() > 0.5


@pytest.mark.numerical
def test_shear_and_stretch() -> None:
    """Against their matrices, which take a place in the result to its place in the source."""
    images, ids = smooth(3, 1, 32, 32), torch.arange(3)
    wide, lean = (2 * chance(ids).uniform(6) - 1)[:, 4:].unbind(1)
    stretched, sheared = Affine(stretch=0.5)(images, chance(ids)), Affine(shear=30)(images, chance(ids))
    for k in range(3):
        factor, slope = 1.5 ** wide[k].item(), math.tan(math.radians(30 * lean[k].item()))
        for found, matrix in (
            (stretched, [[1 / factor, 0, 0], [0, factor, 0]]),
            (sheared, [[1, slope, 0], [0, 1, 0]]),
        ):
            grid = torch.nn.functional.affine_grid(torch.tensor([matrix]), [1, 1, 32, 32], align_corners=False)
            expected = torch.nn.functional.grid_sample(images[k : k + 1].float(), grid, align_corners=False)
            assert (found[k].float() - expected[0]).abs().max() <= 0.51


@pytest.mark.numerical
def test_colour_jitter_is_torchvisions() -> None:
    images, ids = smooth(5, 3, 16, 16), torch.arange(5)
    found = ColorJitter(0.4, 0.4, 0.4)(images, chance(ids))
    factors = 1 + (2 * chance(ids).uniform(3) - 1) * 0.4
    for k in range(5):
        bright, contrast, saturation = factors[k].tolist()
        x = v2.adjust_brightness(images[k].float() / 255, bright)
        x = v2.adjust_saturation(v2.adjust_contrast(x, contrast), saturation)
        assert (found[k].float() - 255 * x).abs().max() <= 1.5


@pytest.mark.numerical
def test_colours_shift_along_the_principal_components_of_the_training_set() -> None:
    direction = torch.tensor([0.8, 0.6, 0.0])
    training = (128 + 60 * torch.randn(400, 1, 2, 2) * direction.view(1, 3, 1, 1)).clamp(0, 255).to(torch.uint8)
    augment = PcaShift(std=0.5)
    augment.fit(training)
    images = torch.full((500, 3, 2, 2), 128, dtype=torch.uint8)
    shift = augment(images, chance(torch.arange(500))).float() - 128
    assert (shift == shift[:, :, :1, :1]).all(), "one offset for all pixels"
    offsets = shift[:, :, 0, 0]
    variance = (training.double() / 255).transpose(0, 1).flatten(1).cov().trace().item()
    assert offsets[:, 2].abs().max() <= 1
    # The deviation of n draws is off by 1 / sqrt(2 n) of itself, here 3 %: five of that.
    assert (offsets @ direction).std().item() == pytest.approx(0.5 * 255 * variance, rel=5 / math.sqrt(2 * 500))


def test_the_data_module_fits_it() -> None:
    augment = PcaShift()
    Digits(shape=(3, 8, 8), augment={"pca": augment, "none": None}).setup()  # type: ignore[dict-item]
    assert augment.components is not None
    assert augment.components.shape == (3, 3)


@pytest.mark.numerical
def test_a_lens_bends_the_edges_and_leaves_the_centre() -> None:
    images = smooth(3, 3, 33, 33)
    bent = LensDistortion(0.3)(images, chance(torch.arange(3)))
    difference = (bent.float() - images.float()).abs()
    assert difference[:, :, 16, 16].max() <= 1
    assert difference[:, :, :3].mean() > 4 * difference[:, :, 14:19, 14:19].mean()


@pytest.mark.numerical
@pytest.mark.parametrize("augment", [Flip(), ScaleCrop(), ColorJitter(), LensDistortion(), Affine(stretch=0.2, shear=10)])
def test_every_augmentation_is_a_function_of_the_sample(augment: Augment) -> None:
    images, ids = smooth(4, 3, 16, 16), torch.arange(4)
    together = augment(images, chance(ids))
    assert together.dtype == torch.uint8
    assert torch.equal(together, torch.cat([augment(images[k : k + 1], chance(ids[k : k + 1])) for k in range(4)]))
    assert not torch.equal(together, augment(images, chance(ids, epoch=3)))
