"""Detection: scores equal pycocotools called by hand, whatever the batches; what is written, drawn and refused."""

import contextlib
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from zoo.common import coco, draw
from zoo.data.coco import Coco
from zoo.models.rcnn import KeypointHead, MaskHead
from zoo.tasks.detection import DetectionTask
from zoo.tasks.gathering import gather

SIGMAS = (0.05, 0.1, 0.2)
CATEGORIES = (3, 17, 90)


class Told(nn.Module):
    """Finds what it is told to find, image after image."""

    def __init__(self, found: list[dict[str, Tensor]], keypoints: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.heads = (MaskHead(), KeypointHead(3)) if keypoints else (MaskHead(),)
        self.found = found
        self.asked: list[tuple[int, int]] = []

    def forward(self, images: list[Tensor], sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        found = self.found[len(self.asked) : len(self.asked) + len(images)]
        self.asked += sizes
        return found


def task(found: list[dict[str, Tensor]], **more: Any) -> DetectionTask:
    arguments: dict[str, Any] = {
        "class_names": ("cat", "dog", "bird"),
        "category_ids": CATEGORIES,
        "fields": ("boxes", "masks", "keypoints"),
        "keypoint_sigmas": SIGMAS,
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        "scheduler": None,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        **more,
    }
    return DetectionTask(Told(found, "keypoints" in arguments["fields"]), **arguments).eval()


def truth_of(seed: int, size: tuple[int, int] = (120, 160)) -> dict[str, Tensor]:
    """Some objects of several sizes, one of them a crowd; image 3 has none."""
    draws = torch.Generator().manual_seed(seed)
    count = 0 if seed == 3 else 5
    corner = torch.rand(count, 2, generator=draws) * 60
    boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=draws) * 52], 1).round()
    masks = torch.zeros(count, *size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
        mask[y0 : y0 + 3, x0 : x0 + 3] = 0
    places = corner[:, None] + torch.rand(count, 3, 2, generator=draws) * (boxes[:, None, 2:] - corner[:, None])
    crowd = torch.zeros(count, dtype=torch.bool)
    crowd[:1] = seed % 2 == 0
    return {
        "boxes": boxes,
        "labels": torch.randint(1, 4, (count,), generator=draws),
        "masks": masks,
        "keypoints": torch.cat([places, torch.randint(0, 3, (count, 3, 1), generator=draws)], -1),
        "crowd": crowd,
    }


def guess_of(truth: dict[str, Tensor], seed: int, blur: float = 4.0) -> dict[str, Tensor]:
    """The same objects, moved a little, some with another label, and one that is not there; best first."""
    draws = torch.Generator().manual_seed(100 + seed)
    count = len(truth["boxes"])
    boxes = truth["boxes"] + blur * torch.randn(count, 4, generator=draws)
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
    labels = torch.where(torch.rand(count, generator=draws) < 0.2 * bool(blur), 1, truth["labels"])
    masks = truth["masks"].roll(int(blur) // 2, 2)[:, None].float() * 0.9
    keypoints = truth["keypoints"].clone()
    keypoints[..., :2] += blur * torch.randn(count, 3, 2, generator=draws)
    scores = torch.rand(count, generator=draws) if blur else torch.ones(count)
    order = scores.argsort(descending=True)
    return {
        name: value[order]
        for name, value in {"boxes": boxes, "labels": labels, "scores": scores, "masks": masks, "keypoints": keypoints}.items()
    }


def batch_of(numbers: list[int]) -> dict[str, Any]:
    ids = torch.tensor(numbers)
    return {
        "input": torch.zeros(len(numbers), 3, 60, 80, dtype=torch.uint8),
        "size": torch.tensor([[60, 80]] * len(numbers)),
        "full": torch.tensor([[120, 160]] * len(numbers)),
        "image_id": 1000 + ids,
        "id": ids,
        "view": ids * 0,
        "epoch": ids * 0,
        "instances": [truth_of(number) for number in numbers],
    }


def by_hand(annotations: dict[str, Any], results: Path, kind: str, sigmas: tuple[float, ...]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        gold = COCO()
        gold.dataset = annotations
        gold.createIndex()
        judge = COCOeval(gold, gold.loadRes(str(results)), {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}[kind])
        if kind == "keypoint":
            judge.params.kpt_oks_sigmas = np.array(sigmas)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats.tolist()


def annotations_by_hand(numbers: list[int]) -> dict[str, Any]:
    """The truth as a COCO file, written without the code under test."""
    from pycocotools import mask as masks

    found = []
    for number in numbers:
        truth = truth_of(number)
        for at in range(len(truth["boxes"])):
            x0, y0, x1, y1 = truth["boxes"][at].tolist()
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": 1000 + number,
                    "category_id": CATEGORIES[truth["labels"][at] - 1],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(truth["masks"][at].sum()),
                    "segmentation": masks.encode(np.asfortranarray(truth["masks"][at].numpy())),
                    "iscrowd": int(truth["crowd"][at]),
                    "keypoints": truth["keypoints"][at].double().flatten().tolist(),
                    "num_keypoints": int((truth["keypoints"][at, :, 2] > 0).sum()),
                }
            )
    images = [{"id": 1000 + number, "height": 120, "width": 160} for number in numbers]
    return {"images": images, "annotations": found, "categories": [{"id": each} for each in CATEGORIES]}


NUMBERS = list(range(8))


def test_files_of_results_are_whole_and_take_the_place_of_no_link(tmp_path: Path) -> None:
    records = gather([task([guess_of(truth_of(0), 0)]).sample_outputs(batch_of([0]))])  # type: ignore[arg-type]
    for name in ("images", "box"):
        folder, victim = tmp_path / f"a link {name}", tmp_path / f"victim {name}"
        folder.mkdir()
        victim.write_text("kept")
        (folder / f"{name}.json").symlink_to(victim)
        with pytest.raises(ValueError, match=rf"{name}\.json is no regular file, so it is not replaced"):
            task([], results=str(folder)).metrics(records)
        assert victim.read_text() == "kept"
    task([], results=str(tmp_path / "new")).metrics(records)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "box.json",
        "images.json",
        "keypoint.json",
        "mask.json",
    ]


