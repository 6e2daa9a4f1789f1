"""A data set: what it states and finds. A subclass is one data set; Lightning is served by `loading/serving.py`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, Unpack

from zoo.batch import channels_of
from zoo.common.files import File
from zoo.common.files import Unreadable as Unreadable
from zoo.common.signature import ConstructorSignature, check_names, filled, parameters
from zoo.data.loading.augment import Augment
from zoo.data.loading.dataset import SplitDataset
from zoo.data.loading.serving import Serving

SPLITS = ("train", "val", "test")
AXES = {3: "(C, H, W) images", 4: "(C, T, H, W) clips"}


class Loading(TypedDict, total=False):
    """What the constructor of every data set takes; one hands them on as `**loading: Unpack[Loading]`."""

    shape: Sequence[int] | None
    batch_size: int
    num_workers: int | None
    seed: int
    max_bad: float
    augment: Mapping[str, Augment] | None


class DataModule(Serving):
    """A data set in three splits. A subclass fills in the facts and `load`.

    Args:
        shape: of one sample as served, (C, H, W) or (C, T, H, W). None: what the network reads that the Trainer brings the data
            together with, else the set's usual one.
        batch_size: samples a step on each device.
        num_workers: processes that read ahead; None is the data set's own choice.
        seed: of order, clip times and augmentation.
        max_bad: share of a split's files that may be unreadable before the run is refused; five may be in any case, unless it
            is 0.
        augment: what is done to training batches on the device, by name and in this order; null drops one.
    """

    # What a data set says

    layout: ClassVar[int]
    """How many axes a sample has: 3 for images, 4 for clips."""
    default_shape: ClassVar[tuple[int, ...]]
    """The shape of a sample, where neither the user nor a network says one."""
    suffixes: ClassVar[frozenset[str]]
    """The suffixes of the user's files that `files` can read."""
    targets: ClassVar[tuple[str, ...]] = ("label",)
    """What it can serve to learn from (keys of `batch.TARGETS`); a set of several takes the argument `target`."""
    full_size: ClassVar[bool] = False
    """Whether each image is scored at a size of its own, hence one at a time."""
    class_names: tuple[str, ...]
    """Known once `setup` ran (sets that name their classes in folders find them there)."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """The mean and the deviation of each channel over the training split, in 0..1."""
    patience: ClassVar[float] = 900
    """Seconds after which a worker that makes no batch is given up."""
    facts: ClassVar[tuple[str, ...]] = ()
    """Names of further attributes that tasks and models may read, as `${facts.NAME}`."""
    protocol: str = ""
    """How a sample is scored at test, as it is written beside a figure; empty where there is one way only."""
    scored_at_end: str = ""
    """What the split that is scored at the end is called by the set's publisher, where it is no test split."""
    spoken: ClassVar[frozenset[str]] = frozenset()
    """Arguments of which `protocol` speaks. Any other that is set is written beside a figure too, unless it is `unscored`."""
    unscored: ClassVar[frozenset[str]] = frozenset(
        ["batch_size", "num_workers", "seed", "max_bad", "augment", "flip", "scale", "fraction", "download", "target"]
    )
    """Arguments on which no figure of an evaluation depends: they change the training alone, or what is refused."""
    landmarks: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """Accuracies that mean something, by what they mean; drawn beside what a sweep's runs reached."""
    default_arguments: ClassVar[Loading] = Loading(shape=None, num_workers=None, seed=0, max_bad=0.01, augment=None)
    """What a shared argument is where nobody says it. A subclass adds its `batch_size`, and changes others."""

    def load(self) -> dict[str, SplitDataset]:
        """Find the splits on disk, check every header, and set the facts. Raises ValueError in the user's words."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make, ahead of time, all that reading needs; the arguments of a subclass are options of `zoo.prepare`."""
        self.prepare_data()

    def files(self, paths: Sequence[File]) -> SplitDataset:
        """The user's own files as test samples without labels; sample id k is `paths[k]`."""
        raise NotImplementedError

    # What all data sets do

    __signature__ = ConstructorSignature("shape")
    _given: Mapping[str, Any]

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        """Keep what was said: the rest is asked of the task when there is one (see `suit`)."""
        check_names(cls, arguments)
        self = super().__new__(cls)
        self._given = arguments
        return self

    def __init__(self, **loading: Unpack[Loading]) -> None:
        super().__init__()
        said = filled(type(self), Loading, loading)
        shape = self.default_shape if said["shape"] is None else said["shape"]
        if len(shape) != self.layout:
            raise ValueError(
                f"{type(self).__name__} serves {AXES[self.layout]}, but the shape asked for is {tuple(shape)}. "
                f"Choose another data= or model=."
            )
        self.shape = tuple(shape)
        self.batch_size = said["batch_size"]
        self.num_workers = said["num_workers"]
        self.seed = said["seed"]
        self.max_bad = said["max_bad"]
        self.augment = tuple(each for each in (said["augment"] or {}).values() if each is not None)
        if self.batch_size < 1:
            raise ValueError(f"data.batch_size is {self.batch_size}; it must be at least 1.")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def suit(self, task: Any) -> None:
        """Serve what a task's network reads, and what the task learns from, as far as the user has not said it. Raises
        ValueError where the network reads samples of another kind."""
        net = getattr(task, "net", None)
        wanted = getattr(net, "recipe", {}).get("arguments", {}).get("input_shape")
        channels = channels_of(net)
        if wanted is not None and len(wanted) != self.layout:
            raise ValueError(
                f"{type(self).__name__} serves {AXES[self.layout]}, but the network reads {AXES[len(wanted)]}. Choose other "
                f"data, or another network."
            )
        found: dict[str, Any] = {}
        if self._given.get("shape") is None:
            found["shape"] = wanted or (channels or self.shape[0], *self.shape[1:])
        if "target" in parameters(type(self)) and "target" not in self._given:
            found |= {"target": task.target} if getattr(task, "target", None) in self.targets else {}
        if any(tuple(value) != tuple(getattr(self, name)) for name, value in found.items()):
            trainer = self.trainer
            type(self).__init__(self, **{**self._given, **found})  # what follows from the shape is made anew
            self.trainer = trainer
