"""The key `size`: what a YAML composes is what the tables promise, and the embedded runs stay what they were."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

import zoo
from tests.written import lineage
from zoo.common.numbers import quantity
from zoo.common.places import CONF
from zoo.models._detector import Proposals
from zoo.models._heads import HEADS
from zoo.models._registry import get_builder
from zoo.run import length, settings
from zoo.run.compose import choices_of, composed
from zoo.run.network import untrained_net
from zoo.run.recipe import compose_recipe, read_checkpoint
from zoo.run.size import SIZES

RECORDS = Path(__file__).parent.parent / "data" / "records"
EMBEDDED = json.loads((RECORDS / "embedded_runs.json").read_text())
README = Path(__file__).parents[2] / "README.md"
SMALL_SETS = {"digits", "motion_digits", "digit_scenes", "mnist", "fashion_mnist", "cifar10"}
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))

Verb = Callable[..., tuple[int, str, str]]


def plain(value: Any) -> Any:
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return list(value) if isinstance(value, tuple) else value


# The paper's network


def promised() -> dict[str, tuple[str, str, str]]:
    """README's rows: input, parameters, multiply-adds."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \| ([^|]*) \| ([^|]*) \|", README.read_text(), re.MULTILINE)
    return {name: (shape, parameters, macs) for name, shape, parameters, macs in rows}


@pytest.mark.parametrize("name", zoo.list_models())
def test_the_papers_size_is_the_builders_defaults(name: str) -> None:
    """Argument by argument. What the data decide, how many classes and keypoints there are, is not known here."""
    config = composed([f"model={name}", "size=paper"])
    of_the_data = set()
    for key, parameter in inspect.signature(get_builder(name)).parameters.items():
        try:
            expected = plain(parameter.default)
            if key in ("head_options", "rpn_options"):
                told = config.model[key]
                parts = {name: HEADS[name] for name in told} if key == "head_options" else {"": Proposals}
                for name, part in parts.items():
                    for option, own in inspect.signature(part).parameters.items():
                        try:
                            assert plain((told[name] if name else told)[option]) == plain(own.default), f"{key}.{name}.{option}"
                        except InterpolationResolutionError:
                            of_the_data.add(option)
                continue
            assert plain(config.model[key]) == expected, key
        except InterpolationResolutionError:
            of_the_data.add(key)
    assert of_the_data <= {"num_classes", "num_keypoints"}


@pytest.mark.parametrize("name", zoo.list_models())
def test_the_papers_size_is_readmes_row(name: str) -> None:
    with torch.device("meta"):
        config, net, shape = untrained_net([f"model={name}"])
        expected = zoo.create_model(name)
    assert config.size == "paper"
    own, theirs = net.state_dict(), expected.state_dict()
    assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in theirs.items()}
    parameters = quantity(sum(parameter.numel() for parameter in net.parameters()))
    # The multiply-adds are counted by the test that makes the whole table again.
    assert promised()[name][:2] == (" x ".join(map(str, shape)), parameters)


def test_every_value_of_the_paper_names_its_source_or_says_that_it_is_ours() -> None:
    """Of a rate, a batch, or a length that is another at the paper's size than for the embedded set."""
    for name in zoo.list_models():
        lines = [line for path in lineage(CONF / "model" / f"{name}.yaml") for line in path.read_text().splitlines()]
        told = [line for line in lines if re.match(r"\s*(lr|warmup|max_epochs|batch_size|reference_batch|most_samples):", line)]
        assert told
        for line in told:
            assert "${size:" not in line or re.search(r" # \S", line), f"{name}: {line}"


# The embedded runs


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_embedded_runs_are_what_they_were(name: str) -> None:
    """Their figures are recorded: a recipe that changes needs new ones."""
    config = composed([f"model={name}"])
    now = settings.values(config, choices_of(config))
    assert config.size == "small"
    recorded = settings.renamed(EMBEDDED[name])
    assert {key: now.get(key) for key in recorded} == recorded


@pytest.mark.parametrize("data", DATA)
def test_a_data_set_chooses_the_size_and_the_command_line_beats_it(data: str) -> None:
    says_small = any("size: small" in path.read_text().splitlines() for path in lineage(CONF / "data" / f"{data}.yaml"))
    assert composed([f"data={data}"]).size == ("small" if says_small else "paper")
    for size in SIZES:
        for order in ([f"data={data}", f"size={size}"], [f"size={size}", f"data={data}"]):
            assert composed(order).size == size


def test_the_embedded_sets_and_those_of_their_kind_are_small() -> None:
    assert all(composed([f"data={data}"]).size == "small" for data in SMALL_SETS)


