"""How Lightning drives a task: its steps, the scores at the end of an epoch, the optimizer.

Evaluation steps keep the outputs of their samples. At the end of the epoch the ranks gather them once, samples that repeat are
dropped by their id, and the metrics are computed of the others: every sample counts exactly once however many processes
evaluate, and no step waits for another rank.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zoo.batch import channels_of, foreign
from zoo.tasks.gathering import SampleOutputs, gather
from zoo.tasks.metrics import MakeMetric, added
from zoo.tasks.normalizing import Normalizing
from zoo.tasks.numbering import Numbering
from zoo.tasks.padding import ExplicitPadding

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer, int], LRScheduler]


class NotFinite(ValueError):
    """A loss that is not a finite number, with the samples that gave it."""

    def __init__(self, loss: float, step: int, ids: list[int]) -> None:
        super().__init__(
            f"The loss became {loss} at step {step}, on samples {ids}. "
            f"Lower optimizer.lr, or set trainer.gradient_clip_val, or look at these samples."
        )
        self.loss = loss
        self.step = step
        self.ids = ids


LONE = (
    "BatchNorm learns nothing from a single value of a channel, and a step has one sample only. Set data.batch_size=2 or more "
    "(each process needs as many training samples), or a larger data.shape."
)


class Steps(Normalizing, lightning.LightningModule):
    """What all tasks do."""

    net: nn.Module
    optimizer: MakeOptimizer
    scheduler: MakeScheduler | None
    metric: str
    class_names: tuple[str, ...]
    wanted: Mapping[str, MakeMetric]
    target: ClassVar[str]
    facts: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.recipe: dict[str, Any] = {}
        """What built this task, as names and plain values; the checkpoint carries it."""
        self.remarks: list[str] = []
        """Sentences about its last evaluation, printed with the figures."""
        self.scored: dict[str, int] = {}
        """Split to the number of samples that its last evaluation counted."""
        self.known_data: dict[str, Any] = {}
        """What the data module told."""
        self._outputs: list[SampleOutputs] = []
        self._numbering = Numbering()

    if TYPE_CHECKING:  # what a task says: see `Task`

        def losses(self, batch: Any) -> dict[str, Tensor]: ...
        def predict(self, batch: Any) -> Any: ...
        def sample_outputs(self, batch: Any) -> SampleOutputs: ...
        def metrics(self, outputs: SampleOutputs) -> dict[str, float]: ...

    def setup(self, stage: str) -> None:
        if (data := getattr(self.trainer, "datamodule", None)) is not None:
            self.adopt(data)
        if not self.class_names:
            self.class_names = tuple(map(str, range(getattr(self, "num_outputs", None) or 0)))
        added(self.wanted, getattr(self, "num_outputs", None), [])  # refused now, not after an epoch

    def adopt(self, data: Any) -> None:
        """Take from a data module what was not given: its statistics, and `facts`. Raises ValueError where they do not fit.

        Lightning's hook `setup` calls it; a subclass checks here what it needs.
        """
        self._check_names(tuple(getattr(data, "class_names", ())))
        self.learn_statistics(getattr(data, "mean", None), getattr(data, "std", None))
        for name in self.facts:
            if not getattr(self, name) and (known := getattr(data, name, None)):
                setattr(self, name, tuple(known))
        for name in ("shape", *getattr(data, "facts", ())):
            if (value := getattr(data, name, None)) is not None:
                self.known_data[name] = list(value) if isinstance(value, tuple) else value
        self.known_data["data"] = type(data)

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Refuse data of other classes than those that the task knows by name: what is scored was never learned."""
        if self.class_names == tuple(map(str, range(len(self.class_names)))):
            self.class_names = ()  # numbers, of a loader that names none
        if names and self.class_names and names != self.class_names and self.target != "none":
            said = [", ".join(each[:5]) + ", ..." * (len(each) > 5) for each in (self.class_names, names)]
            raise ValueError(
                f"The task knows {len(self.class_names)} classes ({said[0]}), but the data have {len(names)} ({said[1]}). "
                f"Choose data of the same classes, or make a new task of the network."
            )

    def configure_callbacks(self) -> list[Callback]:
        return [ExplicitPadding()]

    def total_loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """What a step minimizes, the sum of `losses`, and these."""
        losses = self.losses(batch)
        return torch.stack(list(losses.values())).sum(), losses

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """The loss of a batch, logged where there is a Trainer; None where none of the batch's files could be read."""
        batch = self.understood(batch, batch_idx)
        size = len(batch["id"])
        if not size:
            return None
        try:
            loss, terms = self.total_loss(batch)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):  # the batch has shrunk, for its other files cannot be read
                raise ValueError(LONE) from None
            raise
        if not torch.isfinite(loss):
            samples: Any = batch.get("image_id", batch["id"])  # the data's own numbers, where they have any
            raise NotFinite(loss.item(), self.global_step, samples.tolist())
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        if len(terms) > 1:
            self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, batch_size=size)
        return loss

    def log(self, *args: Any, **kwargs: Any) -> None:
        """As Lightning's; without a Trainer, where a step is called by itself, nobody listens."""
        if self._trainer is not None or self._fabric is not None:
            super().log(*args, **kwargs)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = self.understood(batch, batch_idx)
        if len(batch["id"]):
            kept = self.sample_outputs(batch).items()
            self._outputs.append({name: value.cpu() if isinstance(value, Tensor) else value for name, value in kept})

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """`prediction`, what `predict` says of the batch, beside each row's `id` (which sample) and `view` (which clip or crop
        of it)."""
        batch = self.understood(batch, batch_idx, told=False)
        return {"id": batch["id"], "view": batch["view"], "prediction": self.predict(batch)}

    def understood(self, batch: Any, batch_idx: int, *, told: bool = True) -> Any:
        """A batch of our data sets as it is; any other loader's, `(input, target)` or a dictionary, in the same form.

        Its samples are numbered as they come. Raises ValueError, with the form, where it cannot be understood.

        Args:
            told: whether it must hold what the task learns from.
        """
        if isinstance(batch, Mapping) and {"id", "view", "epoch", "input"} <= batch.keys():
            return batch
        fields = foreign(batch, self.target, type(self).__name__, channels_of(self.net), told=told)
        self.known_data.setdefault("shape", list(fields["input"].shape[1:]))
        return self._numbering.numbered(fields, batch_idx, self._trainer)

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        self._score("test")

    def _score(self, split: str) -> None:
        outputs = gather(self._outputs)
        self._outputs.clear()
        if not outputs:
            raise ValueError(f"Not one sample of the {split} split could be read, so there is nothing to score.")
        self.scored[split] = len(set(outputs["id"].tolist()))
        for name, value in self.metrics(outputs).items():
            # Every rank has gathered the same outputs, so every rank logs the same value and saves at the same moments.
            self.log(f"{split}/{name}", value, prog_bar=name == self.metric)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())  # the frozen ones have no gradient, and stay
        if self.scheduler is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("A schedule needs an end: set trainer.max_epochs or trainer.max_steps, or scheduler=constant.")
        scheduler = self.scheduler(optimizer, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
