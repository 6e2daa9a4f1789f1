"""A sweep's table and chart, of results written by hand."""

import csv
import json
import os
import shlex
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.common.words import markdown
from zoo.run.resume import Savepoints
from zoo.run.sweep import grouped, summarize


def result(folder: Path, number: int, overrides: list[str], score: float, seed: int = 0) -> dict[str, Any]:
    content = {
        "names": {"model": overrides[0].removeprefix("model="), "task": "video_classification", "data": "motion_digits"},
        "overrides": overrides,
        "seed": seed,
        "metric": "accuracy",
        "test": score,
        "val": score,
        "scored": 600,
        "parameters": 1000,
        "macs": 2000,
        "shape": [3, 16, 32, 32],
        "seconds": 12.0,
        "device": "cpu",
        "precision": "32-true",
        "versions": "torch",
        "landmarks": {"one frame": 1 / 6, "blind to order": 1 / 2},
    }
    (folder / str(number)).mkdir(parents=True)
    (folder / str(number) / "result.json").write_text(json.dumps(content))
    return content


def test_runs_that_differ_by_their_seed_are_one_line(tmp_path: Path) -> None:
    runs = [
        result(tmp_path, k, [f"model={model}", "trainer.max_epochs=2", f"seed={seed}"], score, seed)
        for k, (model, seed, score) in enumerate([("c3d", 0, 0.9), ("c3d", 1, 0.94), ("single_frame", 0, 0.17)])
    ]
    assert {name: [run["seed"] for run in its] for name, its in grouped(runs).items()} == {"c3d": [0, 1], "single_frame": [0]}
    assert summarize(tmp_path) == runs
    lines = (tmp_path / "sweep.md").read_text().splitlines()[2:4]
    assert lines[0].startswith(
        f"| c3d | motion_digits | accuracy 0.920 ± {statistics.stdev([0.9, 0.94]):.3f} | 600 | 1,000 | 2,000 at"
    )
    assert "| single_frame | motion_digits | accuracy 0.170 | 600 |" in lines[1]


def test_settings_that_tell_runs_apart_name_them(tmp_path: Path) -> None:
    runs = [result(tmp_path, k, ["model=late_fusion", f"model.fusion={kind}"], 0.5) for k, kind in enumerate(("fc", "pool"))]
    assert list(grouped(runs)) == ["model.fusion=fc", "model.fusion=pool"]


def test_bars_are_as_long_as_the_scores(tmp_path: Path) -> None:
    """On the pixels: the blue bar of 0.8 is twice as long as that of 0.4."""
    for number, (name, score) in enumerate((("c3d", 0.8), ("r3d_18", 0.4))):
        result(tmp_path, number, [f"model={name}"], score)
    summarize(tmp_path)
    with Image.open(tmp_path / "sweep.png") as chart:
        pixels = np.asarray(chart.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 2] > 120)
    lengths = blue.sum(1)
    longest, rows = lengths.max(), np.flatnonzero(lengths > 20)
    second = np.median(lengths[rows[len(rows) * 3 // 4 :]])
    assert abs(longest / second - 2) < 0.15


def test_a_folder_without_results_gets_no_table(tmp_path: Path) -> None:
    assert summarize(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_sweep_outlives_a_run_that_fails(verb: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Whatever it fails of: a sentence for the user, or a mistake of ours. The table names it."""
    settings = ("-m", "model=linear", "optimizer=sgd", "trainer.max_epochs=1", "trainer.limit_train_batches=3")
    settings = (*settings, "data.num_workers=0", "callbacks.pictures=null", "hydra.sweep.dir=all")
    status, out, err = verb("train", *settings, "optimizer.lr=0.01,1e30,0.001")
    assert status == 1
    assert "Traceback" not in err
    (said,) = [line.removeprefix("Error: ") for line in err.splitlines() if line.startswith("Error: ")]
    assert sorted(path.parent.name[0] for path in (tmp_path / "all").glob("*/result.json")) == ["0", "2"]
    table = (tmp_path / "all" / "sweep.md").read_text()
    assert table in out
    assert f"failed: {markdown(said)}" in table
    assert table.count("| accuracy ") == 2
    with (tmp_path / "all" / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(bool(row["error"]) for row in rows) == [False, False, True]


def test_an_interrupted_sweep_goes_on_by_the_command_that_it_prints(
    verb: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("-m", "model=linear,mlp", "trainer.max_epochs=1", "trainer.limit_train_batches=3", "callbacks.pictures=null")
    start = Savepoints.on_train_start

    def stopped(self: Savepoints, trainer: Any, task: Any) -> None:
        start(self, trainer, task)
        if task.recipe["names"]["model"] == "mlp":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Savepoints, "on_train_start", stopped)
    status, out, _ = verb("train", *settings, "hydra.sweep.dir=all, of them")
    assert status == 75
    assert "| linear | digits | accuracy" in (tmp_path / "all, of them" / "sweep.md").read_text()
    (command,) = [line for line in out.splitlines() if line.startswith("python -m zoo.train")]
    monkeypatch.setattr(Savepoints, "on_train_start", start)
    status, out, err = verb("train", *shlex.split(command)[3:])
    assert status == 0, err
    table = (tmp_path / "all, of them" / "sweep.md").read_text()
    assert "| linear | digits | accuracy" in table
    assert "| mlp | digits | accuracy" in table


def test_an_outcome_that_cannot_be_read_is_named_and_the_others_are_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = result(tmp_path, 0, ["model=c3d"], 0.9)
    contents = [b"", b"{", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000, json.dumps({**good, "landmarks": 0}).encode()[:-20]]
    for number, content in enumerate(contents, 1):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "result.json").write_bytes(content)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "result.json")
    assert summarize(tmp_path) == [good]
    assert "c3d" in (tmp_path / "sweep.md").read_text()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(contents) + 1
    assert all("result.json is no outcome of this version" in line for line in lines)


def test_the_published_page_says_what_its_table_of_runs_says() -> None:
    """Of benchmarks/results/motion_digits: each row's mean and spread, and the seeds that the notes list."""
    place = Path(__file__).parents[2] / "benchmarks" / "results" / "motion_digits"
    with (place / "sweep.csv").open() as stream:
        runs = list(csv.DictReader(stream))
    page, notes = (place / "sweep.md").read_text(), " ".join((place / "notes.md").read_text().split())
    for name in {run["run"] for run in runs}:
        own = [run for run in runs if run["run"] == name]
        scores = [float(run["test"]) for run in own]
        spread = f" ± {statistics.stdev(scores):.3f}" if len(own) > 1 else ""
        (line,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| accuracy {statistics.mean(scores):.3f}{spread} | {int(own[0]['scored']):,} |" in line
        assert f"| {', '.join(run['seed'] for run in own)} |" in line
        if spread:
            *others, last = (f"{score:.3f}" for score in scores)
            assert f"{', '.join(others)} and {last}, {statistics.mean(scores):.3f}{spread}" in notes, name
    assert page.count(" | motion_digits | ") == len({run["run"] for run in runs})
