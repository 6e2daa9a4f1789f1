"""Detectors: equal to torchvision's, open to any head, frozen where they say so."""

import importlib.util
import inspect
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

import zoo
from tests.precision import BOUND, assert_same
from zoo.common.nested import merged
from zoo.common.renaming import ARGUMENTS
from zoo.models import rcnn
from zoo.models._detector import Detector
from zoo.models._heads import Head, Regions
from zoo.models._registry import get_builder
from zoo.models.rcnn import HEADS, KeypointHead, MaskHead

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "angle_head.py"
SIZE = (128, 160)
THEIRS = {
    "faster_rcnn": "fasterrcnn_resnet50_fpn",
    "mask_rcnn": "maskrcnn_resnet50_fpn",
    "keypoint_rcnn": "keypointrcnn_resnet50_fpn",
}
BOX = {"box": {"width": 32, "regions": 16}}
TINY: dict[str, Any] = {
    "backbone": "resnet18",
    "levels": 2,
    "norm": "batch",
    "channels": 16,
    "rpn_options": {"anchors": (16, 32, 64), "train_proposals": 40, "proposals": 40},
    "head_options": {**BOX, "mask": {"widths": (8,)}, "keypoint": {"widths": (8,)}},
}


def tiny(**more: Any) -> dict[str, Any]:
    return merged(TINY, more)


