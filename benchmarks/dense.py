"""Segmentation and autoencoding, measured: `python benchmarks/dense.py NAME ... [--seeds 0 1 2] [--root FOLDER]`.

Each NAME of `RUNS` is what a user types, a command or two, each in a process of its own, one after another. What was measured
is kept in results/dense.json, and results/dense.md is the table of it; a run measured again replaces its row.
"""

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version

from default_runs import RESULTS

from zoo.run.result import hardware

RUNS: dict[str, list[str]] = {
    "fcn32s": ["model=fcn32s"],
    "fcn16s": ["model=fcn16s"],
    "fcn8s": ["model=fcn8s"],
    "deconvnet": ["model=deconvnet"],
    "deconvnet after fcn8s": [
        "model=fcn8s run_dir=first",
        "model=deconvnet model.pretrained=first/checkpoints/best.ckpt optimizer.lr=0.05 trainer.max_epochs=4",
    ],
    "camvid": [
        "model=fcn8s data=camvid size=small data.short_side=180 data.shape=[3,176,240] trainer.max_epochs=40 "
        "trainer.check_val_every_n_epoch=4"
    ],
    "autoencoder of 8": ["model=autoencoder data=fashion_mnist ~data.augment.flip model.embedding=8 trainer.max_epochs=1"],
    "autoencoder of 32": ["model=autoencoder data=fashion_mnist ~data.augment.flip model.embedding=32 trainer.max_epochs=1"],
}
"""The last command is what is scored; those before it are the stages that it starts from, and their time counts."""
SCORED_AT_THE_END = {"camvid": "the official validation split, which data=camvid serves as test"}
"""Where what is scored at the end is no test split of the data set's."""
LIBRARIES = ("torch", "torchvision", "lightning")


def measure(name: str, seed: int, root: str | None) -> dict[str, object]:
    """One run: what it says of itself, read back."""
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for stage in RUNS[name]:
            own = [*shlex.split(stage), f"seed={seed}", "callbacks.progress=null", *([f"data.root={root}"] if root else [])]
            done = subprocess.run(
                [sys.executable, "-m", "zoo.train", *own], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{name} failed: {done.stderr[-500:]}")
            minutes, seconds = re.findall(r"^time (?:(\d+) min )?(\d+) s$", done.stdout, flags=re.MULTILINE)[0]
            total += 60 * int(minutes or 0) + int(seconds)
    said = dict(re.findall(r"^(\S.*?)\s{2,}(.*?)\s*$", done.stdout, flags=re.MULTILINE))
    scores = {key: float(value) for key, value in re.findall(r"^test (.+) ([\d.e-]+)$", done.stdout, flags=re.MULTILINE)}
    return {
        "name": name,
        "seed": seed,
        "command": ", then ".join(RUNS[name]),
        "data": said["data"],
        "size": f"{said['parameters']}; {said['multiply-adds']}",
        "device": said["device"],
        "scores": scores,
        "scored": re.findall(r"^scored (.*)$", done.stdout, flags=re.MULTILINE)[0],
        "seconds": total,
        "conditions": f"{hardware()}; {', '.join(f'{library} {version(library)}' for library in LIBRARIES)}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def principal_components(root: str | None) -> dict[int, float]:
    """Mean squared error of PCA on Fashion-MNIST's test images, 0 to 1, fitted to the autoencoder's 54,000 training images."""
    from sklearn.decomposition import PCA

    from zoo.data.fashion_mnist import FashionMnist

    data = FashionMnist(shape=(1, 28, 28), root=root)
    data.setup()
    train, test = (
        data.splits[split].__getitems__([(0, at) for at in range(len(data.splits[split]))])["input"].flatten(1).numpy() / 255
        for split in ("train", "test")
    )
    errors = {}
    for size in (8, 32):
        pca = PCA(size).fit(train)
        errors[size] = float(((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean())
    return errors


def table(rows: list[dict[str, object]], pca: dict[str, float]) -> str:
    """One line a command: mean and spread over its seeds."""
    lines = [
        "# Segmentation and autoencoding\n\n"
        "`python -m zoo.train COMMAND seed=SEED`: the best epoch chosen on val, test (or what the row names) scored once, at "
        "full\nsize, one scale, no mirror images. mIoU is from one confusion matrix over the whole split, void left out. "
        "Time is\ntraining and test, wall clock, without imports. Written by `benchmarks/dense.py`.\n\n"
        "| run | command | data | size | figures | seeds | time | device, conditions, date |\n"
        "|---|---|---|---|---|---|---|---|\n"
    ]
    for name in [name for name in RUNS if any(row["name"] == name for row in rows)]:
        runs = [row for row in rows if row["name"] == name]
        figures = []
        for metric in [key for key in runs[0]["scores"] if "/" not in key]:  # type: ignore[attr-defined]
            values = [run["scores"][metric] for run in runs]  # type: ignore[index]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            figures.append(f"{metric} {statistics.mean(values):.4g}{spread}")
        seconds = [int(str(row["seconds"])) for row in runs]
        last = runs[-1]
        split = f": {SCORED_AT_THE_END[name]}" if name in SCORED_AT_THE_END else ""
        lines.append(
            f"| {name} | `{last['command']}` | {last['data']}; {last['scored']}{split} | {last['size']} | "
            f"{', '.join(figures)} | "
            f"{', '.join(str(row['seed']) for row in runs)} | {min(seconds)} to {max(seconds)} s | {last['device']}; "
            f"{last['conditions']}; {last['date']} |\n"
        )
    if pca:
        known = ", ".join(f"{value:.5f} with {size} components" for size, value in pca.items())
        lines.append(f"\nPCA on Fashion-MNIST's test images, fitted to the same training images: mse {known}.\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*RUNS, "pca"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--root", help="the data root, where it is not $ZOO_DATA")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    store = RESULTS / "dense.json"
    kept = json.loads(store.read_text()) if store.exists() else {"runs": [], "pca": {}}
    for name in arguments.names:
        for seed in arguments.seeds:
            if name == "pca":
                kept["pca"] = {str(size): value for size, value in principal_components(arguments.root).items()}
            else:
                row = measure(name, seed, arguments.root)
                print(row)
                kept["runs"] = [each for each in kept["runs"] if (each["name"], each["seed"]) != (name, seed)] + [row]
            store.write_text(json.dumps(kept, indent=1) + "\n")
            (RESULTS / "dense.md").write_text(table(kept["runs"], kept["pca"]))


if __name__ == "__main__":
    main()
