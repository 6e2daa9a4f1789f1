"""A sweep's table and chart, of results written by hand."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.sweep import grouped, summarise


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
    assert summarise(tmp_path) == runs
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
    summarise(tmp_path)
    with Image.open(tmp_path / "sweep.png") as chart:
        pixels = np.asarray(chart.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 2] > 120)
    lengths = blue.sum(1)
    longest, rows = lengths.max(), np.flatnonzero(lengths > 20)
    second = np.median(lengths[rows[len(rows) * 3 // 4 :]])
    assert abs(longest / second - 2) < 0.15


def test_a_folder_without_results_gets_no_table(tmp_path: Path) -> None:
    assert summarise(tmp_path) == []
    assert not list(tmp_path.iterdir())
