"""A trained network brought back: what it is asked, in a file or in memory, and what it answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.common.pixels import Pixels
from zoo.data import Unreadable
from zoo.data.reading.container import probe
from zoo.data.reading.decode import read_frames
from zoo.run.trained import Trained

Verb = Callable[..., tuple[int, str, str]]
LENET, CLIPS = "lenet5:fashion_mnist", "cnn_rnn:motion_digits"


@pytest.fixture(scope="module")
def lenet() -> Trained:
    return zoo.load(LENET, device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def film_of(path: Path, frames: Any, rate: int) -> Path:
    """Frames (T, H, W, 3) as a film without loss."""
    with av.open(str(path), "w") as container:
        track: Any = container.add_stream("rawvideo", rate=rate)
        track.height, track.width, track.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
        for frame in frames:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())
    return path


def said(prediction: Any) -> Any:
    """The classes with what is seen of their probabilities: batches of other sizes round the last digits otherwise."""
    return [(each["class"], round(each["probability"], 5)) for each in prediction.fields["top"]]


def test_one_picture_has_one_answer_however_it_is_given(lenet: Trained, picture: Image.Image, tmp_path: Path) -> None:
    pixels = np.asarray(picture)
    picture.save(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    picture.save(tmp_path / "folder" / "b.bmp")
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    forms: list[Any] = [str(tmp_path / "a.png"), tmp_path / "a.png", picture, pixels, tensor, tensor / 255, pixels / 255]
    forms += [str(tmp_path / "folder"), picture.convert("RGBA")]
    answers = lenet.predict(forms, batch_size=4)
    assert [each.file for each in answers[:3]] == [str(tmp_path / "a.png")] * 2 + ["input 2"]
    assert len({tuple(said(each)) for each in answers}) == 1
    assert said(lenet.predict(picture)[0]) == said(answers[0])
    assert len(lenet.predict(torch.stack([tensor, tensor]))) == 2
    assert torch.equal(lenet.transforms(picture), lenet.transforms(tmp_path / "a.png"))


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "I;16")


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_any_mode_is_read_as_its_file(mode: str, lenet: Trained, tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(48 * 48, dtype=np.uint32).reshape(48, 48).astype(np.uint8))
    image = grey.convert(mode) if mode == "I" else _in_mode(grey, mode)
    (answer,) = lenet.predict([image])
    assert answer.error is None
    suffix = {"CMYK": "tif", "I": "tif"}.get(mode, "png")
    plain = (
        image.convert("RGBA" if mode in ("La", "PA", "RGBa") else "RGB")
        if mode in ("La", "PA", "RGBa", "RGBX", "HSV", "YCbCr")
        else image
    )
    plain.save(tmp_path / f"a.{suffix}")
    assert said(answer) == said(lenet.predict([tmp_path / f"a.{suffix}"])[0])


def _in_mode(grey: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(256 * np.asarray(grey).astype(np.uint16))
    steps = {"PA": ["P", "PA"], "RGBa": ["RGBA", "RGBa"], "HSV": ["RGB", "HSV"], "LA": ["LA"]}
    image = grey
    for step in steps.get(mode, ["RGB", mode]):
        image = image.convert(step)
    return image


def test_a_photograph_is_turned_as_its_file(lenet: Trained, picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as opened:
        assert said(lenet.predict(opened)[0]) == said(lenet.predict(tmp_path / "turned.jpg")[0])


def test_a_clip_in_memory_is_a_film(tmp_path: Path) -> None:
    clip = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8)
    frames = clip.permute(0, 2, 3, 1).numpy()
    film, held = probe(film_of(tmp_path / "a.nut", frames, 8)), probe(Pixels("clip", frames, 8.0))
    assert held.rate == film.rate == 8
    assert (held.pts * held.time_base == (film.pts - film.pts[0]) * film.time_base).all()
    for numbers in (range(24), [3, 3, 1]):
        for box in (None, lambda height, width: (slice(2, height), slice(0, 9))):
            assert np.array_equal(read_frames(held, numbers, box), read_frames(film, numbers, box))
    gray = probe(Pixels("clip", frames[..., :1], 8.0))
    assert np.array_equal(read_frames(gray, [5])[0], frames[5, ..., :1].repeat(3, -1))
    run = zoo.load(CLIPS, device="cpu")
    first, *others = run.predict([clip, frames, clip.transpose(0, 1), clip.transpose(0, 1) / 255])
    assert all(said(each) == said(first) for each in others)
    assert run.transforms(clip).shape == (3, 16, 32, 32)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((2, 2, 2, 2, 2)), r"input 0 is an array \(2, 2, 2, 2, 2\) of float64"),
        (np.zeros((5, 5, 7), np.uint8), r"input 0 is an array \(5, 5, 7\)"),
        (torch.zeros(5, 5), r"input 0 is a tensor \(5, 5\)"),
        (torch.zeros(3, 5, 5) + 9, "from 9 to 9"),
        (np.zeros((5, 5, 3), np.int32), "of int32"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
        ([None], "input 0 is a NoneType"),
        (["no such file.png"], "There is no file or folder no such file.png"),
    ],
)
def test_what_cannot_be_asked_about_is_refused_with_the_form(wrong: Any, said: str, lenet: Trained) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        lenet.predict(wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["top_k", "batch_size"])
def test_numbers_below_one_are_refused(name: str, lenet: Trained, picture: Image.Image) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; it is a whole number, at least 1"):
        lenet.predict(picture, **{name: 0})  # type: ignore[arg-type]


def test_a_picture_is_no_clip(picture: Image.Image, tmp_path: Path) -> None:
    run = zoo.load(CLIPS, device="cpu")
    for wrong in (picture, np.asarray(picture)):
        with pytest.raises(ValueError, match=r"It is to be a file's name, an array \(T, H, W, C\), or a tensor \(T, C, H, W\)"):
            run.predict([wrong])
    picture.save(tmp_path / "a.png")
    assert run.predict(tmp_path / "a.png")[0].error


def test_what_cannot_be_read_is_told_in_its_place(lenet: Trained, picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:300])
    answers = lenet.predict([picture, tmp_path / "torn.png", picture], batch_size=2)
    assert [each.result is None for each in answers] == [False, True, False]
    assert answers[1].file == str(tmp_path / "torn.png")
    assert answers[1].fields == {"error": answers[1].error}
    assert "cannot be read" in str(answers[1])
    with pytest.raises(Unreadable):
        lenet.transforms(tmp_path / "torn.png")


def test_what_is_said_in_python_is_what_the_verb_says(verb: Verb, lenet: Trained, picture: Image.Image) -> None:
    names = [f"{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        picture.rotate(90 * number).save(name)
    status, out, _ = verb("predict", LENET, *names)
    assert status == 0
    assert out.splitlines() == [str(each) for each in lenet.predict(names, batch_size=1)]


@pytest.mark.parametrize("settings", [[], ["data.crops=3"], ["data.scales=[40]"]])
@pytest.mark.parametrize("size", [(32, 32), (61, 48)])
def test_of_a_frame_is_said_what_is_said_of_its_file(size: tuple[int, int], settings: list[str], tmp_path: Path) -> None:
    """To the bit, though frames go through the network together, and are never written."""
    run = zoo.load(LENET, settings, device="cpu")
    frames = np.random.default_rng(0).integers(0, 256, (37, *size, 3), dtype=np.uint8)
    film = film_of(tmp_path / "film.nut", frames, 5).rename(tmp_path / "film.mkv")
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}.bmp")
    (prediction,) = run.predict([film])
    each = [result for _, result in run.ask([tmp_path / f"{number}.bmp" for number in range(len(frames))])]
    assert prediction.fields["frames"] == [result.fields for result in each if not isinstance(result, Unreadable)]
    assert len(prediction.fields["frames"]) == 37


def test_a_film_that_tears_has_its_reason(lenet: Trained, tmp_path: Path) -> None:
    film = film_of(tmp_path / "film.nut", np.zeros((40, 16, 16, 3), np.uint8), 5)
    whole = probe(film)
    film.write_bytes(film.read_bytes()[:20_000])
    with pytest.raises(Unreadable, match="cannot be read"):
        list(lenet.frames(whole))


def test_of_a_dense_task_an_answer_has_pictures(picture: Image.Image) -> None:
    run = zoo.load(Path(__file__).parent.parent / "data" / "records" / "fcn8s-digit_scenes.ckpt", device="cpu")
    (answer,) = run.predict(picture)
    assert answer.result is not None
    assert answer.result.pictures
    assert run.class_names[0] == "background"
    assert run.transforms(picture).shape == (3, 40, 50)


@pytest.mark.parametrize("settings", [["data.crops=10"], ["data.scales=[40]"]])
def test_settings_say_how_an_input_is_cut(settings: list[str], picture: Image.Image) -> None:
    run = zoo.load(LENET, settings, device="cpu")
    batch = run.batch(Pixels("picture", picture))
    assert len(batch["id"]) == (10 if "crops" in settings[0] else 1)
    assert run.predict(picture)[0].error is None
