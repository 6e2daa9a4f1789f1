"""Verify published weights: `python -m zoo.verify NAME[:TAG] [tolerance=0.1] [key=value ...]`.

Measures every accuracy that the weights' entry states, by the protocol that it states, and compares. The exit status is 1
where a figure differs by more than the tolerance (percentage points; the entry's own unless it is given), or where the
data are missing. Settings are those of `python -m zoo.evaluate`: data.root=FOLDER, trainer.accelerator=cpu.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import cli
from zoo import config as run
from zoo.words import printable

if TYPE_CHECKING:
    from zoo.models._entries import Accuracy

_METRICS = {"top-1": "accuracy", "top-5": "accuracy_top5"}
"""What publishers and tasks call the same figure."""


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


def verify(name: str, tag: str | None = None, overrides: Sequence[str] = (), tolerance: float | None = None) -> list[Verdict]:
    """Measure what an entry states. Raises ValueError where it states nothing, or the file or the data are not there."""
    from zoo.evaluate import evaluate
    from zoo.models._entries import get_weights

    entry = get_weights(name, tag)
    weights = f"{name}:{entry.tag}"
    if not entry.accuracies:
        raise ValueError(f"{weights} states no accuracy, so there is nothing to verify.")
    for accuracy in entry.accuracies:
        if not (run.CONF / "data" / f"{accuracy.data}.yaml").is_file():
            raise ValueError(f"{weights} states its accuracy on {accuracy.data}, which no data= of this project reads.")
    verdicts = []
    for accuracy in entry.accuracies:
        scales = [f"data.scales=[{entry.resize}]"] if entry.resize else []
        scores = evaluate(weights, [f"data={accuracy.data}", *scales, *overrides], accuracy.split)
        measured = 100 * scores[f"{accuracy.split}/{_METRICS.get(accuracy.metric, accuracy.metric)}"]
        verdicts.append(Verdict(weights, accuracy, measured, accuracy.tolerance if tolerance is None else tolerance))
    return verdicts


def _main(arguments: list[str]) -> None:
    from zoo.models._registry import list_models

    name, _, tag = arguments[0].partition(":")
    if name not in list_models() and Path(arguments[0]).exists():
        raise ValueError(f"{arguments[0]} is no name of published weights; a run is scored by python -m zoo.evaluate.")
    given = [a.partition("=")[2] for a in arguments[1:] if a.startswith("tolerance=")]
    rest = [a for a in arguments[1:] if not a.startswith("tolerance=")]
    for argument in rest:
        if "=" not in argument:
            raise ValueError(f"{argument} is not a setting (key=value); one set of weights is verified at a time.")
    try:
        tolerance = float(given[-1]) if given else None
    except ValueError:
        raise ValueError(f"tolerance is {given[-1]}; it is a number of percentage points: tolerance=0.1") from None
    verdicts = verify(name, tag or None, run.literal_paths(rest), tolerance)
    for verdict in verdicts:
        print(f"{printable(verdict)}\nprotocol {printable(verdict.published.protocol)}")
    if wrong := [verdict for verdict in verdicts if not verdict.holds]:
        raise ValueError(f"{'; '.join(map(str, wrong))}.")


def main() -> None:
    cli.verb(_main, __doc__)


if __name__ == "__main__":
    main()