def options(head: str, **values: Any) -> dict[str, Any]:
    return {"head_options": {head: values}}


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("angle_head", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FEW = {"train_proposals": 60, "proposals": 40, "regions": 24, "detections": 2}
"""Fewer regions than the defaults, which cost seconds an image; theirs are called otherwise."""


def few() -> dict[str, Any]:
    first = {name: value for name, value in FEW.items() if "proposals" in name}
    return {"rpn_options": first, "head_options": {"box": {name: FEW[name] for name in FEW.keys() - first.keys()}}}


def torchvisions(name: str) -> FasterRCNN:
    """Theirs with three classes, not scaling and not normalising images of SIZE."""
    torch.manual_seed(1)
    arguments = {
        "weights": None,
        "weights_backbone": None,
        "num_classes": 4,
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
        "min_size": SIZE[0],
        "max_size": SIZE[1],
        **{f"rpn_{when}_nms_top_n_train": FEW["train_proposals"] for when in ("pre", "post")},
        **{f"rpn_{when}_nms_top_n_test": FEW["proposals"] for when in ("pre", "post")},
        "box_batch_size_per_image": FEW["regions"],
        "box_detections_per_img": FEW["detections"],
    }
    if name == "union":
        net = torchvision.models.detection.maskrcnn_resnet50_fpn(**arguments)
        net.roi_heads.keypoint_roi_pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        net.roi_heads.keypoint_head = KeypointRCNNHeads(256, (512,) * 8)
        net.roi_heads.keypoint_predictor = KeypointRCNNPredictor(512, 17)
        return net
    return getattr(torchvision.models.detection, THEIRS[name])(**arguments)


def ours(name: str) -> Detector:
    heads = {"heads": ["box", "mask", "keypoint"]} if name == "union" else {}
    net = zoo.create_model("mask_rcnn" if name == "union" else name, num_classes=3, norm="batch", **heads, **few())
    assert isinstance(net, Detector)
    return net


def objects(count: int = 3, size: tuple[int, int] = SIZE, seed: int = 0) -> dict[str, Tensor]:
    """Random objects: a box, a mask that fills it, keypoints in it."""
    draw = torch.Generator().manual_seed(seed)
    height, width = size
    corner = torch.rand(count, 2, generator=draw) * torch.tensor([width / 2, height / 2])
    extent = 12 + torch.rand(count, 2, generator=draw) * torch.tensor([width / 3, height / 3])
    boxes = torch.cat([corner, corner + extent], 1).round()
    masks = torch.zeros(count, height, width, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    places = corner[:, None] + torch.rand(count, 17, 2, generator=draw) * extent[:, None]
    return {
        "boxes": boxes,
        "labels": torch.randint(1, 4, (count,), generator=draw),
        "masks": masks,
        "keypoints": torch.cat([places, torch.ones(count, 17, 1)], -1),
    }


def images(count: int = 2, size: tuple[int, int] = SIZE) -> list[Tensor]:
    return list(torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(3)))


# torchvision's, number by number


@pytest.mark.numerical
@pytest.mark.parametrize("name", [*THEIRS, "union"])
def test_one_state_dict_gives_torchvisions_results(name: str) -> None:
    """Also for images that are scaled before: theirs inside of the network, ours outside."""
    theirs = torchvisions(name).eval()
    net = ours(name)
    net.load_state_dict(theirs.state_dict())  # every name, every shape
    net.eval()
    small = images(2, (64, 80))
    large = [torch.nn.functional.interpolate(image[None], scale_factor=2.0, mode="bilinear")[0] for image in small]
    with torch.inference_mode():
        pairs = ((theirs(images(1)), net(images(1))), (theirs(small), net(large, sizes=[(64, 80)] * 2)))
        for expected, found in pairs:
            for mine, its in zip(found, expected, strict=True):
                assert len(its["boxes"]) > 0
                assert set(mine) == set(its)
                for field, value in its.items():
                    assert torch.equal(mine[field], value), field


@pytest.mark.numerical
@pytest.mark.parametrize("name", [*THEIRS, "union"])
def test_and_torchvisions_losses(name: str) -> None:
    theirs, net = torchvisions(name).train(), ours(name).train()
    theirs.transform._skip_resize = True  # or it would draw a size for each image, and other regions would be sampled
    net.load_state_dict(theirs.state_dict())
    targets = [objects(3, seed=0), objects(2, seed=1)]
    losses = []
    for each in (theirs, net):
        torch.manual_seed(0)  # of the sampled anchors and regions
        losses.append(each(images(), [dict(target) for target in targets]))
    assert set(losses[0]) == set(losses[1])
    for key, value in losses[0].items():
        assert value > 0
        assert torch.equal(losses[1][key], value), key


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_weights_with_frozen_statistics_load_and_torchvisions_eps_is_an_argument() -> None:
    """torchvision's tag COCO_V1 was trained with frozen BatchNorm of eps 0, which it sets after building."""
    theirs = torchvisions("faster_rcnn").eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.eps = 1e-30  # the same in float32; before torch 2.12 batch_norm takes no 0
    net = zoo.create_model("faster_rcnn", num_classes=3, norm_eps=0.0, **few()).eval()
    frozen = {key: value for key, value in theirs.state_dict().items() if "num_batches" not in key}
    net.load_state_dict(frozen)
    with torch.inference_mode():
        expected, found = theirs(images(1))[0], net(images(1))[0]
    assert len(expected["boxes"]) > 0
    for field, value in expected.items():
        assert_same(found[field], value, field)


@pytest.mark.filterwarnings("error:.*start afresh")
def test_files_of_torchvisions_first_weights_load(tmp_path: Path) -> None:
    """They call the pyramid's, the proposals' and the mask head's tensors as torchvision did in 2019, whose own networks read
    both (`_load_from_state_dict` of FeaturePyramidNetwork, RPNHead and MaskRCNNHeads)."""
    source = zoo.create_model("mask_rcnn", num_classes=3, **tiny(**options("mask", widths=(16, 16))))
    old = {}
    for key, value in source.state_dict().items():
        key = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", key)
        old[key] = value
    assert len(old.keys() - source.state_dict().keys()) == 2 * (2 * 2 + 1 + 2)
    torch.save(old, tmp_path / "old.pth")
    other = zoo.create_model(
        "mask_rcnn", num_classes=3, **tiny(**options("mask", widths=(16, 16)), pretrained=tmp_path / "old.pth")
    )
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in source.state_dict().items())


