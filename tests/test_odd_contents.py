"""Every reader x every odd content: read right, or left out and named, or refused by name.

A sound set of a few files is made once; one file of it, the victim, gets one odd content after another. The sets are those of
`conf/data`: a new one is covered by existing (`test_every_set_is_here`). The contents are in `oddities.py`, by kind of file; a
set says in `SETS` which file of which kind can be spoiled.
"""

import functools
import inspect
import json
import pickle
import shutil
import signal
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.data.test_odd_films import film
from tests.oddities import COLOUR, DEEP, GREY, HEIGHT, MASK, ODD, OUT, PICTURES, READ, REFUSED, VICTIM, WIDTH, Call, idx, saved
from zoo.common.files import Unreadable, pixels_limited
from zoo.common.places import CONF
from zoo.common.tensors import write_tensors
from zoo.data.base import DataModule
from zoo.data.loading.dataset import SplitDataset
from zoo.data.reading import prepared
from zoo.data.reading.ledger import Store
from zoo.data.rendered import motion, scenes
from zoo.models._weights import load_pretrained
from zoo.run import check
from zoo.run.build import build_data, build_task
from zoo.run.compose import composed
from zoo.run.facts import facts_of, publish
from zoo.run.recipe import compose_recipe, read_checkpoint, rebuild, recipe_of

PATIENCE = 60
"""Seconds for a set with one odd file, on a machine with other work."""
WORSE = ("crashed", "hung", "silent")
"""What must come of nothing."""
FILMS_EACH = 4
"""Films of a split."""

# Sets: each makes a sound one, and says which file of which kind may be spoiled


@dataclass
class Sound:
    """A sound set on disk."""

    arguments: dict[str, Any]
    victims: list[tuple[str, Path]]
    """Files that are spoiled, by kind of `ODD`."""
    made: Path | None = None
    """What is made of the files, and must be made anew."""
    known: tuple[str, ...] = ()
    """What a victim may be named by, besides its own name."""
    read: Callable[[], object] | None = None
    """What reads it, where that is no data set."""

    @property
    def picture(self) -> Path:
        return dict(self.victims)["picture"]


COUNT = 12


def image_folder(root: Path) -> Sound:
    for split in ("train", "val", "test"):
        for number in range(COUNT):
            place = root / split / f"class {number % 2}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            saved(COLOUR)(place)
    return Sound({"root": str(root)}, [("picture", root / "train" / "class 0" / "4.png")])


def table(root: Path, suffix: str, whole: bytes, kind: str) -> Sound:
    rows = ["path,label,split"]
    for number in range(3 * COUNT):
        (root / f"{number}.{suffix}").write_bytes(whole)
        rows.append(f"{number}.{suffix},{'ab'[number % 2]},{('train', 'val', 'test')[number % 3]}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return Sound({"root": str(root / "table.csv")}, [(kind, root / f"3.{suffix}"), ("table", root / "table.csv")])


def image_csv(root: Path) -> Sound:
    return table(root, "png", content_of(saved(COLOUR)), "picture")


def content_of(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "x.mp4"))
        return Path(folder, "x.mp4").read_bytes()


def image_shards(root: Path) -> Sound:
    return archived("image_shards", root, image_folder(root / "source"))


def archived(name: str, root: Path, source: Sound) -> Sound:
    """Its files, which are written into archives anew; and, of a copy that is written once, all of which archives consist."""
    pytest.importorskip("webdataset")
    kept = root / "kept"
    built(name, {"root": str(kept), "source": source.arguments["root"]}).prepare_data()
    parts = [("contents", kept / "shards.json"), ("index", kept / "train.npz"), ("archive", kept / "train" / "000000.tar")]
    arguments = {"root": str(root / "archives"), "source": source.arguments["root"]}
    known = (".tar at byte ", "train.npz", "000000.tar", "shards.json")
    return Sound(arguments, [*source.victims, *parts], made=root / "archives", known=known)


