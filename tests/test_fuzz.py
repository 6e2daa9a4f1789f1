"""Broken files of every kind that is read: none crashes the process or hangs it, and what is read of one is what it says.

Each mutant is a function of (kind, number), so that a failure can be repeated. Decoders run in a process of their own: what
kills it is caught, and the file that it was reading is known.
"""

import functools
import io
import json
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from zoo.common.places import CONF
from zoo.common.tensors import write_tensors
from zoo.data.reading import write_shards
from zoo.data.reading.ledger import Store
from zoo.data.rendered import motion
from zoo.models._weights import load_pretrained
from zoo.run import cli
from zoo.run.build import build_data, build_task
from zoo.run.check import check_fit
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.recipe import compose_recipe, read_checkpoint, rebuild, recipe_of

MUTANTS = int(os.environ.get("ZOO_TEST_MUTANTS", "2500"))
"""Of each kind; with the one thing that must come of each: a sample of the right form, or a sentence. The first 2,500 are what
SECURITY.md promises; .ci/run tries the first 200 of them with every change."""
PATIENCE = 60
"""Seconds for a file, or for what is imported before the first, on a machine with other work."""
MEMORY = 500
"""MB that the process may take more than for the first."""


def mutant(content: bytes, rng: random.Random) -> bytes:
    """Broken in one to four places: bits turned, bytes overwritten, cut out, doubled, zeroed, or the end torn off."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        at = rng.randrange(len(data)) if rng.random() < 0.6 else rng.randrange(min(len(data), 200))  # headers break more
        length = min(len(data) - at, rng.choice([1, 1, 2, 4, 16, 64, 256]))
        match rng.randrange(7):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + length] = rng.randbytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes(length)
            case 5:
                data[at : at + length] = b"\xff" * length
            case 6:
                del data[at:]
    return bytes(data)


def reworded(text: str, rng: random.Random) -> str:
    """A text with words exchanged for what a careless or a hostile hand would write."""
    words = [
        "",
        "-1",
        "1e999",
        "null",
        "[]",
        "{",
        '"',
        "'",
        "../../x",
        "/etc/passwd",
        "\0",
        "é",
        "9" * 400,
        "${oc.env:HOME}",
        "!!x",
        ":",
        ",",
    ]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([0, 1, 1, 3, 10]))
        text = text[:at] + rng.choice([*words, text[at:end] * 2]) + text[end:]
    return text


HOSTILE = [None, True, -1, 0, 0.5, 1e308, float("nan"), float("-inf"), 10**30, "", "0", "P" * 999, "~" * 999, [], {}]
HOSTILE += [[[]], [7] * 7, [[7] * 7], [[1e9, 0] * 3], [float("nan")] * 4, {"size": [26, 34], "counts": [2**63]}, "../x"]


def exchanged(content: Any, rng: random.Random) -> Any:
    """A value of lists and dictionaries with one to three of its parts, at any depth, gone or another."""
    for _ in range(rng.randint(1, 3)):
        owner = content
        while True:
            keys = list(owner) if isinstance(owner, dict) else range(len(owner))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(owner[key], list | dict) and rng.random() < 0.8:
                owner = owner[key]
                continue
            if rng.random() < 0.2:
                del owner[key]
            else:
                owner[key] = rng.choice(HOSTILE)
            break
    return content


def picture(rng: random.Random, kind: str) -> bytes:
    pixels = np.random.default_rng(rng.randrange(99)).integers(0, 256, (13, 17, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).resize((34, 26))
    image = image.convert({"GIF": "P", "PPM": "RGB"}.get(kind, rng.choice(["RGB", "L"])))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


# Each kind: writes mutant `number` under the folder, reads it, and raises whatever reading raises


def read_an_image(folder: Path, rng: random.Random) -> None:
    from zoo.common.pictures import check_image, read_image, upright_header

    path = folder / "x.png"
    kind = rng.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "MPO"])
    path.write_bytes(mutant(picture(rng, kind), rng))
    channels = rng.choice([1, 3])
    check_image(path)
    upright_header(path)
    image = read_image(path, channels)
    assert image.dtype == torch.uint8
    assert image.shape[:2] == (1, channels)
    assert min(image.shape[2:]) > 0


def read_a_mask(folder: Path, rng: random.Random) -> None:
    from zoo.data.masks import read_mask

    path = folder / "x.png"
    classes = np.random.default_rng(rng.randrange(99)).integers(0, 3, (20, 24)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(classes).save(buffer, rng.choice(["PNG", "TIFF", "BMP", "GIF"]))
    path.write_bytes(mutant(buffer.getvalue(), rng))
    mask = read_mask(path, 3, 255)
    assert mask.dtype == torch.uint8
    assert set(mask.unique().tolist()) <= {0, 1, 2, 255}, "a class that does not exist would train on wrong data"


_CLIP: list[bytes] = []


def read_a_video(folder: Path, rng: random.Random) -> None:
    import av

    from zoo.data.video_folder import VideoFolder

    if not _CLIP:
        frames = motion.draw_clip("train", 3)
        _CLIP.append(motion.encode(frames, 8))
        for name, codec, pixels in (
            ("avi", "mpeg4", "yuv420p"),
            ("matroska", "libx264", "yuv420p"),
            ("mpegts", "mpeg2video", "yuv420p"),
        ):
            buffer = io.BytesIO()
            with av.open(buffer, "w", format=name) as container:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width, stream.pix_fmt = 32, 32, pixels
                for image in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(stream.encode())
            _CLIP.append(buffer.getvalue())
    path = folder / "x.mp4"
    path.write_bytes(mutant(rng.choice(_CLIP), rng))
    data = VideoFolder(root=".", shape=(3, 8, 16, 16), rate=None, clips=2, batch_size=2)
    batch = data.files([path]).__getitems__([(0, 0), (0, 1)])
    assert batch["input"].shape == (len(batch["id"]), 3, 8, 16, 16)
    assert len(batch["id"]) == 2 or batch["bad"]


def read_a_table(folder: Path, rng: random.Random) -> None:
    from zoo.data.image_csv import ImageCsv

    for number in range(16):
        if not (folder / f"{number}.png").is_file():
            (folder / f"{number}.png").write_bytes(picture(random.Random(number), "PNG"))
    splits = ("train", "train", "val", "test")
    rows = ["path,label,split", *(f"{k}.png,{'ab'[k % 2]},{splits[k // 2 % 4]}" for k in range(16))]
    content = reworded("\n".join(rows) + "\n", rng).encode("utf-8", "surrogateescape")
    (folder / "table.csv").write_bytes(mutant(content, rng) if rng.random() < 0.3 else content)
    data = ImageCsv(root=str(folder / "table.csv"), shape=(3, 8, 8), max_bad=0.5)
    data.setup()
    for samples in data.splits.values():
        batch = samples.__getitems__([(0, at) for at in range(len(samples))])
        assert batch["label"].max() < data.num_classes  # type: ignore[typeddict-item]
        for path in samples.paths:  # type: ignore[attr-defined]
            assert Path(path).is_file(), "what is not there is left out, and named"


def read_a_list(folder: Path, rng: random.Random) -> None:
    """Of every set that has some, and the tables of those that read no file before training."""
    from tests.data import test_odd_tables

    name = rng.choice(sorted(test_odd_tables.ALL))
    if name not in _LISTS:
        (folder / name).mkdir()
        path, read = test_odd_tables.ALL[name](folder / name)
        _LISTS[name] = path, read, path.read_bytes()
    path, read, whole = _LISTS[name]
    content = reworded(whole.decode(), rng).encode("utf-8", "surrogateescape")
    path.write_bytes(mutant(content, rng) if rng.random() < 0.5 else content)
    _, found = read()
    if isinstance(found, tuple) and isinstance(found[-1], dict):
        names, splits = found
        assert all(0 <= label < len(names) for files in splits.values() for _, label in files)
        assert all(folder in file.parents and ".." not in file.parts for files in splits.values() for file, _ in files)


_LISTS: dict[str, Any] = {}


def read_annotations(folder: Path, rng: random.Random) -> None:
    from zoo.data.coco import Coco

    for part in ("train2017", "val2017"):
        (folder / "coco" / part).mkdir(parents=True, exist_ok=True)
        (folder / "coco" / "annotations").mkdir(exist_ok=True)
        for number in range(4):
            (folder / "coco" / part / f"{number}.png").write_bytes(_png())
        content = {
            "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
            "images": [{"id": k, "file_name": f"{k}.png", "height": 26, "width": 34} for k in range(4)],
            "annotations": [
                {
                    "id": k,
                    "image_id": k,
                    "category_id": 3 + 4 * (k % 2),
                    "area": 50.0,
                    "bbox": [2, 2, 8, 8],
                    "iscrowd": 0,
                    "segmentation": [[2, 2, 10, 2, 10, 10]] if k else {"size": [26, 34], "counts": [5, 10, 26 * 34 - 15]},
                }
                for k in range(4)
            ],
        }
        text = json.dumps(content)
        if part == "train2017":
            exchanged(content["annotations"] if rng.random() < 0.8 else content, rng)
            text = reworded(text, rng) if rng.random() < 0.2 else json.dumps(content)
        (folder / "coco" / "annotations" / f"instances_{part}.json").write_text(text, errors="surrogateescape")
    served(Coco(root=str(folder), shape=(3, 16, 16), max_bad=0.9, num_workers=0, target="instances"))
    data = Coco(root=str(folder), shape=(3, 16, 16), max_bad=0.9, num_workers=0)
    data.setup()
    for samples in data.splits.values():
        for at in range(len(samples)):
            batch = samples.__getitems__([(0, at)])
            if len(batch["id"]):
                assert set(batch["mask"].unique().tolist()) <= {*range(data.num_classes), 255}  # type: ignore[typeddict-item]


def served(data: Any) -> None:
    """Every image of a data set of objects: boxes have an area, and no two images of a split have one number."""
    data.setup()
    for samples in data.splits.values():
        numbers = []
        for at in range(len(samples)):
            batch = samples.__getitems__([(0, at)])
            for found, number in zip(batch["instances"], batch["image_id"].tolist(), strict=True):
                numbers.append(number)
                assert torch.isfinite(found["boxes"]).all()
                assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()
                assert not len(found["labels"]) or 1 <= found["labels"].min() <= found["labels"].max() <= data.num_classes
                assert "area" not in found or torch.isfinite(found["area"]).all()
        assert len(set(numbers)) == len(numbers)


def read_objects_in_xml(folder: Path, rng: random.Random) -> None:
    from zoo.data.voc_detection import VocDetection

    root = folder / "VOCdevkit" / "VOC2012"
    names = [f"a{number}" for number in range(6)]
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True, exist_ok=True)
    box = "<xmin>3</xmin><ymin>3</ymin><xmax>12</xmax><ymax>12</ymax>"
    each = f"<object><name>dog</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
    text = f"<annotation><size><width>34</width><height>26</height></size>{each}{each}</annotation>"
    for name in names:
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(_png())
        (root / "Annotations" / f"{name}.xml").write_text(text)
    lists = {name: "\n".join(part) for name, part in (("train", names[:4]), ("val", names[4:]))}
    if rng.random() < 0.2:
        lists["train"] = reworded(lists["train"], rng)
    for name, content in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(content, errors="surrogateescape")
    broken = reworded(text, rng).encode("utf-8", "surrogateescape") if rng.random() < 0.5 else mutant(text.encode(), rng)
    (root / "Annotations" / f"{rng.choice(names[:2])}.xml").write_bytes(broken)
    served(VocDetection(root=str(folder), shape=(3, 16, 16), max_bad=0.0 if rng.random() < 0.5 else 0.9, num_workers=0))


def read_numbered_masks(folder: Path, rng: random.Random) -> None:
    from zoo.data.pennfudan import PennFudan

    root = folder / "PennFudanPed"
    for part in ("PNGImages", "PedMasks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    numbers = np.zeros((26, 34), np.uint8)
    numbers[3:9, 3:9], numbers[12:20, 12:20] = 1, 2
    Image.fromarray(numbers.astype(rng.choice([np.uint8, np.uint16]))).save(buffer, "PNG")
    for number in range(5):
        (root / "PNGImages" / f"{number}.png").write_bytes(_png())
        (root / "PedMasks" / f"{number}_mask.png").write_bytes(buffer.getvalue())
    (root / "PedMasks" / f"{rng.randrange(5)}_mask.png").write_bytes(mutant(buffer.getvalue(), rng))
    served(PennFudan(root=str(folder), shape=(3, 16, 16), max_bad=0.0 if rng.random() < 0.5 else 0.9, num_workers=0))


@functools.cache
def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (34, 26)).save(buffer, "PNG")
    return buffer.getvalue()


def read_settings(folder: Path, rng: random.Random) -> None:
    source = rng.choice(sorted(CONF.glob("*/*.yaml")))
    place = folder / "conf" / source.parent.name / "mutant.yaml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(reworded(source.read_text(), rng), errors="surrogateescape")
    try:
        group = source.parent.name
        config = composed([f"{group}=mutant"] if group != "model" else ["model=mutant"], str(folder / "conf"))
        check_fit(config)
    finally:
        place.unlink()


_SAVED: list[dict[str, Any]] = []


def read_a_checkpoint(folder: Path, rng: random.Random) -> None:
    """Bytes broken, or the recipe's values exchanged: then it builds our own network, or is refused."""
    if not _SAVED:
        config = composed(["model=linear", "data=digits", "run_dir=."])
        data = build_data(config)
        data.setup()
        facts = facts_of(data)
        publish(config, facts)
        task = build_task(config)
        _SAVED.append({"state_dict": task.state_dict(), "zoo": recipe_of(config, facts)})
    buffer = io.BytesIO()
    content = json.loads(json.dumps(_SAVED[0]["zoo"]))
    broken = rng.random() < 0.5
    if not broken:
        for _ in range(rng.randint(1, 2)):
            values = rng.choice([content, content["names"], content["facts"], *content["arguments"].values()])
            if isinstance(values, dict) and values:
                key = rng.choice(sorted(values))
                hostile = [
                    None,
                    -1,
                    10**9,
                    1e308,
                    "../x",
                    "os.system",
                    {"_target_": "os.system"},
                    [["a"]],
                    "${oc.env:HOME}",
                    ["x"] * 3,
                    True,
                ]
                if rng.random() < 0.2:
                    del values[key]
                else:
                    values[rng.choice([key, "_target_", "new"])] = rng.choice(hostile)
            if not all(isinstance(content.get(part), dict) for part in ("names", "arguments", "facts")):
                break
    torch.save({"state_dict": _SAVED[0]["state_dict"], "zoo": content}, buffer)
    path = folder / "x.ckpt"
    path.write_bytes(mutant(buffer.getvalue(), rng) if broken else buffer.getvalue())
    found = read_checkpoint(path)
    config = compose_recipe(found["zoo"], [])
    build_data(config)
    publish(config, found["zoo"]["facts"])
    task = rebuild(found, config, path)
    assert type(task.net).__module__.startswith("zoo.models.")


