"""Every data set that reads files x every odd content: read right, or left out and named, or refused by name.

A set of twelve sound files is made once; one file of it, the victim, gets one odd content after another. The sets are those of
`conf/data`: a new one is covered by existing (`test_every_set_is_here`). To add a kind of file, add its contents to `ODD`, and
to a set in `SETS` the victim of that kind.
"""

import csv
import functools
import inspect
import json
import os
import signal
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import config as run
from zoo.data.base import DataModule, Samples, Unreadable

Write = Callable[[Path], None]
READ, OUT = "read", "left out"
REFUSED = "refused"
BAD = {OUT, REFUSED}
HEIGHT, WIDTH = 24, 32
PATIENCE = 20
"""Seconds for a set with one odd file."""


# Contents: of each kind of file, by name what writes it, and what may come of it


def pixels(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def classes(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Of three classes, each in every mask."""
    return (np.arange(height * width).reshape(height, width) // 8 % 3).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> Write:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            image.save(stream, kind, **how)

    return write


def cut(write: Write, share: float = 0.5) -> Write:
    def cutting(path: Path) -> None:
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return cutting


def header(width: int, height: int) -> bytes:
    """A PNG of so many grey pixels, of which hardly any is there."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(orientation: int | str) -> bytes:
    if isinstance(orientation, str):
        tag = struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 4, orientation.encode(), 0)
    else:
        tag = struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0II*\0" + tag


def bytes_of(content: bytes) -> Write:
    return lambda path: void(path.write_bytes(content))


def void(_: object) -> None:
    return None


def link_to_copy(write: Write) -> Write:
    def linked(path: Path) -> None:
        target = path.with_name(".elsewhere")
        write(target)
        path.symlink_to(target)

    return linked


def with_mode(write: Write, mode: int) -> Write:
    def moded(path: Path) -> None:
        write(path)
        path.chmod(mode)

    return moded


def interlaced(array: np.ndarray) -> bytes:
    """An Adam7 PNG, which Pillow does not write."""
    height, width = array.shape[:2]
    channels = 3 if array.ndim == 3 else 1
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = array[y::dy, x::dx]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 1)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


COLOUR = Image.fromarray(pixels())
GREY = COLOUR.convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
MASK = Image.fromarray(classes())

