"""Measure published weights or a run again, and compare with what is stated: `zoo verify lenet5:fashion_mnist`.

Of published weights it measures every accuracy that their entry states, by the protocol that it states; of a run what its
result.json states, with the checkpoint that `zoo evaluate` takes. The exit status is 1 where a figure differs by more than the
tolerance, where it would be measured by another protocol, or where the data are missing. Settings are those of
`zoo evaluate`: data.root=FOLDER, trainer.accelerator=cpu.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.common.places import CONF
from zoo.common.words import printable
from zoo.run import cli
from zoo.run.folder import place
from zoo.run.published import overrides_of
from zoo.run.recipe import names_a_run

if TYPE_CHECKING:
    from zoo.models._entry import Accuracy

_METRICS = {"top-1": "accuracy", "top-5": "accuracy_top5"}
"""What publishers and tasks call the same figure."""
RESULT = "result.json"


@dataclass(frozen=True)
class Verdict:
    """A published figure beside what came out here, in per cent."""

    weights: str
    published: "Accuracy"
    measured: float
    tolerance: float

    @property
    def difference(self) -> float:
        return self.measured - self.published.percent

    @property
    def holds(self) -> bool:
        return abs(self.difference) <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.weights} has {self.measured:.2f} % {self.published.what}, published {self.published.percent:g} %: "
            f"{self.difference:+.2f} points, {self.tolerance:g} allowed"
        )


@dataclass(frozen=True)
class RunVerdict:
    """A figure of a run's result.json beside what came out here."""

    run: str
    metric: str
    stated: float
    measured: float
    tolerance: float
    """In hundredths of what was stated, or of 1 if that was less: an accuracy's percentage points."""

    @property
    def holds(self) -> bool:
        return abs(self.measured - self.stated) <= self.tolerance / 100 * max(1.0, abs(self.stated))

    def __str__(self) -> str:
        return (
            f"{self.run} has {self.metric} {self.measured:.6g}, {RESULT} says {self.stated:.6g}: "
            f"{self.measured - self.stated:+.2g}, {self.tolerance / 100 * max(1.0, abs(self.stated)):.2g} allowed"
        )


@cli.in_python
def verify(
    name: str | Path, overrides: Sequence[str] = (), tolerance: float | None = None
) -> "Sequence[Verdict] | Sequence[RunVerdict]":
    """Measure the figures of published weights or of a run again, each by its stated protocol.

    Args:
        name: weights, MODEL[:TAG], or a run's folder.
        overrides: settings that replace the recipe's, as on the command line: `["data.root=FOLDER"]`.
        tolerance: percentage points by which a figure may differ; if null, the entry's own, and 0.1 of a run.

    Returns:
        What is stated beside what was measured, and whether it holds, for each figure.

    Raises:
        ValueError: nothing is stated, the file or the data are not there, or it would be measured by another protocol.
    """
    if tolerance is not None and tolerance < 0:
        raise ValueError(f"tolerance is {tolerance:g}; it is a number of percentage points, 0 or more.")
    if names_a_run(str(name)):
        return verify_run(name, overrides, tolerance)
    model, _, tag = str(name).partition(":")
    return verify_weights(model, tag or None, overrides, tolerance)


def verify_weights(
    name: str, tag: str | None = None, overrides: Sequence[str] = (), tolerance: float | None = None
) -> list[Verdict]:
    """Measure what an entry states. Raises ValueError where it states nothing, or the file or the data are not there."""
    from zoo.evaluate import Split, evaluate
    from zoo.models._entries import get_weights

    entry = get_weights(name, tag)
    weights = f"{name}:{entry.tag}"
    if not entry.accuracies:
        raise ValueError(f"{weights} states no accuracy, so there is nothing to verify.")
    for accuracy in entry.accuracies:
        if not (CONF / "data" / f"{accuracy.data}.yaml").is_file():
            raise ValueError(f"{weights} states its accuracy on {accuracy.data}, which no data= of this project reads.")
    verdicts = []
    measured_on: dict[tuple[str, str], dict[str, float]] = {}
    for accuracy in entry.accuracies:
        where = (accuracy.data, accuracy.split)
        if where not in measured_on:
            settings = [*overrides_of(entry, accuracy.data), *overrides]
            measured_on[where] = evaluate(weights, settings, cast(Split, accuracy.split))
        scores = measured_on[where]
        measured = 100 * scores[f"{accuracy.split}/{_METRICS.get(accuracy.metric, accuracy.metric)}"]
        verdicts.append(Verdict(weights, accuracy, measured, accuracy.tolerance if tolerance is None else tolerance))
    return verdicts


def verify_run(folder: str | Path, overrides: Sequence[str] = (), tolerance: float | None = None) -> list[RunVerdict]:
    """Measure what a run's result.json states on the test split again, the metric by which it chose first. Raises ValueError
    where it states nothing, or was measured in another way."""
    from zoo.common.places import read_outcome
    from zoo.evaluate import scored

    path = Path(place(str(folder))) / RESULT
    if not path.parent.is_dir() or not path.is_file():
        raise ValueError(f"{folder} states no figure to verify: it is not a finished run's folder, which holds a {RESULT}.")
    result = read_outcome(path, "metric", "test", "tests", "protocol")
    stated = (
        {str(result["metric"]): None, **result["tests"], str(result["metric"]): result["test"]}
        if isinstance(result["tests"], dict)
        else {}
    )
    if not stated or not all(isinstance(value, int | float) for value in stated.values()):
        raise ValueError(f"{path} is no outcome of this version. Score the run by python -m zoo.evaluate.")
    scores, how = scored(folder, overrides)
    if how.protocol != result["protocol"]:
        raise ValueError(
            f"{path} was measured by another protocol ({result['protocol']}) than here ({how.protocol}). Give the settings "
            f"that the run was scored with."
        )
    allowed = 0.1 if tolerance is None else tolerance
    return [RunVerdict(str(folder), name, value, scores[f"test/{name}"], allowed) for name, value in stated.items()]


@functools.wraps(verify)
def _main(*args: Any, **kwargs: Any) -> None:
    found = verify(*args, **kwargs)
    for verdict in found:
        print(printable(verdict))
        if isinstance(verdict, Verdict):
            print(f"protocol {printable(verdict.published.protocol)}")
    if wrong := [verdict for verdict in found if not verdict.holds]:
        raise ValueError(f"{'; '.join(map(str, wrong))}.")


def main() -> None:
    cli.command(_main)


if __name__ == "__main__":
    main()
