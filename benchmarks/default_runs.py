"""How well and how long the default run of a model learns: `python benchmarks/default_runs.py lenet5 c3d --seeds 0 1 2`.

Each run is the command a user types, in a process of its own, one after another. What was measured is kept in
results/default_runs.json, and results/default_runs.md is the table of it; a model measured again replaces its rows.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.run.result import hardware

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "torchvision", "lightning", "av", "scikit-learn")


def measure(model: str, seed: int) -> dict[str, Any]:
    """One run: its block before and after, read back."""
    command = [sys.executable, "-m", "zoo.train", f"model={model}", f"seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        result = json.loads(next(Path(folder).rglob("result.json")).read_text())
    said = dict(re.findall(r"^(\S.*?)\s{2,}(.*?)\s*$", done.stdout, flags=re.MULTILINE))
    return {
        "model": model,
        "seed": seed,
        "data": said["data"],
        "device": said["device"],
        "metric": result["metric"],
        "score": round(result["test"], 4),
        "others": {name: round(value, 4) for name, value in result["tests"].items() if name.endswith(("_ap", "_ap50"))},
        "scored": re.findall(r"^scored (.*)$", done.stdout, flags=re.MULTILINE)[0],
        "seconds": round(result["seconds"]),
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One line a model: mean and spread over the seeds."""
    lines = [
        "# Default runs\n\n"
        "`python -m zoo.train model=NAME seed=SEED`: trained on train, the best epoch chosen on val, test scored "
        "once.\nTime is the training and the test, wall clock, without imports. Written by `benchmarks/default_runs.py`.\n\n"
        "| model | data | test | scored | seeds | time | device, hardware, versions, date |\n|---|---|---|---|---|---|---|\n"
    ]
    for model in sorted({str(row["model"]) for row in rows}):
        runs = [row for row in rows if row["model"] == model]
        scores = [float(str(row["score"])) for row in runs]
        seconds = [int(str(row["seconds"])) for row in runs]
        spread = f" ± {statistics.stdev(scores):.3f}" if len(runs) > 1 else ""
        last = runs[-1]
        others: dict[str, float] = last.get("others", {})  # of a detector; those of the last seed
        further = "".join(f", {name} {value:.3f}" for name, value in others.items() if name != last["metric"])
        lines.append(
            f"| `{model}` | {last['data']} | {last['metric']} {statistics.mean(scores):.3f}{spread}{further} | "
            f"{last['scored']} | {', '.join(str(row['seed']) for row in runs)} | {min(seconds)} to {max(seconds)} s | "
            f"{last['device']}; {last['hardware']}; {last['versions']}; {last['date']} |\n"
        )
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    store = RESULTS / "default_runs.json"
    rows = json.loads(store.read_text()) if store.exists() else []
    for model in arguments.models:
        for seed in arguments.seeds:
            row = measure(model, seed)
            print(row)
            rows = [r for r in rows if (r["model"], r["seed"]) != (model, seed)] + [row]
            store.write_text(json.dumps(rows, indent=1) + "\n")
            (RESULTS / "default_runs.md").write_text(table(rows))


if __name__ == "__main__":
    main()