@pytest.mark.numerical
def test_scores_are_those_of_pycocotools_by_hand(tmp_path: Path) -> None:
    model = task([guess_of(truth_of(number), number) for number in NUMBERS], results=str(tmp_path / "results"))
    found = model.metrics(gather([model.sample_outputs(batch_of(NUMBERS[at : at + 3])) for at in (0, 3, 6)]))  # type: ignore[arg-type]
    assert model.net.asked == [(120, 160)] * 8
    names = {
        "box": "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large".split(),
        "mask": "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large".split(),
        "keypoint": "ap ap50 ap75 ap_medium ap_large ar ar50 ar75 ar_medium ar_large".split(),
    }
    for kind, columns in names.items():
        expected = by_hand(annotations_by_hand(NUMBERS), tmp_path / "results" / f"{kind}.json", kind, SIGMAS)
        for name, value in zip(columns, expected, strict=True):
            assert found.get(f"{kind}_{name}", -1.0) == pytest.approx(value, abs=1e-9), (kind, name)
        assert 0.05 < found[f"{kind}_ap"] < 0.95
        assert f"{kind}_ap_large" not in found, "no object is larger than 96 x 96"
    assert len({round(found[f"{kind}_ap"], 3) for kind in names}) == 3


@pytest.mark.numerical
def test_the_truth_as_a_prediction_scores_one() -> None:
    """But for crowds, which nothing has to match."""
    model = task([guess_of(truth_of(number), number, blur=0.0) for number in NUMBERS])
    found = model.metrics(model.sample_outputs(batch_of(NUMBERS)))  # type: ignore[arg-type]
    for name, value in found.items():
        if name not in ("box_ar1", "mask_ar1"):  # one result an image cannot find several objects of a class
            assert value == pytest.approx(1.0), name


def test_scores_do_not_depend_on_batches_order_or_repeats() -> None:
    guesses = {number: guess_of(truth_of(number), number) for number in NUMBERS}
    whole = task([guesses[number] for number in NUMBERS])
    expected = whole.metrics(gather([whole.sample_outputs(batch_of(NUMBERS))]))  # type: ignore[arg-type]
    order = [5, 2, 7, 0, 3, 1, 6, 4, 5, 0]
    single = task([guesses[number] for number in order])
    records = gather([single.sample_outputs(batch_of([number])) for number in order])  # type: ignore[arg-type]
    assert records["id"].tolist() == NUMBERS
    assert single.metrics(records) == expected