def mask_pairs(images: Path, masks: Path, ending: str = ".png") -> list[tuple[str, Path]]:
    for number in range(COUNT):
        for folder, write in ((images, saved(COLOUR)), (masks, saved(MASK))):
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"{number:06d}{ending if folder == images else '.png'}")
    return [("picture", images / f"{VICTIM}{ending}"), ("mask", masks / f"{VICTIM}.png")]


def mask_folder(root: Path) -> Sound:
    (root / "classes.txt").write_text("a\nb\nc\n")
    return Sound({"root": str(root)}, [*mask_pairs(root / "images", root / "masks"), ("names", root / "classes.txt")])


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
    pairs = mask_pairs(voc / "JPEGImages", voc / "SegmentationClass", ".jpg")
    return Sound({"root": str(root)}, [*pairs, ("list", voc / "ImageSets" / "Segmentation" / "train.txt")])


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
    more = [("XML", voc / "Annotations" / f"{VICTIM}.xml"), ("list", voc / "ImageSets" / "Main" / "train.txt")]
    return Sound({"root": str(root)}, [victims[0], *more])


def pennfudan(root: Path) -> Sound:
    images, masks = root / "PennFudanPed" / "PNGImages", root / "PennFudanPed" / "PedMasks"
    victims = mask_pairs(images, masks)
    for path in masks.iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    return Sound({"root": str(root)}, [victims[0], ("numbers", masks / f"{VICTIM}_mask.png")])


def coco(root: Path, target: str = "semantic") -> Sound:
    victims: list[tuple[str, Path]] = []
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
    kind = "boxes" if target == "instances" else "regions"
    annotations = root / "coco" / "annotations" / "instances_val2017.json"
    return Sound({"root": str(root), "target": target}, [victims[0], (kind, annotations)], known=(VICTIM, "missing.jpg"))


def coco_instances(root: Path) -> Sound:
    return coco(root, "instances")


def film_folder(root: Path, whole: bytes, count: int = FILMS_EACH) -> Sound:
    for split in ("train", "val", "test"):
        for number in range(count):
            path = root / split / f"class {number % 2}" / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)
    return Sound({"root": str(root)}, [("film", root / "train" / "class 0" / "2.mp4")])


def with_ledger(sound: Sound, folder: Path) -> Sound:
    """And what `zoo.prepare` says of its films."""
    store = Store(folder)
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".mp4", ".avi")]
    for path in paths:
        store.add(prepared.work(prepared._job(store, path, None, None)))
    return replace(sound, victims=[*sound.victims, ("ledger", store.ledger)])


def video_folder(root: Path) -> Sound:
    return with_ledger(film_folder(root, content_of(film)), root)


def video_folder_prepared(root: Path) -> Sound:
    """Its copies and their flow."""
    film_folder(root, content_of(film), 4)
    store = Store(root)
    for path in sorted(root.rglob("*.mp4")):
        if ".zoo" not in path.parts:
            store.add(prepared.work(prepared._job(store, path, 32, "dis")))
    path = root / "train" / "class 0" / "2.mp4"
    victims = [("copy", store.copy(path, 32)), ("flow", store.fields(path, "dis", 32))]
    arguments = {"root": str(root), "prepared": 32, "flow": "dis", "shape": (5, 4, 16, 16)}
    return Sound(arguments, victims, known=("2.mp4",))


def video_csv(root: Path) -> Sound:
    return with_ledger(table(root, "mp4", content_of(film), "film"), root)


def video_shards(root: Path) -> Sound:
    return archived("video_shards", root, film_folder(root / "source", content_of(film)))


