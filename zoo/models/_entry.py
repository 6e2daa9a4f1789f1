"""What an entry of published weights states: what it is, where it comes from, what goes in, and how well it does, under which
protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from zoo.common.crops import Interpolation
from zoo.common.download import Address, fetched, matches
from zoo.common.transforms import ChannelOrder
from zoo.common.transforms import Transforms as Transforms

FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Accuracy:
    """A published figure, and the conditions to measure it again."""

    metric: str
    """top-1 and top-5: shares of the samples; else the name of a task's metric."""
    data: str
    """A data set of `conf/data`, or the publisher's name of one that this project has no reader for."""
    split: str
    percent: float
    protocol: str
    """The views of a sample, their geometry, and whose figure it is."""
    conditions: str = ""
    """Versions and hardware, where the publisher states them."""
    tolerance: float = 0.1
    """Percentage points by which the same weights may differ elsewhere: other machines round sums otherwise."""

    @property
    def what(self) -> str:
        return f"{self.metric} on {self.data} {self.split}"

    def __str__(self) -> str:
        how = "; ".join(part for part in (self.protocol, self.conditions) if part)
        return f"{self.what}: {self.percent:g} % ({how})"


@dataclass(frozen=True)
class Weights:
    """One set of weights. `path()` fetches its file, `transforms()` builds its preprocessing, `print` shows all of it."""

    model: str
    tag: str
    source: str
    """The paper, recipe or command that made them."""
    licence: str
    input_shape: tuple[int, ...]
    """(C, H, W) or (C, T, H, W) that goes into the network."""
    resize: int | tuple[int, int] | None
    """Pixels to which the shorter side is scaled before the center is cut out, or (H, W), to which any image is scaled; None
    cuts the largest centered region and scales it to the input's size, or leaves what goes in whole at its own."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """The mean of each channel, in 0..1."""
    class_names: tuple[str, ...]
    """Empty where the publisher names none."""
    num_classes: int
    parameters: int | None
    multiply_adds: int | None
    """As the publisher counts them, None where it does not: of detectors for pictures of its own."""
    accuracies: tuple[Accuracy, ...]
    """Empty where nobody states one for these weights."""
    addresses: tuple[Address, ...] = ()
    file: str | None = None
    """A file inside the package; then nothing is downloaded."""
    sha256: str | None = None
    """The name of the file inside the package."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the builder must be given for these weights, beside the classes and channels."""
    task: str = "classification"
    """What they were trained for; the classes are its own."""
    rate: float | None = None
    """Frames a second of the clips that go in; None is every frame of the video."""
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    whole: bool = False
    """Whether an image goes in as it is after the scaling, nothing cut off: for detection and segmentation."""
    limit: int | None = None
    """Pixels that the longer side of an image that goes in whole has at most: where it would pass them, it is scaled less."""
    channel_order: ChannelOrder = "rgb"
    """Of the channels that go in; `mean` and `std` are of red, green and blue in any case."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the task must know of the data beside their classes, as `category_ids`."""
    views: Mapping[str, Any] = field(default_factory=dict)
    """How samples are cut into views for the figures stated: settings of the data set, as `clips` and `crops`."""

    def path(self) -> Path:
        """Return the file; download and check it if need be. Raises ValueError."""
        if self.file is None:
            return fetched(self.addresses)
        path = FOLDER / self.file
        if not matches(path, self.sha256):
            raise ValueError(f"{path} is damaged: it has not the SHA-256 of its entry. Install this package again.")
        return path

    def transforms(self) -> Transforms:
        """Return the preprocessing of a PIL image, a tensor, an array or a batch; of clips where the weights read clips. See
        `zoo.models.Transforms`."""
        return Transforms(
            self.input_shape,
            self.mean,
            self.std,
            self.resize,
            interpolation=self.interpolation,
            antialias=self.antialias,
            whole=self.whole,
            limit=self.limit,
            channel_order=self.channel_order,
        )

    def normalization(self, channels: int, own: Mapping[str, Sequence[float]] | None = None) -> dict[str, list[float]]:
        """Return `mean` and `std` of an input of so many channels; nothing where the weights state none.

        Grey pictures are read as brightness; channels beyond the colors, which are flow, keep the data's `own`.
        """
        known, found = len(self.mean), {}
        for key, value in {"mean": self.mean, "std": self.std}.items():
            if 1 in (channels, known):
                found[key] = [sum(value) / known] * channels
            elif channels == known or (channels > known and own):
                found[key] = [*value, *(own or {}).get(key, ())[known:]]
        return found

    def __str__(self) -> str:
        rows = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("model", "tag")}
        names = self.class_names
        rows["class_names"] = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "not published"
        rows["addresses"] = (
            "; ".join(f"{a.url} (SHA-256 {a.sha256 or 'not published'})" for a in self.addresses) or "in the package"
        )
        rows["accuracies"] = "; ".join(map(str, self.accuracies)) or "none stated"
        for name in ("parameters", "multiply_adds"):
            rows[name] = f"{rows[name]:,}" if rows[name] else "not stated"
        rows["facts"] = ", ".join(self.facts) or None
        width = max(map(len, rows))
        lines = [f"  {name.replace('_', ' '):<{width}}  {value}" for name, value in rows.items() if value not in (None, {}, ())]
        return "\n".join([f"{self.model}:{self.tag}", *lines])
