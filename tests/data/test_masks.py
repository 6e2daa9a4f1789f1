"""Images with masks: what is read, what is refused and how, and that image and mask move together."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.batch import VOID
from zoo.common.files import Unreadable
from zoo.data.base import DataModule
from zoo.data.camvid import CamVid
from zoo.data.coco import Coco
from zoo.data.digit_scenes import DigitScenes
from zoo.data.loading.augment import Affine, Augment, Flip, LensDistortion, ScaleCrop
from zoo.data.mask_folder import MaskFolder
from zoo.data.masks import Geometry, read_mask
from zoo.data.reading.carving import carved
from zoo.data.reading.rle import object_mask
from zoo.data.voc_segmentation import VocSegmentation

SHAPE = (3, 16, 24)


def write(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def image_of(mask: np.ndarray) -> np.ndarray:
    """A picture in which a pixel's red is twenty times its class."""
    return np.stack([np.minimum(mask.astype(int) * 20, 255).astype(np.uint8), 0 * mask, 0 * mask + 7], -1)


def folder_of(root: Path, count: int = 20, classes: int = 4, block: int = 8) -> Path:
    """A mask folder of random blocks."""
    rng = np.random.default_rng(0)
    (root / "classes.txt").write_text("\n".join(f"class {k}" for k in range(classes)))
    for number in range(count):
        mask = np.kron(rng.integers(0, classes, (3, 4)), np.ones((block, block))).astype(np.uint8)
        mask[0, :3] = VOID
        write(root / "images" / f"{number}.png", image_of(np.where(mask == VOID, 0, mask)))
        write(root / "masks" / f"{number}.png", mask)
    return root


# Reading


def test_a_palettes_indices_are_the_classes(tmp_path: Path) -> None:
    ids = np.array([[0, 1], [2, 255]], np.uint8)
    picture = Image.fromarray(ids)
    picture.putpalette([9, 8, 7] * 256)
    picture.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 3, 255).tolist() == ids.tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, bool])
def test_grey_masks_of_any_depth(kind: type, tmp_path: Path) -> None:
    ids = np.array([[0, 1], [1, 0]]).astype(kind)
    write(tmp_path / "mask.tif", ids)
    assert read_mask(tmp_path / "mask.tif", 2, None).tolist() == [[0, 1], [1, 0]]


def test_void_of_ones_own_becomes_void(tmp_path: Path) -> None:
    write(tmp_path / "mask.png", np.array([[0, 11], [10, 255]], np.uint8))
    assert read_mask(tmp_path / "mask.png", 11, 11).tolist() == [[0, VOID], [10, VOID]]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[0, 4], [9, 2]], np.uint8), r"it holds the class 4, 9, but the classes are 0 to 3 and void"),
        (np.array([[0, 300]], np.uint16), r"it holds the class 300, but"),
        (np.zeros((2, 2, 3), np.uint8), r"it is a color picture \(mode RGB\), but a mask holds one class index a pixel"),
        (np.zeros((2, 2, 4), np.uint8), r"it is a color picture \(mode RGBA\)"),
    ],
)
def test_masks_that_are_none(array: np.ndarray, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_mask(write(tmp_path / "mask.png", array), 4, 255)


def test_a_torn_mask(tmp_path: Path) -> None:
    whole = write(tmp_path / "mask.png", np.random.default_rng(0).integers(0, 4, (64, 64)).astype(np.uint8)).read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable):
        read_mask(tmp_path / "mask.png", 4, 255)


# What is wrong is named before training


def spoil_size(root: Path) -> str:
    write(root / "masks" / "3.png", np.zeros((5, 6), np.uint8))
    return r"images/3\.png \(it is 32 x 24 pixels, but its mask is 6 x 5\)"


def spoil_class(root: Path) -> str:
    write(root / "masks" / "3.png", np.full((24, 32), 77, np.uint8))
    return r"masks/3\.png \(it holds the class 77"


def spoil_colours(root: Path) -> str:
    write(root / "masks" / "3.png", np.zeros((24, 32, 3), np.uint8))
    return r"masks/3\.png \(it is a color picture"


def spoil_image(root: Path) -> str:
    (root / "images" / "3.png").unlink()
    return r"images/3\.jpg \(the image of a mask is missing\)"


def spoil_mask(root: Path) -> str:
    (root / "masks" / "3.png").unlink()
    return r"masks/3\.png \("


