"""Image files of every mode and kind, against Pillow by hand, and what is no image."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.common import pictures
from zoo.common.crops import resized
from zoo.common.files import Unreadable, pixels_limited
from zoo.common.pictures import FORMATS, LOSSLESS, SUFFIXES, check_image, read_image, upright_header
from zoo.common.pixels import Pixels
from zoo.data import pennfudan
from zoo.data.images import Crops, ImageFiles
from zoo.data.masks import read_mask

OPENERS: dict[str, Callable[[Path], object]] = {
    "read_image": lambda path: read_image(path, 3),
    "check_image": check_image,
    "upright_header": upright_header,
    "read_mask": lambda path: read_mask(path, 3, 255),
    "numbered": pennfudan._masks,
}
"""All that open a picture."""


def picture(height: int = 24, width: int = 32) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 8 % 256, y * 9 % 256, (x + y) * 4 % 256], -1).astype(np.uint8))


def size_of(path: Path) -> tuple[int, int]:
    found = upright_header(path)
    return found.height, found.width


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
    assert ImageFiles(bad[:1], [0], Crops((3, 8, 8))).__getitems__([(0, 0)])["input"].shape == (0, 3, 8, 8)


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
    status, out, err = verb("train", *short, f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}")
    assert status == 0, err
    assert "scored 10 of 11 test samples" in out
    assert out.count("broken.png") >= 1
    left_out = json.loads((tmp_path / "run" / "result.json").read_text())["left_out"]
    assert [Path(path).name for path in left_out] == ["broken.png"]
    status, _, err = verb("train", *short, f"data.root={tmp_path / 'data'}", "data.max_bad=0", f"run_dir={tmp_path / 'second'}")
    assert status == 1
    assert "more than data.max_bad=0 allows" in err
    (tmp_path / "data" / "train" / "empty").mkdir()
    status, _, err = verb("train", *short, f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'third'}")
    assert status == 1
    assert "empty" in err


def header_of(width: int, height: int) -> bytes:
    """A PNG of so many grey pixels, of which hardly any is there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link to itself", "link to nothing", "device", "missing"])
