"""Predict: `python -m zoo.predict CHECKPOINT|RUN_FOLDER FILE|FOLDER ... [top_k=5] [out=FOLDER] [json=FILE] [key=value ...]`.

Paths are plain arguments, whatever characters are in them. Geometry and normalisation are the checkpoint's own. Of a video,
a network of images predicts every frame. Pictures (of a video, videos), of tasks that draw, go to the folder `out`
(`predictions`). `json=-` prints JSON lines, one a file, instead of text; `json=FILE` writes them besides.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import config as run

if TYPE_CHECKING:
    from zoo.tasks.base import Answer


@dataclass(frozen=True)
class Prediction:
    """What a checkpoint says of one file."""

    file: str
    answer: "Answer | None"
    error: str | None = None
    """Why the file could not be read; then there is no answer."""
    pictures: tuple[str, ...] = ()
    """Files that were drawn."""

    def as_json(self) -> str:
        fields = {"error": self.error} if self.answer is None else self.answer.fields
        drawn = {"pictures": list(self.pictures)} if self.pictures else {}
        return json.dumps({"file": self.file, **fields, **drawn}, ensure_ascii=False)

    def as_text(self) -> str:
        if self.answer is None:
            return f"{self.file}: cannot be read ({self.error})"
        drawn = f" -> {', '.join(self.pictures)}" if self.pictures else ""
        return f"{self.file}: {self.answer.text}{drawn}"


def predict(
    checkpoint: str | Path,
    paths: Sequence[str | Path],
    overrides: Sequence[str] = (),
    top_k: int = 5,
    out: str | Path = "predictions",
) -> Iterator[Prediction]:
    """Predict files, and the files of folders, by a checkpoint; what cannot be read is said, not skipped."""
    import torch

    from zoo.data.base import AXES, Unreadable
    from zoo.data.video import SUFFIXES as FILMS

    content = run.read_checkpoint(checkpoint)
    config = run.compose_recipe(content["zoo"], overrides)
    facts = content["zoo"]["facts"]
    data = run.build_data(config)
    run.publish(config, facts)
    task = run.rebuild(content, config, checkpoint).eval()
    task.to("cuda" if torch.cuda.is_available() else "cpu")

    def answered(path: Path) -> "Answer":
        samples = data.files([path])
        batch = samples.__getitems__([(0, index) for index in range(len(samples))])
        for name, reason in batch.get("bad", {}).items():
            raise Unreadable(Path(name), reason)
        batch["input"] = batch["input"].to(task.device)
        with torch.inference_mode():
            return task.answer(batch, facts["class_names"], top_k)

    names: Counter[str] = Counter()
    for path in listed(paths, data.suffixes, AXES[data.layout]):
        stem = path.stem if not names[path.stem] else f"{path.stem}-{names[path.stem] + 1}"  # of another folder
        try:
            if data.layout == 3 and path.suffix.lower() in FILMS - data.suffixes:
                answer, drawn = _film(path, answered, Path(out) / stem)
            else:
                answer = answered(path)
                drawn = [f"{Path(out) / stem}_{name}.png" for name in answer.pictures]
                for file, picture in zip(drawn, answer.pictures.values(), strict=True):
                    Path(out).mkdir(parents=True, exist_ok=True)
                    picture.save(file)
        except Unreadable as error:
            yield Prediction(str(path), None, error.reason)
            continue
        names[path.stem] += 1
        yield Prediction(str(path), answer, pictures=tuple(drawn))


def _film(path: Path, answered: Callable[[Path], "Answer"], place: Path) -> "tuple[Answer, list[str]]":
    """What is said of each frame of a video by a task of images; its pictures become videos too."""
    import tempfile

    from PIL import Image

    from zoo.data.video import each_frame, probe
    from zoo.draw import Film
    from zoo.tasks.base import Answer

    video = probe(path)
    frames = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        films: dict[str, Film] = {}
        still = Path(folder) / "frame.bmp"  # so that a frame is read, scaled and cut as any image file is
        for pixels in each_frame(video):
            Image.fromarray(pixels).save(still)
            answer = answered(still)
            frames.append(answer.fields)
            for name, picture in answer.pictures.items():
                if name not in films:
                    films[name] = stack.enter_context(Film(Path(f"{place}_{name}.mp4"), video.rate))
                films[name].add(picture)
    return Answer(f"{len(frames)} frames", {"frames": frames}), [str(film.path) for film in films.values()]


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
        own = ("top_k=", "json=", "out=")
        options = dict(s.partition("=")[::2] for s in settings if s.startswith(own))
        if not options.get("top_k", "5").isdigit():
            raise ValueError(f"top_k is {options['top_k']!r}, but it must be a whole number.")
        rest = [s for s in settings if not s.startswith(own)]
        top_k, out = int(options.get("top_k", "5")), options.get("out", "predictions")
        predictions = predict(arguments[0], paths, run.literal_paths(rest), top_k, out)
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
