"""`zoo.verify`: weights are measured again, and a figure that does not come again is said."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo.benchmark.rows import read_rows
from zoo.benchmark.timing import Trial, measure
from zoo.common.places import CONF
from zoo.data.digits import Digits
from zoo.models import _entries, _entry
from zoo.models._entries_packaged import write_entry
from zoo.models._entry import Accuracy, Weights
from zoo.run.compose import composed
from zoo.run.published import cut_of, overrides_of
from zoo.run.recipe import compose_recipe, read_checkpoint
from zoo.verify import verify_weights

Verb = Callable[..., tuple[int, str, str]]


def slow_accuracy(net: torch.nn.Module) -> float:
    """Image by image, without a task, a batch or a metric of ours."""
    data = Digits(shape=(1, 32, 32))
    data.setup()
    samples = data.splits["test"]
    right = 0
    for number in range(len(samples)):
        sample = samples.__getitems__([(0, number)])
        x = (sample["input"].double() / 255 - data.mean[0]) / data.std[0]
        right += int(net(x).argmax()) == int(sample["label"])
    return 100 * right / len(samples)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Weights of lenet5 on the embedded digits, untrained, with their true accuracy in the entry."""
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.setattr(_entry, "FOLDER", folder)
    torch.manual_seed(3)
    net = zoo.create_model("lenet5").eval()
    save_file(net.state_dict(), folder / "lenet5-digits.safetensors")
    data = Digits(shape=(1, 32, 32))
    data.setup()
    accuracy = Accuracy("top-1", "digits", "test", slow_accuracy(net.double()), "one view of each of 359 images")
    entry = Weights(
        model="lenet5",
        tag="digits",
        source="a test",
        licence="Apache-2.0",
        input_shape=(1, 32, 32),
        resize=None,
        mean=data.mean,
        std=data.std,
        class_names=data.class_names,
        num_classes=10,
        parameters=61_706,
        multiply_adds=416_520,
        accuracies=(accuracy,),
        file="lenet5-digits.safetensors",
        sha256=hashlib.sha256((folder / "lenet5-digits.safetensors").read_bytes()).hexdigest(),
    )
    write_entry(entry)
    return entry


def test_a_true_figure_comes_again(published: Weights, verb: Verb) -> None:
    status, out, err = verb("verify", "lenet5")
    assert status == 0, err
    assert "scored 359 of 359 test samples" in out
    stated = published.accuracies[0].percent
    assert f"lenet5:digits has {stated:.2f} % top-1 on digits test, published {stated:g} %: +0.00 points" in out
    assert "protocol one view of each of 359 images" in out


def test_a_figure_that_differs_is_status_1_and_a_sentence(published: Weights, verb: Verb) -> None:
    (true,) = published.accuracies
    write_entry(replace(published, accuracies=(replace(true, percent=true.percent + 2),)))
    status, _, err = verb("verify", "lenet5:digits")
    assert status == 1
    assert "-2.00 points, 0.1 allowed" in err
    assert err.count("\n") == 1
    status, _, err = verb("verify", "lenet5:digits", "tolerance=2.5")
    assert status == 0, err


