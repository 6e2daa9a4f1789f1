"""Measure networks: their cost, their accuracy, their speed and memory."""

import contextlib
import io
import itertools
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from zoo.benchmark.rows import Row, read_rows, write_rows
from zoo.common.places import exists
from zoo.common.progress import beating
from zoo.common.words import nearest, printable
from zoo.run import cli
from zoo.run.compose import check_overrides, choices_of, quoted
from zoo.run.folder import place
from zoo.run.grammar import Named, Within, value_of
from zoo.run.recipe import named_net, names_a_run, read_checkpoint

Phase = Literal["training", "inference", "accuracy"]
Mode = Literal["eager", "compiled"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Layout = Literal["auto", "contiguous", "channels_last"]


@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    measure: tuple[Phase, ...] = ("training", "inference", "accuracy")
    """What to measure: training, inference, accuracy."""
    mode: tuple[Mode, ...] = ("eager", "compiled")
    """As it is, and by torch.compile."""
    precision: tuple[Precision, ...] = ("auto",)
    """32-true, bf16-mixed, or both; auto is what a run would take."""
    layout: tuple[Layout, ...] = ("auto",)
    """The order of memory: contiguous, channels_last, or both; auto is the task's."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where, one at a time."""
    batch: int = 16
    """Samples; halved where they do not fit into memory."""
    seconds: float = 2.0
    """For how long to measure each figure, at least."""
    limit: float | None = None
    """GiB of memory on a CPU; all that is free if null."""
    root: Annotated[str | None, Named("data.root")] = None
    """The folder of the data sets on which accuracies are measured; $ZOO_DATA if null."""
    folder: Path = Path("runs/benchmark")
    """Where the results go; a model measured again replaces its rows."""
    overrides: Annotated[tuple[str, ...], Within(("size", "input_shape", "model", "task", "optimizer"))] = ()
    """Settings of the networks and steps."""

    def __post_init__(self) -> None:
        hints = get_type_hints(Options)
        for name in ("measure", "mode", "precision", "layout", "device"):
            said = getattr(self, name)
            object.__setattr__(self, name, value_of(name, said if isinstance(said, str) else ",".join(said), hints[name]))
        for name in ("batch", "seconds", "limit"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} is {value:g}; it is a {'whole ' * (name == 'batch')}number above 0.")


def chosen_models(patterns: Sequence[str]) -> list[str]:
    """The models that the patterns choose, each once, and the folders of runs as they are called. Raises ValueError for a
    pattern that chooses none."""
    from zoo.models._list import list_models

    runs = [each for each in patterns if not list_models(each)]
    for pattern in runs:
        if not exists(place(pattern)):
            bare = re.sub(r"[*?\[\]]", "", pattern)
            raise ValueError(f"No model matches {pattern!r}; {nearest(bare, list_models())}")
        read_checkpoint(pattern)
    models = [each for each in patterns if each not in runs]
    return [*(list_models(models) if models else []), *dict.fromkeys(runs)]


@cli.in_python
def benchmark(patterns: Sequence[str], options: Options = Options()) -> list[Row]:
    """Measure the models that the patterns choose, and write the table, the pictures and the page.

    Args:
        patterns: at least one name or pattern of models ("resnet*"), or a run folder.
        options: what is measured, and how.

    Returns:
        The rows of the folder, those of earlier calls included.

    Raises:
        ValueError: a pattern that chooses nothing, settings that do not exist, a device that is not there.
    """
    import torch

    from zoo.benchmark import charts

    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device here: device=cpu")
    names = chosen_models(patterns)
    for name in names if options.overrides else ():
        if not names_a_run(name):  # a run's settings are checked as it is opened
            check_overrides([f"model={name}", *options.overrides])
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(folder)
    try:
        for name in names:
            fresh: list[Row] = []
            for row in _rows(name, options):
                fresh.append(row)
                rows = [each for each in rows if each.model != name] + fresh
                write_rows(rows, folder)
                print(charts.line(row), flush=True)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            charts.write(rows, folder)
        raise
    charts.write(rows, folder)
    return rows


# One model


def _rows(name: str, options: Options) -> Iterator[Row]:
    """The rows of a model, each as soon as it is measured."""
    import torch

    from zoo.common import bfloat16
    from zoo.run.result import hardware, versions

    cost, config = _cost(name, options.overrides)
    base = _with_accuracy(cost, options)
    if not {"training", "inference"} & set(options.measure):
        yield base
        return
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    base = replace(
        base,
        device=device,
        hardware=torch.cuda.get_device_name() if device == "cuda" else hardware(),
        versions=versions(),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    usual = {"precision": bfloat16.precision(str(config.trainer.precision), device == "cuda")}
    usual["layout"] = "channels_last" if config.task.channels_last else "contiguous"
    precisions = dict.fromkeys(usual["precision"] if each == "auto" else each for each in options.precision)
    layouts = dict.fromkeys(usual["layout"] if each == "auto" else each for each in options.layout)
    for precision, layout, mode in itertools.product(precisions, layouts, options.mode):
        row = replace(base, mode=mode, precision=precision, layout=layout, notes=list(base.notes))
        for phase in ("training", "inference"):
            if phase in options.measure:
                row = _with_times(row, phase, options)
        yield row


def _cost(name: str, overrides: Sequence[str]) -> tuple[Row, Any]:
    import torch

    from zoo.flops.count import profile
    from zoo.models._registry import get_builder

    with torch.device("meta"):
        config, net, shape = named_net(name, overrides)
    cost = profile(net, shape)
    row = Row(
        model=name,
        family=get_builder(config.model.name).__module__.rpartition(".")[2],
        task=choices_of(config)["task"],
        input_shape=" x ".join(map(str, shape)),
        params=cost.params,
        macs=cost.macs,
        flops=cost.flops,
        no_formula=", ".join(cost.missing),
    )
    return row, config


def _with_accuracy(row: Row, options: Options) -> Row:
    """The accuracy of the default weights, or of the run: measured where that is possible, else as it is stated."""
    from zoo.models._entries import entries_of
    from zoo.verify import verify_weights

    if names_a_run(row.model):
        return _with_result(row, options)
    entry = next(iter(entries_of(row.model).values()), None)
    if entry is None or not entry.accuracies:
        return row
    stated = entry.accuracies[0]
    row = replace(row, weights=f"{row.model}:{entry.tag}", accuracy_what=stated.what)
    root = [] if options.root is None else [f"data.root={quoted(options.root)}"]
    if "accuracy" in options.measure:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = verify_weights(row.model, entry.tag, root)[0]
        except ValueError as error:
            row = replace(row, notes=[*row.notes, f"accuracy not measured: {error}"])
        else:
            off = [] if found.holds else [f"accuracy: {found}"]
            return replace(row, accuracy=round(found.measured, 2), accuracy_from="measured", notes=[*row.notes, *off])
    return replace(row, accuracy=stated.percent, accuracy_from="published")


def _with_result(row: Row, options: Options) -> Row:
    """A run's own figure. One that is no share of something is left to its result.json."""
    from zoo.common.places import read_outcome
    from zoo.verify import RESULT, verify_run

    try:
        result = read_outcome(Path(place(row.model)) / RESULT, "metric", "test", "names")
        what, value, data = result["metric"], float(result["test"]), result["names"]["data"]
    except (ValueError, TypeError, LookupError):  # not finished, or a checkpoint alone
        return row
    if not 0 <= value <= 1:
        return row
    row = replace(row, accuracy_what=f"{what} on {data} test", accuracy=round(100 * value, 2), accuracy_from=RESULT)
    if "accuracy" not in options.measure:
        return row
    root = [] if options.root is None else [f"data.root={quoted(options.root)}"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = verify_run(row.model, root)[0]
    except ValueError as error:
        return replace(row, notes=[*row.notes, f"accuracy not measured: {error}"])
    off = [] if found.holds else [f"accuracy: {found}"]
    return replace(row, accuracy=round(100 * found.measured, 2), accuracy_from="measured", notes=[*row.notes, *off])


def _with_times(row: Row, phase: str, options: Options) -> Row:
    """One trial, its batch halved until it fits."""
    from zoo.benchmark.timing import NoMemoryError, Trial, timed

    trial = Trial(
        model=row.model,
        overrides=options.overrides,
        training=phase == "training",
        device=row.device,
        mode=row.mode,
        precision=row.precision,
        layout=row.layout,
        batch=options.batch,
        seconds=options.seconds,
        limit=None if options.limit is None else int(options.limit * 2**30),
    )
    notes = list(row.notes)
    while True:
        try:
            with beating(f"{row.model}, {row.mode} {phase}"):
                timing = timed(trial)
            break
        except NoMemoryError:
            if trial.batch == 1:
                return replace(row, notes=[*notes, f"{phase}: not even one sample fits into memory"])
            notes.append(f"{phase}: a batch of {trial.batch} does not fit into memory, halved")
            print(f"{row.model}, {notes[-1]} to {trial.batch // 2}", flush=True)
            trial = replace(trial, batch=trial.batch // 2)
        except ValueError as error:
            print(printable(f"{row.model}, {row.mode} {phase} failed: {error}"), flush=True)
            return replace(row, notes=[*notes, f"{phase} failed: {error}"])
    if not timing.finite:
        notes.append(f"{phase}: the result is not finite")
    rates = [trial.batch / seconds for seconds in timing.steps]
    found: dict[str, Any] = {
        f"{phase}_batch": trial.batch,
        f"{phase}_rate": statistics.median(rates),
        f"{phase}_low": min(rates),
        f"{phase}_high": max(rates),
        f"{phase}_memory": timing.memory,
    }
    if timing.latencies:
        ordered = [1000 * seconds for seconds in timing.latencies]
        found["latency_p50"] = statistics.median(ordered)
        found["latency_p95"] = statistics.quantiles(ordered, n=20, method="inclusive")[-1]
    return replace(row, **found, notes=notes)
