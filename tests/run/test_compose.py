"""Composing, quoting, checking against signatures, and what a checkpoint may say."""

import copy
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

from tests.written import lineage
from zoo.common import signature, trust
from zoo.common.places import CONF
from zoo.run import cli, folder
from zoo.run.check import check_fit, check_values, located
from zoo.run.compose import check_overrides, choices_of, composed, literal_paths, parse, quoted
from zoo.run.recipe import compose_recipe
from zoo.run.size import SIZES

NAMES = [
    "plain",
    "with space",
    "a (1), b=c!",
    "it's",
    'say "x"',
    "back\\slash",
    "trailing\\",
    "é 你好",
    "[x]{y}",
    "a,b",
    "null",
    "12",
    "1e5",
    "true",
    "~x",
    "#1",
    "$HOME",
]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model=c3d", "data=video_folder", "data.root='a b'", "trainer=ddp"),
        ("optimizer.lr=3", "+task.odd=1", "model=mlp", "~callbacks.pictures", "optimizer=sgd", "hydra.job.name=x", "seed=2"),
        ("callbacks=ema", "callbacks.average.decay=0.5", "input_shape=[1,2,3]", "trainer.max_epochs=${seed}"),
        ("hydra.run.dir=a", "++seed=3", "+trainer.limit_train_batches=2", "~optimizer.lr", "hydra/job_logging=none", "seed=4"),
    ],
)
def test_a_composition_is_the_same_at_its_second_time(
    overrides: Sequence[str], compositions: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Hydra makes it of the files, and as the tests have it (conftest.py)."""
    quick = [composed(overrides) for _ in range(2)]
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", compositions)
    for config in quick:
        assert OmegaConf.to_container(config) == OmegaConf.to_container(composed(overrides))
        assert OmegaConf.is_struct(config)
    quick[0].seed = 77
    assert quick[1].seed != 77


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_value_comes_back(name: str) -> None:
    (override,) = parse([f"data.root={quoted(name)}"])
    value = override.value()
    assert (value if isinstance(value, str) else getattr(value, "text", value)) == name
    assert composed(["data=video_folder", "model=c3d", f"data.root={quoted(name)}"]).data.root == name


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
def test_the_name_of_an_existing_folder_is_taken_literally(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (argument,) = literal_paths([f"data.root={folder}"])
    assert composed(["data=video_folder", "model=c3d", argument]).data.root == str(folder)


def test_a_place_that_is_not_there_is_taken_literally_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in its name, for each setting that names one."""
    monkeypatch.chdir(tmp_path)
    names = [name for name in NAMES if name not in ("null", "true")]
    odd = [
        "odd/ünï",
        "图片",
        "a=b",
        "'x",
        "-x",
        "a;b&c|d",
        "<a>`b`!^?*%",
        "a\nb\tc",
        "2024",
        "a\udce9",
        "s3://b/x{1..3}.tar",
        "@x",
    ]
    for name in [*names, *odd]:
        settings = ("data.root", "run_dir", "hydra.run.dir", "hydra.sweep.dir", "resume", "model.pretrained")
        config = composed(["data=video_folder", "model=c3d", *literal_paths([f"{key}={name}" for key in settings])])
        for key in settings:
            assert OmegaConf.select(config, key) == (f"./{name}" if name[0] == "~" else name), key


def admits(hint: Any, kinds: tuple[type, ...]) -> bool:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(part in kinds for part in parts)


def targets(node: Any) -> Iterator[str]:
    """What a file of the configuration would build."""
    if isinstance(node, dict):
        yield from [node["_target_"]] if "_target_" in node else []
        for value in node.values():
            yield from targets(value)


def test_every_argument_that_names_a_place_is_taken_as_one() -> None:
    """Those whose annotation is a path; of a data set every text that is no word which a checkpoint may say; of a task and a
    network every text that is the user's alone."""
    words = trust.WORDS["data"] | trust.NAMES["data"]
    found = set()
    for path in sorted(CONF.rglob("*.yaml")):
        group = path.parent.name
        for target in {*targets(yaml.safe_load(path.read_text()))}:
            thing = located(target)
            try:
                foreign = typing.get_type_hints(thing.__init__ if inspect.isclass(thing) else thing)
            except NameError:  # an optional package's names, where it is not installed
                assert target == "lightning.pytorch.loggers.WandbLogger"
                continue
            hints = signature.hints(thing) if target.startswith("zoo.") else foreign
            for name, hint in hints.items():
                text = admits(hint, (str,)) and (
                    (group == "data" and name not in words) or name in trust.USERS.get(group, frozenset())
                )
                if text or admits(hint, (Path,)):
                    found.add(name)
                    assert literal_paths([f"{group}.{name}=a,b ü"]) == [f"{group}.{name}='a,b ü'"], f"{target}: {name}"
    assert {"root", "source", "folder", "pretrained", "results", "dirpath", "save_dir", "default_root_dir"} <= found
    assert literal_paths(["model.backbone_weights=a,b ü"]) == ["model.backbone_weights='a,b ü'"]


def test_home_is_meant_by_a_tilde_unless_something_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of user")
    assert literal_paths(["data.root=~/x"]) == ["data.root='/home/of user/x'"]
    assert folder.place("~") == "/home/of user"
    (tmp_path / "~").mkdir()
    assert folder.place("~") == "./~"


def test_places_of_a_sweep_are_values_of_their_own() -> None:
    assert literal_paths(["-m", "data.root=a,b c,图"]) == ["-m", "data.root=a,'b c','图'"]
    assert literal_paths(["-m", "hydra.sweep.dir=a,b"]) == ["-m", "hydra.sweep.dir='a,b'"]
    assert literal_paths(["data.root=a,b"]) == ["data.root='a,b'"]


def test_other_values_are_left_to_hydra() -> None:
    arguments = ["model=lenet5,c3d", "seed=0,1", "--help", "-m", "data.root='x'", "optimizer.betas=[0.9,0.99]", "~logger"]
    arguments += ["resume=null", "hydra.run.dir=runs/${model.name}", "model.pretrained=true"]
    assert literal_paths(arguments) == arguments


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data=image_folder data.rot=3", "data has no setting 'rot'; did you mean root"),
        ("data=image_folder data.root=x trainer.max_epoch=3", "trainer has no setting 'max_epoch'; did you mean max_epochs"),
        ("model=c3dd", "There is no model 'c3dd'; did you mean c3d"),
        ("data=digit", "There is no data 'digit'; did you mean digits"),
        ("modle=c3d", "There is no setting 'modle'; did you mean model"),
        ("trainer.max_epoch=3", "trainer has no setting 'max_epoch'; did you mean max_epochs"),
        ("data.augment.afine.degrees=3", "data.augment has no setting 'afine'; did you mean affine"),
        ("task.optimizer.lrr=3", "task.optimizer has no setting 'lrr'; did you mean lr"),
        ("seed.x=3", "seed has no setting 'x'; it is a single value"),
        ("data.root=a(b", "cannot be read"),
        ("seed=many", "seed"),
    ],
)
def test_a_misspelling_names_the_nearest(override: str, said: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the sentence is what matters, and is looked at)
        check_overrides(override.split())
    sentence = cli.sentence(caught.value)
    assert sentence is not None
    assert said in sentence
    assert "\n" not in sentence