def kinetics(root: Path) -> Sound:
    whole = content_of(film)
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val", "test"):
        rows = ["label,youtube_id,time_start,time_end,split"]
        for number in range(FILMS_EACH):
            rows.append(f"{'ab'[number % 2]},{split}-{number},0,10,{split}")
            (root / split).mkdir(exist_ok=True)
            (root / split / f"{split}-{number}_000000_000010.mp4").write_bytes(whole)
        (root / "annotations" / f"{split}.csv").write_text("\n".join(rows) + "\n")
    victims = [("film", root / "train" / "train-2_000000_000010.mp4"), ("table", root / "annotations" / "train.csv")]
    return with_ledger(Sound({"root": str(root)}, victims), root)


def ucf101(root: Path) -> Sound:
    lists, whole = root / "ucf101" / "ucfTrainTestlist", content_of(film)
    lists.mkdir(parents=True)
    names = ("ApplyEyeMakeup", "YoYo")
    (lists / "classInd.txt").write_text("".join(f"{number} {name}\r\n" for number, name in enumerate(names, 1)))
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for number, name in enumerate(names, 1):
        (root / "ucf101" / "UCF-101" / name).mkdir(parents=True)
        for group in range(1, 9):
            path = f"{name}/v_{name}_g{group:02d}_c01.avi"
            (root / "ucf101" / "UCF-101" / path).write_bytes(whole)
            rows["test" if group < 3 else "train"].append(f"{path} {number}" if group > 2 else path)
    for split, found in rows.items():
        (lists / f"{split}list01.txt").write_text("\r\n".join(found) + "\r\n")
    victims = [("film", root / "ucf101" / "UCF-101" / "YoYo" / "v_YoYo_g02_c01.avi")]
    victims += [("list", lists / "trainlist01.txt"), ("list", lists / "testlist01.txt"), ("names", lists / "classInd.txt")]
    return with_ledger(Sound({"root": str(root)}, victims, known=("v_YoYo_g02",)), root / "ucf101")


def hmdb51(root: Path, place: str = "hmdb51", videos: str = "hmdb51_org", lists: str = "testTrainMulti_7030_splits") -> Sound:
    folder, whole = root / place, content_of(film)
    (folder / lists).mkdir(parents=True)
    for name in ("climb", "wave"):
        (folder / videos / name).mkdir(parents=True)
        rows = []
        for source in range(8):
            clip = f"Film{source}_{name}_u_nm_np1_fr_goo_0.avi"
            (folder / videos / name / clip).write_bytes(whole)
            rows.append(f"{clip} {2 if source < 2 else 1}")
        (folder / lists / f"{name}_test_split1.txt").write_text(" \n".join(rows) + " \n")
    victims = [("film", folder / videos / "wave" / "Film1_wave_u_nm_np1_fr_goo_0.avi")]
    victims += [("list", folder / lists / "wave_test_split1.txt")]
    return with_ledger(Sound({"root": str(root)}, victims, known=("Film1_wave",)), folder)


def jhmdb(root: Path) -> Sound:
    return hmdb51(root, "jhmdb", "ReCompressed_Videos", "splits")


