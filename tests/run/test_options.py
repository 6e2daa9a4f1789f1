"""Options of a detector's parts: on the command line, in a file, in a checkpoint's recipe; and where they stood before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from torch import Tensor, nn

from zoo.common import trust
from zoo.common.renaming import ARGUMENTS
from zoo.models import Head, register_head
from zoo.models._heads import HEADS
from zoo.run import settings
from zoo.run.check import check_parts
from zoo.run.compose import composed, overrides_of
from zoo.run.network import network_of
from zoo.run.recipe import compose_recipe

Verb = Callable[..., tuple[int, str, str]]
OTHERS: dict[str, Any] = {
    "anchors": [8, 16, 32, 64],
    "ratios": [0.5, 2.0],
    "train_proposals": 61,
    "proposals": 62,
    "regions": 17,
    "detections": 63,
    "score_threshold": 0.2,
    "sampling_ratio": 2,
    "box_width": 33,
    "mask_widths": [8, 9],
    "keypoint_widths": [7],
    "keypoint_margin": 0.4,
    "num_keypoints": 5,
}
"""Another value than the defaults' of each argument that stood elsewhere."""


def said(config: Any) -> dict[str, Any]:
    return {old: plain(OmegaConf.select(config, f"model.{new}")) for old, new in ARGUMENTS.items() if old != "num_keypoints"}


def plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "num_keypoints"}


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn", "keypoint_rcnn"])
def test_each_former_argument_is_read_on_the_command_line(name: str, size: str) -> None:
    there = ("rpn_options", "head_options.box") if name == "faster_rcnn" else ("rpn_options", "head_options")
    own = {old: new for old, new in ARGUMENTS.items() if new.startswith(there)}
    former = [f"model.{old}={OTHERS[old]}".replace(" ", "") for old in own]
    with pytest.warns(UserWarning, match="is called") as told:
        config = composed([f"model={name}", f"size={size}", *former])
    messages = {str(each.message) for each in told}
    for old, new in own.items():
        assert f"model.{old} is called model.{new} now." in messages
        assert plain(OmegaConf.select(config, f"model.{new}")) == OTHERS[old]
    check_parts(config)
    now = composed([f"model={name}", f"size={size}", *(each for each in overrides_of(config) if each.startswith("model."))])
    assert plain(now.model) == plain(config.model)


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "# @package _global_\ndefaults: [mask_rcnn, _self_]\nmodel:\n  mask_widths: [8, 9]\n  box_width: 33\n"
    (tmp_path / "model" / "with_former_options.yaml").write_text(text)
    config = composed(["model=with_former_options"], str(tmp_path))
    check_parts(config)
    assert (plain(config.model.head_options.mask.widths), config.model.head_options.box.width) == ([8, 9], 33)
    assert "mask_widths" not in config.model


def recipe(**model: Any) -> dict[str, Any]:
    facts = {"shape": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "class_names": ["a"], "num_classes": 1}
    names = {"model": "mask_rcnn", "task": "detection", "data": "digit_scenes"}
    return {"version": "0.0.1", "size": "small", "names": names, "arguments": {"model": model}, "facts": facts}


@pytest.mark.parametrize(
    "stated",
    [
        {"heads": ["box", "mask"], **OTHERS},
        {
            "heads": ["box", "mask"],
            "rpn_options": {name: OTHERS[name] for name in ("anchors", "ratios", "train_proposals", "proposals")},
            "head_options": {
                "box": {
                    "width": 33,
                    **{name: OTHERS[name] for name in ("regions", "detections", "score_threshold", "sampling_ratio")},
                },
                "mask": {"widths": [8, 9]},
                "keypoint": {"widths": [7], "margin": 0.4, "num_keypoints": 5},
            },
        },
    ],
)
def test_a_recipe_says_what_was_built_and_the_user_what_is_changed(stated: dict[str, Any]) -> None:
    config = compose_recipe(recipe(**stated), [], with_data=False)
    assert said(config) == known(OTHERS)
    config = compose_recipe(recipe(**stated), ["model.head_options.box.detections=9"], with_data=False)
    assert said(config) == known({**OTHERS, "detections": 9})