def test_every_value_of_a_sweep_is_checked() -> None:
    check_overrides(["model=lenet5,lenet_wide", "seed=0,1"])
    with pytest.raises(ValueError, match="lenet6"):
        check_overrides(["model=lenet5,lenet6", "seed=0,1"])


def example(
    count: int,
    rate: float,
    name: str | None,
    flags: Sequence[bool],
    mode: Literal["a", "b"],
    call: Callable[[], int],
    free: Any,
) -> None: ...


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("count", [1, -3], ["1", 1.5, True, None, [1]]),
        ("rate", [1, 1.5], ["x", True, None]),
        ("name", ["x", None], [1, 1.5, True, ["x"]]),
        ("flags", [[], [True, False]], [True, [1], "yes"]),
        ("mode", ["a", "b"], ["c", 1, None]),
        ("free", [1, "x", None, [1]], []),
    ],
)
def test_values_are_checked_against_the_signature(key: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        check_values(example, {key: value}, "place")
    for value in bad:
        with pytest.raises(ValueError, match=rf"place.{key}\S* is .* but it must be "):
            check_values(example, {key: value}, "place")
    with pytest.raises(ValueError, match="place takes no argument 'cuont'; did you mean count"):
        check_values(example, {"cuont": 1}, "place")


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_every_model_composes_and_its_data_fit(model: str) -> None:
    for size in SIZES:
        config = composed([f"model={model}", f"size={size}"])
        assert choices_of(config)["model"] == model
        assert config.size == size
        if not (model == "two_stream" and size == "paper"):  # it reads flow, which the embedded set does not serve
            check_fit(config)


@pytest.mark.parametrize("path", sorted(CONF.glob("*/base/*.yaml")), ids=lambda path: path.stem)
def test_what_others_are_based_on_is_no_choice(path: Path) -> None:
    group = path.parent.parent.name
    with pytest.raises(ValueError, match=f"There is no {group} 'base/{path.stem}'; "):
        composed([f"{group}=base/{path.stem}"])
    beside = f"{group}/base@{group}: {path.stem}"  # not below what is chosen, but beside it
    based = [each for model in CONF.glob(f"{group}/*.yaml") for each in lineage(model)]
    assert path in based or any(beside in each.read_text() for each in (CONF / "train.yaml", CONF / group / "none.yaml"))


def test_image_models_refuse_clips_and_the_other_way_round() -> None:
    with pytest.raises(
        ValueError, match=r"digits serves \(C, H, W\) images, but c3d reads \(C, T, H, W\) clips. Choose another"
    ):
        check_fit(composed(["model=c3d", "data=digits"]))
    with pytest.raises(ValueError, match=r"motion_digits serves \(C, T, H, W\) clips, but lenet5 reads"):
        check_fit(composed(["model=lenet5", "data=motion_digits"]))


def test_a_misspelt_key_inside_a_yaml_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodle:\n  norm: true\n")
    with pytest.raises(Exception) as caught:  # noqa: PT011 (as above)
        check_overrides(["experiment=mine"], str(tmp_path))
    assert "modle" in (cli.sentence(caught.value) or "")


RECIPE = {
    "version": "0",
    "names": {"model": "lenet5", "task": "classification", "data": "digits"},
    "arguments": {
        "model": {"name": "lenet5", "num_classes": 10, "in_chans": 1, "input_shape": [1, 32, 32]},
        "task": {"num_outputs": 10, "label_smoothing": 0.1},
        "data": {"batch_size": 7, "seed": 3},
    },
    "facts": {"num_classes": 10, "class_names": list("0123456789"), "mean": [0.3], "std": [0.3], "shape": [1, 32, 32]},
}


def test_a_recipe_composes_and_the_command_line_beats_it() -> None:
    config = compose_recipe(RECIPE, ["data.seed=5"])
    assert config.data.batch_size == 7
    assert config.data.seed == 5
    assert config.task.label_smoothing == 0.1
    assert config.model.num_classes == 10
    other = compose_recipe(RECIPE, ["data=image_folder", "data.root=x"])
    assert other.data._target_.endswith("ImageFolder")
    assert other.data.shape == [1, 32, 32]


HOSTILE = [
    ("model", "_target_", "os.system"),
    ("data", "_target_", "torch.hub.load"),
    ("task", "optimizer", {"_target_": "torch.ops.load_library", "_partial_": True}),
    ("data", "augment", {"x": {"_target_": "torch.save"}}),
    ("model", "pretrained", "${oc.env:HOME}"),
    ("data", "batch_size", ["${oc.env:HOME}"]),
    ("task", "unknown", 1),
    ("model", "_recursive_", True),
]


@pytest.mark.parametrize(("group", "key", "value"), HOSTILE)
def test_a_recipe_fills_in_plain_values_and_nothing_else(group: str, key: str, value: object) -> None:
    recipe = copy.deepcopy(RECIPE)
    recipe["arguments"][group][key] = value  # type: ignore[index]
    with pytest.raises(ValueError, match="The checkpoint sets"):
        compose_recipe(recipe, [])


@pytest.mark.parametrize("name", ["../../evil", "digits data.root=/", "a,b", "", "/etc/passwd", "nothing"])
@pytest.mark.parametrize("group", RECIPE["names"])
def test_a_recipe_chooses_among_our_own_names(group: str, name: str) -> None:
    recipe = copy.deepcopy(RECIPE)
    recipe["names"][group] = name  # type: ignore[index]
    said = f"There is no {group} 'nothing'" if name == "nothing" else f"The checkpoint names a {group} {name!r}, which is not"
    with pytest.raises(ValueError, match=re.escape(said)):
        compose_recipe(recipe, [])


def test_all_targets_of_the_configuration_exist_and_take_their_keys() -> None:
    """Every `_target_` in conf/, wherever it stands, resolves, and its literal keys are its arguments."""

    def walk(node: object, place: str) -> None:
        if isinstance(node, dict):
            if "_target_" in node:
                parameters = inspect.signature(located(node["_target_"])).parameters
                variable = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                assert variable or {k for k in node if not k.startswith("_")} - {"defaults"} <= set(parameters), place
            for key, value in node.items():
                walk(value, f"{place}.{key}")

    for path in CONF.rglob("*.yaml"):
        walk(yaml.safe_load(path.read_text()), str(path))