def test_what_is_no_file_is_refused_unopened(tmp_path: Path, opener: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred letters
    path = Path("x.png")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("x.png")
        case "folder":
            path.mkdir()
        case "link to itself" | "link to nothing":
            path.symlink_to("x.png" if kind == "link to itself" else "y.png")
        case "device":
            path.symlink_to("/dev/zero")
    with pytest.raises(Unreadable, match=r"x\.png"):
        OPENERS[opener](path)


@pytest.mark.parametrize("opener", OPENERS)
def test_no_process_is_started(tmp_path: Path, opener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def start(*arguments: object, **more: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n{} loop\n%%EOF\n")
    with pytest.raises(Unreadable, match="no picture of the kinds"):
        OPENERS[opener](path)
    assert not {"EPS", "PDF", "WMF"} & {*FORMATS}


@pytest.mark.parametrize("opener", OPENERS)
def test_the_header_s_size_is_compared_before_anything_is_decoded(
    tmp_path: Path, opener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(header_of(50_000, 50_000))

    def load(self: Image.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(Unreadable, match=r"2,500,000,000 pixels, more than ZOO_MAX_PIXELS=100000000 allows"):
        OPENERS[opener](path)
    path.write_bytes(header_of(10, 10))
    with pixels_limited(99, "max_pixels"), pytest.raises(Unreadable, match="max_pixels=99"):
        OPENERS[opener](path)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack"),
        IndexError("list index"),
        TypeError("none"),
        AttributeError("fp"),
        MemoryError(),
        UnicodeDecodeError("ascii", b"x", 0, 1, "no"),
        zlib.error("inflate"),
        RecursionError("deep"),
        NotImplementedError("pixel format"),
        ZeroDivisionError("division"),
    ],
)
def test_whatever_goes_wrong_inside_names_the_file(
    tmp_path: Path, opener: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import PngImagePlugin

    Image.new("L", (9, 9)).save(tmp_path / "x.png")

    def fail(self: object) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "_open", fail)
    with pytest.raises(Unreadable, match=r"x\.png") as caught:
        OPENERS[opener](tmp_path / "x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "DIB"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_header_s_size_is_that_of_the_picture_in_every_format(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    arguments = {} if name in ("GIF", "BMP", "PPM") else {"exif": exif}
    picture().save(tmp_path / "x.jpg", name, **arguments)
    assert size_of(tmp_path / "x.jpg") == tuple(read_image(tmp_path / "x.jpg", 3).shape[2:])


def test_an_orientation_that_is_text_turns_nothing(tmp_path: Path) -> None:
    text = b"Exif\0\0II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 4, b"top\0", 0)
    picture().save(tmp_path / "x.jpg", exif=text)
    assert size_of(tmp_path / "x.jpg") == tuple(read_image(tmp_path / "x.jpg", 3).shape[2:]) == (24, 32)


def test_a_phone_s_two_pictures_in_one_file_are_its_first(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[picture().rotate(90)], quality=95)
    with Image.open(tmp_path / "x.jpg") as opened:
        assert opened.format == "MPO"
    assert (
        np.abs(read_as(tmp_path / "x.jpg", (3, 24, 32)).permute(1, 2, 0).numpy() - np.array(picture()).astype(int)).mean() < 9
    )


def test_suffixes_are_those_of_the_formats() -> None:
    assert {".jpg", ".jfif", ".jpe", ".jp2", ".png", ".webp", ".tif", ".bmp", ".gif", ".pgm", ".mpo"} <= SUFFIXES
    assert not {".eps", ".ps", ".pdf", ".mpg", ".wmf"} & SUFFIXES
    assert {*LOSSLESS} < {*FORMATS}


@pytest.mark.parametrize("kind", ["RGBA", "LA", "TIFF", "P, one", "P, many", "RGB, one", "L, one", "I;16, one"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pictures_lie_on_the_ground(tmp_path: Path, kind: str, channels: int) -> None:
    """Whatever is hidden below the transparent pixels, and however it is written."""
    path = tmp_path / "x.png"
    for hidden in (0, 90, 255):
        grey = np.full((8, 8), 40, np.uint8)
        grey[:, 4:] = hidden
        alpha = np.where(np.arange(8) < 4, 255, 0).astype(np.uint8)[None].repeat(8, 0)
        mode, _, how = kind.partition(", ")
        image = Image.fromarray(grey)
        if how and mode == "I;16":
            Image.fromarray(grey.astype(np.uint16) * 257).save(path, transparency=hidden * 257)
        elif how:
            many = bytes(0 if value == hidden else 255 for value in range(256))
            transparency: object = many if how == "many" else (hidden,) * 3 if mode == "RGB" else hidden
            if mode == "P":
                image.putpalette([value for value in range(256) for _ in range(3)])
            image.convert(mode).save(path, transparency=transparency)
        elif mode == "TIFF":
            whole = image.convert("RGBA")
            whole.putalpha(Image.fromarray(alpha))
            path = tmp_path / "x.tif"
            whole.save(path)
        else:
            whole = image.convert(mode)
            whole.putalpha(Image.fromarray(alpha))
            whole.save(path)
        read = read_image(path, channels)[0]
        assert set(read[..., :4].unique().tolist()) == {40}, hidden
        assert set(read[..., 4:].unique().tolist()) == {255}, hidden
        assert set(read_image(path, channels, (0, 0, 0))[..., 4:].unique().tolist()) == {0}


def test_wide_numbers_are_known_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "x"
    noise = np.random.default_rng(0).integers(0, 65536, (4, 5)).astype(np.uint16)
    color = noise[..., None].repeat(3, 2).byteswap().tobytes()  # PNG and PPM are big-endian; Pillow writes no such color
    for kind in ("PNG", "TIFF", "PPM", "JPEG2000"):
        Image.fromarray(noise).save(path, kind)
        assert check_image(path).wide == "16-bit", kind
        assert upright_header(path).wide == "16-bit", kind
    for maximum in (65535, 1023):
        path.write_bytes(b"P6 5 4 %d\n" % maximum + color)
        assert check_image(path).wide == "16-bit"
    rows = b"".join(b"\0" + color[at : at + 30] for at in range(0, 120, 30))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert check_image(path).wide == "16-bit"
    assert np.array_equal(read_image(path, 3)[0, 0].numpy(), noise >> 8)
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK"):
        Image.new(mode, (4, 5)).save(path, "TIFF")
        assert check_image(path).wide == "", mode
    for plain in (b"P1 2 1\n1 0", b"P2 2 1 255\n1 0", b"P6 1 1 255\n123"):
        path.write_bytes(plain)
        assert check_image(path).wide == "", plain


@pytest.mark.parametrize("rule", ["<u2", ">u2", "<i2"])
def test_16_bits_in_a_mode_of_32_are_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """As Pillow before its eleventh release opens a grey PNG, and any opens a TIFF of signed numbers."""
    values = np.arange(20, dtype=rule).reshape(4, 5) * 1000
    content = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(content, "TIFF")
    path = tmp_path / "x.tif"
    path.write_bytes(content.getvalue())
    before = pictures._opened
    raw = {"<u2": "I;16", ">u2": "I;16B", "<i2": "I;16S"}[rule]

    def opened(*arguments: Any) -> Image.Image:
        image = before(*arguments)
        image.load()
        wide = Image.fromarray(np.asarray(image).astype(np.int32))
        wide.tile = [("raw", (0, 0, 5, 4), 0, (raw, 0, 1))]  # type: ignore[attr-defined]
        return wide

    monkeypatch.setattr(pictures, "_opened", opened)
    if rule == "<i2":
        with pytest.raises(Unreadable, match="from 0 to 19000, of no stated range"):
            read_image(path, 1)
    else:
        assert np.array_equal(read_image(path, 1)[0, 0].numpy(), values.astype(np.int64) >> 8)


def test_integers_of_32_bits_are_bytes_or_refused(tmp_path: Path) -> None:
    grey = np.arange(24 * 32).reshape(24, 32) % 256
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "x.tif")
    assert np.array_equal(read_as(tmp_path / "x.tif", (1, 24, 32))[0].numpy(), grey)
    Image.fromarray(grey.astype(np.int32) * 4).save(tmp_path / "x.tif")
    with pytest.raises(Unreadable, match="from 0 to 1020, of no stated range"):
        read_image(tmp_path / "x.tif", 1)


@pytest.mark.parametrize("count", [1, 4, 5, 8])
@pytest.mark.parametrize(("size", "served"), [((48, 64), (9, 11)), ((8, 8), (32, 32)), ((33, 17), (8, 17))])
def test_gray_images_scaled_together_are_as_each_alone(count: int, size: tuple[int, int], served: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (count, 1, *size), dtype=torch.uint8)
    assert torch.equal(resized(pixels, served), torch.cat([resized(pixels[at : at + 1], served) for at in range(count)]))


def transparent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{mode: lambda image, mode=mode: image.convert(mode) for mode in ("RGB", "L", "1", "P", "CMYK", "I")},  # type: ignore[misc]
    "RGBA": transparent,
    "LA": lambda image: transparent(image.convert("L")),
    "I;16": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256),
}


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_out_while_reading_is_the_part_of_the_whole(tmp_path: Path, kind: str, turn: int) -> None:
    path = tmp_path / ("x.tif" if kind in ("CMYK", "I") else "x.png")
    exif = Image.Exif()
    exif[0x0112] = turn
    KINDS[kind](picture(25, 32)).save(path, exif=exif)
    for channels in (1, 3):
        for crops in (
            Crops((channels, 11, 8), None, 10),
            Crops((channels, 8, 15), None, 3),
            Crops((channels, 8, 8), (9, 12), 3),
        ):
            whole = read_image(path, channels, (0, 99, 200))
            files = ImageFiles([path], None, crops, ground=(0, 99, 200))
            served = files.__getitems__([(0, view) for view in range(crops.views)])["input"]
            assert torch.equal(served, torch.cat([crops.cut(whole, view) for view in range(crops.views)]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_in_memory_is_as_its_file(tmp_path: Path, kind: str) -> None:
    image = KINDS[kind](picture(25, 32))
    path = tmp_path / ("x.tif" if kind in ("CMYK", "I") else "x.png")
    image.save(path)
    before = image.copy()
    for channels in (1, 3):
        assert torch.equal(read_image(Pixels("x", image), channels, (0, 99, 200)), read_image(path, channels, (0, 99, 200)))
    assert image == before


@pytest.mark.parametrize("given", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_in_memory_are_as_their_file(tmp_path: Path, channels: int, given: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (25, 32, given), dtype=np.uint8)
    pixels.flags.writeable = False
    Image.fromarray(pixels[..., 0] if given == 1 else pixels).save(tmp_path / "x.png")
    forms = (pixels, np.ascontiguousarray(pixels[:, ::-1])[:, ::-1], np.rot90(np.rot90(pixels, -1).copy()))
    for crops in (Crops((channels, 9, 9)), Crops((channels, 11, 8), None, 10), Crops((channels, 8, 8), (9,), 3)):
        draws = [(0, view) for view in range(crops.views)]
        expected = ImageFiles([tmp_path / "x.png"], None, crops).__getitems__(draws)["input"]
        for form in forms:
            assert torch.equal(ImageFiles([Pixels("x", form)], None, crops).__getitems__(draws)["input"], expected)
        several = ImageFiles([Pixels("x", form) for form in forms], None, crops)
        batch = several.__getitems__([(0, at) for at in range(len(several))])
        assert torch.equal(batch["input"], expected.repeat(3, 1, 1, 1))
        assert batch["id"].tolist() == [number for number in range(3) for _ in range(crops.views)]


def test_pixels_are_limited_as_those_of_a_file() -> None:
    held = Pixels("input 3", np.zeros((20, 20, 3), np.uint8))
    with pixels_limited(300, "max_pixels"):
        for channels in (1, 3):
            with pytest.raises(Unreadable, match="input 3 cannot be read: it has 400 pixels, more than max_pixels=300 allows"):
                read_image(held, channels)
    with pytest.raises(Unreadable, match="it is pixels in memory, not a file"):
        held.open()
