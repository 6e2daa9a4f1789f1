"""`zoo.benchmark`: what it measures, what it writes, and that nothing which was measured is lost."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo
from zoo.batch import TARGETS, example_batch
from zoo.benchmark import charts
from zoo.benchmark import timing as _timing
from zoo.benchmark.measure import Options, Row, chosen_models, read_rows
from zoo.benchmark.timing import NoMemoryError, Timing, Trial, measure, timed
from zoo.models._entries import entries_of
from zoo.run.compose import choices_of, composed
from zoo.run.network import untrained_net

Verb = Callable[..., tuple[int, str, str]]
RESULTS = Path("runs/benchmark")

QUICK = Trial("lenet5", (), False, "cpu", "eager", "32-true", "contiguous", 4, 0.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Trials that take no time: 0.1, 0.2 and 0.4 s a step, and latencies of 1 to 20 ms."""
    asked: list[Trial] = []

    def pretended(trial: Trial) -> Timing:
        asked.append(trial)
        latencies = () if trial.training else tuple(k / 1000 for k in range(1, 21))
        return Timing((0.1, 0.4, 0.2), latencies, 2**20 * trial.batch, finite=True)

    monkeypatch.setattr(_timing, "timed", pretended)
    return asked


@pytest.mark.slow
def test_a_network_is_measured_and_written(verb: Verb, tmp_path: Path) -> None:
    """For real, each phase in a process of its own."""
    status, out, err = verb("benchmark", "lenet_wide", "mode=eager", "seconds=0.01", "batch=8", "data.root=nowhere")
    assert status == 0, err
    (row,) = read_rows(RESULTS)
    assert (row.model, row.family, row.input_shape, row.mode) == ("lenet_wide", "lenet", "1 x 28 x 28", "eager")
    cost = zoo.profile(zoo.create_model("lenet_wide"), (1, 28, 28))
    assert (row.params, row.macs, row.flops, row.no_formula) == (cost.params, cost.macs, 2 * cost.macs, "")
    for phase in ("training", "inference"):
        low, rate, high = (getattr(row, f"{phase}_{name}") for name in ("low", "rate", "high"))
        assert 0 < low <= rate <= high
        assert getattr(row, f"{phase}_batch") == 8
    assert row.latency_p50 is not None
    assert row.latency_p95 is not None
    assert 0 < row.latency_p50 <= row.latency_p95
    if Path("/proc/self/status").exists():
        assert row.training_memory is not None
        assert row.training_memory >= 4 * 4 * cost.params  # weights, gradients and AdamW's two moments
    assert row.hardware
    assert torch.__version__ in row.versions
    assert (row.accuracy, row.accuracy_from) == (92.02, "published")
    assert "accuracy not measured" in row.notes[0]
    assert {path.name for path in RESULTS.iterdir()} == {
        *("benchmark.json", "benchmark.csv", "benchmark.md", "benchmark.html"),
        *("accuracy_macs.png", "accuracy_latency.png"),
    }
    with (RESULTS / "benchmark.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert (line["model"], float(line["training_rate"])) == ("lenet_wide", row.training_rate)
    assert "lenet_wide" in (RESULTS / "benchmark.md").read_text()
    assert "benchmark.html" in out


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_and_said(verb: Verb) -> None:
    """For real: 400,000 images of 28 x 28 take 1.25 GB as float32 alone, and 1 GiB is allowed."""
    arguments = ("linear", "mode=eager", "measure=inference", "seconds=0.01", "batch=400000", "limit=1")
    status, out, err = verb("benchmark", *arguments)
    assert status == 0, err
    assert "a batch of 400000 does not fit into memory, halved to 200000" in out
    (row,) = read_rows(RESULTS)
    assert row.inference_batch == 200_000
    assert row.notes == ["inference: a batch of 400000 does not fit into memory, halved"]


@pytest.mark.parametrize(
    "task", ["classification", pytest.param("video_classification", marks=pytest.mark.slow), "segmentation", "autoencoder"]
)
def test_every_task_takes_a_step_on_noise(task: str) -> None:
    model, *overrides = {
        "classification": ("resnet18", "input_shape=[3,32,32]"),
        "video_classification": ("inflated", "input_shape=[3,16,16,16]", "model.backbone=lenet5"),
        "segmentation": ("fcn8s", "input_shape=[3,32,32]", "model.width=0.125"),
        "autoencoder": ("autoencoder", "input_shape=[1,28,28]"),
    }[task]
    assert choices_of(composed([f"model={model}"]))["task"] == task
    for layout in ("contiguous", "channels_last"):
        trial = replace(QUICK, model=model, overrides=tuple(overrides), training=True, layout=layout, batch=2)
        timing = measure(trial)
        assert len(timing.steps) == _timing.LEAST_STEPS
        assert timing.latencies == ()
        assert timing.finite


def test_noise_is_what_the_contract_says() -> None:
    for target in TARGETS:
        shape = (3, 8, 10)
        batch = example_batch(target, shape, 5, 3)
        assert (batch["input"].shape, batch["input"].dtype) == ((3, *shape), torch.uint8)
        own = {"label": ["label"], "semantic": ["mask"], "instances": ["instances", "size", "full", "image_id"], "none": []}
        assert set(batch) - {"input", "id", "view", "epoch"} == set(own[target])
    masks = example_batch("semantic", (3, 8, 10), 5, 3)["mask"]
    assert (masks.shape, int(masks.max())) == ((3, 8, 10), 4)
    for each in example_batch("instances", (3, 8, 10), 5, 3)["instances"]:
        for box, mask in zip(each["boxes"].int().tolist(), each["masks"], strict=True):
            ys, xs = mask.nonzero(as_tuple=True)
            assert box == [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        for box, points in zip(each["boxes"], each["keypoints"], strict=True):
            assert bool((box[:2] < points[:, :2]).all())
            assert bool((points[:, :2] < box[2:]).all())


def test_a_trial_leaves_the_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps are whole, gradients and optimiser included, but at a rate of 0: noise would drive the loss away."""
    built = []
    whole = untrained_net

    def kept(overrides: list[str]) -> object:
        built.append(whole(overrides))
        return built[-1]

    monkeypatch.setattr("zoo.run.recipe.untrained_net", kept)
    torch.manual_seed(0)
    measure(replace(QUICK, training=True))
    net = built[0][1]
    torch.manual_seed(0)
    fresh = zoo.create_model("lenet5")
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    for now, then in zip(net.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(now, then)


def test_bf16_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    net = zoo.create_model("lenet5")
    net.head.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    config, _, shape = untrained_net(["model=lenet5"])
    monkeypatch.setattr("zoo.run.recipe.untrained_net", lambda overrides: (config, net, shape))
    measure(replace(QUICK, precision="bf16-mixed"))
    assert seen == {torch.bfloat16}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "training"), [("linear", False), ("lenet5", True), ("autoencoder", True)])
def test_compiled_networks_run(model: str, training: bool) -> None:
    """A whole step holds a forward pass; that alone is another graph, which the smallest network proves."""
    assert timed(replace(QUICK, model=model, training=training, mode="compiled")).finite


def test_a_trial_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What its process would print is printed here."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", command[2:])
        _timing.main()
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(_timing, "_limit_memory", lambda limit: None)
    with pytest.raises(ValueError, match="ValueError: There is no model 'lenet6'"):
        timed(replace(QUICK, model="lenet6"))


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, full: bool) -> None:
    assert _timing.is_full(error) == full


def test_a_process_that_the_system_ended_wanted_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], -signal.SIGKILL, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: ended)
    with pytest.raises(NoMemoryError):
        timed(QUICK)
    ended.returncode, ended.stderr = -signal.SIGSEGV, "warning\nFatal: oh"
    with pytest.raises(ValueError, match=r"ended with status -11 \(Fatal: oh\)"):
        timed(QUICK)


# What is computed from the rounds, and kept


def test_medians_spread_and_percentiles(verb: Verb, fake: list[Trial]) -> None:
    status, out, err = verb(
        "benchmark", "resnet1?", "mode=eager,compiled", "precision=bf16-mixed", "batch=4", "measure=training,inference"
    )
    assert status == 0, err
    assert [(t.model, t.mode, t.training) for t in fake] == [
        ("resnet18", mode, training) for mode in ("eager", "compiled") for training in (True, False)
    ]
    rows = read_rows(RESULTS)
    assert [row.mode for row in rows] == ["eager", "compiled"]
    for row in rows:
        assert (row.training_rate, row.training_low, row.training_high) == pytest.approx((20, 10, 40))
        assert (row.latency_p50, row.latency_p95) == pytest.approx((10.5, 19.05))
        assert (row.precision, row.layout, row.inference_memory) == ("bf16-mixed", "contiguous", 4 * 2**20)
        assert row.accuracy_from == "published"
    assert "training 20/s by 4" in out


def test_batches_are_halved_to_one_and_no_further(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def full(trial: Trial) -> Timing:
        asked.append(trial.batch)
        raise NoMemoryError

    monkeypatch.setattr(_timing, "timed", full)
    assert verb("benchmark", "linear", "mode=eager", "measure=inference", "batch=6")[0] == 0
    assert asked == [6, 3, 1]
    (row,) = read_rows(RESULTS)
    assert row.inference_rate is None
    assert row.notes[-1] == "inference: not even one sample fits into memory"


def test_what_fails_is_noted_and_the_rest_goes_on(verb: Verb, fake: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    good = _timing.timed

    def sometimes(trial: Trial) -> Timing:
        if trial.training:
            raise ValueError("RuntimeError: no compiler")
        return replace(good(trial), finite=False)

    monkeypatch.setattr(_timing, "timed", sometimes)
    status, out, err = verb("benchmark", "linear", "mlp", "mode=compiled")
    assert status == 0, err
    assert "linear, compiled training failed: RuntimeError: no compiler" in out
    for row in read_rows(RESULTS):
        assert row.notes == ["training failed: RuntimeError: no compiler", "inference: the result is not finite"]
        assert row.training_rate is None
        assert row.inference_rate is not None


def test_a_model_measured_again_replaces_its_rows_and_no_others(verb: Verb, fake: list[Trial]) -> None:
    assert verb("benchmark", "linear", "mlp", "mode=eager,compiled")[0] == 0
    before = read_rows(RESULTS)
    assert verb("benchmark", "mlp", "mode=eager", "precision=bf16-mixed")[0] == 0
    after = read_rows(RESULTS)
    assert [row for row in after if row.model == "linear"] == [row for row in before if row.model == "linear"]
    assert [(row.model, row.precision) for row in after if row.model == "mlp"] == [("mlp", "bf16-mixed")]


def test_an_interruption_loses_nothing(verb: Verb, fake: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    good = _timing.timed

    def interrupted(trial: Trial) -> Timing:
        if trial.model == "mlp":
            signal.raise_signal(signal.SIGINT)
        return good(trial)

    monkeypatch.setattr(_timing, "timed", interrupted)
    status, _, err = verb("benchmark", "linear", "mlp", "mode=eager")
    assert status == 130
    assert "Stopped by Ctrl-C. What was measured is in runs/benchmark." in err
    assert [row.model for row in read_rows(RESULTS)] == ["linear"]
    for name in ("benchmark.csv", "benchmark.md", "benchmark.html"):
        assert "linear" in (RESULTS / name).read_text()


@pytest.mark.slow
def test_a_signal_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """For real: the process gets Ctrl-C as soon as its first rows are on the disk."""
    command = [sys.executable, "-m", "zoo.benchmark", "*", "measure=accuracy", "data.root=nowhere"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    path = tmp_path / RESULTS / "benchmark.json"
    for _ in range(3000):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    done = [row.model for row in read_rows(path.parent)]
    assert done == zoo.list_models()[: len(done)]
    assert done
    assert process.returncode in (0, 130)
    assert len(done) == len(zoo.list_models()) or "What was measured is in" in err


# Choosing and refusing


def test_patterns_choose_each_model_once() -> None:
    assert chosen_models(["resnet1*", "c3d", "resnet18"]) == ["c3d", "resnet101", "resnet152", "resnet18"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name at least one name or pattern of models"),
        (("lenet5", "resnt*"), "No model matches 'resnt*'; did you mean resnet"),
        (("c3dd",), "No model matches 'c3dd'; did you mean c3d"),
        (("lenet5", "batch=0"), "batch is 0; it is a whole number above 0"),
        (("lenet5", "batch=many"), "batch is 'many'"),
        (("lenet5", "seconds=-1"), "seconds is -1; it is a number above 0"),
        (("lenet5", "mode=fast"), "mode is 'fast', but it must be one or several of eager, compiled"),
        (("lenet5", "precision=fp8"), "one or several of auto, 32-true, bf16-mixed"),
        (("lenet5", "device=cpu,cuda"), "device is 'cpu,cuda', but it must be 'auto' or 'cpu' or 'cuda'"),
        (("lenet5", "seconds=0"), "seconds is 0"),
        (("lenet5", "devise=cpu"), "did you mean device"),
        (("lenet5", "trainer.max_epochs=3"), "There is no setting 'trainer.max_epochs' of zoo benchmark"),
        (("lenet5", "model.clases=3"), "did you mean num_classes"),
        (("c3d", "measure=accuracy", "input_shape=[3,4,16,16]"), "too small"),
    ],
)
def test_what_is_refused(verb: Verb, arguments: tuple[str, ...], said: str) -> None:
    status, _, err = verb("benchmark", *(arguments or ("mode=eager",)))
    assert status == 1
    assert said in err
    assert err.count("\n") == 1


def test_options_in_python_are_those_of_the_command_line() -> None:
    assert Options(mode="eager", measure=["training", "accuracy"]) == Options(mode=("eager",), measure=("training", "accuracy"))  # type: ignore[arg-type]
    for wrong, said in (
        ({"mode": ("fast",)}, "mode is 'fast', but it must be one or several of eager, compiled"),
        ({"device": "tpu"}, "device is 'tpu', but it must be"),
        ({"batch": 0}, "batch is 0; it is a whole number above 0"),
        ({"limit": float("nan")}, "limit is nan"),
    ):
        with pytest.raises(ValueError, match=said):
            Options(**wrong)  # type: ignore[arg-type]


def test_results_of_another_kind_are_refused_and_left_alone(verb: Verb) -> None:
    RESULTS.mkdir(parents=True)
    (RESULTS / "benchmark.json").write_text('[{"net": "lenet"}]')
    status, _, err = verb("benchmark", "linear", "measure=accuracy")
    assert status == 1
    assert "is not a result of this version" in err
    assert (RESULTS / "benchmark.json").read_text() == '[{"net": "lenet"}]'


# The table and the pictures


def rows_of(*names: str) -> list[Row]:
    return [Row(name, "family", "classification", "1 x 2 x 2", 10, 10**k, 2 * 10**k) for k, name in enumerate(names, 3)]


def test_the_table_leaves_out_what_was_not_measured() -> None:
    rows = rows_of("one", "two")
    text = charts.table(rows)
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    assert head == "| model | input | parameters | multiply-adds | FLOPs |"
    rows[1] = replace(rows[1], no_formula="aten.fft", notes=["a|b"], latency_p50=1.5, latency_p95=2.25, hardware="Abacus")
    text = charts.table(rows)
    assert "10,000 at least" in text
    assert "1.5 / 2.25" in text
    assert r"a\|b" in text
    assert "Abacus" in text
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_the_picture_has_a_panel_for_each_kind_of_accuracy(tmp_path: Path) -> None:
    rows = rows_of("a", "b", "c", "d")
    rows[0] = replace(rows[0], accuracy=90.0, accuracy_what="top-1 on x test", accuracy_from="measured")
    rows[1] = replace(rows[1], accuracy=70.0, accuracy_what="top-1 on y val", accuracy_from="published")
    rows[2] = replace(rows[2], accuracy=71.0, accuracy_what="top-1 on y val", accuracy_from="published")
    rows.append(replace(rows[2], mode="compiled"))  # a model's second row has no point of its own
    assert charts.points(rows, "macs") == {
        "top-1 on x test": [(1000, 90.0, "a", True)],
        "top-1 on y val": [(10_000, 70.0, "b", False), (100_000, 71.0, "c", False)],
    }
    assert charts.draw(rows, "macs", "multiply-adds", tmp_path / "a.png", Rows="digest")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Rows"] == "digest"
        assert picture.width == pytest.approx(2 * 6.5 * 120, abs=2)
    assert not charts.draw(rows, "latency_p50", "latency", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists(), "a picture without figures is not left from an earlier run"


def test_accuracies_are_those_of_the_entries(verb: Verb) -> None:
    assert verb("benchmark", "alexnet", "c3d", "linear", "measure=accuracy")[0] == 0
    alexnet, c3d, linear = read_rows(RESULTS)
    stated = next(iter(entries_of("alexnet").values())).accuracies[0]
    assert (alexnet.accuracy, alexnet.accuracy_what) == (stated.percent, "top-1 on ImageNet-1K val")
    assert alexnet.accuracy_from == "published"
    assert "which no data= of this project reads" in alexnet.notes[0]
    assert c3d.accuracy is None
    assert linear.accuracy is None
    assert json.loads((RESULTS / "benchmark.json").read_text())[0]["mode"] == ""


@pytest.mark.realdata
def test_an_accuracy_is_measured_where_the_data_are(verb: Verb, real_data: Callable[[str], Path]) -> None:
    root = real_data("FashionMNIST").parent
    status, _, err = verb("benchmark", "lenet5", "measure=accuracy", f"data.root={root}")
    assert status == 0, err
    (row,) = read_rows(RESULTS)
    assert row.accuracy == pytest.approx(89.04, abs=0.1)
    assert (row.accuracy_from, row.weights, row.notes) == ("measured", "lenet5:fashion_mnist", [])