NO_PICTURE: dict[str, tuple[Write, set[str]]] = {
    "empty": (bytes_of(b""), BAD),
    "one byte": (bytes_of(b"\x89"), BAD),
    "text": (bytes_of(b"not a picture\n"), BAD),
    "PostScript": (bytes_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n{} loop\n%%EOF\n"), BAD),
    "DDS": (saved(COLOUR, "DDS"), BAD),
    "50,000 x 50,000 in the header": (bytes_of(header(50_000, 50_000)), BAD),
    "0 x 0 in the header": (bytes_of(header(0, 0)), BAD),
    "a pipe": (lambda path: os.mkfifo(path), BAD),
    "a folder": (lambda path: path.mkdir(), BAD | {READ}),  # with nothing in it
    "a link to itself": (lambda path: path.symlink_to(path.name), BAD),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), BAD),
    "a device": (lambda path: path.symlink_to("/dev/zero"), BAD),
}
PICTURES: dict[str, tuple[Write, set[str]]] = {
    **NO_PICTURE,
    "cut PNG": (cut(saved(COLOUR)), BAD),
    "cut JPEG": (cut(saved(COLOUR, "JPEG")), BAD),
    "float": (saved(Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)), "TIFF"), BAD),
    "32-bit": (saved(Image.fromarray(np.asarray(GREY).astype(np.int32) * 1000), "TIFF"), BAD),
    "32-bit bytes": (saved(Image.fromarray(np.asarray(GREY).astype(np.int32)), "TIFF"), {READ}),
    "1 x 1": (saved(Image.fromarray(pixels(1, 1))), {READ, OUT}),
    "1 x 5,000": (saved(Image.fromarray(pixels(5000, 1))), {READ, OUT}),
    "turned": (saved(COLOUR, "JPEG", exif=exif(6)), {READ, OUT}),  # its mask or boxes do not fit it then
    "upside down": (saved(COLOUR, "JPEG", exif=exif(3)), {READ}),
    "EXIF text": (saved(COLOUR, "JPEG", exif=exif("top\0")), {READ}),
    "EXIF broken": (saved(COLOUR, "JPEG", exif=b"Exif\0\0II*\0\xff\xff"), {READ}),
    "ICC broken": (saved(COLOUR, icc_profile=b"no profile"), {READ}),
    "interlaced": (bytes_of(interlaced(pixels())), {READ}),
    "wrong suffix": (saved(COLOUR, "GIF"), {READ}),
    "CMYK": (saved(COLOUR.convert("CMYK"), "JPEG"), {READ}),
    "palette": (saved(COLOUR.convert("P")), {READ}),
    "palette with alpha": (saved(COLOUR.convert("P"), transparency=3), {READ}),
    "alpha": (saved(COLOUR.convert("RGBA")), {READ}),
    "grey with alpha": (saved(GREY.convert("LA")), {READ}),
    "one bit": (saved(COLOUR.convert("1")), {READ}),
    "16-bit": (saved(DEEP), {READ}),
    "animated": (saved(COLOUR, "WEBP", save_all=True, append_images=[COLOUR.rotate(180)]), {READ}),
    "two in one": (saved(COLOUR, "MPO", save_all=True, append_images=[COLOUR.rotate(180)]), {READ}),
    "read-only": (with_mode(saved(COLOUR), 0o444), {READ}),
    "not to be read": (with_mode(saved(COLOUR), 0), BAD | ({READ} if os.geteuid() == 0 else set())),
    "a link": (link_to_copy(saved(COLOUR)), {READ}),
}
NUMBERS: dict[str, tuple[Write, set[str]]] = {
    **NO_PICTURE,
    "cut": (cut(saved(MASK)), BAD),
    "other size": (saved(Image.fromarray(classes(9, 7))), BAD),
    "1 x 1": (saved(Image.fromarray(classes(1, 1))), BAD),
    "coloured": (saved(COLOUR), BAD),
    "two channels": (saved(MASK.convert("LA")), BAD),
    "float": (saved(Image.fromarray(classes().astype(np.float32)), "TIFF"), BAD),
    "JPEG": (saved(MASK, "JPEG"), BAD),  # its numbers are mixed with their neighbours'
    "16-bit": (saved(Image.fromarray(classes().astype(np.uint16))), {READ}),
    "32-bit": (saved(Image.fromarray(classes().astype(np.int32)), "TIFF"), {READ}),
    "interlaced": (bytes_of(interlaced(classes())), {READ}),
    "wrong suffix": (saved(MASK, "BMP"), {READ}),
    "a link": (link_to_copy(saved(MASK)), {READ}),
    "not to be read": (with_mode(saved(MASK), 0), BAD | ({READ} if os.geteuid() == 0 else set())),
}
MASKS: dict[str, tuple[Write, set[str]]] = {
    **NUMBERS,
    "a class outside": (saved(Image.fromarray(classes() + 200)), BAD),
    "16-bit, a class outside": (saved(Image.fromarray(classes().astype(np.uint16) * 300)), BAD),
    "below 0": (saved(Image.fromarray(classes().astype(np.int32) - 1), "TIFF"), BAD),
    "nothing but void": (saved(Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8))), {READ}),
}

ODD: dict[str, dict[str, tuple[Write, set[str]]]] = {"picture": PICTURES, "mask": MASKS, "numbers": NUMBERS}
"""By kind of file, by name of the content: what writes it, and what may come of it."""


# Sets: each makes a sound one, and says which file of which kind may be spoiled


@dataclass
class Sound:
    """A sound set on disk."""

    arguments: dict[str, Any]
    victims: dict[str, Path]
    """By kind of `ODD`."""
    fresh: bool = field(default=False)
    """Whether it makes archives of its files, which must be made anew."""


COUNT = 12


def image_folder(root: Path) -> Sound:
    for split in ("train", "val", "test"):
        for number in range(COUNT):
            place = root / split / f"class {number % 2}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            saved(COLOUR)(place)
    return Sound({"root": str(root)}, {"picture": root / "train" / "class 0" / "4.png"})


def image_csv(root: Path) -> Sound:
    rows = [["path", "label", "split"]]
    for number in range(3 * COUNT):
        saved(COLOUR)(root / f"{number}.png")
        rows.append([f"{number}.png", "ab"[number % 2], ("train", "val", "test")[number % 3]])
    with (root / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return Sound({"root": str(root / "table.csv")}, {"picture": root / "3.png"})


def image_shards(root: Path) -> Sound:
    pytest.importorskip("webdataset")
    source = image_folder(root / "source")
    arguments = {"root": str(root / "archives"), "source": str(root / "source")}
    return Sound(arguments, source.victims, fresh=True)


def mask_pairs(images: Path, masks: Path, ending: str = ".png") -> dict[str, Path]:
    for number in range(COUNT):
        for folder, write in ((images, saved(COLOUR)), (masks, saved(MASK))):
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"{number:06d}{ending if folder == images else '.png'}")
    return {"picture": images / f"000007{ending}", "mask": masks / "000007.png"}


