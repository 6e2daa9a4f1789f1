"""The outcome of a study: files, a table and pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.common.words import caption, code, markdown, shell_word


@dataclass
class Outcome:
    """What one seed measured, as plain values; the file seed-N.json."""

    settings: dict[str, Any]
    """All but the seed: the seeds of one study agree in them."""
    seed: int
    versions: str
    pretext: dict[str, Any] = field(default_factory=dict)
    """Pretext accuracy on test and its confusion by class."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """For a share and an arm: val and test accuracy and what was chosen."""
    curves: list[dict[str, Any]] = field(default_factory=list)
    """For a share and an arm: validation accuracy after so many steps."""
    subsets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For a share: how many labels of each class, and the places in the training split of those that were used."""


def write(outcomes: Sequence[Outcome], folder: Path) -> None:
    """The table, study.md, and the pictures."""
    from zoo.common.places import write_whole

    write_whole(folder / "study.md", table(outcomes).encode())
    _draw(outcomes, folder)


def _scores(outcomes: Sequence[Outcome], arm: str, share: float) -> list[float]:
    return [row["test"] for outcome in outcomes for row in outcome.rows if (row["arm"], row["share"]) == (arm, share)]


def table(outcomes: Sequence[Outcome]) -> str:
    """Mean and spread over the seeds: arms down, shares across; and by how much the best pretrained arm beats scratch."""
    from zoo.study.probes import MOST_NEIGHBORS

    settings = outcomes[0].settings
    shares = sorted(settings["shares"])
    command = (
        f"python -m zoo.study {' '.join(map(shell_word, settings['overrides']))} "
        f"seeds={','.join(str(each.seed) for each in outcomes)} "
        f"shares={','.join(f'{s:g}' for s in settings['shares'])} pretext.max_epochs={settings['pretext_epochs']}"
    )
    pretext = _spoken([each.pretext["accuracy"] for each in outcomes])
    lines = [
        "# Rotation study\n\n",
        f"{code(command)}\n\n",
        f"{outcomes[0].versions}. Test accuracy in %, mean ± deviation over {len(outcomes)} seeds; everything is "
        f"chosen on validation, test is scored once with the choice. k-NN looks at {MOST_NEIGHBORS:,} labels at most.\n\n",
        f"Pretext: {pretext} of the test images' four rotations are told.\n\n",
        "| arm | " + " | ".join(f"{share:g} % of the labels" for share in shares) + " |\n|---|" + "---:|" * len(shares) + "\n",
    ]
    for arm in dict.fromkeys(row["arm"] for row in outcomes[0].rows):
        cells = [_spoken(_scores(outcomes, arm, share)) for share in shares]
        lines.append(f"| {markdown(arm)} | {' | '.join(cells)} |\n")
    lines.append("\n")
    for share in shares:
        gains = [_gain(outcome, share) for outcome in outcomes]
        arms = ", ".join(dict.fromkeys(markdown(arm) for arm, _ in gains))
        lines.append(
            f"At {share:g} % of the labels the pretrained arm that is best on validation ({arms}) "
            f"gains {_spoken([gain for _, gain in gains])} points on scratch.\n"
        )
    return "".join(lines)


def _gain(outcome: Outcome, share: float) -> tuple[str, float]:
    """The pretrained arm that is best on validation, and its test accuracy less that from scratch."""
    rows = {row["arm"]: row for row in outcome.rows if row["share"] == share}
    scratch = rows.pop("scratch")
    rows.pop("k-NN, pixels")
    best = max(rows.values(), key=lambda row: row["val"])
    return best["arm"], best["test"] - scratch["test"]


def _spoken(values: Sequence[float]) -> str:
    import statistics

    if not values:
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def _draw(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Accuracy over the share of labels, the learning curves, and the pretext's confusion by class."""
    import statistics

    from matplotlib.figure import Figure

    from zoo.common.draw import save

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    shares = sorted(outcomes[0].settings["shares"])
    for arm in dict.fromkeys(row["arm"] for row in outcomes[0].rows):
        scores = [[100 * score for score in _scores(outcomes, arm, share)] for share in shares]
        spread = [statistics.stdev(s) if len(s) > 1 else 0.0 for s in scores]
        style = "k-o" if arm == "scratch" else "o:" if "k-NN" in arm else "o-" if arm == "fine-tuned" else "o--"
        panel.errorbar(
            shares, [statistics.mean(s) for s in scores], spread, fmt=style, capsize=3, markersize=4, label=caption(arm)
        )
    panel.set(
        xscale="log", xlabel="% of the labels", ylabel="test accuracy, %", xticks=shares, xticklabels=[f"{s:g}" for s in shares]
    )
    panel.grid(alpha=0.3)
    panel.legend(fontsize=7)
    save(figure, folder / "accuracy.png", dpi=130)

    figure = Figure(figsize=(3.6 * len(shares), 3.4), layout="constrained")
    for panel, share in zip(figure.subplots(1, len(shares), squeeze=False)[0], shares, strict=True):
        for arm, color in (("scratch", "black"), ("fine-tuned", "tab:blue")):
            curves = [curve for outcome in outcomes for curve in outcome.curves]
            for number, each in enumerate(c for c in curves if (c["arm"], c["share"]) == (arm, share)):
                steps, values = zip(*each["curve"], strict=True)
                panel.plot(
                    steps, [100 * v for v in values], color=color, alpha=0.6, label=caption(arm) if number == 0 else None
                )
        panel.set(title=f"{share:g} % of the labels", xlabel="step", ylabel="validation accuracy, %")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    save(figure, folder / "curves.png", dpi=120)

    last = outcomes[-1].pretext
    columns = math.ceil(len(last["classes"]) / 2)
    figure = Figure(figsize=(1.9 * columns, 4.4), layout="constrained")
    panels = figure.subplots(2, columns, squeeze=False).flatten()
    turns = ["0", "90", "180", "270"]
    for panel in panels[len(last["classes"]) :]:
        panel.set_axis_off()
    for panel, name, matrix in zip(panels, last["classes"], last["confusion"], strict=False):
        panel.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
        for row in range(4):
            for column in range(4):
                value = matrix[row][column]
                panel.text(
                    column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color="w" if value > 0.5 else "k"
                )
        panel.set(title=caption(name), xticks=range(4), yticks=range(4), xticklabels=turns, yticklabels=turns)
        panel.tick_params(labelsize=6)
        panel.title.set_fontsize(8)
    figure.supxlabel("told", fontsize=8)
    figure.supylabel("turned by, degrees", fontsize=8)
    save(figure, folder / "confusion.png", dpi=130)
