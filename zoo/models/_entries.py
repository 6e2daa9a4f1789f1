"""Published weights: of each what it is, where it comes from, what goes in, and how well it does, under which protocol.

Entries come from two places: JSON files in `weights/` (what this project trained, with its tensors beside them, and what
others published), and torchvision's own metadata, so that no figure is typed by hand.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from zoo.common.download import Address, fetched, matches
from zoo.common.transforms import Transforms as Transforms
from zoo.common.words import nearest
from zoo.models._registry import get_builder, names

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
    resize: int | None
    """Pixels to which the shorter side is scaled (bilinear, antialiased) before the center is cut out; None cuts the
    largest centered region and scales it to the input's size."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """The mean of each channel, in 0..1."""
    class_names: tuple[str, ...]
    """Empty where the publisher names none."""
    num_classes: int
    parameters: int
    multiply_adds: int
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
        return Transforms(self.input_shape, self.mean, self.std, self.resize)

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
        rows["parameters"], rows["multiply_adds"] = f"{self.parameters:,}", f"{self.multiply_adds:,}"
        width = max(map(len, rows))
        lines = [f"  {name.replace('_', ' '):<{width}}  {value}" for name, value in rows.items() if value not in (None, {}, ())]
        return "\n".join([f"{self.model}:{self.tag}", *lines])


def get_weights(name: str, tag: str | None = None) -> Weights:
    """Return the weights of a model by tag, or as `MODEL:TAG`; without one its default: what this project trained, else the
    publisher's best.

    Raises:
        ValueError: a model that does not exist or has no published weights, or a tag that it does not have.
    """
    if tag is None and ":" in name:
        name, _, tag = name.partition(":")
    get_builder(name)
    entries = entries_of(name)
    if not entries:
        raise ValueError(f"There are no published weights of {name!r}; give pretrained= a file, or train it.")
    if found := entry_named(name, "default" if tag is None else tag):
        return found
    raise ValueError(f"{name} has no weights {tag!r}; {nearest(str(tag), entries)}")


def full_name(said: object) -> tuple[str, str] | None:
    """Part `MODEL:TAG`, the name under which any network finds published weights, into model and tag; also torchvision's
    spelling, `ResNet18_Weights.IMAGENET1K_V1`. Return None for anything else, and where a file or a folder is called so."""
    found = re.fullmatch(r"([^/\\:]+):([^/\\:]*)", str(said))
    member = re.fullmatch(r"(\w+)_Weights\.(\w+)", str(said))
    if not (found or member) or Path(str(said)).exists():
        return None
    return (found[1], found[2]) if found else (member[1].lower(), member[2]) if member else None


def entry_named(name: str, said: object) -> Weights | None:
    """Find published weights as `pretrained` names them: the model's by tag, in any case; `default`, or True, is the first;
    another network's by their full name (see `full_name`); or themselves. Return None where no weights have that name."""
    if isinstance(said, Weights):
        return said
    name, tag = full_name(said) or (name, str(said))
    entries, tag = entries_of(name), tag.rpartition("_Weights.")[2].lower()
    if tag in ("default", "true"):
        return next(iter(entries.values()), None)
    return next((entry for known, entry in entries.items() if known.lower() == tag), None)


def entries_of(name: str) -> dict[str, Weights]:
    """List all weights of a model by tag, the default first; none of a name that is no model's."""
    if name not in names():
        return {}
    return {entry.tag: entry for entry in (*_packaged(name), *_torchvision(name))}


def _packaged(name: str) -> list[Weights]:
    return [read_entry(path) for path in sorted(FOLDER.glob(f"{name}-*.json"))]


def read_entry(path: Path) -> Weights:
    content = json.loads(path.read_text())
    for key in ("input_shape", "mean", "std", "class_names"):
        content[key] = tuple(content[key])
    content["addresses"] = tuple(Address(**address) for address in content["addresses"])
    content["accuracies"] = tuple(Accuracy(**accuracy) for accuracy in content["accuracies"])
    return Weights(**content)


def write_entry(entry: Weights) -> None:
    path = FOLDER / f"{entry.model}-{entry.tag}.json"
    path.write_text(json.dumps(asdict(entry), indent=1, ensure_ascii=False) + "\n")


def _torchvision(name: str) -> list[Weights]:
    """List the entries of torchvision's network of this name, its default first, without those that have no classifier."""
    import torchvision

    if not name.startswith(("alexnet", "vgg", "resnet")):
        return []
    kinds = torchvision.models.get_model_weights(name)
    default = kinds["DEFAULT"]
    complete = [each for each in kinds if each.meta.get("categories")]
    return [_from_torchvision(name, each) for each in sorted(complete, key=lambda each: each is not default)]


def _from_torchvision(name: str, weights: Any) -> Weights:
    preset, meta = weights.transforms(), weights.meta
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    protocol = f"short side {resize}, bilinear, 1 centre crop of {crop}; torchvision's own figure"
    figures = tuple(
        Accuracy(metric.replace("acc@", "top-"), data, "val", value, protocol)
        for data, metrics in meta["_metrics"].items()
        for metric, value in metrics.items()
    )
    # The published hash is the part of the file's name that PyTorch's own downloader checks.
    digits = weights.url.rpartition("-")[2].partition(".")[0]
    return Weights(
        model=name,
        tag=weights.name.lower(),
        source=meta["recipe"],
        licence="BSD-3-Clause",
        input_shape=(3, crop, crop),
        resize=resize,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        class_names=tuple(meta["categories"]),
        num_classes=len(meta["categories"]),
        parameters=meta["num_params"],
        multiply_adds=round(meta["_ops"] * 1e9),
        accuracies=figures,
        addresses=(Address(weights.url, digits), *_mirrors(name, weights)),
    )


def _mirrors(name: str, weights: Any) -> Sequence[Address]:
    """timm's copy of the same weights, as timm's own metadata name it; a safetensors file without a published hash."""
    import timm

    config = timm.get_pretrained_cfg(f"{name}.tv_in1k")
    if config is None or not config.hf_hub_id or weights.name != "IMAGENET1K_V1":
        return ()
    return (Address(f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"),)