@pytest.mark.numerical
@pytest.mark.parametrize("most", [None, 100, 250, 1000])
def test_as_many_results_count_as_the_task_says(most: int | None) -> None:
    """Perfect answers on two images of 300 objects of one class; the network gives 300 at most."""
    corners = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(15.0), indexing="ij"), -1).reshape(-1, 2) * 8
    boxes = torch.cat([corners, corners + 6], 1)
    parts = {"boxes": boxes, "labels": torch.ones(300, dtype=torch.int64)}
    batch = {**batch_of([0, 1]), "full": torch.tensor([[200, 200]] * 2), "instances": [parts] * 2}
    found = [{**parts, "scores": torch.linspace(1, 0.5, 300)}] * 2
    net = Told(found, keypoints=False)
    net.heads = ()  # type: ignore[assignment]
    net.roi_heads = nn.Module()
    net.roi_heads.detections_per_img = 300  # type: ignore[assignment]
    model = task(found, fields=("boxes", "masks"), max_detections=most)
    model.net, model.max_detections = net, most or 300
    assert DetectionTask._most(model, most) == (most or 300)
    scores = model.metrics(model.sample_outputs(batch))  # type: ignore[arg-type]
    share = min(1.0, (most or 300) / 300)
    assert scores["box_ap"] == pytest.approx(np.mean(np.linspace(0, 1, 101) <= share), abs=1e-9)
    assert scores[f"box_ar{most or 300}"] == pytest.approx(share)
    assert any(f"The {most or 300:,} surest detections" in said for said in model.remarks)
    assert any("objects that cannot be found" in said for said in model.remarks) == (share < 1)
    assert net.roi_heads.detections_per_img == max(300, most or 0), "and the network gives as many"


def test_two_images_of_one_id_are_refused() -> None:
    images = [{"id": 7, "height": 9, "width": 9, "file_name": name} for name in ("a.png", "b.png")]
    with pytest.raises(ValueError, match=r"a\.png and b\.png both have the image id 7"):
        coco.scores(images, [], [], [1], "box")


def test_nothing_found_scores_zero_and_nothing_to_find_is_refused() -> None:
    nothing = {name: value[:0] for name, value in guess_of(truth_of(0), 0).items()}
    model = task([nothing, nothing])
    found = model.metrics(model.sample_outputs(batch_of([0, 1])))  # type: ignore[arg-type]
    assert set(found.values()) == {0.0}
    model = task([nothing])
    with pytest.raises(ValueError, match="Not one image of the split has an object"):
        model.metrics(model.sample_outputs(batch_of([3])))  # type: ignore[arg-type]


def test_stated_areas_count() -> None:
    batch = batch_of([1])
    batch["instances"][0]["area"] = torch.full((5,), 1e5)
    model = task([guess_of(truth_of(1), 1, blur=0.0)])
    found = model.metrics(model.sample_outputs(batch))  # type: ignore[arg-type]
    assert "box_ap_large" in found
    assert "box_ap_small" not in found


# Words and pictures


def test_the_answer_names_and_draws_what_is_sure() -> None:
    guess = guess_of(truth_of(1), 1)
    guess["scores"] = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2])
    guess["angle"] = torch.arange(5).float()
    model = task([guess])
    answer = model.prediction(batch_of([1]), model.class_names, 2)  # type: ignore[arg-type]
    assert len(answer.fields["objects"]) == 4
    first = answer.fields["objects"][0]
    assert set(first) == {"box", "score", "mask", "keypoints", "name", "angle"}
    assert answer.text.startswith(f"{first['name']} 0.900, ")
    assert answer.text.endswith(" and 2 more")
    from pycocotools import mask as masks

    assert np.array_equal(masks.decode(first["mask"]), (guess["masks"][0, 0] > 0.5).numpy())
    picture = answer.pictures["objects"]
    assert picture.size == (160 * 4, 120 * 4), "enlarged, so that names can be read"
    json.dumps(answer.fields)