def mask_folder(root: Path) -> Sound:
    (root / "classes.txt").write_text("a\nb\nc\n")
    return Sound({"root": str(root)}, mask_pairs(root / "images", root / "masks"))


def camvid(root: Path) -> Sound:
    for split in ("train", "val", "test"):
        victims = mask_pairs(root / "camvid" / split, root / "camvid" / f"{split}annot")
    return Sound({"root": str(root)}, victims)


def lists(folder: Path) -> None:
    folder.mkdir(parents=True)
    names = [f"{number:06d}" for number in range(COUNT)]
    (folder / "train.txt").write_text("\n".join(names[: COUNT - 2]) + "\n")
    (folder / "val.txt").write_text("\n".join(names[COUNT - 2 :]) + "\n")


def voc_segmentation(root: Path) -> Sound:
    voc = root / "VOCdevkit" / "VOC2012"
    lists(voc / "ImageSets" / "Segmentation")
    return Sound({"root": str(root)}, mask_pairs(voc / "JPEGImages", voc / "SegmentationClass", ".jpg"))


def voc_detection(root: Path) -> Sound:
    voc = root / "VOCdevkit" / "VOC2012"
    lists(voc / "ImageSets" / "Main")
    victims = mask_pairs(voc / "JPEGImages", voc / "unused", ".jpg")
    (voc / "Annotations").mkdir()
    box = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    for number in range(COUNT):
        (voc / "Annotations" / f"{number:06d}.xml").write_text(
            f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            f"<object><name>cat</name><difficult>0</difficult>{box}</object></annotation>"
        )
    return Sound({"root": str(root)}, {"picture": victims["picture"]})


def pennfudan(root: Path) -> Sound:
    images, masks = root / "PennFudanPed" / "PNGImages", root / "PennFudanPed" / "PedMasks"
    victims = mask_pairs(images, masks)
    for path in masks.iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    return Sound({"root": str(root)}, {"picture": victims["picture"], "numbers": masks / "000007_mask.png"})