def test_another_file_is_not_the_published_one(published: Weights, verb: Verb) -> None:
    save_file(zoo.create_model("lenet5").state_dict(), published.path())
    status, _, err = verb("verify", "lenet5:digits")
    assert status == 1
    assert "is damaged: it has not the SHA-256 of its entry" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("linear",), "no published weights of 'linear'"),
        (("lenet5:fashion",), "did you mean fashion_mnist"),
        (("c3d:sports1m",), "states no accuracy"),
        (("alexnet",), "states its accuracy on ImageNet-1K, which no data= of this project reads"),
        (("lenet5:fashion_mnist", "data.root=nowhere"), "FashionMNIST is not complete"),
        (("lenet5:fashion_mnist", "tolerance=much"), "tolerance is 'much', but it must be a number or null"),
        (("lenet5:fashion_mnist", "lenet_wide"), "one NAME is taken at a time"),
    ],
)
def test_what_cannot_be_verified(verb: Verb, arguments: tuple[str, ...], said: str) -> None:
    status, _, err = verb("verify", *arguments)
    assert status == 1
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("name", "second"), [("mask_rcnn", "mask_ap"), ("keypoint_rcnn", "keypoint_ap")])
def test_figures_of_one_split_are_measured_together(name: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the settings of the publisher's protocol, on the data whose classes are numbered as the weights count them."""
    entry, asked = zoo.get_weights(name), []

    def measured(weights: str, settings: list[str], split: str) -> dict[str, float]:
        asked.append((weights, split))
        config = compose_recipe(read_checkpoint(weights)["zoo"], settings, with_data=False)
        data = {key: config.data[key] for key in ("target", "short_side", "antialias", "rounding", "gaps", "annotations")}
        file = "person_keypoints" if name == "keypoint_rcnn" else "instances"
        assert tuple(data.values()) == ("instances", 800, False, "down", True, file)
        return {f"test/{each.metric}": each.percent / 100 for each in entry.accuracies}

    monkeypatch.setattr("zoo.evaluate.evaluate", measured)
    verdicts = verify_weights(name)
    assert asked == [(f"{name}:coco_v1", "test")]
    assert [each.published.metric for each in verdicts] == ["box_ap", second]
    assert all(each.holds and abs(each.difference) < 1e-9 for each in verdicts)


PACKAGED = [
    pytest.param(name, tag, marks=[pytest.mark.slow] * (entry.accuracies[0].data != "fashion_mnist"))  # rendered first
    for name in zoo.list_models()
    for tag, entry in _entries.entries_of(name).items()
    if entry.file
]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "tag"), PACKAGED)
def test_packaged_weights_hold_what_they_state(
    name: str, tag: str, real_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stated = zoo.get_weights(name, tag).accuracies[0]
    own = [f"data.root={real_data('FashionMNIST').parent}"] if stated.data == "fashion_mnist" else []  # the others are rendered
    for verdict in verify_weights(name, tag, own):
        assert verdict.holds, verdict
    count = {"fashion_mnist": "10,000", "motion_digits": "600", "digit_scenes": "800"}[stated.data]
    assert f"scored {count} of {count} test samples" in capsys.readouterr().out


def test_a_runs_figure_is_measured_again(verb: Verb, tmp_path: Path) -> None:
    """By all verbs that take networks: costs and times of the network that was trained, and its figure."""
    status, _, err = verb(
        *("train", "model=mlp", "model.hidden=[5]", "trainer.max_epochs=1", "trainer.limit_train_batches=3"),
        *("callbacks.pictures=null", "logger.tensorboard=null", "data.num_workers=0", "hydra.run.dir=a run"),
    )
    assert status == 0, err
    path = tmp_path / "a run" / "result.json"
    result = json.loads(path.read_text())
    status, out, err = verb("verify", "a run")
    assert status == 0, err
    assert f"a run has accuracy {result['test']:.6g}, result.json says {result['test']:.6g}: +0, 0.001 allowed" in out
    assert {name for name in result["tests"] if f"a run has {name} " in out} == {*result["tests"]}

    parameters = 784 * 5 + 5 + 5 * 10 + 10
    status, out, err = verb("flops", "a run")
    assert status == 0, err
    assert f"{parameters:,}" in out
    status, out, err = verb("benchmark", "a run", "measure=accuracy", "folder=costs")
    assert status == 0, err
    (row,) = read_rows(tmp_path / "costs")
    assert (row.model, row.family, row.params, row.input_shape) == ("a run", "linear", parameters, "1 x 28 x 28")
    assert (row.accuracy, row.accuracy_from) == (round(100 * result["test"], 2), "measured")
    timing = measure(Trial("a run", (), True, "cpu", "eager", "32-true", "contiguous", 4, 0.0))
    assert timing.finite

    for change, said in (({"test": result["test"] + 0.01}, "result.json says"), ({"protocol": "other"}, "another protocol")):
        path.write_text(json.dumps(result | change))
        status, _, err = verb("verify", "a run")
        assert status == 1
        assert err.count("\n") == 1
        assert said in err
    path.unlink()
    status, _, err = verb("verify", "a run")
    assert (status, err.startswith("Error: a run states no figure to verify")) == (1, True)


STATED = {
    f"{name}:{tag}": (entry, figure.data)
    for name in zoo.list_models()
    for tag, entry in _entries.entries_of(name).items()
    for figure in entry.accuracies
    if (CONF / "data" / f"{figure.data}.yaml").is_file()
}


@pytest.mark.parametrize("weights", STATED)
def test_a_figure_is_measured_on_data_that_are_cut_as_the_publisher_cuts(weights: str) -> None:
    entry, data = STATED[weights]
    own = composed(overrides_of(entry, data)).data
    for key, value in cut_of(entry).items():
        assert key not in own or own[key] == value, key
    if data in ("kinetics", "ucf101"):
        assert own.keys() >= {*cut_of(entry), *entry.views}