@pytest.mark.parametrize(
    "stated",
    [
        {"head_options": {"box": {"_target_": "os.system"}}},
        {"head_options": {"box.width": 3}},
        {"head_options": {"box": {3: 3}}},
        {"head_options": {"mask": {"widths": ["${oc.env:HOME}"]}}},
        {"head_options": {"mine": {"place": "../elsewhere"}}},
        {"head_options": {"mine": {"place": "net.pt"}}},
        {"rpn_options": {"anchors": object()}},
        {"name": {"a": 1}},
        {"mask_widths": "${oc.env:HOME}"},
    ],
)
def test_a_recipe_says_no_more_than_plain_options(stated: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="The checkpoint sets model"):
        trust.decided("model", stated, ["name", "head_options", "rpn_options"])


def test_a_resumed_run_knows_the_settings_of_before() -> None:
    now = settings.renamed({f"model.{old}": value for old, value in OTHERS.items()})
    assert now == {f"model.{new}": OTHERS[old] for old, new in ARGUMENTS.items()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model.head_options.mask.widhts=[8]"], "model.head_options.mask has no setting 'widhts'; did you mean widths?"),
        (["model.head_options.mesk.widths=[8]"], "model.head_options has no setting 'mesk'; did you mean mask?"),
        (["model.head_options.mask.widths=8"], "model.head_options.mask.widths is 8, but it must be a list."),
        (["model.head_options.box.width=a"], "model.head_options.box.width is 'a', but it must be a whole number."),
        (["model.rpn_options.anchors=[a]"], "model.rpn_options.anchors[0] is 'a', but it must be a whole number."),
        (["model.head_options.mask=3"], "model.head_options.mask is 3; it has settings of its own"),
        (["model.head_options=3"], "model.head_options is 3"),
        (["+model.head_options.mask.depth=3"], "model.head_options.mask takes no argument 'depth'"),
        (["+model.head_options.mesk.depth=3"], "There is no head 'mesk'"),
        (["model.rpn_options.anchrs=[3]"], "model.rpn_options has no setting 'anchrs'; did you mean anchors?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_built(verb: Verb, arguments: list[str], sentence: str) -> None:
    status, _, error = verb("train", "model=mask_rcnn", *arguments)
    assert status == 1
    assert sentence in error
    assert error.count("\n") == 1


@pytest.fixture
def mine() -> Iterator[None]:
    @register_head
    class Mine(Head):
        name = "mine"

        def __init__(self, width: int = 4, kind: str = "plain") -> None:
            self.width, self.kind = width, kind

        def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
            return {"head": nn.Linear(channels, self.width)}

        def loss(self, outputs: Tensor, regions: Any) -> Tensor:
            return outputs.sum()

    yield
    del HEADS["mine"]


@pytest.mark.usefixtures("mine")
def test_options_of_a_head_of_ones_own() -> None:
    light = ["size=small", "model.channels=8", "model.head_options.box.width=8"]
    config = composed(["model=mask_rcnn", *light, "model.heads=[box,mine]", "model.head_options.mine.width=7"])
    check_parts(config)
    net: Any = network_of(config)
    assert [head.name for head in net.heads] == ["box", "mine"]
    assert net.roi_heads.mine_head.out_features == 7
    stated = recipe(heads=["box", "mine"], head_options={"mine": {"width": 6, "kind": "odd"}})
    again = compose_recipe(stated, ["model.head_options.mine.width=5"], with_data=False)
    assert plain(again.model.head_options.mine) == {"width": 5, "kind": "odd"}
    wrong = composed(["model=mask_rcnn", "model.head_options.mine.width=a"])
    with pytest.raises(ValueError, match=r"model\.head_options\.mine\.width is 'a', but it must be a whole number"):
        check_parts(wrong)


def test_a_list_of_heads_takes_the_mask_away() -> None:
    config = composed(["model=mask_rcnn", "model.heads=[box]", "model.channels=8", "model.head_options.mask.widths=[8]"])
    net: Any = network_of(config)
    assert [head.name for head in net.heads] == ["box"]
    assert not [key for key in net.state_dict() if "mask" in key]
