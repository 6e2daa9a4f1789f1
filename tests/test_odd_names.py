"""Names that others gave, at every place where a verb shows them: see `test_words.py` for the functions that escape them."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torch import nn

from tests.common.test_words import FILE_NAMES, ODD_NAMES, is_one_plain_line
from zoo import profile
from zoo.benchmark import charts
from zoo.benchmark import rows as rows_of
from zoo.common import draw
from zoo.run import pictures, report, sweep
from zoo.study import compare

Verb = Callable[..., tuple[int, str, str]]


def result(name: str, seed: int) -> dict[str, Any]:
    return {
        "names": {"model": name, "data": name, "task": name},
        "overrides": [f"model={name}", f"data.root={name}", f"seed={seed}"],
        "seed": seed,
        "metric": name or "accuracy",
        "test": 0.5 + seed / 10,
        "val": None,
        "scored": 10,
        "parameters": 10,
        "macs": 10,
        "shape": [1, 2, 2],
        "seconds": 1.0,
        "device": name,
        "precision": name,
        "versions": name,
        "landmarks": {name: 0.5},
    }


def sweeps(folder: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        place = folder / str(number)
        place.mkdir()
        (place / "result.json").write_text(json.dumps(result(name, number % 2)))
    sweep.summarize(folder)
    print((folder / "sweep.md").read_text())


def studies(folder: Path) -> None:
    settings = {"overrides": [*ODD_NAMES], "shares": [100.0], "pretext_epochs": 1}
    outcome = compare.Outcome(settings, 0, "versions")
    outcome.pretext = {
        "accuracy": 0.5,
        "classes": list(ODD_NAMES[-8:]),
        "confusion": torch.eye(4).expand(8, 4, 4).tolist(),
    }
    for share in settings["shares"]:
        for arm in ("scratch", "k-NN, pixels", *ODD_NAMES):
            compare._book(outcome, share, arm, 0.5, 0.5, arm)
        outcome.curves.append({"share": share, "arm": "scratch", "curve": [(1, 0.1), (2, 0.2)]})
    compare.write([outcome], folder)


def benchmarks(folder: Path) -> None:
    words = ("family", "task", "input_shape", "no_formula", "weights", "accuracy_what", "accuracy_from", "device", "mode")
    words = (*words, "precision", "layout", "hardware", "versions", "date")
    rows = [
        rows_of.Row(
            model=name,
            **dict.fromkeys(words, name),
            params=1,
            macs=1 + number,
            flops=2,
            accuracy=float("nan") if number == 3 else 50.0,
            latency_p50=1.0,
            latency_p95=2.0,
            notes=[name, name],
        )
        for number, name in enumerate(ODD_NAMES)
    ]
    rows_of.write_rows(rows, folder)
    charts.write([row for row in rows if row.accuracy == 50.0][:4], folder)  # as many panels as there are kinds
    (folder / "benchmark.md").write_text(charts.table(rows))
    (folder / "benchmark.html").write_text(charts.page(rows))
    for row in rows:
        print(charts.line(row))
    assert [asdict(row)["model"] for row in rows_of.read_rows(folder)] == [*ODD_NAMES]


def costs(folder: Path) -> None:
    net = nn.Sequential()
    for name in ODD_NAMES:
        if name and "." not in name:
            net.add_module(name, nn.Linear(2, 2))
    print(profile(net, (2,)))


def blocks(folder: Path) -> None:
    report.block({name: name for name in ODD_NAMES})
    data = SimpleNamespace(skipped={name: name for name in ODD_NAMES}, skipped_groups={name: name for name in ODD_NAMES})
    report.name_bad(cast("Any", data))
    report.parts(cast("Any", SimpleNamespace(rows=lambda: [(name, 1, "trained") for name in ODD_NAMES])))


def curves(folder: Path) -> None:
    with (folder / "metrics.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        names = [name for name in ODD_NAMES if "/" not in name and "\0" not in name and name.isprintable()]
        table.writerow(["step", *(f"val/{name}" for name in names)])
        table.writerow([1, *(0.5 for _ in names)])
    assert pictures.draw_curves(folder)
    (folder / "metrics.csv").unlink()


def objects(folder: Path) -> None:
    found = {
        "boxes": torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(len(ODD_NAMES), 4),
        "labels": torch.arange(1, len(ODD_NAMES) + 1),
        "scores": torch.ones(len(ODD_NAMES)),
    }
    draw.objects(torch.zeros(3, 20, 20, dtype=torch.uint8), found, ODD_NAMES)


PLACES = (sweeps, studies, benchmarks, costs, blocks, curves, objects)


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


def written(folder: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob(f"*{suffix}")):
        yield path, path.read_bytes().decode()  # UTF-8, or it fails


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_names_are_text_wherever_they_are_shown(
    place: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path)
    out, err = capsys.readouterr()
    for text in (out, err, *(text for suffix in (".md", ".csv", ".json", ".html") for _, text in written(tmp_path, suffix))):
        assert all(map(is_one_plain_line, text.replace("\r\n", "\n").split("\n")))
    for path, text in written(tmp_path, ".md"):
        assert "<" not in re.sub(r"(`+).*?\1", "", text), path
        tables = [line for line in text.split("\n") if line.startswith("|")]
        assert {cells(line) for line in tables} == {cells(tables[0])}, path
    for path, text in written(tmp_path, ".csv"):
        head, *lines = csv.reader(io.StringIO(text))
        assert text.count("\n") == len(lines) + 1 == len(ODD_NAMES) + 1, path
        assert all(len(line) == len(head) for line in lines), path
        assert not [cell for line in lines for cell in line if cell[:1] in ("=", "+", "-", "@") and not words_number(cell)], (
            path
        )
    for _, text in written(tmp_path, ".json"):
        json.loads(text, parse_constant=pytest.fail)
    for _, text in written(tmp_path, ".html"):
        (data,) = re.findall(r"^const rows = (.*);$", text, re.M)
        assert not set("<>&") & set(data)
        assert [row["model"] for row in json.loads(data, parse_constant=pytest.fail)] == [*ODD_NAMES]


def words_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None


def test_classes_and_files_of_odd_names_from_training_to_prediction(verb: Verb, tmp_path: Path) -> None:
    names = [name.replace("/", "-") for name in FILE_NAMES if "${" not in name]
    for label, name in enumerate(names):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), 9 * label + number).save(tmp_path / "set" / name / f"{number}.png")
        (tmp_path / "set" / name / "0.png").rename(tmp_path / "set" / name / f"{name}.png")
        (tmp_path / "set" / name / f"torn {name}.png").write_bytes(b"no picture")
    own = ("data=image_folder", "data.root=set", "data.shape=[1,8,8]", "data.num_workers=0", "data.max_bad=0.5")
    small = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "model=linear", f"hydra.run.dir={tmp_path}/run")
    said = [verb("train", *own, *small), verb("evaluate", "run"), verb("predict", "run", "set", "top_k=3", "json=-")]
    said.append(verb("prepare", "image_folder", "set"))
    other = ("data.root=other", "trainer.accelerator=cpu")
    (tmp_path / "other").mkdir()
    for name in names[:2]:
        (tmp_path / "other" / f"other {name}").mkdir()
        Image.new("L", (8, 8)).save(tmp_path / "other" / f"other {name}" / "0.png")
        Image.new("L", (8, 8)).save(tmp_path / "other" / f"other {name}" / "1.png")
    said += [verb("evaluate", "run", *other), verb("predict", "run", f"no {names[0]}")]
    assert [status for status, _, _ in said[:3]] == [0, 0, 0], said
    (tmp_path / "set" / "${oc.env:HOME}").mkdir()
    for number in range(5):
        Image.new("L", (8, 8)).save(tmp_path / "set" / "${oc.env:HOME}" / f"{number}.png")
    said.append(verb("train", *own, *small[:-1]))
    assert "A class is called '${oc.env:HOME}'; a name may not hold ${. Rename it." in said[-1][2]
    for _, out, err in said:
        for line in (out + err).split("\n"):
            assert is_one_plain_line(line), line
    assert len(said[2][1].splitlines()) == 6 * len(names)
    for line in said[2][1].splitlines():
        json.loads(line, parse_constant=pytest.fail)
    for name in ("result.json", "metrics.csv"):
        content = (tmp_path / "run" / name).read_bytes().decode()
        assert all(map(is_one_plain_line, content.replace("\r\n", "\n").split("\n")))