def test_weights_of_other_classes_start_all_but_the_predictors(tmp_path: Path) -> None:
    net = zoo.create_model("mask_rcnn", num_classes=3, **TINY)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    with pytest.warns(UserWarning, match="6 tensors of mask_rcnn start afresh"):
        other = zoo.create_model("mask_rcnn", num_classes=5, pretrained=str(tmp_path / "weights.pt"), **TINY)
    assert torch.equal(other.backbone.body.conv1.weight, net.backbone.body.conv1.weight)


# Backbones


@pytest.mark.parametrize(
    ("backbone", "levels"),
    [("resnet18", 3), ("mobilenet_v3_small", 3), ("timm/resnet10t", 4), ("timm/convnext_atto", 4), ("timm/efficientnet_b0", 4)],
)
def test_any_2d_network_becomes_a_pyramid(backbone: str, levels: int) -> None:
    arguments = tiny(backbone=backbone, levels=levels, rpn_options={"anchors": [16] * (levels + 1)})
    net = zoo.create_model("faster_rcnn", num_classes=3, in_chans=1, **arguments).eval()
    with torch.inference_mode():
        maps = net.backbone(torch.zeros(1, 1, 128, 64))
    assert [tuple(level.shape) for level in maps.values()] == [
        (1, 16, 128 // stride, 64 // stride) for stride in (4, 8, 16, 32, 64)[: levels + 1]
    ]


def test_a_network_as_a_backbone() -> None:
    body = torchvision.models.resnet18()
    net = zoo.create_model("faster_rcnn", num_classes=3, **{**TINY, "backbone": body})
    assert torch.equal(net.backbone.body.conv1.weight, body.conv1.weight)


def test_a_backbone_starts_from_weights(tmp_path: Path) -> None:
    body = zoo.create_model("resnet18", num_classes=7)
    torch.save(body.state_dict(), tmp_path / "body.pt")
    net = zoo.create_model("faster_rcnn", num_classes=3, backbone_weights=str(tmp_path / "body.pt"), **TINY)
    own, given = (each.get_submodule("layer2.1.conv2").weight for each in (net.backbone.body, body.features))
    assert torch.equal(own, given)


@pytest.mark.parametrize(("trained", "moving"), [(None, 3), (3, 3), (2, 2), (1, 1), (0, 0)])
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_what_does_not_train_does_not_move_by_a_bit(trained: int | None, moving: int, norm: str) -> None:
    arguments = tiny(levels=3, rpn_options={"anchors": (16, 32, 64, 128)}, trained=trained, norm=norm)
    torch.manual_seed(0)
    net = zoo.create_model("faster_rcnn", num_classes=3, **arguments).train()
    before = {name: value.clone() for name, value in net.backbone.body.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(net(images(), [objects(3), objects(2)]).values()).backward()
        optimizer.step()
    moved = {name for name, value in net.backbone.body.state_dict().items() if not torch.equal(value, before[name])}
    layers = {name.split(".")[0] for name in moved}
    stages = ["layer1", "layer2", "layer3"][3 - moving :]
    assert layers == {*stages, *(["conv1"] if moving == 3 else []), *(["bn1"] if moving == 3 and norm == "batch" else [])}
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert bool(norms) == (norm == "batch" and moving > 0)
    if norm == "frozen":
        assert any(isinstance(module, FrozenBatchNorm2d) for module in net.modules())
        assert not [name for name in moved if "bn" in name or "downsample.1" in name]


# Heads


def test_no_file_of_the_package_knows_the_head_of_ones_own() -> None:
    files = list(Path(zoo.__file__).parent.rglob("*.py"))
    assert any("class Head" in path.read_text() for path in files)
    assert not [path for path in files if re.search(r"angle_?head", path.read_text(), re.IGNORECASE)]


@pytest.mark.slow
@pytest.mark.numerical
def test_a_head_of_ones_own_learns() -> None:
    """By heart, from the boxes that the first stage finds, beside the others: whither do four squares point?"""
    module = example()
    torch.manual_seed(0)
    net = zoo.create_model(
        "mask_rcnn", num_classes=3, heads=["box", "mask", module.AngleHead()], **tiny(**options("mask", widths=(16,)))
    )
    pictures, targets, angles = turned(4)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def off() -> float:
        """The largest error in degrees, of the best of each picture's boxes; 180 where nothing is found."""
        with torch.inference_mode():
            found = net.eval()(pictures)
        assert all(image["angle"].shape == image["scores"].shape for image in found)
        told = [image["angle"][0] if len(image["boxes"]) else angle + 180 for image, angle in zip(found, angles, strict=True)]
        return max(abs((mine - angle + 180) % 360 - 180).item() for mine, angle in zip(told, angles, strict=True))

    for _ in range(50):  # it takes three to five rounds of 15 steps, by the seed and the machine's rounding
        for _ in range(15):
            losses = net.train()(pictures, targets)
            assert {"loss_angle", "loss_mask", "loss_box_reg"} < set(losses)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        if off() < 15:
            return
    pytest.fail(f"after 750 steps the head is {off():.0f} degrees off")


def turned(count: int) -> tuple[list[Tensor], list[dict[str, Tensor]], Tensor]:
    """Arrows that point in `count` directions: pictures, targets with the corners of their boxes, angles in degrees."""
    angles = torch.arange(count) * 360 / count - 100
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    pictures, targets = [], []
    for angle in torch.deg2rad(angles):
        right = torch.stack([angle.cos(), angle.sin()])
        down = torch.stack([-angle.sin(), angle.cos()])
        along, across = x * right[0] + y * right[1], x * down[0] + y * down[1]
        inside = (along.abs() < 18) & (across.abs() < 9 - along / 2)
        rows, columns = torch.nonzero(inside, as_tuple=True)
        corners = torch.stack([32 - 18 * right - 18 * down, 32 + 18 * right - 18 * down, 32 + 18 * right, 32 - 18 * right])
        pictures.append(inside.float().expand(3, -1, -1))
        targets.append(
            {
                "boxes": torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])[None].float(),
                "labels": torch.tensor([1]),
                "masks": inside[None].to(torch.uint8),
                "keypoints": torch.cat([corners, torch.ones(4, 1)], 1)[None],
            }
        )
    return pictures, targets, angles