def motion_digits(root: Path) -> Sound:
    folder = root / "motion_digits" / motion.EDITION
    for split, count in motion.CLIPS.items():
        for number in range(count):
            path = motion.clip_path(folder, split, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(motion.render(path))
    victim = motion.clip_path(folder, "val", 1)
    return with_ledger(Sound({"root": str(root)}, [("clip", victim)]), folder)


def digit_scenes(root: Path) -> Sound:
    for split in scenes.SCENES:
        for path in scenes.scene_files(root / scenes.FOLDER, split):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(scenes.render(path))
    victim = root / scenes.FOLDER / "val" / "000.npz"
    return Sound({"root": str(root)}, [("scenes", victim)], known=("000.npz",))


def mnist(root: Path, name: str = "MNIST") -> Sound:
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        idx(40, 28, 28)(folder / f"{prefix}-images-idx3-ubyte")
        labels = folder / f"{prefix}-labels-idx1-ubyte"
        idx(40)(labels)
        labels.write_bytes(labels.read_bytes()[:8] + bytes(number % 10 for number in range(40)))
    victims = [("official", folder / f"train-{part}-ubyte") for part in ("images-idx3", "labels-idx1")]
    return Sound({"root": str(root)}, victims, known=(name,))


def fashion_mnist(root: Path) -> Sound:
    return mnist(root, "FashionMNIST")


def cifar10(root: Path) -> Sound:
    """Only the right files have the right checksums: whatever lies here, nothing of it is unpickled."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Call()))
    return Sound({"root": str(root)}, [("official", folder / "data_batch_2")], known=("CIFAR10",))


def weights(root: Path) -> Sound:
    net = torch.nn.Linear(40, 20)
    torch.save({"state_dict": net.state_dict()}, root / "net.pt")
    return Sound({}, [("weights", root / "net.pt")], read=lambda: load_pretrained(net, root / "net.pt", "linear"))


def weights_alone(root: Path) -> Sound:
    net = torch.nn.Linear(40, 20)
    write_tensors(net.state_dict(), root / "net.safetensors")
    read = functools.partial(load_pretrained, net, root / "net.safetensors", "linear")
    return Sound({}, [("weights", root / "net.safetensors")], read=read)


def checkpoint(root: Path) -> Sound:
    config = composed(["model=linear", "data=digits", "run_dir=."])
    data = build_data(config)
    data.setup()
    facts = facts_of(data)
    publish(config, facts)
    recipe = recipe_of(config, facts)
    torch.save({"state_dict": build_task(config).state_dict(), "zoo": recipe}, root / "run.ckpt")

    def read() -> None:
        found = read_checkpoint(root / "run.ckpt")
        again = compose_recipe(found["zoo"], [])
        build_data(again)
        publish(again, found["zoo"]["facts"])
        rebuild(found, again, root / "run.ckpt")

    return Sound({}, [("weights", root / "run.ckpt")], read=read)


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
    "video_folder": video_folder,
    "video_folder prepared": video_folder_prepared,
    "video_csv": video_csv,
    "video_shards": video_shards,
    "kinetics": kinetics,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "jhmdb": jhmdb,
    "motion_digits": motion_digits,
    "digit_scenes": digit_scenes,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
}
"""By the name in `conf/data`, and what is asked of it behind: what makes a sound one."""
OTHERS: dict[str, Callable[[Path], Sound]] = {
    "weights (torch)": weights,
    "weights (safetensors)": weights_alone,
    "a checkpoint": checkpoint,
}
"""What else is read."""
PICTURED = [*"image_folder image_csv image_shards mask_folder camvid voc_segmentation voc_detection pennfudan coco".split()]
PICTURED += ["coco instances"]
"""Of which pictures can be spoiled."""
INSIDE_OTHERS = {"digits"}
"""Sets that read no file of their own."""


@functools.cache
def located(name: str) -> Any:
    """By what its file says, which takes a moment; a composition takes half a second, and there are dozens."""
    content = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    target = content.get("_target_") or content.get("data", {}).get("_target_")
    return check.located(target) if target else located(next(each for each in content["defaults"] if each != "_self_"))


def built(name: str, arguments: dict[str, Any]) -> DataModule:
    """The data set by its name in `conf/data`, its shape small and its workers none."""
    kind = located(name.partition(" ")[0])
    known = inspect.signature(kind).parameters
    channels = 1 if name in ("digits", "mnist", "fashion_mnist") else 3
    shape = (channels, 4, 16, 16) if kind.layout == 4 else (channels, 16, 16)
    small = {"shape": shape, "num_workers": 0, "max_bad": 1.0, "clips": 1, "rate": None}
    made: DataModule = kind(**{key: value for key, value in {**small, **arguments}.items() if key in known})
    return made


ALL = sorted(path.stem for path in CONF.glob("data/*.yaml"))
OF_PICTURES = [*(name for name in ALL if located(name).layout == 3), "coco instances"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rendered sets of a few samples."""
    monkeypatch.setattr(motion, "CLIPS", dict.fromkeys(motion.CLIPS, 2))
    monkeypatch.setattr(scenes, "SCENES", dict.fromkeys(scenes.SCENES, 3))
    monkeypatch.setattr(scenes, "_A_FILE", 3)
    monkeypatch.chdir(tmp_path)


def test_every_set_is_here() -> None:
    assert {name.partition(" ")[0] for name in SETS} | INSIDE_OTHERS == {*ALL}


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


def read_whole(samples: SplitDataset) -> dict[str, str]:
    """Every sample once; what was left out, with the reasons."""
    bad: dict[str, str] = {}
    for at in range(len(samples)):
        batch = samples.__getitems__([(0, at)])
        bad.update(batch.get("bad", {}))
        assert batch["input"].dtype == torch.uint8
        assert len(batch["id"]) == len(batch["input"])
    return bad


def bad_of(name: str, sound: Sound, victim: Path) -> dict[str, str]:
    """What was left out of a set, with the reasons, once all of it is read."""
    if sound.read is not None:
        sound.read()
        return {}
    arguments = sound.arguments
    if sound.made is not None and victim.is_relative_to(sound.made.with_name("kept")):
        arguments = {"root": str(sound.made.with_name("kept"))}
    data = built(name, arguments)
    data.prepare_data()
    data.setup()
    bad = {**data.skipped}
    for samples in data.splits.values():
        bad |= read_whole(samples)
    return bad


def outcome(name: str, sound: Sound, victim: Path) -> str:
    """What comes of a set with an odd file: one of `READ`, `OUT`, `REFUSED`, or what is wrong."""
    known = known_names(sound, victim)
    try:
        with patiently(), pixels_limited(1_000_000, "ZOO_MAX_PIXELS"):
            bad = bad_of(name, sound, victim)
    except ValueError as error:
        named = any(each in str(error) for each in known) and "\n" not in str(error)
        return REFUSED if named else f"silent: {error}"
    except Hangs:
        return "hung"
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}"
    if not bad:
        return READ
    return OUT if all(any(each in path for each in known) and reason for path, reason in bad.items()) else f"silent: {bad}"


def removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def told(name: str, sound: Sound, kind: str, victim: Path, content: str) -> str:
    """What comes of one odd content: `outcome`'s, and `silent` where what is wrong was read."""
    spoil, may = ODD[kind][content]
    whole = victim.read_bytes()
    victim.unlink()
    spoil(victim, whole)
    if sound.made is not None:
        shutil.rmtree(sound.made, ignore_errors=True)
    said = outcome(name, sound, victim)
    removed(victim)
    victim.write_bytes(whole)
    assert not Path("pwned").exists(), f"{kind}: {content} was run"
    return said if said in may or said not in (READ, OUT, REFUSED) else f"silent: {said}, though not {' or '.join(sorted(may))}"


READERS = {**SETS, **OTHERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_odd_files_in_a_set(name: str, tmp_path: Path, record: Callable[..., None]) -> None:
    sound = READERS[name](tmp_path)
    wrong: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {}
    for kind, victim in sound.victims:
        for content in ODD[kind]:
            said = told(name, sound, kind, victim, content)
            counts.setdefault(kind, Counter())[said.partition(":")[0]] += 1
            if said not in (READ, OUT, REFUSED):
                wrong[f"{kind} {victim.name}: {content}"] = said
    for kind, found in counts.items():
        lost = sum(found[each] for each in WORSE)
        record(f"odd contents of {kind} in {name}", tried=found.total(), lost=lost, detail=json.dumps(found))
    assert not wrong, "\n".join(f"{content}: {said}" for content, said in wrong.items())


@pytest.mark.parametrize("name", ["image_csv", "mask_folder", "voc_segmentation", "video_folder", "mnist", "weights (torch)"])
def test_some_odd_files_in_a_set(name: str, tmp_path: Path) -> None:
    """One content of each kind, another for each set."""
    sound = READERS[name](tmp_path)
    for kind, victim in dict(sound.victims).items():
        contents = sorted(ODD[kind])
        content = contents[zlib.crc32(f"{name} {kind}".encode()) % len(contents)]
        said = told(name, sound, kind, victim, content)
        assert said in (READ, OUT, REFUSED), f"{kind}: {content}: {said}"


LIGHT = {
    "label": ("model=linear", "data.shape=[3,16,16]"),
    "grey": ("model=linear", "data.shape=[1,16,16]"),
    "films": ("model=early_fusion", "data.shape=[3,4,16,16]"),
    "semantic": ("model=fcn8s", "model.width=0.03125", "data.shape=[3,32,32]", "data.batch_size=2"),
    "instances": (
        "model=faster_rcnn",
        "model.channels=16",
        "model.head_options.box.width=32",
        "model.head_options.box.regions=16",
        "data.shape=[3,64,64]",
    ),
}
"""A network for what a set serves, that trains a step in a moment."""
A_STEP = (
    *("trainer.max_steps=1", "trainer.limit_val_batches=1", "trainer.accelerator=cpu", "data.num_workers=0"),
    *("data.batch_size=1", "data.max_bad=1.0", "~logger.tensorboard", "~callbacks.pictures", "hydra.run.dir=run", "size=small"),
)


def known_names(sound: Sound, victim: Path) -> tuple[str, ...]:
    """By which a victim may be named."""
    return (victim.stem if victim.stem in ("2", "3", "4") else victim.stem.partition("_")[0], victim.name, *sound.known)


def light(name: str) -> tuple[str, ...]:
    if located(name.partition(" ")[0]).layout == 4:
        return LIGHT["films"]
    if name in ("mnist", "fashion_mnist"):
        return LIGHT["grey"]
    return LIGHT["instances" if "instances" in name else located(name.partition(" ")[0]).targets[0]]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_odd_files_while_training_and_scoring(name: str, tmp_path: Path, verb: Callable[..., tuple[int, str, str]]) -> None:
    """One content of each kind of a set's files, from the command line: a run and its evaluation go on, or one sentence ends
    them. (What comes of each content is told by the readers above, which these verbs share.)"""
    sound = SETS[name](tmp_path)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in sound.arguments.items()}
    place = [f"data.{key}={value}" for key, value in plain.items() if key != "target"]
    for kind, victim in dict(sound.victims).items():
        contents = sorted(ODD[kind])
        content = contents[zlib.crc32(f"{kind} {name}".encode()) % len(contents)]
        whole = victim.read_bytes()
        victim.unlink()
        ODD[kind][content][0](victim, whole)
        shutil.rmtree("run", ignore_errors=True)
        for words in (("train", f"data={name.partition(' ')[0]}", *A_STEP, *light(name), *place), ("evaluate", "run")):
            with patiently():
                status, out, err = verb(*words)
            said = [line for line in err.splitlines() if line.startswith("Error: ")]
            assert "Traceback" not in out + err, f"{words[0]} {kind}: {content}: {err}"
            assert (status, len(said)) in ((0, 0), (1, 1)), f"{words[0]} {kind}: {content}: {status} {err}"
            assert not said or any(each in said[0] for each in known_names(sound, victim)), f"{kind}: {content}: {said}"
            if status:
                break
        removed(victim)
        victim.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_odd_files_in_a_prediction(name: str, tmp_path: Path, record: Callable[..., None]) -> None:
    data = built(name, {"root": str(tmp_path)})
    kind, suffix = ("film", "mp4") if data.layout == 4 else ("picture", "png")
    found: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for content, (spoil, may) in ODD[kind].items():
        path = tmp_path / f"given.{suffix}"
        spoil(path, b"")
        try:
            with patiently(), pixels_limited(1_000_000, "ZOO_MAX_PIXELS"):
                samples = data.files([path])
                said = OUT if samples.__getitems__([(0, 0)]).get("bad") else READ
        except Unreadable as error:
            said = OUT if path.name in str(error) else f"silent: {error}"
        except Hangs:
            said = "hung"
        except Exception as error:
            said = f"crashed: {error!r}"
        removed(path)
        if said not in may:
            wrong[content] = said
        found[said.partition(":")[0]] += 1
    record(f"odd contents of {kind} predicted by {name}", tried=found.total(), lost=len(wrong), detail=json.dumps(found))
    assert not wrong


