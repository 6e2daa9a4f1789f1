"""Frozen parts do not move by a bit, in training and after resuming; released parts do, and when they should."""

from functools import partial
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

import zoo
from zoo.data.digits import Digits
from zoo.run.freeze import Freeze, parts_of
from zoo.tasks.classification import ClassificationTask

NETWORKS = [
    ("resnet18", {"stem": "small"}, (1, 8, 8)),
    ("vgg11_bn", {"hidden": 16, "pooled": 1, "input_shape": (1, 32, 32)}, (1, 32, 32)),
    ("backbone", {"backbone": "timm/regnetx_002"}, (1, 32, 32)),
    ("lenet5", {"input_shape": (1, 20, 20)}, (1, 20, 20)),
]


def state(net: nn.Module, name: str) -> dict[str, Tensor]:
    """Weights and buffers of one part."""
    tensors = [t for layer in parts_of(net)[name] for t in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))]
    return {str(k): t.detach().clone() for k, t in enumerate(tensors)}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return any(not torch.equal(before[key], after[key]) for key in before)


def run(
    net: nn.Module, shape: tuple[int, ...], freeze: Freeze, folder: Path, epochs: int = 1, resume: Path | None = None
) -> ClassificationTask:
    optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=0.1)
    task = ClassificationTask(net, num_outputs=10, optimizer=optimizer, scheduler=None, mean=[0.3], std=[0.3])
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=3,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[freeze, ModelCheckpoint(folder, filename="last")],
    )
    trainer.fit(task, datamodule=Digits(shape=shape, batch_size=8), ckpt_path=resume, weights_only=True)
    return task


@pytest.mark.parametrize(("name", "arguments", "shape"), NETWORKS, ids=[name for name, *_ in NETWORKS])
def test_every_layer_is_in_one_part(name: str, arguments: dict[str, object], shape: tuple[int, ...]) -> None:
    net = zoo.create_model(name, num_classes=10, in_chans=1, **arguments)
    listed = [id(p) for layers in parts_of(net).values() for layer in layers for p in layer.parameters(recurse=False)]
    assert sorted(listed) == sorted(id(p) for p in net.parameters())
    assert list(parts_of(net))[-1] == "head"
    assert len(parts_of(net)) > 2


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [pytest.param(*each, id=each[0], marks=pytest.mark.slow if each[0] == "vgg11_bn" else ()) for each in NETWORKS],
)
def test_frozen_features_are_bit_identical_after_training_and_resuming(
    name: str, arguments: dict[str, object], shape: tuple[int, ...], tmp_path: Path
) -> None:
    net = zoo.create_model(name, num_classes=10, in_chans=1, **arguments)
    before = {part: state(net, part) for part in parts_of(net)}
    run(net, shape, Freeze("all"), tmp_path)
    again = zoo.create_model(name, num_classes=10, in_chans=1, **arguments)
    run(again, shape, Freeze("all"), tmp_path, epochs=2, resume=tmp_path / "last.ckpt")
    for trained in (net, again):
        for part, tensors in before.items():
            assert moved(tensors, state(trained, part)) == (part == "head"), part


def test_stages_and_head() -> None:
    net = zoo.create_model("resnet18", num_classes=10, in_chans=1, stem="small")
    freeze = Freeze(["layer1", "head"])
    freeze.hold(net)
    assert {name: said for name, _, said in freeze.rows()} == {
        "layer1": "frozen",
        "layer2": "trains",
        "layer3": "trains",
        "layer4": "trains",
        "head": "frozen",
    }
    assert sum(count for _, count, _ in freeze.rows()) == sum(p.numel() for p in net.parameters())
    assert not net.features.get_submodule("conv1").weight.requires_grad, "the stem belongs to the first stage"
    assert all(p.requires_grad for p in net.features.get_submodule("layer2").parameters())
    head = Freeze("head")
    head.hold(net)
    assert [name for name, _, said in head.rows() if said == "frozen"] == ["head"]


def test_parts_are_released_deepest_first(tmp_path: Path) -> None:
    net = zoo.create_model("resnet18", num_classes=10, in_chans=1, stem="small")
    before = {part: state(net, part) for part in parts_of(net)}
    freeze = Freeze("all", unfreeze=[0.3, 0.6])
    run(net, (1, 8, 8), freeze, tmp_path)
    assert [part for part in before if moved(before[part], state(net, part))] == ["layer3", "layer4", "head"]
    assert freeze.frozen == ["layer1", "layer2"]


def test_a_resumed_run_releases_what_was_released(tmp_path: Path) -> None:
    net = zoo.create_model("resnet18", num_classes=10, in_chans=1, stem="small")
    run(net, (1, 8, 8), Freeze("all", unfreeze=[0.2]), tmp_path)
    again = zoo.create_model("resnet18", num_classes=10, in_chans=1, stem="small")
    freeze = Freeze("all", unfreeze=[0.2])
    run(again, (1, 8, 8), freeze, tmp_path, epochs=2, resume=tmp_path / "last.ckpt")
    assert freeze.frozen == ["layer1", "layer2", "layer3"]
    assert moved(state(net, "layer4"), state(again, "layer4"))
    assert not moved(state(net, "layer3"), state(again, "layer3"))


@pytest.mark.parametrize(
    ("freeze", "unfreeze", "sentence"),
    [
        ("layer9", [], "freeze names 'layer9', but the network's parts are layer1, layer2"),
        ("all", [0.5, 0.2], "a rising list of fractions"),
        ("all", [1.5], "a rising list of fractions"),
        (["head"], [0.1, 0.2], "at most one for each of the 1 frozen parts"),
    ],
)
def test_mistakes_are_named(freeze: str | list[str], unfreeze: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Freeze(freeze, unfreeze).hold(zoo.create_model("resnet18"))


def test_a_network_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential has no named blocks"):
        Freeze("all").hold(nn.Sequential(nn.Linear(2, 2)))
