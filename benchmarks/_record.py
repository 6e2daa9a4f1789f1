"""What the measuring scripts share: running a recipe once per seed, and a result file that states its conditions."""

import contextlib
import io
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def train(settings: Sequence[str], folder: Path) -> dict[str, float]:
    """Train in a process of its own, or go on where an earlier call was interrupted, and score the test split."""
    best, finished = folder / "checkpoints/best.ckpt", folder / "finished"
    if not finished.exists():
        command = [sys.executable, "-m", "zoo.train", *settings, f"run_dir={folder}", "resume=auto"]
        print(shlex.join(["python", *command[1:]]), flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        finished.touch()
    from zoo.evaluate import evaluate

    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate(best)


def spread(values: Sequence[float]) -> str:
    """Accuracies in per cent: mean and standard deviation (n - 1), and each of them; a single one as it is."""
    each = [f"{100 * value:.2f}" for value in values]
    if len(values) == 1:
        return each[0]
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f} ({', '.join(each)})"


def write(name: str, title: str, protocol: str, rows: Sequence[Sequence[str]]) -> None:
    """Write `results/NAME.md`: title, command, conditions, then a table whose first row is its head."""
    from zoo.run.result import hardware, versions

    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    text = (
        f"# {title}\n\nCommand: `python benchmarks/{Path(sys.argv[0]).name}`. Protocol: {protocol}.\n\n"
        f"{hardware()}; {versions()}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)