# Pictures: what is converted, and what nothing can be read of

GROUND = [10, 200, 30]
CLEAR = Image.new("RGBA", (WIDTH, HEIGHT), (200, 0, 0, 0))
"""Transparent everywhere, and red below."""


def lies_on(batch: Any, ground: list[int]) -> bool:
    """Whether most of an image is of this color; what a training sample has beyond the image's edge is of another."""
    image = batch["input"][0].int()
    return bool(((image - torch.tensor(ground)[:, None, None]).abs().amax(0) <= 1).float().mean() > 0.5)


@pytest.mark.parametrize("name", OF_PICTURES)
def test_transparent_pictures_lie_on_the_ground_in_every_set(name: str, tmp_path: Path) -> None:
    """In the splits, of which one file is transparent, and of the user's own pictures."""
    sound = SETS[name](tmp_path) if name in PICTURED else Sound({}, [])
    own = tmp_path / "own.png"
    saved(CLEAR)(own)
    if sound.victims:
        saved(CLEAR)(sound.picture)
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


@pytest.mark.parametrize("name", PICTURED)
def test_pictures_that_become_bytes_are_counted_before_training(name: str, tmp_path: Path) -> None:
    sound = SETS[name](tmp_path)
    victim = sound.picture
    saved(DEEP)(victim)
    data = built(name, sound.arguments)
    data.prepare_data()
    data.setup()
    data.setup()
    rule = "each is divided by 256, by the range of its type, for images are served as bytes."
    assert [note for note in data.notes if "256" in note] == [f"1 picture holds numbers of 16 bits a channel; {rule}"]
    if sound.made is None:
        saved(Image.fromarray(np.asarray(GREY).astype(np.int32)), "TIFF")(victim)
        again = built(name, sound.arguments)
        again.setup()
        assert [note for note in again.notes if "32 bits" in note]
        for content in ("float", "32-bit"):  # known before the first step
            PICTURES[content][0](victim)
            again = built(name, sound.arguments)
            again.setup()
            assert [*again.skipped] == [str(victim)]


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


@pytest.mark.parametrize(
    "name", [name for name in PICTURED if name != "image_shards"]
)  # which writes archives of what there is
def test_a_split_of_which_nothing_can_be_read_is_listed_and_not_trained_on(name: str, tmp_path: Path) -> None:
    sound = SETS[name](tmp_path)
    folder = sound.picture.parents[1 if name == "image_folder" else 0]
    broken = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    for path in broken:
        path.write_bytes(b"no picture")
    listed, strict = (built(name, {**sound.arguments, "max_bad": 0.01}) for _ in range(2))
    listed.strict = False
    listed.setup()
    assert {str(path) for path in broken} <= {*listed.skipped}
    assert not all(map(len, listed.splits.values()))
    with pytest.raises(ValueError, match=r"Not one of \d+ files can be read|\d+ of \d+ files cannot be read"):
        strict.setup()


def test_prepare_lists_a_split_of_which_nothing_can_be_read(tmp_path: Path, verb: Callable[..., tuple[int, str, str]]) -> None:
    for name in ("image_folder", "image_shards"):
        sound = SETS[name](tmp_path / name)
        broken = list(sound.picture.parents[1].rglob("*.png"))
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
