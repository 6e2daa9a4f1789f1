"""A trained network that predicts: `zoo.load` restores it from a run, a checkpoint or published weights."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from zoo.common import trust
from zoo.common.ahead import ahead
from zoo.common.apart import Apart
from zoo.common.files import File, Unreadable, reason, regular
from zoo.common.hub import PREFIX
from zoo.common.pixels import Pixels
from zoo.common.renaming import Renamed
from zoo.common.signature import parameters
from zoo.common.words import json_text, nearest, printable
from zoo.run.build import build_data
from zoo.run.check import check_values
from zoo.run.facts import publish
from zoo.run.folder import checkpoint_path
from zoo.run.memory import pixels_of
from zoo.run.published import PUBLISHED
from zoo.run.recipe import compose_recipe, fill, is_task, read_checkpoint, rebuild
from zoo.tasks.base import Task
from zoo.tasks.predictions import FilePrediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from zoo.data.base import DataModule
    from zoo.data.reading.container import Video

    Input = str | os.PathLike[str] | Image | Tensor | NDArray[np.generic]

SomeTask = TypeVar("SomeTask", bound=Task)

_Found = Mapping[str, Any] | FilePrediction | Unreadable

_FRAMES, _VALUES = 32, 2**22
"""Frames of a film that go through the network together, and the bytes of its inputs, at most: its own maps are many times as
large."""
_LIGHT = 2**20
"""Parameters up to which the time between a network's layers counts, and it has one core while the others read."""
_READ, _HELD = 8, 2**23
"""Frames that a thread reads together, and their bytes, at most."""


@dataclass(frozen=True)
class Prediction(Renamed):
    """The prediction of one input."""

    old_names = MappingProxyType({"answer": "result"})

    file: str
    """The file; of what lies in memory `input 0`, `input 1`, by its place among the inputs."""
    result: FilePrediction | None
    error: str | None = None
    """Why the input could not be read; then there is no result."""
    pictures: tuple[str, ...] = ()
    """Files that were drawn."""

    @property
    def fields(self) -> dict[str, Any]:
        """The result as plain values, by the task: `top` (classes with probabilities), `objects`, ...; or the `error`."""
        return {"error": self.error} if self.result is None else self.result.fields

    def as_json(self) -> str:
        drawn = {"pictures": list(self.pictures)} if self.pictures else {}
        return json_text({"file": self.file, **self.fields, **drawn})

    def as_text(self) -> str:
        if self.result is None:
            return printable(f"{self.file}: cannot be read ({self.error})")
        drawn = f" -> {', '.join(self.pictures)}" if self.pictures else ""
        return printable(f"{self.file}: {self.result.text}{drawn}")

    def __str__(self) -> str:
        return self.as_text()


def load(
    source: str | os.PathLike[str], settings: Sequence[str] = (), *, device: str | torch.device | None = None
) -> "Trained":
    """Load a trained network.

    Args:
        source: a run folder, of which the best checkpoint is taken; a checkpoint of a run or of a Trainer of yours that trained
            one of our tasks; published weights, `MODEL:TAG`; or what `zoo publish` wrote, a folder or `hf-hub:ORG/NAME`.
        settings: as of `zoo.predict`: how an input is cut, for instance `data.clips=10`.
        device: where it computes; None is a GPU where there is one.

    Raises:
        ValueError: there is no such run, or it cannot be brought back.
    """
    content = read_checkpoint(os.fspath(source))
    config = compose_recipe(content["zoo"], settings, with_data=False)
    facts = content["zoo"]["facts"]
    if missing := {"mean", "std"} - facts.keys():
        raise ValueError(
            f"{source} states no {' and no '.join(sorted(missing))} by which pixels are normalized: it was trained on floats. "
            f"Train it with mean= and std=, or take its network alone by the load_from_checkpoint of its task."
        )
    data = build_data(config)
    publish(config, facts)
    task = rebuild(content, config, os.fspath(source)).eval()
    chosen = device if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
    return Trained(task.to(chosen), data, tuple(facts["class_names"]))


