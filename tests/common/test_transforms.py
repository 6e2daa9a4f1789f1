"""What a network reads of what people hold in memory: the same numbers as of files, and as torchvision's."""

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

import zoo
from zoo.data.image_folder import ImageFolder
from zoo.data.rendered import motion
from zoo.data.video_folder import VideoFolder
from zoo.models import Transforms

SHAPES = [(3, 16, 24), (1, 20, 12), (3, 16, 16)]
RESIZES = [None, 32]


def of_shape(shape: tuple[int, ...], resize: int | None = None) -> Transforms:
    grey = shape[0] == 1
    return Transforms(shape, (0.449,) if grey else (0.485, 0.456, 0.406), (0.226,) if grey else (0.229, 0.224, 0.225), resize)


def normalized(transforms: Transforms, pixels: Tensor) -> Tensor:
    """As tasks do it."""
    shape = (-1, *(1,) * (len(transforms.shape) - 1))
    mean, std = (torch.tensor(each).reshape(shape) for each in (transforms.mean, transforms.std))
    return (pixels.float() - 255 * mean) / (255 * std)


def of_mode(mode: str) -> Image.Image:
    """A picture of a mode, 40 x 30, transparent in part where the mode can be."""
    numbers = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray((numbers[..., 0].astype(np.uint16) << 8) + numbers[..., 1])
    if mode == "I":
        return Image.fromarray(numbers[..., 0].astype(np.int32))
    image = Image.fromarray(numbers)
    if mode in ("RGBA", "LA", "PA"):
        return image.convert(mode)
    if mode == "P":
        palette = image.convert("RGB").quantize(16)
        palette.info["transparency"] = 3
        return palette
    return image.convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("shape", SHAPES[:2])
def test_a_picture_gives_the_numbers_of_its_file(mode: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    image = of_mode(mode)
    suffix = ".tif" if mode in ("CMYK", "I", "I;16") else ".png"
    image.save(tmp_path / f"image{suffix}")
    data = ImageFolder(root=str(tmp_path), shape=shape)
    served = data.files([tmp_path / f"image{suffix}"]).__getitems__([(0, 0)])["input"]
    transforms = of_shape(shape)
    found = transforms(image)
    assert found.dtype == torch.float32
    assert torch.equal(found[None], normalized(transforms, served))
    with Image.open(tmp_path / f"image{suffix}") as opened:
        assert torch.equal(transforms(opened), found)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = of_mode("RGB")
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=image.getexif(), quality=100)
    transforms = of_shape((3, 40, 30))
    with Image.open(tmp_path / "turned.jpg") as opened:
        lying = np.asarray(opened)
        assert torch.equal(transforms(opened), transforms(np.rot90(lying, -1)))


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_give_the_numbers_of_a_file(shape: tuple[int, ...], resize: int | None, tmp_path: Path) -> None:
    image = of_mode("L" if shape[0] == 1 else "RGB")
    image.save(tmp_path / "image.png")
    data = ImageFolder(root=str(tmp_path), shape=shape, scales=[resize] if resize else None)
    transforms = of_shape(shape, resize)
    expected = normalized(transforms, data.files([tmp_path / "image.png"]).__getitems__([(0, 0)])["input"])[0]
    array = np.asarray(image)
    tensor = pil_to_tensor(image)
    for pixels in (image, array, tensor, np.asfortranarray(array), array.reshape(*array.shape[:2], -1)):
        assert torch.equal(transforms(pixels), expected)
    batch = transforms(torch.stack([tensor, 255 - tensor]))
    assert batch.shape == (2, *shape)
    assert torch.equal(batch[0], expected)
    arrays = np.stack([array.reshape(*array.shape[:2], -1)] * 2)
    assert torch.equal(transforms(arrays), torch.stack([expected] * 2))


@pytest.mark.numerical
@pytest.mark.parametrize("resize", RESIZES)
def test_floats_are_not_rounded(resize: int | None) -> None:
    transforms, image = of_shape((3, 16, 16), resize), torch.rand(3, 40, 30)
    found = transforms(image)
    rounded = transforms((image * 255).round().to(torch.uint8))
    distance = (found - rounded).abs().max() * max(transforms.std)
    assert 0 < distance < 1.1 / 255, "half a step where it becomes bytes, half one where it is scaled"
    assert torch.equal(transforms(image.numpy().transpose(1, 2, 0)), found)
    assert torch.allclose(transforms(image.double()), found, atol=1e-5)
    assert torch.equal(transforms(image[None]), found[None])


def test_grey_and_colored_become_one_another() -> None:
    grey, colored = torch.randint(256, (1, 20, 20), dtype=torch.uint8), torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    assert torch.equal(of_shape((3, 16, 16))(grey), of_shape((3, 16, 16))(grey.expand(3, -1, -1)))
    bright = (colored.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    found = of_shape((1, 20, 20))(colored)
    assert torch.equal(found, normalized(of_shape((1, 20, 20)), bright.round()))


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["alexnet", "resnet50", "vgg11"])
@pytest.mark.parametrize("kind", ["bytes", "floats", "batch", "picture"])
def test_torchvisions_entries_give_torchvisions_numbers(name: str, kind: str) -> None:
    entry, preset = zoo.get_weights(name), torchvision.models.get_model_weights(name).DEFAULT.transforms()
    image = of_mode("RGB").resize((300, 260))
    given: Any = {
        "bytes": pil_to_tensor(image),
        "floats": pil_to_tensor(image).float() / 255,
        "batch": torch.stack([pil_to_tensor(image)] * 2),
        "picture": image,
    }[kind]
    found, theirs = entry.transforms()(given), preset(given)
    assert found.shape == theirs.shape
    # Of a picture theirs is scaled by Pillow, in numbers of its own: two steps of a byte.
    steps = 2 if kind == "picture" else 1e-3
    assert (found - theirs).abs().max() <= steps / 255 / min(entry.std)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    path.write_bytes(motion.encode(motion.draw_clip("test", 0), 8))
    return path