def read_archives(folder: Path, rng: random.Random) -> None:
    from zoo.common.pictures import read_image
    from zoo.data.reading import shards

    root = folder / "archives"
    if not root.is_dir():
        files = []
        for number in range(6):
            path = folder / f"{number}.png"
            path.write_bytes(picture(random.Random(number), "PNG"))
            files.append((path, number % 2))
        write_shards.write(root, ("a", "b"), {"train": files, "val": files, "test": files}, shard_bytes=2000)
    victim = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    whole = victim.read_bytes()
    try:
        victim.write_bytes(
            mutant(whole, rng) if victim.suffix != ".json" else reworded(whole.decode(), rng).encode("utf-8", "replace")
        )
        if victim.suffix == ".tar" and rng.random() < 0.5:
            write_shards.scan(victim, 0)
        classes, splits = shards.read_contents(shards.Store(str(root), 0))
        for split in splits.values():
            for member, label in zip(split, split.places.label.tolist(), strict=False):
                assert label < len(classes)
                assert read_image(member, 3).shape[:2] == (1, 3)
    finally:
        victim.write_bytes(whole)


def read_weights(folder: Path, rng: random.Random) -> None:
    """Of every format: torch's zip, the pickles of before it, safetensors with and without a hash."""
    net = torch.nn.Linear(6, 2)
    if not (folder / "0.pt").is_file():
        torch.save({"state_dict": net.state_dict(), "epoch": 3}, folder / "0.pt")
        torch.save(net.state_dict(), folder / "1.pth", _use_new_zipfile_serialization=False)
        write_tensors(net.state_dict(), folder / "2.safetensors")
        (folder / "3.safetensors").write_bytes(save(net.state_dict()))
    source = folder / rng.choice(["0.pt", "1.pth", "2.safetensors", "3.safetensors"])
    path = folder / f"x{source.suffix}"
    path.write_bytes(mutant(source.read_bytes(), rng))
    load_pretrained(net, path, "linear")
    assert all(value.isfinite().all() for value in net.state_dict().values())