def coco(root: Path, target: str = "semantic") -> Sound:
    victims: dict[str, Path] = {}
    (root / "coco" / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        victims = mask_pairs(root / "coco" / part, root / "unused", ".jpg")
        content = {
            "categories": [{"id": 1, "name": "a"}],
            "images": [{"id": k, "file_name": f"{k:06d}.jpg", "height": HEIGHT, "width": WIDTH} for k in range(COUNT)],
            "annotations": [
                {
                    "id": k,
                    "image_id": k,
                    "category_id": 1,
                    "area": 100.0,
                    "bbox": [2, 2, 10, 10],
                    "iscrowd": 0,
                    "segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]],
                }
                for k in range(COUNT)
            ],
        }
        (root / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return Sound({"root": str(root), "target": target}, {"picture": victims["picture"]})


def coco_instances(root: Path) -> Sound:
    return coco(root, "instances")


SETS: dict[str, Callable[[Path], Sound]] = {
    "image_folder": image_folder,
    "image_csv": image_csv,
    "image_shards": image_shards,
    "mask_folder": mask_folder,
    "camvid": camvid,
    "voc_segmentation": voc_segmentation,
    "voc_detection": voc_detection,
    "pennfudan": pennfudan,
    "coco": coco,
    "coco instances": coco_instances,
}
"""By the name in `conf/data`, and a target behind it: what makes a sound one."""

RENDERED = {"digits", "digit_scenes", "mnist", "fashion_mnist", "cifar10"}
"""Sets that read no pictures of a user's but those of a prediction."""


@functools.cache
def located(name: str) -> Any:
    return run.located(run.composed([f"data={name}"]).data._target_)


def built(name: str, arguments: dict[str, Any]) -> DataModule:
    """The data set by its name in `conf/data`, its shape small and its workers none."""
    kind = located(name.partition(" ")[0])
    known = inspect.signature(kind).parameters
    small = {"shape": (1 if name in ("digits", "mnist", "fashion_mnist") else 3, 16, 16), "num_workers": 0, "max_bad": 1.0}
    made: DataModule = kind(**{key: value for key, value in {**small, **arguments}.items() if key in known})
    return made


ALL = sorted(path.stem for path in run.CONF.glob("data/*.yaml"))
OF_PICTURES = [name for name in ALL if located(name).layout == 3]


def test_every_set_is_here() -> None:
    assert {name.partition(" ")[0] for name in SETS} | RENDERED == {*OF_PICTURES}


class Hangs(BaseException):
    """Not an Exception: no reader may take it for a broken file."""


@contextmanager
def patiently() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read_whole(samples: Samples) -> dict[str, str]:
    """Every sample once; what was left out, with the reasons."""
    bad: dict[str, str] = {}
    for at in range(len(samples)):
        batch = samples.__getitems__([(0, at)])
        bad.update(batch.get("bad", {}))
        assert batch["input"].dtype == torch.uint8
        assert len(batch["id"]) == len(batch["input"])
    return bad


def outcome(name: str, sound: Sound, victim: Path) -> str:
    """What comes of a set with an odd file: one of `READ`, `OUT`, `REFUSED`, or what is wrong."""
    data = built(name, sound.arguments)
    known = victim.stem.partition("_")[0]  # what image and mask are named by
    try:
        with patiently():
            data.prepare_data()
            data.setup()
            bad = {**data.bad}
            for samples in data.splits.values():
                bad |= read_whole(samples)
    except ValueError as error:
        return REFUSED if known in str(error) and "\n" not in str(error) else f"silent: {error}"
    except Hangs:
        return "hung"
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}"
    if not bad:
        return READ
    names = (known, ".tar at byte ")  # in an archive a file is known by its place
    return OUT if all(any(each in path for each in names) and reason for path, reason in bad.items()) else f"silent: {bad}"


def removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_odd_files_in_a_set(name: str, tmp_path: Path, record: Callable[..., None]) -> None:
    import shutil

    sound = SETS[name](tmp_path)
    told: dict[str, str] = {}
    allowed: dict[str, set[str]] = {}
    for kind, victim in sound.victims.items():
        whole = victim.read_bytes()
        for content, (write, may) in ODD[kind].items():
            victim.unlink()
            write(victim)
            if sound.fresh:
                shutil.rmtree(sound.arguments["root"], ignore_errors=True)
            told[f"{kind}: {content}"] = outcome(name, sound, victim)
            allowed[f"{kind}: {content}"] = may
            removed(victim)
            victim.write_bytes(whole)
    wrong = {content: said for content, said in told.items() if said not in allowed[content]}
    counts = Counter(said.partition(":")[0] for said in told.values())
    record(f"odd contents in {name}", tried=len(told), lost=len(wrong), detail=str(dict(counts)))
    assert not wrong


@pytest.mark.parametrize("name", OF_PICTURES)
def test_odd_pictures_in_a_prediction(name: str, tmp_path: Path) -> None:
    data = built(name, {"root": str(tmp_path)})
    for content, (write, may) in PICTURES.items():
        path = tmp_path / "picture.png"
        write(path)
        try:
            with patiently():
                samples = data.files([path])
                told = OUT if samples.__getitems__([(0, 0)]).get("bad") else READ
        except Unreadable as error:
            told = OUT if path.name in str(error) else f"silent: {error}"
        removed(path)
        assert told in may, content


GROUND = [10, 200, 30]
CLEAR = Image.new("RGBA", (WIDTH, HEIGHT), (200, 0, 0, 0))
"""Transparent everywhere, and red below."""


def lies_on(batch: Any, ground: list[int]) -> bool:
    """Whether most of an image is of this color; what a training sample has beyond the image's edge is of another."""
    image = batch["input"][0].int()
    return bool(((image - torch.tensor(ground)[:, None, None]).abs().amax(0) <= 1).float().mean() > 0.5)


@pytest.mark.parametrize("name", [*SETS, *(name for name in OF_PICTURES if name in RENDERED)])
def test_transparent_pictures_lie_on_the_ground_in_every_set(name: str, tmp_path: Path) -> None:
    """In the splits, of which one file is transparent, and of the user's own pictures."""
    sound = Sound({}, {}) if name in RENDERED else SETS[name](tmp_path)
    own = tmp_path / "own.png"
    saved(CLEAR)(own)
    if sound.victims:
        saved(CLEAR)(sound.victims["picture"])
    for ground, color in (({"ground": GROUND}, GROUND), ({"ground": "black"}, [0] * 3), ({}, [255] * 3)):
        data = built(name, {**sound.arguments, **ground, "shape": (3, 16, 16)})
        assert lies_on(data.files([own]).__getitems__([(0, 0)]), color)
        if sound.victims and ground != {}:
            data.prepare_data()
            data.setup()
            samples = [split.__getitems__([(0, at)]) for split in data.splits.values() for at in range(len(split))]
            assert any(lies_on(batch, color) for batch in samples)


@pytest.mark.parametrize("ground", ["whit", "", "#fff", [1, 2], [0, 0, 256], [-1, 0, 0], [0, 0, 0, 0]])
def test_a_ground_that_is_no_color_is_refused_in_one_sentence(ground: Any) -> None:
    for name in OF_PICTURES:
        with pytest.raises(ValueError, match=r"^data\.ground is .*three numbers from 0 to 255"):
            built(name, {"root": "somewhere", "ground": ground})


@pytest.mark.parametrize("name", SETS)
def test_pictures_that_become_bytes_are_counted_before_training(name: str, tmp_path: Path) -> None:
    sound = SETS[name](tmp_path)
    victim = sound.victims["picture"]
    saved(DEEP)(victim)
    data = built(name, sound.arguments)
    data.prepare_data()
    data.setup()
    data.setup()
    rule = "each is divided by 256, by the range of its type, for images are served as bytes."
    assert [note for note in data.notes if "256" in note] == [f"1 picture holds numbers of 16 bits a channel; {rule}"]
    if not sound.fresh:
        saved(Image.fromarray(np.asarray(GREY).astype(np.int32)), "TIFF")(victim)
        again = built(name, sound.arguments)
        again.setup()
        assert [note for note in again.notes if "32 bits" in note]
        for content in ("float", "32-bit"):  # known before the first step
            PICTURES[content][0](victim)
            again = built(name, sound.arguments)
            again.setup()
            assert [*again.bad] == [str(victim)]


def test_a_new_picture_lies_on_the_ground_of_the_run(tmp_path: Path, verb: Callable[..., tuple[int, str, str]]) -> None:
    short = ["trainer.max_steps=2", "test=false", "trainer.limit_val_batches=1", "hydra.run.dir=run"]
    assert verb("train", "model=linear", "data.ground=[0,0,0]", *short)[0] == 0
    saved(CLEAR)(tmp_path / "clear.png")
    saved(Image.new("RGB", (WIDTH, HEIGHT)))(tmp_path / "black.png")
    saved(Image.new("RGB", (WIDTH, HEIGHT), "white"))(tmp_path / "white.png")
    saved(DEEP)(tmp_path / "deep.png")
    names = ["clear.png", "black.png", "white.png", "deep.png"]

    def answers(*settings: str) -> list[Any]:
        status, out, err = verb("predict", "run", *names, "json=-", *settings)
        assert status == 0, err
        assert err.count("1 picture holds numbers of 16 bits a channel") == 1
        return [{**json.loads(line), "file": ""} for line in out.splitlines()]

    clear, black, white, _ = answers()
    assert clear == black != white
    clear, black, white, _ = answers("data.ground=white")
    assert clear == white != black


@pytest.mark.parametrize("name", [name for name in SETS if name != "image_shards"])  # which writes archives of what there is
def test_a_split_of_which_nothing_can_be_read_is_listed_and_not_trained_on(name: str, tmp_path: Path) -> None:
    sound = SETS[name](tmp_path)
    folder = sound.victims["picture"].parents[1 if name == "image_folder" else 0]
    broken = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    for path in broken:
        path.write_bytes(b"no picture")
    listed, strict = (built(name, {**sound.arguments, "max_bad": 0.01}) for _ in range(2))
    listed.strict = False
    listed.setup()
    assert {str(path) for path in broken} <= {*listed.bad}
    assert not all(map(len, listed.splits.values()))
    with pytest.raises(ValueError, match=r"Not one of \d+ files can be read|\d+ of \d+ files cannot be read"):
        strict.setup()


def test_prepare_lists_a_split_of_which_nothing_can_be_read(tmp_path: Path, verb: Callable[..., tuple[int, str, str]]) -> None:
    for name in ("image_folder", "image_shards"):
        sound = SETS[name](tmp_path / name)
        broken = list(sound.victims["picture"].parents[1].rglob("*.png"))
        for path in broken:
            path.write_bytes(b"no picture")
        source = [f"data.source={sound.arguments['source']}"] if "source" in sound.arguments else []
        status, out, err = verb("prepare", name, sound.arguments["root"], *source)
        assert all(f"{path}: it holds no picture" in out for path in broken)
        if source:  # it writes archives, which would lack a split
            assert status == 1
            assert "Not one file of train can be read, so no archives are written." in err
            continue
        assert status == 0, err
        assert f"image_folder: 0 train, {COUNT} val, {COUNT} test, 2 classes" in out
        assert f"{COUNT} of {3 * COUNT} files (33.3%) are left out; training refuses a split of which" in out
        status, out, err = verb("train", "model=linear", "data=image_folder", f"data.root={sound.arguments['root']}")
        assert status == 1
        assert f"Not one of {COUNT} files can be read" in err
