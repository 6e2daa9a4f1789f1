"""What a checkpoint may say: everything else in it, whatever its value, reads, writes, fetches and starts nothing."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import zoo
from tests.written import written
from zoo import create_model, list_models
from zoo.common import trust
from zoo.common.places import CONF
from zoo.evaluate import evaluate
from zoo.run.build import build_data
from zoo.run.facts import publish
from zoo.run.recipe import PUBLISHED, compose_recipe, read_checkpoint, rebuild

Verb = Callable[..., tuple[int, str, str]]
RECIPE: dict[str, Any] = {
    "version": "0",
    "names": {"model": "linear", "task": "classification", "data": "image_folder"},
    "arguments": {
        "model": {"name": "linear"},
        "task": {"label_smoothing": 0.1},
        "data": {"batch_size": 7, "short_side": 9, "num_workers": 50_000, "max_bad": 1.0},
    },
    "facts": {"num_classes": 2, "class_names": ["a", "b"], "mean": [0.3], "std": [0.3], "shape": [1, 8, 8]},
}


def test_every_argument_is_either_a_checkpoints_or_the_users() -> None:
    """A new argument of a data set, a task or a network must be put on one side before a checkpoint can carry it."""
    for group in ("data", "task", "model"):
        for path in sorted((CONF / group).glob("*.yaml")):
            own = written(group, path.stem)
            own = own.get(group, own) if group != "task" else own
            for key, value in own.items():
                if key.startswith("_") or key in ("defaults", "augment", "optimizer", "scheduler") or key in trust.USERS[group]:
                    continue
                if group == "data":
                    assert key in trust.NUMBERS | trust.WORDS[group] | trust.NAMES[group], f"{path.stem}: {key}"
                elif isinstance(value, str) and (not value.startswith("${") or re.match(r"\$\{size:[a-z]", value)):
                    assert key in trust.WORDS[group] | trust.NAMES[group], f"{path.stem}: {key}"


def places_of(folder: Path) -> dict[str, Any]:
    """Values of every kind that would lead somewhere."""
    return {
        "a folder": str(folder / "victim"),
        "a way out": "../../victim",
        "an address": "http://169.254.169.254/latest",
        "a chain": "simplecache::s3://x",
        "a command": "pipe:touch pwned",
        "a hub": "timm/hf-hub:evil/model",
        "Hydra's": "${oc.env:HOME}",
        "true": True,
    }


@pytest.mark.parametrize("group", ["model", "task", "data"])
def test_no_argument_leads_anywhere(group: str, tmp_path: Path) -> None:
    """Every argument that there is, with values of every kind: left to the user, or refused."""
    keys = {
        str(key)
        for path in (CONF / group).glob("*.yaml")
        for content in [written(group, path.stem)]
        for key in content.get("data", content)
        if group != "model"
    } | {"pretrained", "backbone", "backbone_weights", "block", "heads", "unheard of"}
    for key in sorted(keys - trust.NAMES[group]):
        for what, value in places_of(tmp_path).items():
            for each in (value, [value]):
                try:
                    taken = trust.may(group, key, each)
                except ValueError:
                    continue
                assert not taken or what == "true", f"{group}.{key}={each}"


def test_what_leads_somewhere_is_asked_for(tmp_path: Path) -> None:
    for data, key in (("image_folder", "root"), ("image_shards", "source"), ("coco", "folder")):
        for value in (str(tmp_path / "victim"), "http://169.254.169.254/latest"):
            recipe = copy.deepcopy(RECIPE)
            recipe["names"]["data"], recipe["arguments"] = data, {"data": {key: value}}
            with pytest.raises(ValueError, match="The checkpoint"):
                compose_recipe(recipe, [])
    recipe["names"]["data"], recipe["arguments"] = "mnist", {"data": {"download": True}}
    assert compose_recipe(recipe, []).data.download is False


@pytest.mark.parametrize("key", ["root", "download", "_target_", "augment", "mean"])
def test_facts_are_facts(key: str) -> None:
    recipe = copy.deepcopy(RECIPE)
    recipe["facts"][key] = {"_target_": "os.system"} if key == "mean" else "/etc"
    if key == "mean":
        with pytest.raises(ValueError, match="which is no plain fact"):
            compose_recipe(recipe, [], with_data=False)
        return
    with pytest.raises(ValueError, match=f"The checkpoint states '{key}'"):
        compose_recipe(recipe, [], with_data=False)


def test_what_is_the_users_stays_at_its_default() -> None:
    config = compose_recipe(RECIPE, ["data.root=mine"])
    assert config.data.num_workers is None
    assert config.data.max_bad == 0.01
    assert (config.data.batch_size, config.data.short_side, config.task.label_smoothing) == (7, 9, 0.1)


def test_a_file_does_not_pass_for_published_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"zoo": RECIPE | {PUBLISHED: "anything"}}, path)
    assert compose_recipe(read_checkpoint(path)["zoo"], [], with_data=False).model.pretrained is None


def test_names_of_networks_are_words() -> None:
    assert trust.may("model", "backbone", "timm/resnet18.a1_in1k")
    assert trust.may("data", "class_name", "Fußgänger / person")
    for evil in ("timm/hf-hub:x/y", "../x", "/etc/x", "a/b/c", "", "a b"):
        with pytest.raises(ValueError, match="not for a checkpoint to say"):
            trust.may("model", "backbone", evil)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"facts": {"num_classes": 1_000_000, "class_names": None, "shape": [3, 64, 64]}},
            "describes a network of 12,289,000,",
        ),
        ({"facts": {"shape": [3, 90_000, 90_000]}}, "describes a network of 48,600,000,"),
        ({"facts": {"shape": [3, 2**31, 2**31]}}, "describes a network"),
        ({"model": {"name": 7}}, "names the model 7, which is no name"),
        ({"model": {"name": ["linear"]}}, "no name|not for a checkpoint"),
        ({"model": {"input_shape": 1e308}}, "input_shape"),
    ],
)
def test_a_checkpoint_of_a_few_bytes_describes_no_network_of_terabytes(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    recipe = copy.deepcopy(RECIPE)
    del recipe["arguments"]["data"]["short_side"]
    recipe["facts"] |= changed.get("facts", {})
    recipe["facts"] = {key: value for key, value in recipe["facts"].items() if value is not None}
    recipe["arguments"]["model"] |= changed.get("model", {})

    def rebuilt() -> None:
        config = compose_recipe(recipe, [], with_data=False)
        build_data(config)
        publish(config, recipe["facts"])
        rebuild({"state_dict": {"x": torch.zeros(3)}, "zoo": recipe}, config, "x.ckpt")

    with pytest.raises(ValueError, match=said):
        rebuilt()


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_network_is_measured_before_it_is_built(name: str) -> None:
    """Or computes as it is built, and is then built at once."""
    try:
        with torch.device("meta"):
            create_model(name)
    except (RuntimeError, OverflowError) as error:
        assert "meta" in str(error)  # noqa: PT017


# Own runs and others'


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    for number in range(24):
        path = tmp_path / "set" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 40 + 150 * (number % 2) + number).save(path)
    return tmp_path / "set"


def test_ones_own_run_finds_its_data_and_a_strangers_asks(
    verb: Verb, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("input_shape=[1,8,8]", "data.num_workers=0", "trainer.max_epochs=1", "callbacks.pictures=null")
    status, _, err = verb("train", "model=linear", "data=image_folder", "data.root=set", *small, "hydra.run.dir=run")
    assert status == 0, err
    monkeypatch.chdir(tmp_path / "run")  # it was named by a relative path
    status, out, err = verb("evaluate", ".")
    assert status == 0, err
    assert "test accuracy" in out
    content = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    content["zoo"]["names"]["data"] = "image_shards"  # as if the folder held archives, to be written of another
    content["zoo"]["arguments"]["data"] |= {"root": str(tmp_path / "victim"), "source": str(pictures)}
    torch.save(content, "gift.ckpt")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / ".env").write_text("secret")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    for gift, name in (("gift.ckpt", "image_shards"), (".", "image_folder")):
        status, _, err = verb("evaluate", gift)
        assert status == 1
        assert "say it yourself: data.root=" in err, name
        assert err.count("\n") == 1
        status, _, err = verb("predict", gift, str(pictures / "dark"), "top_k=1")
        assert status == 0, err
    assert [path.name for path in (tmp_path / "victim").iterdir()] == [".env"]
    status, out, err = verb("evaluate", "gift.ckpt", "data=image_folder", f"data.root={pictures}", "data.num_workers=0")
    assert status == 0, err
    assert "test accuracy" in out


@pytest.mark.parametrize("run_number", ["../../../etc/passwd", "", 7, None, "0" * 32])
def test_a_number_that_this_machine_has_not_drawn_finds_nothing(run_number: Any) -> None:
    assert trust.remembered({"run": run_number, "names": {"data": "image_folder"}}) == {}


LATER: dict[str, dict[str, Any]] = {
    "a network": {"names": {"model": "linear2"}},
    "an argument": {"arguments": {"model": {"name": "linear", "gated": True}}},
    "a task's": {"arguments": {"task": {"tempered": 3}}},
    "no facts": {"facts": None},
    "other weights": {},
}
"""What a later version may have changed."""


@pytest.mark.parametrize("name", ["evaluate", "predict", "flops", "verify", "benchmark", "train"])
def test_a_checkpoint_of_a_later_version_that_cannot_be_used_says_so(
    name: str, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every verb that takes one; one of this version is refused for its fault alone."""
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for what, change in LATER.items():
        recipe = copy.deepcopy(RECIPE) | {"names": {**RECIPE["names"], "data": "digits"}, "size": "small"}
        recipe["arguments"]["data"] = {}
        recipe["facts"] |= {"num_classes": 10, "class_names": list("0123456789"), "shape": [1, 28, 28]}
        for key, value in change.items():
            recipe[key] = value if value is None else recipe[key] | value
        for version in ("9.1.0", zoo.__version__):
            torch.save({"state_dict": {"net.x": torch.zeros(3)}, "zoo": recipe | {"version": version}}, tmp_path / "later.ckpt")
            arguments = {
                "predict": ("later.ckpt", "a.png"),
                "train": ("model=linear", "resume=later.ckpt"),
                "verify": ("later.ckpt",),
                "benchmark": ("later.ckpt", "measure=accuracy"),
            }.get(name, ("later.ckpt",))
            if name == "verify":  # of a run alone
                monkeypatch.setattr("zoo.verify.verify_run", lambda folder, *_: evaluate(folder))
            if (what == "other weights" and name in ("flops", "benchmark")) or (what == "a task's" and name == "train"):
                continue  # which these do not read, or refuse for another reason
            status, _, err = verb(name, *arguments)
            assert (status, err.count("\n")) == (1, 1), (what, err)
            assert ("by version 9.1.0 of zoo, a later one than this. Update it." in err) == (version == "9.1.0"), (what, err)


def test_a_checkpoint_decides_of_ones_own_numbers_alone() -> None:
    """Of a class of the user's nobody here knows which words lead somewhere."""
    assert trust.may("data", "contrast", 20.0, own=True)
    assert not trust.may("data", "contrast", 20.0)
    assert not trust.may("data", "root", "anything", own=True)
    for group in ("data", "task", "model"):
        with pytest.raises(ValueError, match=rf"If you trust it, say it yourself: {group}.place="):
            trust.may(group, "place", "thesis", own=True)