_FILM: dict[str, bytes] = {}


def read_a_ledger(folder: Path, rng: random.Random) -> None:
    """What it says of a film that is sound: it may be wrong about it, and the film is then looked at itself."""
    from zoo.data.reading import prepared
    from zoo.data.reading.decode import read_frames

    root = folder / "films"
    path = root / "a" / "x.mp4"
    if not _FILM:
        path.parent.mkdir(parents=True)
        path.write_bytes(motion.render(motion.clip_path(folder, "train", 5)))
        store = Store(root)
        store.add(prepared.work(prepared._job(store, path, None, None)))
        _FILM["ledger"] = store.ledger.read_bytes()
    content = _FILM["ledger"]
    way = rng.randrange(3)
    if way == 0:
        content = mutant(content, rng)
    elif way == 1:
        content = reworded(content.decode(), rng).encode("utf-8", "replace")
    else:
        content = json.dumps(exchanged(json.loads(content), rng)).encode()
    (root / ".zoo" / "ledger.jsonl").write_bytes(content)
    video = Store(root).video(path)
    frames = read_frames(video, [0, len(video) - 1])
    assert frames.shape == (2, 32, 32, 3)


def read_flow(folder: Path, rng: random.Random) -> None:
    from zoo.data.reading.fields import open_fields, write_fields

    path = folder / "x.zip"
    if "flow" not in _FILM:
        steps = np.random.default_rng(0).integers(0, 255, (6, 24, 32, 2), dtype=np.uint8)
        write_fields(path, "dis", [steps])
        _FILM["flow"] = path.read_bytes()
    path.write_bytes(mutant(_FILM["flow"], rng))
    found = open_fields(path, 7).read(range(7))
    assert found.shape[0] == 7
    assert found.dtype == np.uint8


