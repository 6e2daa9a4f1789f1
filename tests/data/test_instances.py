"""Images with objects: what moves together, what is refused and how, layouts, batches of one shape."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zoo.batch import Instances
from zoo.data.coco import Coco, mirrored
from zoo.data.instances import Sizing
from zoo.data.loading.sampler import EpochSampler
from zoo.data.pennfudan import PennFudan
from zoo.data.voc_detection import VocDetection
from zoo.data.voc_segmentation import VocSegmentation

SHAPE = (3, 40, 60)
NAMES = ["nose", "left_eye", "right_eye"]


def annotation(number: int, image: int, box: tuple[float, ...], category: int = 3, **more: Any) -> dict[str, Any]:
    left, top, width, height = box
    corners = [left, top, left + width, top, left + width, top + height, left, top + height]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": width * height,
        "segmentation": [corners],
        "iscrowd": 0,
        **more,
    }


def coco(
    root: Path,
    annotations: list[dict[str, Any]],
    *,
    count: int = 12,
    size: tuple[int, int] = (80, 60),
    keypoints: bool = False,
    change: Callable[[dict[str, Any]], None] | None = None,
    **arguments: Any,
) -> Coco:
    """A folder in COCO's layout: images of noise, every annotation in both parts, and categories 3 and 90."""
    for part in ("train2017", "val2017"):
        folder = root / "coco" / part
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for number in range(1, count + 1):
            noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": size[1], "width": size[0]})
        named = {"keypoints": NAMES} if keypoints else {}
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": f"kind {number}", **named} for number in (90, 3)],
        }
        if change:
            change(content)
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        (root / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return Coco(root=str(root), shape=SHAPE, target="instances", **arguments)


def test_classes_are_numbered_by_their_categories_on_request(tmp_path: Path) -> None:
    """As torchvision's weights count: numbers that no category has are classes too, of which there is nothing."""
    objects = [annotation(number, number, (5, 5, 20, 20), (3, 90)[number % 2]) for number in range(1, 13)]
    data = coco(tmp_path, objects, gaps=True)
    data.setup()
    assert data.category_ids == tuple(range(1, 91))
    assert (data.class_names[2], data.class_names[89]) == ("kind 3", "kind 90")
    assert set(data.class_names) == {"kind 3", "kind 90", "N/A"}
    test = data.splits["test"]
    labels = [test[number]["instances"]["labels"].tolist() for number in range(len(test))]
    assert sorted({label for each in labels for label in each}) == [3, 90]


@pytest.mark.parametrize("number", [0, 10_001])
def test_ids_that_number_no_classes_are_refused(number: int, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["categories"].append({"id": number, "name": "odd"})

    with pytest.raises(ValueError, match=rf"data\.gaps=true takes .* but one is {number}"):
        coco(tmp_path, [annotation(1, 1, (5, 5, 20, 20))], gaps=True, change=change).setup()


# Geometry


def scene(seed: int, size: tuple[int, int] = (60, 80)) -> tuple[Tensor, Instances]:
    """A picture in which every object is a block of a colour channel of its own, with keypoints at its corners."""
    draw = np.random.default_rng(seed)
    height, width = size
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    boxes = []
    for number in range(3):
        x0, y0 = draw.integers(0, width - 24), 20 * number
        x1, y1 = x0 + draw.integers(10, 24), y0 + draw.integers(10, 20)
        image[number, y0:y1, x0:x1] = 255
        boxes.append([x0, y0, x1, y1])
    masks = (image == 255).to(torch.uint8)
    corners = [[[x0, y0, 1], [x1, y0, 1], [x1, y1, 2]] for x0, y0, x1, y1 in boxes]
    return image, Instances(
        boxes=torch.tensor(boxes).float(),
        labels=torch.arange(1, 4),
        masks=masks,
        keypoints=torch.tensor(corners).float(),
    )


@pytest.mark.numerical
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mirror", [0.2, 0.8])
@pytest.mark.parametrize("zoom", [0.0, 0.5, 1.0])
def test_boxes_masks_and_keypoints_stay_where_the_pixels_are(seed: int, mirror: float, zoom: float) -> None:
    sizing = Sizing((3, 60, 100), scale=(0.5, 2.0), mirrored=(1, 0, 2))
    image, objects = sizing.moved(*scene(seed), (zoom, mirror))
    factor = 0.5 * 4**zoom
    assert image.shape == (3, round(60 * factor), round(80 * factor))
    for number in range(3):
        seen = image[number] > 127
        rows, columns = torch.nonzero(seen, as_tuple=True)
        edges = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        assert (edges - objects["boxes"][number]).abs().max() <= 1.0 + factor / 2
        assert (seen != objects["masks"][number].bool()).float().sum() <= 2 * (edges[2] - edges[0] + edges[3] - edges[1])
        x0, y0, x1, y1 = objects["boxes"][number].tolist()
        # Names, not places, change sides in a mirror: "left" is the left one again.
        assert torch.allclose(objects["keypoints"][number][:2, :2], torch.tensor([[x0, y0], [x1, y0]]), atol=1e-3)
        corner = x0 if mirror < 0.5 else x1
        assert torch.allclose(objects["keypoints"][number][2], torch.tensor([corner, y1, 2.0]), atol=1e-3)
    assert objects["labels"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("full", "size"),
    [((60, 80), (40, 53)), ((80, 60), (53, 40)), ((40, 400), (6, 60)), ((10, 10), (40, 40)), ((400, 40), (60, 6))],
)
def test_the_short_side_unless_the_long_one_is_too_long(full: tuple[int, int], size: tuple[int, int]) -> None:
    assert Sizing(SHAPE).size(*full) == size
    assert Sizing((3, 60, 40)).size(*full) == size
    assert Sizing(SHAPE, short_side=80).size(*full) == tuple(
        pytest.approx(2 * extent, abs=1) for extent in size
    )  # the limit goes with it


def test_left_and_right_change_places() -> None:
    assert mirrored(NAMES) == [0, 2, 1]
    assert mirrored(["tail", "left_ear"]) == [0, 1]


# What is served


def test_train_and_test_samples(tmp_path: Path) -> None:
    """In training scaled, mirrored with its objects, without crowds; at test scaled, with everything at full size."""
    crowd = {"size": [60, 80], "counts": [0, 600, 4200]}
    data = coco(
        tmp_path,
        [
            annotation(5, 2, (10, 20, 30, 10), category=90),
            annotation(6, 2, (0, 0, 10, 60), segmentation=crowd, iscrowd=1),
            annotation(7, 2, (70.2, 50.2, 10.5, 10.5)),
        ],
        max_bad=0.0,
    )
    data.setup()
    assert data.class_names == ("kind 3", "kind 90")
    assert data.category_ids == (3, 90)
    assert data.fields == ("boxes", "masks")
    batch: Any = data.splits["test"].__getitems__([(0, 1)])
    truth = batch["instances"][0]
    assert batch["input"].shape == (1, 3, 40, 53)
    assert batch["size"].tolist() == [[40, 53]]
    assert batch["full"].tolist() == [[60, 80]]
    assert batch["image_id"].tolist() == [2]
    assert truth["boxes"][:2].tolist() == [[10, 20, 40, 30], [0, 0, 10, 60]]
    assert truth["boxes"][2].tolist() == pytest.approx([70.2, 50.2, 80, 60], abs=1e-4), "cut to the image"
    assert truth["labels"].tolist() == [2, 1, 1]
    assert truth["crowd"].tolist() == [False, True, False]
    assert truth["masks"].flatten(1).sum(1)[:2].tolist() == [300, 600]
    assert truth["area"].tolist()[0] == 300
    train: Any = data.splits["train"]
    place = [each.number for each in train.scenes].index(2)
    served = [train.__getitems__([(epoch, place)])["instances"][0] for epoch in range(8)]
    assert all(each["labels"].tolist() == [2, 1] for each in served)
    left = {round(each["boxes"][0, 0].item() * 60 / 40) for each in served}
    assert left == {10, 40}, "mirrored in some epochs"
    assert "crowd" not in served[0]


def test_images_without_objects_are_kept(tmp_path: Path) -> None:
    data = coco(tmp_path, [annotation(1, 3, (1, 1, 9, 9))])
    data.setup()
    assert len(data.splits["test"]) == 12
    batch: Any = data.splits["test"].__getitems__([(0, 0)])
    truth = batch["instances"][0]
    assert truth["boxes"].shape == (0, 4)
    assert truth["masks"].shape == (0, 60, 80)


def test_keypoints_and_their_sigmas(tmp_path: Path) -> None:
    data = coco(tmp_path, [annotation(1, 3, (1, 1, 9, 9), keypoints=[1, 2, 2, 3, 4, 1, 0, 0, 0])], keypoints=True)
    data.setup()
    batch: Any = data.splits["test"].__getitems__([(0, 2)])
    assert batch["instances"][0]["keypoints"].tolist() == [[[1, 2, 2], [3, 4, 1], [0, 0, 0]]]
    assert data.fields == ("boxes", "masks", "keypoints")
    assert data.keypoint_names == tuple(NAMES)
    assert data.keypoint_sigmas == (0.1, 0.1, 0.1)
    data.keypoint_names = tuple(map(str, range(17)))
    assert data.keypoint_sigmas[0] == pytest.approx(0.026), "COCO's nose"


def test_a_batch_holds_images_of_several_sizes(tmp_path: Path) -> None:
    data = coco(tmp_path, [annotation(1, 3, (1, 1, 9, 9))], flip=False)
    wide = Image.open(tmp_path / "coco" / "val2017" / "2.png")
    data.setup()
    samples: Any = data.splits["test"]
    Image.fromarray(np.full((30, 50, 3), 200, np.uint8)).save(tmp_path / "coco" / "val2017" / "1.png")
    samples.scenes[0] = type(samples.scenes[0])(**{**vars(samples.scenes[0]), "height": 30, "width": 50, "masks": None})
    batch = samples.__getitems__([(0, 0), (0, 1)])
    assert wide.size == (80, 60)
    assert batch["size"].tolist() == [[36, 60], [40, 53]]
    assert batch["input"].shape == (2, 3, 40, 60)
    assert (batch["input"][0, :, :36, :60] == 200).all()
    assert not batch["input"][0, :, 36:].any()
    assert not batch["input"][1, :, :, 53:].any()


def test_batches_are_of_one_shape_on_every_rank() -> None:
    groups = (torch.arange(103) % 3 == 0).long()
    seen, mixed, steps = [], 0, 0
    for rank in range(2):
        sampler = EpochSampler(103, seed=0, shuffle=True, rank=rank, world=2, groups=groups, batch=4)
        index = [at for _, at in sampler]
        assert len(index) == 52
        seen += index
        for start in range(0, 52, 4):
            kinds = set(groups[index[start : start + 4]].tolist())
            mixed += len(kinds) > 1
            steps += 1
    assert set(seen) == set(range(103))
    assert mixed <= 2 * 2 < steps / 4
    orders = [
        [at for _, at in sampler]
        for epoch in (0, 0, 1)
        for sampler in [EpochSampler(103, seed=0, shuffle=True, groups=groups, batch=4)]
        for _ in [sampler.set_epoch(epoch)]
    ]
    assert orders[0] == orders[1] != orders[2]


def test_the_users_own_images(tmp_path: Path) -> None:
    data = coco(tmp_path, [])
    batch: Any = data.files([tmp_path / "coco" / "val2017" / "2.png"]).__getitems__([(0, 0)])
    assert batch["input"].shape == (1, 3, 40, 53)
    assert batch["full"].tolist() == [[60, 80]]
    assert len(batch["instances"][0]["boxes"]) == 0


# What is refused

NAN = float("nan")
WRONG = [
    (annotation(5, 2, (10, 10, 0, 9)), r"of image 2, annotation 5 has a box of no area, 0 x 9"),
    (annotation(5, 2, (10, 10, -3, 9), area=27), r"of image 2, annotation 5 has a box of no area, -3 x 9"),
    (
        annotation(5, 2, (90, 10, 5, 5)),
        r"annotation 5 has a box from \(90, 10\) to \(95, 15\), outside of its 80 x 60",
    ),
    (annotation(5, 2, (50, 30, 70, 50)), r"annotation 5 has a box from .* are its numbers in the data set's own format"),
    (annotation(5, 2, (10, NAN, 5, 5)), r"of image 2, annotation 5 has a box with 10, nan, 15, nan, which are not all numbers"),
    (annotation(5, 2, (-0.5, 1, 0.4, 5)), r"of image 2, annotation 5 has a box outside of the image"),
    (
        {**annotation(5, 2, (1, 1, 5, 5)), "bbox": [1, 2, 3]},
        r"of image 2, annotation 5 cannot be used: bbox is \[1, 2, 3\], which does not do: expected array of length 4",
    ),
    ({**annotation(5, 2, (1, 1, 5, 5)), "bbox": "1 2 3 4"}, r'annotation 5 cannot be used: bbox is "1 2 3 4"'),
    (annotation(5, 2, (1, 1, 5, 5), category=4), r"annotation 5 has the unlisted category 4"),
    (
        annotation(5, 2, (1, 1, 5, 5), segmentation={"size": [6, 8], "counts": [48]}),
        r"of image 2, of annotation 5, its mask is 8 x 6 pixels, not 80 x 60",
    ),
    (annotation(5, 2, (1, 1, 5, 5), segmentation=[[1, 2, 3, NAN, 5, 6]]), "annotation 5, its polygon has a corner"),
    (annotation(5, 2, (1, 1, 5, 5), segmentation=None), "annotation 5, its segmentation is a NoneType"),
    (annotation(5, 2, (1, 1, 5, 5), segmentation=[]), "annotation 5 has an empty segmentation"),
    (
        annotation(5, 2, (1, 1, 5, 5), segmentation=[8, 8, 40, 8, 40, 40]),
        r"annotation 5 cannot be used: segmentation\[0\] is 8",
    ),
    (annotation(5, 2, (1, 1, 5, 5), segmentation=[[8, 8, 1e9, 8, 40, 40]]), r"its polygon has a corner at \(1e\+09, 8\)"),
    *(
        (annotation(5, 2, (1, 1, 5, 5), segmentation={"size": [60, 80], "counts": counts}), reason)
        for counts, reason in [
            ([4800, 1], "run lengths do not add up"),
            ([-5, 4805], r"segmentation.counts\[0\] is -5"),
            ([2**62, 2**62, 2**62, 2**62, 4800], "run lengths do not add up"),  # modulo 2^64 they would
            ([0.5, 4799.5], r"segmentation.counts\[0\] is 0\.5"),
            (None, r"segmentation.counts is null"),
            ("~" * 100_000, "not in COCO's text form"),
            ("é", "not in COCO's text form"),
            ("P", "in the middle of one"),
        ]
    ),
    *(
        (annotation(5, 2, (1, 1, 5, 5), **{name: value}), rf"annotation 5 cannot be used: {name}(\[\d\])? is ")
        for name, value in [
            ("iscrowd", "0"),
            ("iscrowd", None),
            ("iscrowd", 2),
            ("iscrowd", NAN),
            ("area", "25"),
            ("area", None),
            ("area", -1),
            ("area", NAN),
            ("area", [25]),
            ("category_id", "3"),
            ("category_id", 3.5),
            ("category_id", 10**30),
            ("bbox", {"x": 1}),
            ("bbox", [1, 1, "5", 5]),
            ("bbox", [[1, 1, 5, 5]]),
            ("bbox", True),
            ("segmentation", "1 2 3"),
            ("segmentation", 7),
            ("keypoints", {}),
        ]
    ),
    (annotation(5, 2, (1, 1, 5, 5), area=1e9), "annotation 5 has an area of 1e\\+09, more than its 80 x 60"),
    (annotation(5, 2, (1, 1, 5, 5), area=float("inf")), "annotation 5 has an area of inf"),
]


def test_a_wrong_object_costs_its_image_and_is_named_before_training(tmp_path: Path) -> None:
    """With the image's id; one image for each thing that can be wrong, and one more that is right."""
    wrong = [{**each, "id": at, "image_id": at} for at, (each, _) in enumerate(WRONG, start=1)]
    count = 3 * len(WRONG)
    for target in ("instances", "semantic"):
        data = coco(tmp_path, [*wrong, annotation(count, count, (1, 1, 9, 9))], count=count, size=(80, 60), max_bad=0.99)
        data.target = target  # type: ignore[assignment]
        data.setup()
        said = {Path(path).name: reason for path, reason in data.skipped.items() if "val2017" in path}
        for at, (_, reason) in enumerate(WRONG, start=1):
            about_boxes = re.search("has a box|empty segmentation|no bbox", reason)
            if target == "instances" or not about_boxes:
                named = reason.replace("annotation 5", f"annotation {at}").replace("image 2", f"image {at}")
                assert re.search(named, said.pop(f"{at}.png")), at
            else:
                assert said.pop(f"{at}.png", None) is None or "not a number" in reason or "not all numbers" in reason
        assert not said
    with pytest.raises(ValueError, match=r"more than data\.max_bad=0 allows"):
        coco(tmp_path, [annotation(1, 1, (1, 1, 9, 9)), WRONG[0][0]], max_bad=0.0).setup()


def repeated(kind: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[kind].append(dict(content[kind][0]))


def halved(content: dict[str, Any]) -> None:
    content["images"][1]["height"] = 30


@pytest.mark.parametrize(
    ("change", "annotations", "reason"),
    [
        (repeated("images"), [], r"instances_train2017\.json has 2 images with the id 1\. Give each an id of its own"),
        (repeated("annotations"), [annotation(1, 1, (1, 1, 9, 9))], "has 2 annotations with the id 1"),
        (repeated("categories"), [], "has 2 categories with the id 90"),
        (None, [annotation(4, 99, (1, 1, 9, 9))], "has an annotation 4 of image 99, which it does not list"),
        (halved, [], r"of image 2, the file is 80 x 60 pixels, but its annotations say 80 x 30"),
        (lambda content: content.pop("categories"), [], "it has no categories"),
        (lambda content: content.update(categories=[]), [], "lists no categories"),
        (lambda content: content.update(images={}), [], "images is {}, which does not do: expected array"),
        (lambda content: content["images"][1].update(id="2"), [], r'of id "2", images\[1\].id is "2"'),
        (lambda content: content["images"][1].update(height=0), [], r"of id 2, images\[1\].height is 0"),
        (lambda content: content["images"][1].update(width=None), [], r"of id 2, images\[1\].width is null"),
        (lambda content: content["images"][1].pop("file_name"), [], r"of id 2, images\[1\] has no file_name"),
        (lambda content: content["images"][1].update(file_name="../x.png"), [], "leads out of"),
        (lambda content: content["categories"][0].update(name=3), [], r"categories\[0\].name is 3"),
        (lambda content: content["annotations"].append(7), [], r"of annotation None \(entry 0\), it is 7"),
        (lambda content: content["annotations"].append({"id": 7}), [], r"of annotation 7 \(entry 0\), it has no image_id"),
    ],
)
def test_wrong_files_of_annotations(change: Any, annotations: list[dict[str, Any]], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        coco(tmp_path, annotations, change=change, max_bad=0.0).setup()


def test_areas_and_crowds_may_be_missing_and_boxes_may_be_all(tmp_path: Path) -> None:
    """What is not stated is the mask's area, or the box's; boxes alone are for a detector of boxes, and no mask of classes."""

    def without(*names: str) -> list[dict[str, Any]]:
        whole = annotation(1, 2, (10, 20, 30, 10), segmentation=[[10, 20, 40, 20, 40, 30]])
        return [{name: value for name, value in whole.items() if name not in names}]

    def served(data: Coco) -> Any:
        data.setup()
        return data.splits["test"].__getitems__([(0, 1)])["instances"][0]  # type: ignore[typeddict-item]

    truth = served(coco(tmp_path / "a", without("area", "iscrowd"), max_bad=0.0))
    assert truth["area"].tolist() == [float(truth["masks"].sum())]
    assert not truth["crowd"].any()
    for number, missing in enumerate(([], None)):
        boxes = without("area", "segmentation")
        if missing is not None:
            boxes[0]["segmentation"] = missing
        data = coco(tmp_path / f"b{number}", boxes, max_bad=0.0)
        truth = served(data)
        assert truth["area"].tolist() == [300]
        assert "masks" not in truth
        assert data.fields == ("boxes",)
        assert "11 of 12 test images have no objects; they are kept." in data.notes
        with pytest.raises(ValueError, match="boxes alone"):
            Coco(root=str(tmp_path / f"b{number}"), shape=SHAPE, target="semantic").setup()


def test_both_files_have_the_same_categories(tmp_path: Path) -> None:
    data = coco(tmp_path, [])
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("kind 3", "kind 4"))
    with pytest.raises(ValueError, match=r"The categories of .*val2017\.json are not those of the training images"):
        data.setup()


def test_a_missing_image_is_named_by_its_id(tmp_path: Path) -> None:
    data = coco(tmp_path, [annotation(n, n, (4, 4, 20, 10)) for n in range(1, 13)], max_bad=0.0)
    (tmp_path / "coco" / "val2017" / "3.png").unlink()
    with pytest.raises(ValueError, match="the file of image 3 is missing"):
        data.setup()


# Layouts


def voc(root: Path, changed: str = "", names: list[str] | None = None, **more: Any) -> VocDetection:
    folder = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = names or [f"2008_{number:06d}" for number in range(12)]
    for name in names:
        Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg")
        objects = "".join(
            f"<object><name>{kind}</name><difficult>{hard}</difficult><bndbox><xmin>{x0}</xmin><ymin>1</ymin>"
            f"<xmax>{x0 + 19}</xmax><ymax>30</ymax></bndbox></object>"
            for kind, hard, x0 in ((changed or "dog", 0, 1), ("person", 1, 41))
        )
        size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(names[:10]))
    (folder / "ImageSets" / "Main" / "val.txt").write_text("\n".join(names[10:]))
    return VocDetection(root=str(root), shape=SHAPE, **more)


def test_voc_counts_from_one_and_leaves_out_what_is_difficult(tmp_path: Path) -> None:
    data = voc(tmp_path)
    data.setup()
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 9, "val": 1, "test": 2}
    batch: Any = data.splits["test"].__getitems__([(0, 1)])
    truth = batch["instances"][0]
    assert truth["boxes"].tolist() == [[0, 0, 20, 30], [40, 0, 60, 30]]
    assert [data.class_names[label - 1] for label in truth["labels"]] == ["dog", "person"]
    assert truth["crowd"].tolist() == [False, True]
    assert batch["image_id"].tolist() == [12]
    assert batch["file"] == [str(tmp_path / "VOCdevkit/VOC2012/JPEGImages/2008_000011.jpg")]
    assert "masks" not in truth
    train: Any = data.splits["train"].__getitems__([(0, 0)])
    assert len(train["instances"][0]["boxes"]) == 1


def test_voc_names_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*Main/train\.txt"):
        VocDetection(root=str(tmp_path), shape=SHAPE).setup()
    with pytest.raises(ValueError, match=r"Not one of 9 training images has an object .* 9 objects .*unicorn \(9\)\."):
        voc(tmp_path, "unicorn", max_bad=0.0).setup()
    data = voc(tmp_path, max_bad=0.0)
    (tmp_path / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000011.xml").write_text("<annotation><size>")
    with pytest.raises(ValueError, match=r"2008_000011\.xml does not list its objects"):
        data.setup()


def test_voc_keeps_an_image_without_its_objects_of_other_classes(tmp_path: Path) -> None:
    data = voc(tmp_path)
    annotations = tmp_path / "VOCdevkit" / "VOC2012" / "Annotations"
    for number, name in ((3, "unicorn"), (4, "unicorn"), (11, "lamp")):
        path = annotations / f"2008_{number:06d}.xml"
        path.write_text(path.read_text().replace("dog", name))
    data.setup()
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 9, "val": 1, "test": 2}
    assert data.skipped == {}
    (note,) = (note for note in data.notes if "no class of this" in note)
    assert note == (
        "3 objects of no class of this data set are left out: unicorn (2), lamp (1). Their images are kept, and where they are "
        "is background."
    )
    batch: Any = data.splits["test"].__getitems__([(0, 1)])
    assert batch["instances"][0]["boxes"].tolist() == [[40, 0, 60, 30]]
    assert batch["instances"][0]["crowd"].tolist() == [True]


def test_classes_that_no_training_image_holds_are_said(tmp_path: Path) -> None:
    """Of every set of objects; an object of a crowd, or one marked as difficult, is not learned from."""
    boxes = voc(tmp_path / "voc")
    boxes.setup()
    absent = "aeroplane, bicycle, bird, boat, bottle and 14 more"  # of twenty there are dogs, and persons that are difficult
    assert f"No object of the training images is of the class {absent}: it cannot be learned." in boxes.notes
    some = [annotation(number, number, (4, 4, 20, 10), 3) for number in range(1, 13)]
    masks = coco(tmp_path / "coco", [*some, annotation(99, 2, (30, 4, 20, 10), 90, iscrowd=1)])
    masks.setup()
    assert "No object of the training images is of the class kind 90: it cannot be learned." in masks.notes
    with pytest.raises(ValueError, match=r"Not one of \d+ training images has an object to learn\. The classes are kind 3, "):
        coco(tmp_path / "none", []).setup()
    folder = tmp_path / "PennFudanPed"
    for place in ("PNGImages", "PedMasks"):
        (folder / place).mkdir(parents=True)
    for number in range(10):
        for path in (folder / "PNGImages" / f"{number}.png", folder / "PedMasks" / f"{number}_mask.png"):
            Image.new("L", (30, 20)).save(path)
    with pytest.raises(ValueError, match=r"Not one of 7 training images has an object to learn\. The classes are pedestrian\."):
        PennFudan(root=str(tmp_path), shape=SHAPE).setup()


def test_an_image_of_both_lists_is_scored_and_not_trained_on(tmp_path: Path) -> None:
    """Of VOC's boxes and of its masks; a second spelling of a name is the same image."""
    names = [f"2008_{number:06d}" for number in range(12)]
    data = voc(tmp_path, names=names)
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    (folder / "SegmentationClass").mkdir()
    (folder / "ImageSets" / "Segmentation").mkdir()
    for name in names:
        Image.fromarray((np.arange(60 * 80).reshape(60, 80) % 21).astype(np.uint8)).save(
            folder / "SegmentationClass" / f"{name}.png"
        )
    for kind in ("Main", "Segmentation"):
        (folder / "ImageSets" / kind / "train.txt").write_text("\n".join([*names[:10], "./" + names[10]]))
        (folder / "ImageSets" / kind / "val.txt").write_text("\n".join(names[9:]))
    for each in (data, VocSegmentation(root=str(tmp_path), shape=SHAPE)):
        each.setup()
        assert {split: len(samples) for split, samples in each.splits.items()} == {"train": 8, "val": 1, "test": 3}
        (note,) = (note for note in each.notes if "trained on" in note)
        assert note == "2 images of both train.txt and val.txt are scored, and not trained on, the first 2008_000009.jpg."
    (folder / "ImageSets" / "Main" / "val.txt").write_text("\n".join(names))
    with pytest.raises(ValueError, match=r"All 11 images to train on are scored too: train\.txt and val\.txt"):
        VocDetection(root=str(tmp_path), shape=SHAPE).setup()


def test_voc_files_whose_names_have_one_number_are_several_images(tmp_path: Path) -> None:
    names = [f"{kind}_{number}" for kind in ("cat", "dog") for number in range(6)]
    data = voc(tmp_path, names=names)
    data.setup()
    scenes = [each for samples in data.splits.values() for each in samples.scenes]  # type: ignore[attr-defined]
    assert len({scene.number for scene in scenes}) == 12


SWAPS = [
    ("<xmin>1</xmin>", "<xmin>nan</xmin>", "not all numbers"),
    ("<xmin>1</xmin>", "<xmin>1e999</xmin>", "not all numbers"),
    ("<xmin>1</xmin>", "<xmin></xmin>", r"the bndbox/xmin '' of object 1, which is no number"),
    ("<xmin>1</xmin>", "<xmin>one</xmin>", r"the bndbox/xmin 'one' of object 1"),
    ("<xmin>1</xmin>", "", r"0 fields bndbox/xmin of object 1"),
    ("<xmin>1</xmin>", "<xmin>1</xmin><xmin>2</xmin>", r"2 fields bndbox/xmin of object 1"),
    ("<xmin>1</xmin>", "<xmin>500</xmin>", "box of no area"),
    ("<xmax>20</xmax>", "<xmax>500</xmax>", "outside of its 80 x 60"),
    ("<difficult>0</difficult>", "<difficult>no</difficult>", "the difficult 'no' of object 1, which must be 0 or 1"),
    ("<width>80</width>", "<width>80.5</width>", r"the size/width '80.5' of the image"),
    ("<width>80</width>", "<width>90</width>", "annotations say 90 x 60"),
    ("<name>dog</name>", "<name/>", r"has an empty name of object 1"),
    ("</annotation>", "", "does not list its objects"),
    ("<annotation>", '<?xml version="1.0" encoding="no-such"?><annotation>', "does not list its objects"),
    ("<annotation>", '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;', "has a document type"),
    ("<annotation>", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;', "has a document type"),
]


@pytest.mark.parametrize(("old", "new", "reason"), SWAPS)
def test_a_wrong_field_of_voc_costs_its_image_and_is_named(old: str, new: str, reason: str, tmp_path: Path) -> None:
    data = voc(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000011.xml"
    path.write_text(path.read_text().replace(old, new, 1))
    data.setup()
    assert data.skipped_counts == {"train": 0, "val": 0, "test": 1}
    ((image, why),) = data.skipped.items()
    assert image.endswith("2008_000011.jpg")
    assert re.search(reason, why)


def test_a_voc_list_stays_in_its_folder(tmp_path: Path) -> None:
    data = voc(tmp_path)
    with (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt").open("a") as stream:
        stream.write("\n../../../private/letter")
    with pytest.raises(ValueError, match=r"val\.txt: The name '\.\./\.\./\.\./private/letter.jpg' leads out of"):
        data.setup()


def test_pennfudan_numbers_its_objects_in_a_picture(tmp_path: Path) -> None:
    folder = tmp_path / "PennFudanPed"
    for name in ("PNGImages", "PedMasks"):
        (folder / name).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((60, 80), np.uint8)
        mask[10:30, 5:15], mask[20:40, 30:45] = 1, 3  # numbers may have gaps
        if number == 4:
            mask[:] = 0
        Image.fromarray(np.stack([mask * 60] * 3, -1)).save(folder / "PNGImages" / f"Fudan{number:05d}.png")
        Image.fromarray(mask).save(folder / "PedMasks" / f"Fudan{number:05d}_mask.png")
    data = PennFudan(root=str(tmp_path), shape=SHAPE)
    data.setup()
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 14, "val": 2, "test": 4}
    counts = []
    for samples in data.splits.values():
        for at in range(len(samples)):
            batch: Any = samples.__getitems__([(0, at)])
            counts.append(len(batch["instances"][0]["boxes"]))
    assert sorted(counts) == [0, *[2] * 19]
    batch = data.splits["test"].__getitems__([(0, 0)])
    assert batch["instances"][0]["boxes"].tolist() == [[5, 10, 15, 30], [30, 20, 45, 40]]
    assert batch["instances"][0]["masks"].flatten(1).sum(1).tolist() == [200, 300]
    Image.fromarray(np.zeros((30, 80), np.uint8)).save(folder / "PedMasks" / "Fudan00003_mask.png")
    with pytest.raises(ValueError, match="the file is 80 x 60 pixels, but its annotations say 80 x 30"):
        PennFudan(root=str(tmp_path), shape=SHAPE, max_bad=0.0).setup()
    (folder / "PedMasks" / "Fudan00003_mask.png").unlink()
    with pytest.raises(ValueError, match=r"Fudan00003_mask\.png"):
        PennFudan(root=str(tmp_path), shape=SHAPE, max_bad=0.0).setup()


def test_a_photograph_taken_for_a_mask_costs_its_image_and_no_memory(tmp_path: Path) -> None:
    """As many objects as values: their masks together would be 2.4 GB."""
    folder = tmp_path / "PennFudanPed"
    for name in ("PNGImages", "PedMasks"):
        (folder / name).mkdir(parents=True)
    for number in range(8):
        numbers = np.arange(300 * 400).reshape(300, 400) % 20_000 if number == 4 else np.ones((30, 40))
        Image.new("RGB", numbers.shape[::-1]).save(folder / "PNGImages" / f"{number}.png")
        Image.fromarray(numbers.astype(np.uint16)).save(folder / "PedMasks" / f"{number}_mask.png")
    data = PennFudan(root=str(tmp_path), shape=SHAPE)
    data.setup()
    assert list(data.skipped.values()) == ["of image 5, it has 19,999 masks of 400 x 300 pixels, more than the memory is for"]


# Real data


@pytest.mark.realdata
def test_coco_as_it_is(real_data: Callable[[str], Path]) -> None:
    folder = real_data("coco128")
    data = Coco(root=str(folder.parent), folder="coco128", shape=(3, 256, 426), target="instances")
    data.setup()
    assert not data.skipped
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 90, "val": 10, "test": 100}
    assert data.num_classes == 80
    assert data.category_ids[-1] == 90
    for at in (0, 30, 60):
        batch: Any = data.splits["test"].__getitems__([(0, at)])
        for box, mask in zip(batch["instances"][0]["boxes"], batch["instances"][0]["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            edges = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (edges - box).abs().max() <= 2, "the box encloses the mask"
