"""Predict what is in files: `zoo predict RUN_FOLDER my_video.mp4 folder_of_videos json=predictions.jsonl`.

Paths are plain arguments, whatever characters are in them. Geometry and normalization are the checkpoint's own. A network of
images predicts every frame of a video. A file beyond one of the limits is refused, for a small one may unpack to more than
the memory holds; a larger number, or 0 for no limit, lets it in.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.common.words import printable
from zoo.run import cli, signals

if TYPE_CHECKING:
    from zoo.run.predictions import Gallery
    from zoo.run.trained import Prediction, Trained
    from zoo.tasks.predictions import FilePrediction


@dataclass(frozen=True)
class Limits:
    """The largest file that is read; 0 stands for no limit."""

    max_bytes: int = 4_000_000_000
    """The largest file."""
    max_pixels: int = 100_000_000
    """Pixels of an image, or of a video's frame, as its header tells."""
    max_frames: int = 100_000
    """The longest video."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if (value := getattr(self, each.name)) < 0:
                raise ValueError(f"{each.name} is {value}; it is a number above 0, or 0 for no limit.")

    def refusal(self, path: Path, layout: int) -> str | None:
        """Why a file is too large for these limits; None if it is not. Raises `Unreadable`."""
        from zoo.common.files import pixels_limited
        from zoo.data.reading.container import probe

        found = {"max_bytes": path.stat().st_size}
        if layout == 4 and (not self.max_bytes or found["max_bytes"] <= self.max_bytes):
            with pixels_limited(self.max_pixels, "max_pixels"):  # an image's size too is compared where it is opened
                found["max_frames"] = len(probe(path))
        for name, value in found.items():
            limit = getattr(self, name)
            if limit and value > limit:
                return f"it has {value:,} {name.removeprefix('max_')}, more than {name}={limit} allows"
        return None


def predict(
    checkpoint: str | Path,
    paths: Sequence[str | Path],
    overrides: Sequence[str] = (),
    top_k: int = 5,
    out: str | Path = "predictions",
    limits: Limits = Limits(),
) -> "Iterator[Prediction]":
    """Predict files and folders of files by a checkpoint. A file that cannot be read gets its reason in place of a prediction.

    Args:
        checkpoint: a run folder, a checkpoint or published weights, MODEL:TAG.
        paths: files, and folders, whose files of the kind that the network reads are taken, at any depth.
        overrides: settings that replace the recipe's, as on the command line.
        top_k: how many classes are named of a file, the likeliest first; at least 1.
        out: the folder for what is drawn, of tasks that draw.
        limits: the largest files that are read.

    Returns:
        A prediction for each file, as it comes, in the order of the paths.

    Raises:
        ValueError: no checkpoint, settings or paths that do not exist, a folder without files of the kind.
    """
    from zoo.common.files import Unreadable, pixels_limited, regular
    from zoo.common.pictures import conversions, wide_ones
    from zoo.data.base import AXES
    from zoo.data.reading.folders import counted
    from zoo.run import report
    from zoo.run.predictions import Gallery
    from zoo.run.trained import Prediction, listed, load

    report.quiet()
    trained = load(checkpoint, overrides)
    layout = trained.data.layout
    gallery = Gallery(out)
    found, others = listed(paths, trained.data.suffixes, AXES[layout])
    if others:
        print(printable(f"Left out, by suffix: {counted(others)}. Name a file to have it read."), file=sys.stderr)
    if layout == 3:
        pictures = [path for path in found if isinstance(path, Path) and not trained.is_film(path)]
        with pixels_limited(limits.max_pixels, "max_pixels"):
            for said in conversions(wide_ones(pictures)):
                print(said, file=sys.stderr)
    for path in found:
        try:
            if isinstance(path, Unreadable):
                raise path
            regular(path)
            film = trained.is_film(path)
            with pixels_limited(limits.max_pixels, "max_pixels"):
                if refusal := limits.refusal(path, 4 if film else layout):
                    raise Unreadable(path, refusal)
                result, drawn = (_film if film else _file)(path, trained, gallery, top_k)
        except Unreadable as error:
            yield Prediction(error.path if path is error else str(path), None, error.reason)
            continue
        yield Prediction(str(path), result, pictures=drawn)


def _file(path: Path, trained: "Trained", gallery: "Gallery", top_k: int) -> "tuple[FilePrediction, tuple[str, ...]]":
    ((_, result),) = trained.ask([path], top_k=top_k)
    if isinstance(result, Exception):
        raise result
    return result, gallery.save(path, result.pictures)


def _film(path: Path, trained: "Trained", gallery: "Gallery", top_k: int) -> "tuple[FilePrediction, tuple[str, ...]]":
    """Predict each frame of a video with a network of images; its pictures become videos."""
    from zoo.common.draw import VideoWriter
    from zoo.data.reading.container import probe
    from zoo.run.predictions import mark
    from zoo.run.trained import of_frames

    video = probe(path)
    frames = []
    films: dict[str, VideoWriter] = {}
    with contextlib.ExitStack() as places:
        with contextlib.ExitStack() as stack:
            for frame in trained.frames(video, top_k=top_k):
                frames.append(frame)
                if frame.pictures and not films:
                    place = places.enter_context(gallery.room())
                    films = {
                        name: stack.enter_context(VideoWriter(place / name, video.rate, mark(path))) for name in frame.pictures
                    }
                for name, picture in frame.pictures.items():
                    films[name].add(picture)
        drawn = gallery.add(path, films)
    return of_frames(frames), drawn


def _main(
    checkpoint: str | Path,
    paths: Sequence[str | Path],
    overrides: Sequence[str] = (),
    top_k: int = 5,
    out: str | Path = "predictions",
    json: str | None = None,
    limits: Limits = Limits(),
) -> None:
    """Predict, and print each prediction as it comes, so that a stopped run keeps them.

    Args:
        checkpoint: a run folder, a checkpoint or published weights (MODEL:TAG); of a folder its best checkpoint.
        paths: at least one file or folder to predict.
        overrides: settings that replace the recipe's.
        top_k: how many classes are named of a file, the likeliest first.
        out: where pictures (of a video, videos) go, of tasks that draw: each input has a folder of its own there, and files
            that were there are kept but for the pictures of the same input.
        json: a file for JSON lines, one a file, besides the text; - prints them instead of it.
        limits: the largest files that are read.
    """
    from zoo.run.predictions import Gallery

    if str(out) != "predictions":
        Gallery(out).check()
    with _told(json) as tell:
        for prediction in predict(checkpoint, paths, overrides, top_k, out, limits):
            tell(prediction)


@contextlib.contextmanager
def _told(where: str | None) -> "Iterator[Callable[[Prediction], None]]":
    """What says a prediction: a line of text, and of JSON where it is asked for. How many could not be read, or were predicted
    before it was stopped, is said at the end."""
    from zoo.run.predictions import Lines, is_standard_output

    counts = {"predicted": 0, "unreadable": 0}
    alone = where is not None and (where == "-" or is_standard_output(where))
    with contextlib.nullcontext() if where is None or alone else Lines(where) as lines:

        def tell(prediction: "Prediction") -> None:
            if alone:
                sys.stdout.flush()
                sys.stdout.buffer.write(f"{prediction.as_json()}\n".encode())  # UTF-8 whatever the terminal has
                sys.stdout.buffer.flush()
            else:
                if lines:
                    lines.write(prediction.as_json())
                print(prediction.as_text(), flush=True)
            counts["unreadable" if prediction.result is None else "predicted"] += 1

        try:
            yield tell
        except BaseException as error:
            if said := sum(counts.values()):
                kept = f"; their predictions are in {printable(where)}" if lines else ""
                if isinstance(error, signals.Stopped):
                    error.said += f" It had predicted {said:,} files{kept}."
                elif not isinstance(error, BrokenPipeError):  # a reader that has seen enough, head for instance
                    print(f"Stopped after {said:,} files{kept}.", file=sys.stderr, flush=True)
            raise
    if counts["unreadable"]:
        print(f"{counts['unreadable']:,} of {sum(counts.values()):,} files could not be read.", file=sys.stderr)


def main() -> None:
    cli.command(_main)


if __name__ == "__main__":
    main()