class Trained:
    """A task with its weights, and the geometry of what it was trained on.

    Attributes:
        task: normalizes and predicts.
        net: its network, a plain module.
        data: the data module of the run, its files not looked at.
        class_names: what it tells apart, in the order of the outputs.
    """

    def __init__(self, task: Task, data: "DataModule", class_names: Sequence[str]) -> None:
        self.task = task
        self.data = data
        self.class_names = tuple(class_names)

    @property
    def net(self) -> nn.Module:
        return self.task.net

    def transforms(self, image: "Input") -> Tensor:
        """What the network reads of an input: float (C, H, W), or (C, T, H, W) of a clip, scaled, cut and normalized as when it
        is scored (of several views the first). Inputs are those of `predict`. Raises ValueError."""
        batch = self.batch(self._file(image, 0))
        return self.task.normalized(batch["input"])[0]

    def predict(self, inputs: "Input | Sequence[Input]", *, batch_size: int = 64, top_k: int = 5) -> list[Prediction]:
        """Predict files, or images, clips and arrays in memory. An input that cannot be read has its reason in place of a
        prediction.

        Args:
            inputs: of each the name of a file, or of a folder (all that can be read in it); a PIL image of any mode, which is
                converted as one in a file; an array (H, W), (H, W, C) or a tensor (C, H, W), bytes or floats from 0 to 1; of
                networks that read clips an array (T, H, W, C) or a tensor (T, C, H, W) or (C, T, H, W), at the frame rate of
                the run. (Where both axes could be the channels, 1 or 3, it is (T, C, H, W).)
            batch_size: samples that go through the network together, where they are of one size.
            top_k: classes, or objects, to name.

        Raises:
            ValueError: an input that is none of these, or a file that there is not.
        """
        several = inputs if isinstance(inputs, list | tuple) else self._spread(inputs)
        found: list[File | Unreadable] = []
        for number, each in enumerate(several):
            if isinstance(each, str | os.PathLike):
                found += self.listed([os.fspath(each)])
            else:
                found.append(self._file(each, number))
        return [
            Prediction(outcome.path, None, outcome.reason)
            if isinstance(outcome, Unreadable)
            else Prediction(str(file), outcome)
            for file, outcome in self.ask(found, batch_size=batch_size, top_k=top_k)
        ]

    def listed(self, paths: Sequence[str]) -> list[File | Unreadable]:
        """The files named, and those of the folders named that it can read. Raises ValueError where there is none."""
        from zoo.data.base import AXES

        return [*listed(paths, self.data.suffixes, AXES[self.data.layout])[0]]

    def is_film(self, file: File) -> bool:
        """Whether it is a video, of which a network of images is asked about each frame."""
        if self.data.layout != 3 or not isinstance(file, Path):
            return False
        from zoo.data.reading.container import SUFFIXES

        return file.suffix.lower() in SUFFIXES - self.data.suffixes

    def frames(self, file: "File | Video", *, top_k: int = 5) -> Iterator[FilePrediction]:
        """What a network of images says of each frame of a video, which is decoded and read while it predicts. Raises
        `Unreadable`."""
        from zoo.data.reading.container import Video, probe
        from zoo.data.reading.decode import each_frame

        video = file if isinstance(file, Video) else probe(file)

        cores = torch.get_num_threads()
        frames = (Pixels(str(video.path), pixels) for pixels in each_frame(video))
        read = ahead(self._batches, _several(frames), min(4, os.cpu_count() or 1), lambda: torch.set_num_threads(1))
        try:
            batches = itertools.chain.from_iterable(read)
            first = next(batches)
            views, most = len(first["id"]), max(1, min(_FRAMES, _VALUES // first["input"].numel()))
            batches, known = itertools.chain([first], batches), None
            if sum(each.numel() for each in self.net.parameters()) <= _LIGHT:
                torch.set_num_threads(1)  # the others read
                known = dict[Any, Any]()
            while several := list(itertools.islice(batches, most)):
                with Apart(views * len(several), views, known):
                    predictions = self._predictions(several, top_k)
                yield from predictions
        finally:
            torch.set_num_threads(cores)  # what a thread sets is every later one's

    def ask(
        self, files: Iterable[File | Unreadable], *, batch_size: int = 1, top_k: int = 5
    ) -> Iterator[tuple[File | Unreadable, FilePrediction | Unreadable]]:
        """Predict each file, in order; one that cannot be read comes with the reason. Raises ValueError for numbers below 1."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is a whole number, at least 1.")
        waiting: list[tuple[File | Unreadable, _Found]] = []
        size = 0
        for file in files:
            found = self._read(file, top_k)
            waiting.append((file, found))
            size += len(found["id"]) if isinstance(found, Mapping) else 0
            if size >= batch_size:
                yield from self._predicted(waiting, top_k)
                waiting, size = [], 0
        yield from self._predicted(waiting, top_k)

    def _read(self, file: File | Unreadable, top_k: int) -> _Found:
        """The views of a file; or the prediction of a film, or why it cannot be read."""
        try:
            if isinstance(file, Unreadable):
                raise file
            if self.is_film(regular(file)):
                return of_frames([*self.frames(file, top_k=top_k)])
            return self.batch(file)
        except Unreadable as error:
            return error

    def batch(self, file: File) -> dict[str, Any]:
        """The views of a file, as a batch for the task. Raises `Unreadable`."""
        return self._batches([file])[0]

    def _batches(self, files: Sequence[File]) -> list[dict[str, Any]]:
        """The views of each of several files of one size. Raises `Unreadable`."""
        samples = self.data.files(files)
        batch: dict[str, Any] = dict(samples.__getitems__([(0, index) for index in range(len(samples))]))
        for name, why in batch.pop("bad", {}).items():
            raise Unreadable(Path(name), why)
        batch["input"] = batch["input"].to(self.task.device)
        starts = range(0, len(samples), samples.views)
        return [{name: value[start : start + samples.views] for name, value in batch.items()} for start in starts]

    def _predicted(
        self, waiting: Sequence[tuple[File | Unreadable, _Found]], top_k: int
    ) -> Iterator[tuple[File | Unreadable, FilePrediction | Unreadable]]:
        predictions = iter(self._predictions([found for _, found in waiting if isinstance(found, Mapping)], top_k))
        for file, found in waiting:
            yield file, next(predictions) if isinstance(found, Mapping) else found

    def _predictions(self, batches: Sequence[Mapping[str, Any]], top_k: int) -> list[FilePrediction]:
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; it is a whole number, at least 1.")
        with torch.inference_mode():
            return self.task.predictions(batches, self.class_names, top_k) if batches else []

    # What lies in memory

    def _spread(self, inputs: Any) -> Sequence[Any]:
        """One input as a list; a tensor or an array of one axis more is several."""
        axes = getattr(inputs, "ndim", 0)
        return list(inputs) if axes == self.data.layout + 1 else [inputs]

    def _file(self, value: Any, number: int) -> File:
        """What an input is read from, so that there is one way to the network."""
        from PIL import Image

        if isinstance(value, str | os.PathLike):
            return Path(value)
        name = f"input {number}"
        if isinstance(value, Image.Image) and self.data.layout == 3:
            return Pixels(name, value)
        return Pixels(name, pixels_of(value, name, self.data.layout), self._rate())

    def _rate(self) -> float:
        return float(getattr(getattr(self.data, "clips", None), "rate", None) or 25)


def _several(frames: Iterable[Pixels]) -> Iterator[list[Pixels]]:
    """Frames of one size, a few at a time."""
    for size, alike in itertools.groupby(frames, lambda frame: frame.shape):
        most = max(1, min(_READ, _HELD // math.prod(size)))
        while several := list(itertools.islice(alike, most)):
            yield several


def of_frames(frames: Sequence[FilePrediction]) -> FilePrediction:
    """The prediction of a video, made of those of its frames."""
    return FilePrediction(f"{len(frames)} frame{'s' * (len(frames) != 1)}", {"frames": [each.fields for each in frames]})


def listed(paths: Sequence[str | Path], suffixes: frozenset[str], kind: str) -> "tuple[list[Path | Unreadable], Counter[str]]":
    """The files named, and those of the kind in the folders named, in order; and how many others the folders hold, by suffix.

    What is hidden, at any depth, is neither; what was prepared of the files (in `.zoo`) lies there. A folder that cannot be
    listed is among the files, as the error.
    """
    from zoo.data.reading.folders import listing

    found: list[Path | Unreadable] = []
    others: Counter[str] = Counter()
    for place in map(Path, paths):
        if not os.path.lexists(place):
            raise ValueError(f"There is no file or folder {place}.")
        if not place.is_dir():
            found.append(place)
            continue
        folder = listing(place, suffixes)
        if not folder.files and not folder.closed:
            raise ValueError(f"The folder {place} holds no {kind} ({' '.join(sorted(suffixes))}).")
        found += folder.files
        found += [Unreadable(Path(error.filename), reason(error)) for error in folder.closed]
        others += folder.others
    return found, others


# Tasks


def restored(kind: type[SomeTask], place: str | Path, net: nn.Module | None, arguments: Mapping[str, Any]) -> SomeTask:
    """See `Task.load_from_checkpoint`."""
    content = read_checkpoint(place)
    with trust.naming_later_version(content["zoo"], place):
        return _restored(kind, place, content, net, arguments)


def _restored(
    kind: type[SomeTask], place: str | Path, content: Mapping[str, Any], net: nn.Module | None, arguments: Mapping[str, Any]
) -> SomeTask:
    recipe = content["zoo"]
    named, known = recipe["names"].get("task"), parameters(kind)
    if kind is Task or not is_task(named, kind):
        raise ValueError(f"{place} is of the task {named!r}. Call load_from_checkpoint of its class, not {kind.__name__}'s.")
    for name in arguments:
        if name not in known:
            raise ValueError(f"{kind.__name__} takes no argument {name!r}; {nearest(name, known)}")
    trust.check_facts(recipe["facts"])
    facts = {name: recipe["facts"][name] for name in ("mean", "std", *kind.facts) if name in recipe["facts"]}
    for name, value in facts.items():
        if not isinstance(value, list):
            raise ValueError(f"{place} states {name} as {value!r}, which is no list.")
    stated = trust.decided("task", recipe["arguments"].get("task", {}), {*known, *kind.facts})
    chosen = {name: value for name, value in {**stated, **facts}.items() if name in known and name not in arguments}
    check_values(kind, chosen, "task")
    if net is None:
        net = _network(recipe, place, kind)
    task = kind(net, **chosen, **arguments)
    for name in kind.facts:
        if name in facts and name not in known:
            setattr(task, name, tuple(facts[name]))
    fill(task, content, place)
    return task


def _network(recipe: Mapping[str, Any], place: str | Path, kind: type[Task]) -> nn.Module:
    """The network that a checkpoint describes by its name and its arguments, or published weights'. Raises ValueError."""
    from zoo.models import create_model

    name = recipe["names"].get("model")
    if name is None:
        raise ValueError(
            f"{place} does not say how its network is built, for zoo.create_model has not made it. Give the network: "
            f"{kind.__name__}.load_from_checkpoint(..., net=...)."
        )
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise ValueError(f"{place} names a model {name!r}, which is not a name.")
    if PUBLISHED in recipe or str(place).startswith(PREFIX):
        return create_model(str(place))
    return create_model(name, pretrained=checkpoint_path(place))