def test_a_head_can_be_named_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "angle", example().AngleHead)
    net = zoo.create_model("mask_rcnn", num_classes=3, heads=["box", "angle"], **TINY)
    assert [head.name for head in net.heads] == ["box", "angle"]
    assert any(key.startswith("roi_heads.angle_predictor.") for key in net.state_dict())


def test_names_and_objects_make_the_same_network() -> None:
    torch.manual_seed(0)
    named = zoo.create_model("mask_rcnn", num_classes=3, **TINY)
    torch.manual_seed(0)
    made = zoo.create_model("mask_rcnn", num_classes=3, heads=("box", MaskHead((8,))), **{**TINY, "head_options": BOX})
    assert all(torch.equal(a, b) for a, b in zip(named.state_dict().values(), made.state_dict().values(), strict=True))


@pytest.mark.numerical
def test_an_image_without_objects_teaches_and_is_searched() -> None:
    """Nothing is there, nothing found: no layer is left out of the backward pass, and no field of the results is missing."""
    heads = ["box", "mask", "keypoint", example().AngleHead()]
    net = zoo.create_model("mask_rcnn", num_classes=3, heads=heads, **TINY)
    nothing = {name: value[:0] for name, value in objects(1).items()}
    losses = net.train()(images(1), [nothing])
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert losses["loss_mask"] == losses["loss_angle"] == losses["loss_keypoint"] == 0
    net.roi_heads.score_thresh = 1.0
    with torch.inference_mode():
        (found,) = net.eval()(images(1))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {
        "boxes": (0, 4),
        "labels": (0,),
        "scores": (0,),
        "masks": (0, 1, *SIZE),
        "keypoints": (0, 17, 3),
        "keypoints_scores": (0, 17),
        "angle": (0,),
    }


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_the_order_in_memory_changes_no_loss() -> None:
    heads = ["box", "mask", "keypoint", example().AngleHead()]
    net = zoo.create_model("mask_rcnn", num_classes=3, heads=heads, **TINY).train()
    found = []
    for memory in (torch.contiguous_format, torch.channels_last):
        net.to(memory_format=memory)
        torch.manual_seed(1)  # which regions are learnt from is drawn
        found.append(net(torch.stack(images(2)).to(memory_format=memory), [objects(3), objects(4)]))
        sum(found[-1].values()).backward()
    plain, other = found
    for name, loss in plain.items():
        assert_same(other[name], loss, name)


