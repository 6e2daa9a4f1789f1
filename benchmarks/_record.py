"""What every measuring script shares: running a recipe once per seed, and a result file that states its conditions."""

import contextlib
import io
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def train(settings: Sequence[str], folder: Path) -> dict[str, float]:
    """Train in a process of its own, or go on where an earlier call was interrupted, and score the test split."""
    best, interrupted = (folder / "checkpoints" / name for name in ("best.ckpt", "interrupted.ckpt"))
    finished = folder / "finished"
    if not finished.exists():
        again = [f"resume={interrupted}"] if interrupted.exists() else []
        command = [sys.executable, "-m", "zoo.train", *settings, f"run_dir={folder}", *again]
        print(shlex.join(["python", *command[1:]]), flush=True)
        subprocess.run(command, check=True)
        finished.touch()
    from zoo.evaluate import evaluate

    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate(best)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation (n - 1) of accuracies, in per cent, and each of them."""
    per_cent = [100 * value for value in values]
    deviation = statistics.stdev(per_cent) if len(per_cent) > 1 else 0.0
    return f"{statistics.mean(per_cent):.2f} ± {deviation:.2f} ({', '.join(f'{value:.2f}' for value in per_cent)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write(name: str, title: str, protocol: str, body: str) -> None:
    """Write `results/NAME.md`: title, command, conditions, then the figures."""
    from zoo.report import versions

    command = shlex.join(["python", *(str(Path(a).name) if a == sys.argv[0] else a for a in sys.argv)])
    head = f"# {title}\n\n- command: `{command.replace('python ', 'python benchmarks/', 1)}`\n- protocol: {protocol}\n"
    conditions = f"- measured with: {versions()}; {processor()}\n\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(head + conditions + body)
    print(head + conditions + body)


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{os.cpu_count()} cores of {line.partition(':')[2].strip()}"
    return f"{os.cpu_count()} cores"