@pytest.mark.numerical
@pytest.mark.parametrize("resize", [None, 40])
@pytest.mark.parametrize("size", [(32, 32), (24, 16)])
def test_a_clip_gives_the_numbers_of_its_file(size: tuple[int, int], resize: int | None, film: Path) -> None:
    shape = (3, 24, *size)
    data = VideoFolder(root=str(film.parent), shape=shape, rate=None, clips=1, resize=resize)
    served = data.files([film]).__getitems__([(0, 0)])["input"]
    with av.open(str(film)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    transforms = of_shape(shape, resize)
    expected = normalized(transforms, served)[0]
    by_time = torch.from_numpy(frames).permute(0, 3, 1, 2)
    for clip in (frames, by_time, by_time.transpose(0, 1)):
        assert torch.equal(transforms(clip), expected)
        batch = transforms(np.stack([clip] * 2) if isinstance(clip, np.ndarray) else torch.stack([clip] * 2))
        assert torch.equal(batch, torch.stack([expected] * 2))
    floats = transforms(by_time.float() / 255)
    assert ((floats - expected).abs().amax((1, 2, 3)) * torch.tensor(transforms.std) < 1.1 / 255).all()


def test_of_two_axes_that_could_be_channels_the_second_is() -> None:
    transforms, clip = of_shape((3, 3, 8, 8)), torch.randint(256, (3, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(transforms(clip)[:, 0], of_shape((3, 8, 8))(clip[0]))


IMAGE, CLIP = of_shape((3, 8, 8)), of_shape((3, 4, 8, 8))


@pytest.mark.parametrize(
    ("transforms", "value", "said"),
    [
        (
            IMAGE,
            torch.zeros(8, 8),
            "reads images, not a tensor (8, 8) of torch.float32. Give a PIL image, a tensor (C, H, W) or",
        ),
        (IMAGE, torch.zeros(8, 8, 3, dtype=torch.uint8), "not a tensor (8, 8, 3) of torch.uint8. Give"),
        (IMAGE, torch.zeros(1, 1, 3, 8, 8), "not a tensor (1, 1, 3, 8, 8) of torch.float32. Give"),
        (IMAGE, np.zeros((3, 8, 8), np.uint8), "not an array (3, 8, 8) of uint8. Give"),
        (IMAGE, np.zeros((8, 8, 4), np.uint8), "not an array (8, 8, 4) of uint8. Give"),
        (IMAGE, np.zeros((8, 8, 3), np.int64), "not an array (8, 8, 3) of int64. Give"),
        (IMAGE, np.zeros((8, 8, 3), object), "not an array (8, 8, 3) of object. Give"),
        (IMAGE, np.zeros((0, 8, 8, 3), np.uint8), "not an array (0, 8, 8, 3) of uint8. Give"),
        (IMAGE, torch.zeros(3, 8, 8, dtype=torch.int16), "not a tensor (3, 8, 8) of torch.int16. Give"),
        (IMAGE, torch.full((3, 8, 8), 200.0), "not a tensor (3, 8, 8) of torch.float32, from 200 to 200. Give"),
        (IMAGE, torch.full((3, 8, 8), torch.nan), "from nan to nan. Give"),
        (IMAGE, "a.jpg", "reads images, not a str. Give"),
        (IMAGE, None, "reads images, not a NoneType. Give"),
        (
            IMAGE,
            Image.fromarray(np.zeros((8, 8), np.float32)),
            "The image cannot be used: its pixels are floating-point numbers",
        ),
        (
            IMAGE,
            Image.fromarray(np.full((8, 8), 999, np.int32)),
            "The image cannot be used: its pixels are 32-bit integers from 999",
        ),
        (CLIP, Image.new("RGB", (8, 8)), "reads clips, not a PIL image. Give a tensor (T, C, H, W), (C, T, H, W) or"),
        (CLIP, torch.zeros(3, 8, 8), "reads clips, not a tensor (3, 8, 8) of torch.float32. Give"),
        (CLIP, torch.zeros(5, 4, 8, 8), "not a tensor (5, 4, 8, 8) of torch.float32. Give"),
        (CLIP, np.zeros((4, 3, 8, 8), np.uint8), "not an array (4, 3, 8, 8) of uint8. Give"),
        (
            of_shape((5, 4, 8, 8)),
            torch.zeros(5, 4, 8, 8),
            "reads clips of 5 channels, of which some are flow; data sets make them.",
        ),
    ],
)
def test_what_cannot_be_read_is_said(transforms: Transforms, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        transforms(value)
    assert "\n" not in str(caught.value)