def test_nothing_is_an_answer_too() -> None:
    nothing = {name: value[:0] for name, value in guess_of(truth_of(0), 0).items()}
    answer = task([nothing]).prediction(batch_of([0]), ("cat", "dog", "bird"), 5)  # type: ignore[arg-type]
    assert answer.text == "nothing"
    assert not np.asarray(answer.pictures["objects"]).any()


def test_boxes_masks_keypoints_and_names_are_on_the_picture() -> None:
    image = torch.zeros(3, 400, 400, dtype=torch.uint8)
    mask = torch.zeros(1, 400, 400)
    mask[:, 150:200, 150:200] = 1
    found = {
        "boxes": torch.tensor([[100.0, 120.0, 300.0, 320.0]]),
        "labels": torch.tensor([1]),
        "scores": torch.tensor([0.5]),
        "masks": mask,
        "keypoints": torch.tensor([[[250.0, 250.0, 1.0], [350.0, 350.0, 0.0]]]),
    }

    def drawn(*names: str) -> Tensor:
        return draw.objects(image, {name: found[name] for name in names}, ["cat"]).any(0)

    box = drawn("boxes", "labels")
    assert box[120:320, 100].all()
    assert box[320, 100:300].all()
    assert not box[150:300, 150:280].any()
    named = drawn("boxes", "labels", "scores") & ~box
    assert named[100:145, 95:200].any(), "the score beside the name"
    masked = drawn("boxes", "labels", "masks") & ~box
    assert masked[150:200, 150:200].all()
    assert not masked[205:300].any()
    points = drawn("boxes", "labels", "keypoints") & ~box
    assert points[248:253, 248:253].any()
    assert not points[345:355, 345:355].any(), "a point that does not count is not drawn"


@pytest.mark.slow
def test_the_contact_sheet(tmp_path: Path) -> None:
    model = task([guess_of(truth_of(number), number) for number in NUMBERS])
    model.draw([batch_of([number]) for number in NUMBERS], tmp_path)  # type: ignore[misc]
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.width > 3 * 256
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 20


# What is refused


def test_networks_and_data_that_do_not_fit() -> None:
    model = task([], fields=("boxes",))
    model.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    model.setup("test")  # what was trained elsewhere may be scored: the head says nothing
    with pytest.raises(ValueError, match="The head mask learns from masks, but the data have boxes only"):
        model.setup("fit")
    with pytest.raises(ValueError, match="A Linear does not detect objects"):
        DetectionTask(
            nn.Linear(1, 1),
            class_names=(),
            category_ids=(),
            fields=(),
            keypoint_sigmas=(),
            optimizer=partial(torch.optim.SGD, lr=0.1),
            scheduler=None,
            mean=[0.0],
            std=[1.0],
        )


# Real data


@pytest.mark.numerical
@pytest.mark.realdata
def test_against_cocos_own_file(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The validation images of COCO with their own annotation file, and blurred truth as what was found: the same figures
    from our batches as from pycocotools on the exported files."""
    folder = real_data("coco128")
    data = Coco(root=str(folder.parent), folder="coco128", shape=(3, 128, 213), target="instances")
    data.setup()
    samples: Any = data.splits["test"]
    batches = [samples.__getitems__([(0, at)]) for at in range(len(samples))]
    draws = torch.Generator().manual_seed(0)
    found = []
    for batch in batches:
        truth = {name: value[~batch["instances"][0]["crowd"]] for name, value in batch["instances"][0].items()}
        boxes = truth["boxes"] + 2 * torch.randn(truth["boxes"].shape, generator=draws)
        boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
        shifted = truth["masks"].roll(1, 1).roll(1, 2)[:, None].float()
        scores = torch.rand(len(boxes), generator=draws)
        found.append({"boxes": boxes, "labels": truth["labels"], "scores": scores, "masks": shifted})
    model = task(
        found,
        class_names=data.class_names,
        category_ids=data.category_ids,
        fields=data.fields,
        results=str(tmp_path),
    )
    ours = model.metrics(gather([model.sample_outputs(batch) for batch in batches]))
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    for kind in ("box", "mask"):
        expected = by_hand(content, tmp_path / f"{kind}.json", kind, ())
        names = "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large".split()
        for name, value in zip(names, expected, strict=True):
            assert ours[f"{kind}_{name}"] == pytest.approx(value, abs=1e-9), (kind, name)
    assert coco.FIELDS["box"] == "bbox"