def test_every_pooling_reads_as_many_points() -> None:
    heads = ["box", "mask", "keypoint", example().AngleHead()]
    net = zoo.create_model("mask_rcnn", num_classes=3, heads=heads, **tiny(**options("box", sampling_ratio=1))).roi_heads
    poolings = [module for module in net.modules() if isinstance(module, MultiScaleRoIAlign)]
    assert [pooling.sampling_ratio for pooling in poolings] == [1] * 4


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_keypoints_beyond_the_box(margin: float) -> None:
    """A map covers the box and its margin: a point there is found where it was learnt, one further out teaches nothing."""
    head, size = KeypointHead(1, (8,), margin), 56
    box = torch.tensor([[40.0, 60.0, 80.0, 140.0]])
    extent = torch.tensor([40.0, 80.0])
    for share in (-0.9, -0.4, -0.2, 0.3, 1.2, 1.9):  # of the box, from its corner
        point = box[0, :2] + share * extent
        objects = [{"keypoints": torch.cat([point, torch.ones(1)])[None, None]}]
        regions = Regions([box], [torch.ones(1, dtype=torch.int64)], objects, [torch.zeros(1, dtype=torch.int64)])
        maps = torch.zeros(1, 1, size, size, requires_grad=True)
        loss = head.loss(maps, regions)
        if not -margin <= share <= 1 + margin:
            assert loss == 0
            continue
        assert loss.item() == pytest.approx(math.log(size**2), rel=BOUND)
        (slope,) = torch.autograd.grad(loss, maps)
        assert (slope < 0).sum() == 1  # one cell is right
        (found,) = head.results(-50 * slope, regions)
        cell = extent * (1 + 2 * margin) / size
        assert (((found["keypoints"][0, 0, :2] - point).abs()) <= cell).all()


@pytest.mark.numerical
@pytest.mark.usefixtures("precise")
def test_images_of_several_sizes_in_one_batch() -> None:
    """Each is found as it is alone, in padding of the same size."""
    net = zoo.create_model("mask_rcnn", num_classes=3, **TINY).eval()
    one, other = images(1, (96, 64))[0], images(1, (64, 96))[0]
    with torch.inference_mode():
        together = net([one, other])
        alone = net([one, torch.zeros(3, 64, 96)])[0]
    assert len(alone["boxes"])
    for field, value in alone.items():
        assert_same(together[0][field], value, field)
    assert together[0]["masks"].shape[2:] == (96, 64)
    assert together[1]["masks"].shape[2:] == (64, 96)


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_the_same_bits_twice(name: str, record: Callable[..., None]) -> None:
    """Two steps, sampled regions and all."""

    def steps() -> list[Tensor]:
        torch.manual_seed(0)
        net = zoo.create_model(name, num_classes=3, **TINY).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            sum(net(images(), [objects(3), objects(2)]).values()).backward()
            optimizer.step()
        return list(net.state_dict().values())

    torch.use_deterministic_algorithms(True)
    try:
        different = sum(not torch.equal(one, two) for one, two in zip(steps(), steps(), strict=True))
    finally:
        torch.use_deterministic_algorithms(False)
    record(f"two steps of {name} twice, deterministically", tried=1, lost=int(different > 0))
    assert not different


# Cost


