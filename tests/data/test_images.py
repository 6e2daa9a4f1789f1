"""Image files of every mode and kind, against Pillow by hand, and what is no image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data.base import Unreadable
from zoo.data.images import Crops, ImageFiles, check_image, read_image


def picture(height: int = 24, width: int = 32) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 8 % 256, y * 9 % 256, (x + y) * 4 % 256], -1).astype(np.uint8))


def read_as(path: Path, shape: tuple[int, ...]) -> torch.Tensor:
    """What is served of a file: the one central view."""
    return Crops(shape).cut(read_image(path, shape[0]), 0)[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_become_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    picture().convert(mode).save(path)
    with Image.open(path) as opened:
        expected = np.array(opened.convert("L" if channels == 1 else "RGB")).reshape(24, 32, channels)
    read = read_as(path, (channels, 24, 32))
    assert read.dtype == torch.uint8
    assert np.array_equal(read.permute(1, 2, 0).numpy(), expected)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_as(tmp_path / "deep.png", (1, 24, 32))[0].numpy(), (deep >> 8).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(tmp_path / "phone.png", exif=exif)
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    flips = {2: Image.Transpose.FLIP_LEFT_RIGHT, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    more = {5: Image.Transpose.TRANSPOSE, 7: Image.Transpose.TRANSVERSE}
    operation = {**turns, **flips, **more}.get(orientation)
    expected = np.array(picture().transpose(operation) if operation is not None else picture())
    read = read_as(tmp_path / "phone.png", (3, *expected.shape[:2]))
    assert np.array_equal(read.permute(1, 2, 0).numpy(), expected)


def test_the_largest_central_cut_is_scaled(tmp_path: Path) -> None:
    picture(24, 32).save(tmp_path / "wide.png")
    read = read_as(tmp_path / "wide.png", (3, 24, 24))
    assert np.array_equal(read.permute(1, 2, 0).numpy(), np.array(picture())[:, 4:28])
    small = read_as(tmp_path / "wide.png", (3, 12, 12))
    pillow = np.array(picture().crop((4, 0, 28, 24)).resize((12, 12), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(small.permute(1, 2, 0).numpy() - pillow).max() <= 1


def test_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    frames = [picture(), picture().rotate(90)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_as(tmp_path / "moving.webp", (3, 24, 32)).permute(1, 2, 0).numpy(), np.array(frames[0]))


def test_a_mislabelled_suffix_is_read_by_its_content(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert np.array_equal(read_as(tmp_path / "x.jpg", (3, 24, 32)).permute(1, 2, 0).numpy(), np.array(picture()))


def broken(folder: Path) -> list[Path]:
    picture(200, 200).save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"not a picture")
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    return [folder / "empty.png", folder / "text.png", folder / "torn.png"]


def test_broken_files_are_left_out_and_named(tmp_path: Path) -> None:
    bad = broken(tmp_path)
    for path in bad:
        with pytest.raises(Unreadable, match=path.name):
            read_image(path, 3)
    for path in bad[:2]:
        with pytest.raises(Unreadable, match=path.name):
            check_image(path)
    files = ImageFiles([bad[0], tmp_path / "whole.png", bad[2]], [0, 1, 2], Crops((3, 8, 8)))
    batch = files.__getitems__([(0, 0), (0, 1), (0, 2)])
    assert batch["id"].tolist() == [1]
    assert batch["label"].tolist() == [1]  # type: ignore[typeddict-item]
    assert set(batch["bad"]) == {str(bad[0]), str(bad[2])}
    assert files.__getitems__([(0, 0)])["input"].shape == (0, 3, 8, 8)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(Unreadable, match="no stated range"):
        read_image(tmp_path / "x.tif", 1)


def test_a_training_crop_is_a_random_scale_and_place_of_the_file(tmp_path: Path) -> None:
    """ResNet's: the short side is drawn from a range and the shape in use cut out, as a function of the sample."""
    columns = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    Image.fromarray(columns).save(tmp_path / "ramp.png")
    files = ImageFiles([tmp_path / "ramp.png"] * 40, list(range(40)), Crops((1, 40, 40)), short_side=(50, 80), seed=3)
    crops = files.__getitems__([(0, k) for k in range(40)])["input"].float()
    assert crops.shape == (40, 1, 40, 40)
    slope = (crops[:, 0, 20, 35] - crops[:, 0, 20, 5]) / 30  # source columns a pixel: 100 / short side
    assert slope.min() > 100 / 80 - 0.1
    assert slope.max() < 100 / 50 + 0.1
    assert slope.std() > 0.1
    assert crops[:, 0, 20, 20].std() > 20, "the place varies"
    again = files.__getitems__([(0, 7), (1, 7)])["input"].float()
    assert torch.equal(again[0], crops[7])
    assert not torch.equal(again[1], crops[7])


def test_left_out_files_count_in_the_result(tmp_path: Path, verb: Callable[..., tuple[int, str, str]]) -> None:
    for k in range(40):
        folder = tmp_path / "data" / ("train", "train", "val", "test")[k % 4] / f"class{k % 8 // 4}"
        folder.mkdir(parents=True, exist_ok=True)
        picture().save(folder / f"{k}.png")
    (tmp_path / "data" / "test" / "class0" / "broken.png").write_bytes(b"")
    short = ["model=linear", "data=image_folder", "data.shape=[1,8,8]", "trainer.max_epochs=1", "callbacks.pictures=null"]
    status, out, err = verb(
        "train", *short, f"data.root={tmp_path / 'data'}", "data.max_bad=0.2", f"run_dir={tmp_path / 'run'}"
    )
    assert status == 0, err
    assert "scored 10 of 11 test samples" in out
    assert out.count("broken.png") >= 1
    status, _, err = verb("train", *short, f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}")
    assert status == 1
    assert "more than data.max_bad=0.01 allows" in err
    (tmp_path / "data" / "train" / "empty").mkdir()
    status, _, err = verb("train", *short, f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}")
    assert status == 1
    assert "empty" in err