def test_a_data_set_that_inherits_from_a_small_one_is_small(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "few.yaml").write_text("# @package _global_\ndefaults:\n  - digits\ndata:\n  fraction: 0.1\n")
    config = composed(["data=few"], str(tmp_path))
    assert (config.size, config.data.fraction) == ("small", 0.1)


def test_experiments_state_their_size() -> None:
    for path in (CONF / "experiment").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["size"] in SIZES


def test_values_are_plain_whatever_they_are() -> None:
    config = OmegaConf.create(
        {
            "size": "small",
            "list": "${size:[1,2],[3]}",
            "first": "${list[0]}",
            "word": "${size:a,b}",
            "none": "${size:null,1}",
            "flag": "${size:true,false}",
            "number": "${size:0.125,1}",
        }
    )
    assert [config.first, config.word, config.none, config.flag, config.number] == [1, "a", None, True, 0.125]
    assert config.list == [1, 2]
    config.size = "paper"
    assert [config.first, config.word, config.none, config.flag, config.number] == [3, "b", 1, False, 1]
    assert OmegaConf.to_container(config, resolve=True)["list"] == [3]  # type: ignore[index,call-overload]


@pytest.mark.parametrize(("shape", "stem"), [([1, 28, 28], "small"), ([3, 63, 200], "small"), ([3, 64, 64], "imagenet")])
def test_a_resnets_stem_follows_what_is_served(shape: list[int], stem: str) -> None:
    for size in SIZES:
        config = composed(["model=resnet18", f"size={size}", f"input_shape={shape}"])
        assert config.model.stem == stem


# A run


@pytest.mark.slow
def test_a_run_says_its_size_and_what_the_papers_costs(verb: Verb) -> None:
    short = ("trainer.max_steps=1", "test=false", "callbacks=none", "trainer.limit_val_batches=1", "data.batch_size=2")
    status, out, err = verb("train", "model=alexnet", *short)
    assert status == 0, err
    assert re.search(r"^size +small \(the paper's: 61\.10 M parameters, 714\.19 M multiply-adds\)$", out, re.MULTILINE)
    status, out, err = verb("train", "model=rotnet", "size=paper", "data=digits", *short)
    assert status == 0, err
    assert re.search(r"^size +paper$", out, re.MULTILINE)
    assert re.search(r"^multiply-adds +250\.\d+ M at 3 x 32 x 32$", out, re.MULTILINE)
    status, out, err = verb("train", "model=lenet5", *short)
    assert re.search(r"^size +small \(the paper's is the same\)$", out, re.MULTILINE), err


def rendered(figures: Mapping[str, Any]) -> Any:
    """Those of sets that are rendered first, which takes longer than all else here, are for the long proofs."""
    marks = () if "digits.ckpt" in figures["file"] and "motion" not in figures["file"] else pytest.mark.slow
    return pytest.param(figures, marks=marks, id=figures["file"])


@pytest.mark.parametrize("figures", [rendered(each) for each in json.loads((RECORDS / "checkpoints.json").read_text())])
def test_checkpoints_of_before_give_the_same_figures(figures: Mapping[str, Any], verb: Verb) -> None:
    """Written before there was `size`, by the small networks that there were; the figures are those of that version."""
    limits = ("trainer.limit_test_batches=5", "data.batch_size=8", "data.num_workers=0")
    status, out, err = verb("evaluate", RECORDS / figures["file"], *limits)
    assert status == 0, err
    for line in figures["said"]:
        assert line in out.splitlines()


def test_the_size_of_a_run_stays_what_it_is(verb: Verb) -> None:
    old = RECORDS / "linear-digits.ckpt"
    status, _, err = verb("evaluate", old, "size=paper")
    assert status == 1
    assert err == "Error: The network was trained at size=small, and stays what it is. Leave size=paper out.\n"
    status, _, err = verb("train", "model=linear", "size=paper", "resume=run", "hydra.run.dir=run", f"model.pretrained={old}")
    assert status == 1
    recipe = read_checkpoint(old)["zoo"]
    assert compose_recipe(recipe, []).size == "small"
    for size in SIZES:
        assert compose_recipe(recipe | {"size": size}, []).size == size
    with pytest.raises(ValueError, match="states its size as 'huge'; there are small and paper"):
        compose_recipe(recipe | {"size": "huge"}, [])


# How long