def test_the_profile_counts_the_heads_by_regions() -> None:
    net = zoo.create_model("mask_rcnn", num_classes=3, **TINY)
    few, many = (zoo.profile(net, (3, 64, 64), regions=regions) for regions in (10, 30))
    box = 16 * 49 * 32 + 32 * 32 + 32 * (4 + 16)
    mask = 14 * 14 * 16 * 8 * 9 + 14 * 14 * 8 * 8 * 4 + 28 * 28 * 8 * 4
    assert many.macs - few.macs == 20 * (box + mask)
    assert "30 proposals, 30 detections" in many.note
    assert few.params == sum(parameter.numel() for parameter in net.parameters())


def test_the_profile_is_torchvisions_own_figure() -> None:
    meta = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta
    with torch.device("meta"):
        net = zoo.create_model("faster_rcnn")
    assert zoo.profile(net, (3, 800, 800)).macs / 1e9 == pytest.approx(meta["_ops"], rel=1e-3)
    frozen = sum(buffer.numel() for name, buffer in net.named_buffers() if name.endswith((".weight", ".bias")))
    assert sum(parameter.numel() for parameter in net.parameters()) + frozen == pytest.approx(meta["num_params"], rel=1e-2)


# What is refused


class Nameless(Head):
    name = "mask"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"heads": []}, r"model\.heads is \[\]; it must begin with box"),
        ({"heads": ["mask"]}, r"must begin with box"),
        ({"heads": ["box", "mask", "mask"]}, r"name each head once"),
        ({"heads": ["box", "mask", Nameless()]}, r"name each head once"),
        ({"heads": ["box", "mesk"]}, r"There is no head 'mesk'; did you mean mask\?"),
        ({"heads": ["box", "keypoint"], **options("keypoint", num_keypoints=0)}, "no keypoints to learn"),
        ({"heads": ["box", "keypoint"], **options("keypoint", margin=-0.1)}, "margin is -0.1; it must be 0 or more"),
        (options("mask", widhts=(8,)), r"The head mask takes no option 'widhts'; did you mean widths\?"),
        (options("box", depth=3), r"The head box takes no option 'depth'; did you mean width\?"),
        (options("mesk", widths=(8,)), r"There is no head 'mesk'; did you mean mask\?"),
        ({"head_options": {"mask": 3}}, "The options of the head mask are 3; they are names with values"),
        ({"head_options": 3}, "head_options is 3; it holds options by the names of heads"),
        ({"heads": ["box", MaskHead()]}, r"The head mask is an object .* Leave head_options\.mask out"),
        ({"rpn_options": {"anchrs": (32, 64)}}, r"The first stage takes no option 'anchrs'; did you mean anchors\?"),
        ({"box_width": 8}, r"box_width is called head_options\.box\.width now, and both are given\. Leave box_width out"),
        ({"num_classes": 0}, "at least 1, and the background is not counted"),
        ({"rpn_options": {"anchors": (32, 64)}}, r"anchors names 2 edges, but there are 2 levels and a pooled one: give 3"),
        ({"levels": 6}, "maps of 4 strides from 4 on, but 6 levels"),
        ({"trained": 5}, r"model\.trained is 5, but there are 2 levels"),
        ({"backbone": "resnet19"}, "There is no torchvision network 'resnet19'"),
        ({"backbone": "c3d"}, "reads clips"),
        ({"backbone": "timm/vit_tiny_patch16_224"}, "maps of 0 strides"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        zoo.create_model("mask_rcnn", **tiny(**{"num_classes": 3, **arguments}))


# Where arguments stood before

FORMER: dict[str, Any] = {
    "anchors": [16, 32, 64],
    "ratios": [0.6, 1.0],
    "train_proposals": 40,
    "proposals": 30,
    "regions": 16,
    "detections": 7,
    "score_threshold": 0.1,
    "sampling_ratio": 1,
    "box_width": 32,
    "mask_widths": [8],
    "keypoint_widths": [12],
    "keypoint_margin": 0.2,
    "num_keypoints": 4,
}
PRESENT: dict[str, Any] = {
    "rpn_options": {"anchors": [16, 32, 64], "ratios": [0.6, 1.0], "train_proposals": 40, "proposals": 30},
    "head_options": {
        "box": {"width": 32, "regions": 16, "detections": 7, "score_threshold": 0.1, "sampling_ratio": 1},
        "mask": {"widths": [8]},
        "keypoint": {"num_keypoints": 4, "widths": [12], "margin": 0.2},
    },
}
PLAIN = {name: TINY[name] for name in ("backbone", "levels", "norm", "channels")}


def built(**arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return zoo.create_model("mask_rcnn", num_classes=3, heads=["box", "mask", "keypoint"], **PLAIN, **arguments)


def test_former_arguments_say_the_same_and_warn() -> None:
    assert FORMER.keys() == ARGUMENTS.keys()
    with pytest.warns(UserWarning, match=r"mask_rcnn's .* is called .* now") as told:
        net = built(**FORMER)
    said = {str(each.message) for each in told}
    for old, new in ARGUMENTS.items():
        assert f"mask_rcnn's {old} is called {new} now; the old name will be gone in a later version." in said
    expected = built(**PRESENT)
    assert vars(net)["recipe"] == vars(expected)["recipe"]
    assert vars(net)["recipe"]["arguments"]["head_options"] == PRESENT["head_options"]
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), expected.state_dict().values(), strict=True))
    with pytest.warns(UserWarning, match=r"faster_rcnn's box_width is called head_options\.box\.width now"):
        rcnn.faster_rcnn(**PLAIN, box_width=8, rpn_options={"anchors": [16, 32, 64]})