def spoil_pixels(root: Path) -> str:
    whole = write(root / "images" / "3.png", np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)).read_bytes()
    (root / "images" / "3.png").write_bytes(whole[: len(whole) // 2])
    return r"images/3\.png \(image file is truncated"


def spoil_content(root: Path) -> str:
    Image.new("RGB", (32, 24)).save(root / "images" / "3.png", "DDS")
    return r"images/3\.png \(it holds no picture of the kinds"


def spoil_pipe(root: Path) -> str:
    (root / "masks" / "3.png").unlink()
    os.mkfifo(root / "masks" / "3.png")
    return r"masks/3\.png \(it is a pipe, not a file"


SPOILERS = [
    spoil_size,
    spoil_class,
    spoil_colours,
    spoil_image,
    spoil_mask,
    spoil_pixels,
    spoil_content,
    spoil_pipe,
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_wrong_pair_is_named_before_training(spoil: Callable[[Path], str], tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    reason = spoil(root)
    with pytest.raises(ValueError, match=f"files cannot be read, more than .*{reason}"):
        MaskFolder(root=str(root), shape=SHAPE, max_bad=0).setup()
    data = MaskFolder(root=str(root), shape=SHAPE)
    data.setup()
    assert sum(len(samples) for samples in data.splits.values()) == 19
    assert len(data.skipped) == 1


def test_an_all_void_image_is_kept(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    write(root / "masks" / "3.png", np.full((24, 32), VOID, np.uint8))
    data = MaskFolder(root=str(root), shape=SHAPE)
    data.setup()
    assert not data.skipped


def two_classes(root: Path, value: int, only_in: str = "") -> Path:
    """A set with split folders: background 0 and an object of this value, in one image or in all."""
    for split in ("train", "val", "test"):
        for number in range(3):
            mask = np.zeros((24, 32), np.uint8)
            if only_in in ("", f"{split}{number}"):
                mask[4:9, 4:9] = value
            write(root / split / "images" / f"{number}.png", image_of(mask))
            write(root / split / "masks" / f"{number}.png", mask)
    (root / "classes.txt").write_text("ground\nthing\n")
    return root


def test_a_split_whose_masks_hold_one_class_alone_is_refused(tmp_path: Path) -> None:
    MaskFolder(root=str(two_classes(tmp_path / "right", 1)), shape=SHAPE).setup()
    said = (
        r"The masks of the train split hold one class alone, ground\. The values found in them are 0, 255, of which 255 counts "
        r"for nothing \(void\)\. Write each class as its number, counted from 0: 0 ground, 1 thing"
    )
    with pytest.raises(ValueError, match=said):
        MaskFolder(root=str(two_classes(tmp_path / "wrong", 255)), shape=SHAPE).setup()
    with pytest.raises(
        ValueError, match=r"The masks of the val split hold one class alone, ground\. The values found in them are 0\."
    ):
        MaskFolder(root=str(two_classes(tmp_path / "half", 1, only_in="train1")), shape=SHAPE).setup()


def test_a_class_without_a_pixel_in_training_is_said(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    (root / "classes.txt").write_text("\n".join(f"class {k}" for k in range(6)))
    data = MaskFolder(root=str(root), shape=SHAPE)
    data.setup()
    assert data.notes == [
        "No pixel of the training masks is of the class class 4, class 5: it cannot be learned. The values found in them are "
        "0, 1, 2, 3, 255, of which 255 counts for nothing (void)."
    ]


def test_images_and_masks_meet_by_names_that_stand_once(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    for hidden in ("images/._3.png", "masks/._3.png", "images/.ipynb_checkpoints/3.png"):
        write(root / hidden, np.zeros((24, 32), np.uint8))
    (root / "images" / "notes.txt").touch()
    (root / "masks" / "Thumbs.db").touch()
    data = MaskFolder(root=str(root), shape=SHAPE)
    data.setup()
    assert sum(len(samples) for samples in data.splits.values()) == 20
    assert data.notes == [f"Not taken from {root / 'images'}: 1 .txt.", f"Not taken from {root / 'masks'}: 1 Thumbs.db."]
    write(root / "images" / "3.bmp", np.zeros((24, 32), np.uint8))
    with pytest.raises(ValueError, match=r"images holds 3\.(bmp|png) and 3\.(bmp|png)\. .* keep one"):
        MaskFolder(root=str(root), shape=SHAPE).setup()


def test_folders_and_classes_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*classes\.txt\. Write one class a line in it, or set data\.classes"):
        MaskFolder(root=str(tmp_path), shape=SHAPE).setup()
    with pytest.raises(ValueError, match=r"There is no folder .*images\."):
        MaskFolder(root=str(tmp_path), shape=SHAPE, classes=["a", "b"]).setup()
    with pytest.raises(ValueError, match="there must be 2 to 254"):
        MaskFolder(root=str(tmp_path), shape=SHAPE, classes=["a"]).setup()
    with pytest.raises(ValueError, match=r"There is no .*train\.txt"):
        VocSegmentation(root=str(tmp_path), shape=SHAPE).setup()
    with pytest.raises(ValueError, match=r"no .*instances_train2017\.json"):
        Coco(root=str(tmp_path), shape=SHAPE).setup()


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (1.0,)])
def test_a_scale_that_is_none(scale: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"data\.scale is"):
        Geometry(SHAPE, None, scale, True, (0.5,) * 3)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"These images have 3 channels, but the shape asked for is \[1, 16, 24\]"):
        CamVid(shape=(1, 16, 24))


def test_what_moves_pixels_alone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.augment has LensDistortion, which would move"):
        CamVid(shape=SHAPE, augment={"lens": LensDistortion(), "turn": Affine(degrees=5)}).setup()
    with pytest.raises(ValueError, match=r"data\.augment has Affine, which would move"):
        DigitScenes(shape=(3, 32, 32), target="instances", augment={"turn": Affine(degrees=5)}).setup()


@pytest.mark.parametrize(
    "augment",
    [Flip(), Affine(degrees=30, scale=0.2, shift=0.2), Affine(scale=0.3, shift=0.2), ScaleCrop(1.2, 2.0)],
    ids=["flip", "turned", "upright", "crop"],
)
def test_masks_are_moved_with_their_pixels(augment: Augment, tmp_path: Path) -> None:
    """Images whose red says the class: after moving, too, wherever a pixel is not a mixture; what entered is black and void."""
    data = MaskFolder(root=str(folder_of(tmp_path, block=24)), shape=SHAPE, augment={"moved": augment})
    data.setup()
    data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    batch: Any = data.splits["train"].__getitems__([(epoch, k) for epoch in range(4) for k in range(14)])
    before = batch["mask"].clone()
    batch = data.on_after_batch_transfer(batch, 0)
    red, mask = batch["input"][:, 0].float() / 20, batch["mask"]
    known = mask != VOID
    pure = known & (red == red.round())
    assert pure.float().mean() > 0.3
    assert (red[pure] == mask[pure]).float().mean() > 0.97, "a mixture may be a whole number by chance"
    assert not torch.equal(mask, before)
    entered = ~known & (batch["input"] == 0).all(1)
    assert entered.any() == (isinstance(augment, Affine)), "nothing enters where it is mirrored or cut"


# Geometry


@pytest.mark.parametrize("scale", [(0.3, 0.5), (1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("short_side", [None, 48, 96])
def test_image_and_mask_move_together(scale: tuple[float, float], short_side: int | None, tmp_path: Path) -> None:
    """Wherever the picture is of one class, its red says which: it must say what the mask says."""
    data = MaskFolder(root=str(folder_of(tmp_path, block=24)), shape=SHAPE, scale=scale, short_side=short_side)
    data.setup()
    batch = data.splits["train"].__getitems__([(epoch, k) for epoch in range(4) for k in range(14)])
    red, mask = batch["input"][:, 0].float() / 20, batch["mask"].float()
    assert batch["input"].shape == (56, *SHAPE)
    assert batch["mask"].shape == (56, *SHAPE[1:])
    inside = mask != VOID
    # Away from a border of classes, where the picture is blurred.
    flat = torch.nn.functional.max_pool2d(mask[:, None], 5, 1, 2) == -torch.nn.functional.max_pool2d(-mask[:, None], 5, 1, 2)
    sure = inside & flat[:, 0]
    assert sure.sum() > 500
    assert (red[sure] - mask[sure]).abs().mean() < 0.1
    if scale == (0.3, 0.5) and short_side == 48:
        fill = (255 * torch.tensor(data.mean)).round().to(torch.uint8)
        outside = batch["input"].movedim(1, -1)[~inside]
        assert (outside == fill).all(-1).any(), "beyond the edge: the mean colour, void"


def test_training_samples_are_functions_of_seed_epoch_and_id(tmp_path: Path) -> None:
    root = folder_of(tmp_path)

    def served(seed: int, epoch: int) -> torch.Tensor:
        data = MaskFolder(root=str(root), shape=SHAPE, seed=seed)
        data.setup()
        return data.splits["train"].__getitems__([(epoch, k) for k in range(8)])["input"]

    assert torch.equal(served(0, 1), served(0, 1))
    assert not torch.equal(served(0, 1), served(0, 2))
    assert not torch.equal(served(0, 1), served(1, 1))


def test_scored_images_are_whole_and_their_masks_at_full_size(tmp_path: Path) -> None:
    data = MaskFolder(root=str(folder_of(tmp_path)), shape=SHAPE, short_side=12)
    data.setup()
    batches = list(data.val_dataloader())
    assert [tuple(batch["input"].shape) for batch in batches] == [(1, 3, 12, 16)] * len(data.splits["val"])
    assert all(batch["mask"].shape == (1, 24, 32) for batch in batches)
    own = data.files([tmp_path / "images" / "0.png"]).__getitems__([(0, 0)])
    assert own["input"].shape == (1, 3, 12, 16)
    assert own["mask"].shape == (1, 24, 32)


def test_a_turned_photograph_and_its_upright_mask(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.fromarray(np.zeros((32, 24, 3), np.uint8)).save(root / "images" / "3.png", exif=exif)
    data = MaskFolder(root=str(root), shape=SHAPE)
    data.setup()
    assert not data.skipped


# Layouts


def test_carving_depends_on_names_alone(tmp_path: Path) -> None:
    data = MaskFolder(root=str(folder_of(tmp_path)), shape=SHAPE, classes=list("abcd"))
    data.setup()
    names = {split: {pair.image.name for pair in samples.pairs} for split, samples in data.splits.items()}  # type: ignore[attr-defined]
    assert {split: len(of) for split, of in names.items()} == {"train": 14, "val": 2, "test": 4}
    assert len(set.union(*names.values())) == 20
    pairs = data.splits["train"].pairs  # type: ignore[attr-defined]
    assert {p.image for p in carved(pairs, 0.5)[1]} == {p.image for p in carved(list(reversed(pairs)), 0.5)[1]}


def test_split_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        folder_of(tmp_path / split, 10)
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    data = MaskFolder(root=str(tmp_path), shape=SHAPE)
    data.setup()
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 9, "val": 1, "test": 10}
    assert data.class_names == ("a", "b", "c", "d")


def camvid(root: Path, splits: tuple[str, ...]) -> DataModule:
    for split in splits:
        for name in ("0001TP_1", "0001TP_2", "0016E5_1", "0016E5_2"):
            write(root / "camvid" / split / f"{name}.png", np.zeros((6, 8, 3), np.uint8))
            write(root / "camvid" / f"{split}annot" / f"{name}.png", np.arange(48, dtype=np.uint8).reshape(6, 8) % 12)
    data = CamVid(root=str(root), shape=SHAPE)
    data.setup()
    return data


def test_camvid_carves_a_sequence_where_there_is_no_test(tmp_path: Path) -> None:
    data = camvid(tmp_path, ("train", "val"))
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 2, "val": 2, "test": 4}
    assert all(pair.image.name.startswith("0001TP") for pair in data.splits["val"].pairs)  # type: ignore[attr-defined]
    mask = data.splits["test"].__getitems__([(0, 0)])["mask"]  # type: ignore[typeddict-item]
    assert mask.flatten()[:13].tolist() == [*range(11), VOID, 0]
    with pytest.raises(ValueError, match=r"val_sequence=nothing leaves no images to validate on"):
        CamVid(root=str(tmp_path), shape=SHAPE, val_sequence="nothing").setup()


def test_camvid_with_its_test_is_the_official_split(tmp_path: Path) -> None:
    data = camvid(tmp_path, ("train", "val", "test"))
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 4, "val": 4, "test": 4}


def test_voc_reads_its_lists(tmp_path: Path) -> None:
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = [f"2007_{number:06d}" for number in range(12)]
    (lists / "train.txt").write_text("\n".join(names[:10]))
    (lists / "val.txt").write_text("\n".join(names[10:]))
    for name in names:
        write(voc / "JPEGImages" / f"{name}.jpg", np.zeros((6, 8, 3), np.uint8))
        write(voc / "SegmentationClass" / f"{name}.png", np.arange(48, dtype=np.uint8).reshape(6, 8) % 21, "P")
    data = VocSegmentation(root=str(tmp_path), shape=SHAPE)
    data.setup()
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 9, "val": 1, "test": 2}
    assert data.num_classes == 21
    (lists / "val.txt").write_text(f"{names[10]}\n../../../private/letter\n")
    with pytest.raises(ValueError, match=r"private/letter.* leads out of"):
        VocSegmentation(root=str(tmp_path), shape=SHAPE).setup()
    (lists / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"Line 1 of .*val\.txt is not text in UTF-8"):
        VocSegmentation(root=str(tmp_path), shape=SHAPE).setup()


def coco(root: Path, annotations: list[dict], categories: tuple[int, ...] = (3, 90), max_bad: float = 0.01) -> Coco:
    for part in ("train2017", "val2017"):
        images = [{"id": k, "file_name": f"{k}.jpg", "height": 6, "width": 8} for k in range(1, 5)]
        for each in images:
            write(root / "coco" / part / each["file_name"], np.zeros((6, 8, 3), np.uint8))
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k, "name": f"kind {k}"} for k in categories],
        }
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        (root / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    data = Coco(root=str(root), shape=SHAPE, max_bad=max_bad)
    data.setup()
    return data


def annotation(number: int, category: int, box: tuple[int, int, int, int], **more: object) -> dict:
    left, top, right, bottom = box
    polygon = [left, top, right, top, right, bottom, left, bottom]
    area = (right - left) * (bottom - top)
    return {"id": number, "image_id": 1, "category_id": category, "area": area, "segmentation": [polygon], **more}


def test_coco_draws_small_over_large_and_crowds_as_void(tmp_path: Path) -> None:
    crowd = {"size": [6, 8], "counts": [0, 12, 36]}  # the first two columns
    data = coco(
        tmp_path,
        [
            annotation(1, 90, (3, 1, 5, 3)),
            annotation(2, 3, (1, 0, 7, 5)),
            annotation(3, 3, (0, 0, 2, 6), segmentation=crowd, iscrowd=1),
        ],
    )
    assert data.class_names == ("background", "kind 3", "kind 90")
    mask = data.splits["test"].__getitems__([(0, 0)])["mask"][0].numpy()  # type: ignore[typeddict-item]
    expected = np.zeros((6, 8), int)
    expected[:, :2] = VOID
    expected[:5, 1:7] = 1
    expected[1:3, 3:5] = 2
    assert np.array_equal(mask, expected)
    assert not data.splits["test"].__getitems__([(0, 1)])["mask"].any()  # type: ignore[typeddict-item]  # without objects: kept


def test_coco_names_an_unlisted_category(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"annotation 7 has the unlisted category 5"):
        coco(tmp_path, [annotation(7, 5, (0, 0, 2, 2))], max_bad=0)


def test_coco_names_an_annotation_of_no_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="annotation 1 of image 99, which it does not list"):
        coco(tmp_path, [annotation(1, 3, (0, 0, 2, 2), image_id=99)])


# Run lengths


def packed(runs: list[int]) -> str:
    """The text form, written from the words of `maskApi.c`."""
    text = ""
    for at, run in enumerate(runs):
        value = run - runs[at - 2] if at > 2 else run
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != -1 if group & 16 else value != 0
            text += chr((group | 32 if more else group) + 48)
    return text


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_and_their_text_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((4, 5)) < 0.5, np.ones((seed + 1, 40))).astype(bool)
    flat = mask.T.ravel()
    runs = [0] if flat[0] else []
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs += np.diff([0, *edges, len(flat)]).tolist()
    for counts in (runs, packed(runs)):
        assert np.array_equal(object_mask({"size": list(mask.shape), "counts": counts}, *mask.shape), mask)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [3, 4], "counts": [12]}, "not 8 x 6"),
        ({"size": [6, 8], "counts": [12]}, "do not add up"),
        ([[1, 2, 3, 4]], "three points"),
        ("nonsense", "is a str"),
    ],
)
def test_segmentations_that_are_none(segmentation: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        object_mask(segmentation, 6, 8)


# Real data


@pytest.mark.realdata
def test_camvid_as_it_is(real_data: Callable[[str], Path]) -> None:
    folder = real_data("camvid")
    data = CamVid(root=str(folder.parent), shape=(3, 90, 120), short_side=90)
    data.setup()
    assert not data.skipped
    if not (folder / "test").is_dir():
        assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 305, "val": 62, "test": 101}
    batch = data.splits["train"].__getitems__([(0, k) for k in range(0, 300, 20)])
    assert set(batch["mask"].unique().tolist()) <= {*range(11), VOID}  # type: ignore[typeddict-item]


@pytest.mark.realdata
def test_coco128_as_it_is(real_data: Callable[[str], Path]) -> None:
    folder = real_data("coco128")
    data = Coco(root=str(folder.parent), folder="coco128", shape=(3, 64, 64))
    data.setup()
    assert not data.skipped
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    size = {each["id"]: (each["height"], each["width"]) for each in content["images"]}
    for each in content["annotations"]:
        drawn = object_mask(each["segmentation"], *size[each["image_id"]]).sum()
        assert drawn == pytest.approx(each["area"], rel=0.15, abs=60), each["id"]
