"""Predict: `python -m zoo.predict CHECKPOINT|RUN_FOLDER FILE|FOLDER ... [top_k=5] [json=FILE] [key=value ...]`.

Paths are plain arguments, whatever characters are in them. Geometry and normalisation are the checkpoint's own.
`json=-` prints JSON lines, one a file, instead of text; `json=FILE` writes them besides.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo import config as run


@dataclass(frozen=True)
class Prediction:
    """One file's classes, most probable first."""

    file: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str | None = None
    """Why the file could not be read; then there are no classes."""

    def as_json(self) -> str:
        if self.error is not None:
            return json.dumps({"file": self.file, "error": self.error}, ensure_ascii=False)
        top = [{"class": name, "probability": p} for name, p in zip(self.classes, self.probabilities, strict=True)]
        return json.dumps({"file": self.file, "top": top}, ensure_ascii=False)

    def as_text(self) -> str:
        if self.error is not None:
            return f"{self.file}: cannot be read ({self.error})"
        top = zip(self.classes, self.probabilities, strict=True)
        return f"{self.file}: " + ", ".join(f"{name} {p:.3f}" for name, p in top)


def predict(
    checkpoint: str | Path, paths: Sequence[str | Path], overrides: Sequence[str] = (), top_k: int = 5
) -> Iterator[Prediction]:
    """Classify files, and the files of folders, by a checkpoint; what cannot be read is said, not skipped."""
    import torch

    from zoo.data.base import AXES, Unreadable
    from zoo.tasks.base import gather
    from zoo.tasks.classification import ClassificationTask, join_views

    content = run.read_checkpoint(checkpoint)
    config = run.compose_recipe(content["zoo"], overrides)
    facts = content["zoo"]["facts"]
    data = run.build_data(config)
    run.publish(config, facts)
    task = run.rebuild(content, config, checkpoint).eval()
    if not isinstance(task, ClassificationTask):
        raise ValueError(f"{checkpoint} is a checkpoint of {content['zoo']['names']['task']}, which names no classes.")
    task.to("cuda" if torch.cuda.is_available() else "cpu")
    names = facts["class_names"]
    files = listed(paths, data.suffixes, AXES[data.layout])
    for path in files:
        try:
            samples = data.files([path])
            batch = samples.__getitems__([(0, index) for index in range(len(samples))])
            for name, reason in batch.get("bad", {}).items():
                raise Unreadable(Path(name), reason)
        except Unreadable as error:
            yield Prediction(str(path), (), (), error.reason)
            continue
        batch["input"] = batch["input"].to(task.device)
        with torch.inference_mode():
            records = gather([task.predict_step(batch, 0)])
        _, probability = join_views(records["id"], records["probability"].cpu())
        best = probability[0].topk(min(top_k, len(names)))
        yield Prediction(str(path), tuple(names[i] for i in best.indices.tolist()), tuple(best.values.tolist()))


def listed(paths: Sequence[str | Path], suffixes: frozenset[str], kind: str) -> list[Path]:
    """The files named, and those of the kind in the folders named, in order."""
    found: list[Path] = []
    for place in map(Path, paths):
        if not place.exists():
            raise ValueError(f"There is no file or folder {place}.")
        if place.is_dir():
            inside = sorted(p for p in place.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            if not inside:
                raise ValueError(f"The folder {place} holds no {kind} ({' '.join(sorted(suffixes))}).")
            found += inside
        else:
            found.append(place)
    return found


def main() -> None:
    arguments = sys.argv[1:]
    with run.plainly(debug="debug=true" in arguments):
        if not arguments or arguments[0] in ("-h", "--help"):
            print(__doc__)
            return
        # What exists is a path; of the rest, what looks like a setting is one.
        settings = [a for a in arguments[1:] if not Path(a).exists() and "=" in a]
        paths = [a for a in arguments[1:] if a not in settings]
        if not paths:
            raise ValueError("Name at least one file or folder to predict: python -m zoo.predict CHECKPOINT FILE ...")
        options = dict(s.partition("=")[::2] for s in settings if s.startswith(("top_k=", "json=")))
        if not options.get("top_k", "5").isdigit():
            raise ValueError(f"top_k is {options['top_k']!r}, but it must be a whole number.")
        rest = [s for s in settings if not s.startswith(("top_k=", "json="))]
        predictions = predict(arguments[0], paths, run.literal_paths(rest), int(options.get("top_k", "5")))
        where = options.get("json")
        if where == "-":
            for prediction in predictions:
                print(prediction.as_json())
            return
        lines = []
        for prediction in predictions:
            print(prediction.as_text())
            lines.append(prediction.as_json())
        if where:
            from zoo.data._files import write_whole

            write_whole(Path(where).absolute(), ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