def test_a_checkpoint_that_states_former_arguments_is_read(tmp_path: Path) -> None:
    """Quietly, for the user did not write them; what the user says beside them wins, option by option."""
    net = built(**PRESENT)
    stated = {"heads": ["box", "mask", "keypoint"], "num_classes": 3, **PLAIN, **FORMER}
    content = {"names": {"model": "mask_rcnn"}, "arguments": {"model": stated}, "facts": {}}
    tensors = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": tensors, "zoo": content}, tmp_path / "old.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.create_model("mask_rcnn", pretrained=tmp_path / "old.ckpt")
        other = zoo.create_model("mask_rcnn", pretrained=tmp_path / "old.ckpt", **options("box", detections=9))
    assert vars(again)["recipe"]["arguments"] == vars(net)["recipe"]["arguments"]
    assert other.roi_heads.detections_per_img == 9
    for each in (again, other):
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), each.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", THEIRS)
def test_a_builder_has_a_dozen_arguments_at_most(name: str) -> None:
    assert len(inspect.signature(get_builder(name)).parameters) <= 12


def test_a_head_of_ones_own_takes_options(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wide(example().AngleHead):  # type: ignore[misc, name-defined]
        name = "wide"

        def __init__(self, width: int = 4, *, turned: bool) -> None:
            self.width, self.turned = width, turned

    monkeypatch.setitem(HEADS, "wide", Wide)
    net = zoo.create_model("mask_rcnn", num_classes=3, heads=["box", "wide"], **tiny(**options("wide", turned=True)))
    assert (net.heads[1].width, net.heads[1].turned) == (4, True)
    assert vars(net)["recipe"]["arguments"]["head_options"]["wide"] == {"width": 4, "turned": True}
    with pytest.raises(ValueError, match="The head wide has no turned, and there is no default"):
        zoo.create_model("mask_rcnn", num_classes=3, heads=["box", "wide"], **TINY)


def test_regions_are_told_image_by_image() -> None:
    regions = Regions([torch.zeros(2, 4), torch.zeros(0, 4)], [torch.ones(2), torch.ones(0)])
    parts: list[Tensor] = regions.split(torch.arange(2))
    assert [len(part) for part in parts] == [2, 0]
    regions = Regions([torch.zeros(2, 4)], [torch.ones(2)], [{"keypoints": torch.arange(3)}], [torch.tensor([2, 0])])
    assert regions.of("keypoints")[0].tolist() == [2, 0]
