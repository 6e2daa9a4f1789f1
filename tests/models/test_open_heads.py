"""What a head of one's own may do: see the truth, read maps of its own, read whole maps, and be silent without its truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.models.test_rcnn import TINY, images, objects
from zoo.models import Detections, Detector, Head, Regions


def net_of(*heads: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    return zoo.create_model("mask_rcnn", num_classes=3, heads=["box", *heads], **{**TINY, **more})


class Plain(Head):
    name = "plain"

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {"head": nn.Flatten(), "predictor": nn.Linear(channels * 49, 2)}

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        return outputs.square().mean()

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{"plain": each} for each in regions.split(outputs)]


# run


class Forced(Plain):
    """Its layers see the labels in training."""

    name = "forced"

    def __init__(self) -> None:
        self.saw: list[Any] = []

    def run(self, layers: Mapping[str, nn.Module], pooled: Tensor, regions: Regions) -> Tensor:
        told = torch.cat(regions.of("labels")) if regions.objects else None
        self.saw.append((list(layers), len(pooled), told, regions.labels))
        return layers["predictor"](layers["head"](pooled))


def test_layers_may_see_the_truth_in_training_and_not_in_evaluation() -> None:
    head = Forced()
    net = net_of(head).train()
    net(images(), [objects(3), objects(2)])
    with torch.no_grad():
        net.eval()(images())
    (names, count, truth, labels), (_, _, nothing, _) = head.saw
    assert names == ["head", "predictor"]
    assert len(truth) == count > 0
    assert torch.equal(truth, torch.cat(labels))
    assert nothing is None


class Several(Plain):
    name = "several"

    def run(self, layers: Mapping[str, nn.Module], pooled: Tensor, regions: Regions) -> dict[str, Tensor]:
        return {"one": layers["predictor"](layers["head"](pooled)), "other": layers["head"](pooled)}

    def loss(self, outputs: Any, regions: Regions) -> dict[str, Tensor]:
        return {f"several_{name}": values.mean() for name, values in outputs.items()}


@pytest.mark.parametrize("count", [0, 3])
def test_outputs_and_losses_may_be_several(count: int) -> None:
    """Without a region there is no loss to speak of, but the layers take part in the backward pass."""
    net = net_of(Several()).train()
    losses = net(images(1), [{name: value[:count] for name, value in objects(3).items()}])
    mine = {name for name in losses if "several" in name}
    assert mine == ({"loss_several_one", "loss_several_other"} if count else {"loss_several"})
    sum(losses.values()).backward()
    assert net.roi_heads.several_predictor.weight.grad is not None


# Maps


class Beside(nn.Module):
    """A pyramid with a map more."""

    def __init__(self, pyramid: Any, declared: bool = True) -> None:
        super().__init__()
        self.pyramid, self.out_channels = pyramid, pyramid.out_channels
        self.fine = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        if declared:
            self.extra_channels = {"fine": 5}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"fine": self.fine(x), **self.pyramid(x)}


class Fine(Plain):
    name = "fine"
    maps = ("fine",)


def test_a_map_of_a_heads_own_changes_nothing_for_the_others() -> None:
    plain = net_of("mask").train()
    net = net_of("mask", Fine(), backbone=Beside(plain.backbone)).train()
    assert net.roi_heads.fine_predictor.in_features == 5 * 49
    own = {key: value for key, value in net.state_dict().items() if "fine" not in key}
    plain.load_state_dict({key.replace("backbone.pyramid.", "backbone."): value for key, value in own.items()})
    found = []
    for each in (plain, net):
        torch.manual_seed(1)
        found.append(each(images(), [objects(3), objects(2)]))
    assert found[1].keys() - found[0].keys() == {"loss_fine"}
    assert all(torch.equal(found[1][name], loss) for name, loss in found[0].items())
    found[1]["loss_fine"].backward()
    assert net.backbone.fine.weight.grad.abs().sum() > 0
    with torch.no_grad():
        (mine, theirs) = (each.eval()(images(1))[0] for each in (net, plain))
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())
    assert len(mine["plain"]) == len(mine["boxes"]) > 0


def test_a_map_that_the_backbone_does_not_make_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The head fine reads a map 'fine', but the backbone makes 0, 1\. Name it"):
        net_of(Fine())


# Dense


class Dense(Head):
    name = "dense"
    needs = ("masks",)
    dense = True

    def __init__(self, field: str = "dense") -> None:
        self.field = field
        self.saw: list[Any] = []

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {"predictor": nn.Conv2d(channels, 1, 1)}

    def run(self, layers: Mapping[str, nn.Module], pooled: Mapping[str, Tensor], regions: Regions) -> Tensor:
        self.saw.append((list(pooled), [tuple(maps.shape) for maps in pooled.values()], regions))
        return layers["predictor"](pooled["0"])

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        return (
            (outputs.mean((1, 2, 3)) - torch.stack([each["masks"].float().mean() for each in regions.objects])).square().mean()
        )

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{self.field: each[0]} for each in outputs]


def test_a_dense_head_reads_the_whole_pyramid_and_each_image_is_a_region() -> None:
    head = Dense()
    net = net_of(head).train()
    losses = net([images(1, (96, 64))[0], images(1, (64, 96))[0]], [objects(3, (96, 64)), objects(2, (64, 96))])
    losses["loss_dense"].backward()
    ((names, shapes, regions),) = head.saw
    assert names == ["0", "1"]
    assert shapes == [(2, 16, 24, 24), (2, 16, 12, 12)]
    assert [boxes.tolist() for boxes in regions.boxes] == [[[0, 0, 64, 96]], [[0, 0, 96, 64]]]
    assert not [name for name, _ in net.roi_heads.named_children() if name == "dense_roi_pool"]
    with torch.no_grad():
        found = net.eval()(images(2))
    assert all(each["dense"].shape == (32, 40) for each in found)


def test_a_dense_heads_results_are_told_from_those_of_objects() -> None:
    with torch.no_grad(), pytest.raises(ValueError, match=r"calls its results dense or dense_\.\.\., not masks"):
        net_of(Dense("masks")).eval()(images(1))


# A truth that lacks


@pytest.mark.parametrize("head", ["mask", "keypoint", "dense"])
@pytest.mark.parametrize("lacking", [(0,), (1,), (0, 1)])
def test_a_head_without_its_truth_adds_no_loss(head: str, lacking: Sequence[int]) -> None:
    """Of images that have it, it learns as if they were alone."""
    net = net_of("mask", "keypoint", Dense()).train()
    field = "keypoints" if head == "keypoint" else "masks"
    targets = [objects(3, seed=0), objects(2, seed=1)]
    lesser = [dict(each) for each in targets]
    for at in lacking:
        del lesser[at][field]
    found = []
    for each in (targets, lesser):
        torch.manual_seed(1)
        found.append(net(images(), each))
    whole, some = found
    silent = {"loss_keypoint"} if head == "keypoint" else {"loss_mask", "loss_dense"}
    assert some.keys() == whole.keys() - (silent if len(lacking) == 2 else set())
    assert all(torch.equal(some[name], whole[name]) for name in whole.keys() - silent)
    if len(lacking) == 1:
        assert not any(torch.equal(some[name], whole[name]) for name in silent)
    sum(some.values()).backward()
    taught = any(parameter.grad is not None for name, parameter in net.named_parameters() if f"roi_heads.{head}_" in name)
    assert taught == (len(lacking) == 1)


def test_the_head_of_boxes_is_one_of_the_heads() -> None:
    net = net_of("mask")
    assert isinstance(net, Detector)
    assert [head.name for head in net.heads] == ["box", "mask"]
    assert net.heads[0].width == 32