def read_rendered_scenes(folder: Path, rng: random.Random) -> None:
    from unittest.mock import patch

    from zoo.data.rendered import scenes as _scenes

    with patch.object(_scenes, "_A_FILE", 2):
        if "scenes" not in _FILM:
            _FILM["scenes"] = _scenes.render(Path("val/000.npz"))
        path = folder / "000.npz"
        path.write_bytes(mutant(_FILM["scenes"], rng))
        scenes = _scenes.read_scenes(path)
        assert scenes.images.shape == (2, 128, 128, 3)
        assert scenes.instances.max() <= _scenes.MOST


def read_official_files(folder: Path, rng: random.Random) -> None:
    from zoo.data.mnist import Mnist

    place = folder / "MNIST" / "raw"
    place.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        images = bytes([0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(40 * 28 * 28)
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 40]) + bytes(number % 10 for number in range(40))
        (place / f"{part}-images-idx3-ubyte").write_bytes(images)
        (place / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    victim = rng.choice(sorted(place.iterdir()))
    victim.write_bytes(mutant(victim.read_bytes(), rng))
    data = Mnist(shape=(1, 28, 28), root=str(folder))
    data.setup()
    for samples in data.splits.values():
        batch: Any = samples.__getitems__([(0, at) for at in range(len(samples))])
        assert batch["input"].shape[1:] == (1, 28, 28)
        assert 0 <= batch["label"].min() <= batch["label"].max() <= 9


READ: dict[str, Callable[[Path, random.Random], None]] = {
    "images": read_an_image,
    "masks": read_a_mask,
    "videos": read_a_video,
    "tables": read_a_table,
    "lists": read_a_list,
    "annotations": read_annotations,
    "objects in XML": read_objects_in_xml,
    "numbered masks": read_numbered_masks,
    "settings": read_settings,
    "checkpoints": read_a_checkpoint,
    "archives": read_archives,
    "weights": read_weights,
    "ledgers": read_a_ledger,
    "flow archives": read_flow,
    "rendered scenes": read_rendered_scenes,
    "official files": read_official_files,
}
FORGIVEN = ("archives", "ledgers", "rendered scenes")
"""Kinds of which no mutant need be refused, or read: an archive's size tells, a ledger is no authority, and of scenes nearly
every byte is under a checksum."""


def outcome(kind: str, number: int, folder: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    try:
        READ[kind](folder, random.Random(f"{kind} {number}"))
    except AssertionError as error:
        return f"wrong: {error!r}"
    except Exception as error:
        said = cli.sentence(error)
        return "refused" if said and "\n" not in said else f"{type(error).__name__}: {error}"
    return "read"


def work(kind: str, numbers: range, folder: Path, results: "multiprocessing.SimpleQueue[tuple[int, str]]") -> None:
    import warnings

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    outcome(kind, numbers[0], folder)  # what is imported once counts for no file
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        results.put((number, "begun"))
        said = outcome(kind, number, folder)
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        results.put((number, said if more < MEMORY else f"takes {more:.0f} MB"))


def outcomes(kind: str, count: int, folder: Path) -> Iterator[tuple[int, str]]:
    """Of every mutant what came of it; a process that dies or hangs over one is begun again at the next."""
    context = multiprocessing.get_context("fork")
    begin = 0
    while begin < count:
        results: Any = context.Queue()
        worker = context.Process(target=work, args=(kind, range(begin, count), folder, results))
        worker.start()
        number, said = begin, "begun"
        while number < count - 1 or said == "begun":
            deadline = time.monotonic() + PATIENCE
            while results.empty() and worker.is_alive() and time.monotonic() < deadline:
                time.sleep(0.01)
            if results.empty() and (not worker.is_alive() or time.monotonic() >= deadline):
                yield number, "hangs" if worker.is_alive() else f"kills the process ({worker.exitcode})"
                break
            number, said = results.get()
            if said != "begun":
                yield number, said
        begin = number + 1
        worker.kill()
        worker.join()


@pytest.mark.slow
@pytest.mark.parametrize("kind", READ)
def test_broken_files_are_read_or_refused(kind: str, tmp_path: Path, cache: Path, record: Callable[..., None]) -> None:
    found = dict(outcomes(kind, MUTANTS, tmp_path))
    wrong = {number: said for number, said in found.items() if said not in ("read", "refused")}
    record(
        f"mutated {kind}",
        tried=len(found),
        lost=len(wrong),
        detail=f"{list(found.values()).count('refused')} refused in a sentence",
    )
    assert len(found) == MUTANTS
    assert not wrong, wrong
    assert {"read", "refused"} <= set(found.values()) or kind in FORGIVEN, "mutants that are all alike prove nothing"