class Data:
    """As much of a data module as a length asks for."""

    def __init__(self, count: int, batch: int) -> None:
        self.batches = -(-count // batch)

    def training_batches(self, world_size: int) -> int:
        return self.batches


LENGTHS = [  # images, size, epochs; by hand: batches of 32, at least 100 or 300 steps, at most 2,000 samples at the paper's
    (32 * 100, "small", 4),  # 400 steps
    (32 * 10, "small", 10),  # 4 epochs were 40 steps, 10 are 100
    (20, "small", 100),
    (32 * 10**4, "small", 4),  # nothing is known of a most
    (32 * 10, "paper", 30),  # 300 steps are more than 2,000 samples, but are the least
    (20, "paper", 300),
    (32 * 400, "paper", 1),  # one epoch is more than 2,000 samples; no less than one is taken
]


@pytest.mark.parametrize(("images", "size", "epochs"), LENGTHS)
def test_the_length_fits_the_amount_of_data(images: int, size: str, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import lightning

    trainer = lightning.Trainer(max_epochs=4, logger=False, enable_checkpointing=False, accelerator="cpu", devices=1)
    config = composed([f"size={size}", *(["most_samples=2000"] if size == "paper" else []), "data.batch_size=32"])
    length.fit(trainer, cast("Any", Data(images, 32)), config)
    assert trainer.max_epochs == epochs
    assert trainer.check_val_every_n_epoch == max(1, epochs // 10 if epochs > 4 else 1)


def test_a_recipe_in_steps_keeps_them() -> None:
    import lightning

    trainer = lightning.Trainer(
        max_epochs=-1, max_steps=1000, logger=False, enable_checkpointing=False, accelerator="cpu", devices=1
    )
    length.fit(trainer, cast("Any", Data(320, 32)), composed([]))
    assert (trainer.max_epochs, trainer.max_steps) == (-1, 1000)


@pytest.mark.parametrize("said", [f"trainer.{name}=1" for name in length.SAID] + ["experiment=lenet5_fashion_mnist"])
def test_who_says_the_length_gets_it(said: str) -> None:
    assert length.is_said(composed([said.replace("max_time=1", "max_time='00:00:01:00'")]))
    assert not length.is_said(composed([]))


def test_a_few_pictures_get_some_hundred_steps_and_the_run_says_so(verb: Verb, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(16):
        place = tmp_path / "set" / ("dark", "light")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 40 + 150 * (number % 2) + number).save(place)
    own = (
        "model=linear",
        "data=image_folder",
        f"data.root={tmp_path / 'set'}",
        "data.num_workers=0",
        "callbacks.pictures=null",
    )
    status, out, err = verb("train", *own, "size=small", "hydra.run.dir=run")
    assert status == 0, err
    assert "steps          100 (100 epochs of 1); the recipe's 30 epochs would be less than it takes" in out
    assert re.search(
        r"^training takes about .* more \(.* a batch, of the first 6\), validation not counted$", out, re.MULTILINE
    )


# Bad input

WRONG = [
    (
        ("size=huge",),
        "size is 'huge'; it is small, a network that learns an embedded set in minutes, or paper, the paper's own.",
    ),
    (("size=null",), "size"),
    (("small_shape=[1,8,8]",), "small_shape=[1,8,8] sets small_shape. There is no such setting any more: input_shape"),
    (("data=word", "--config-dir=own"), "data is 'digits'; it has settings of its own"),
    (("experiment=old", "--config-dir=own"), "sets small_shape. There is no such setting any more: input_shape"),
    (("-m", "size=small,huge"), "size is 'huge'"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_sizes_are_a_sentence(arguments: tuple[str, ...], said: str, verb: Verb) -> None:
    place = Path("own/experiment")
    place.mkdir(parents=True)
    Path("own/data").mkdir()
    Path("own/data/word.yaml").write_text("# @package _global_\ndata: digits\n")
    (place / "old.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: lenet5\n  - _self_\nsmall_shape: [1, 8, 8]\n"
    )
    status, _, err = verb("train", *arguments)
    assert status == 1
    assert err.startswith("Error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_over_both_sizes_trains_both(verb: Verb) -> None:
    short = ("trainer.max_steps=2", "callbacks.pictures=null", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1")
    status, _, err = verb(
        "train", "-m", "model=alexnet", "size=small,paper", "input_shape=[3,64,64]", *short, "hydra.sweep.dir=s"
    )
    assert status == 0, err
    table = Path("s/sweep.md").read_text()
    assert "size=small" in table
    assert "size=paper" in table


@pytest.mark.slow
def test_a_shape_that_the_papers_network_cannot_take_is_a_sentence() -> None:
    """Which network, and what it takes at least; every network but those that take any size."""
    refused = {}
    for name in zoo.list_models():
        tiny = [*composed([f"model={name}", "size=paper"]).input_shape[:-2], 8, 8]
        try:
            with torch.device("meta"):
                _, net, shape = untrained_net([f"model={name}", f"input_shape={tiny}"])
                zoo.profile(net, shape)
        except ValueError as error:
            refused[name] = str(error)
    assert refused
    for name, said in refused.items():
        assert "\n" not in said
        assert re.search(r"at least|does not fit|too small", said), f"{name}: {said}"
