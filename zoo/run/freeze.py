"""Transfer: parts of a network that keep their weights, for a while or throughout."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import nn

HEAD = "head"


def parts_of(net: nn.Module) -> dict[str, list[nn.Module]]:
    """The network's layers by part, shallow to deep: up to each of its named blocks, what follows the last, the head.

    A layer is a module that holds parameters or buffers of its own. Raises ValueError for a network without named blocks.
    """
    blocks: Any = getattr(net, "blocks", None)
    features, head = getattr(net, "features", None), getattr(net, "head", None)
    if blocks is None or not isinstance(features, nn.Module) or not isinstance(head, nn.Module):
        raise ValueError(f"{type(net).__name__} has no named blocks, so it cannot be frozen in parts. Set freeze=null.")
    parts: dict[str, list[nn.Module]] = {name: [] for name in (*blocks, "rest", HEAD)}
    waiting, inside = list(blocks), ""
    for name, module in features.named_modules():
        # A block begins where its name comes up; what came since the block before belongs to it too.
        while waiting and inside and not (name + ".").startswith(inside + "."):
            waiting.remove(inside)
            inside = ""
        if name in waiting:
            inside = name
        parts[waiting[0] if waiting else "rest"] += _own(module)
    parts[HEAD] = [layer for module in head.modules() for layer in _own(module)]
    return {name: layers for name, layers in parts.items() if layers}


def names_of(net: nn.Module, layers: Iterable[nn.Module]) -> list[str]:
    """Names of the tensors that these layers of a network hold themselves."""
    held = {id(value) for layer in layers for value in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))}
    return [name for name, value in net.state_dict(keep_vars=True).items() if id(value) in held]


def still(net: nn.Module) -> Iterator[nn.Module]:
    """The layers that training does not change: none of their parameters trains, and no statistics are measured."""
    for module in net.modules():
        measures = isinstance(module, nn.modules.batchnorm._NormBase) and module.training and module.track_running_stats
        if not measures and not any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            yield module


def _own(module: nn.Module) -> list[nn.Module]:
    held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return [module] if held or isinstance(module, nn.modules.dropout._DropoutNd) else []


class Freeze(Callback):
    """Keep parts of a network as they are: no gradient, no weight decay, and BatchNorm in eval mode, so that neither
    weights nor statistics move by a bit. (Lightning's BackboneFinetuning lets the statistics move.)

    Args:
        freeze: "all" (everything but the head), "head", or the names of parts.
        unfreeze: fractions of the run at which the frozen parts are released, one at each, the deepest first (Howard and
            Ruder 2018, section 3.3).
    """

    def __init__(self, freeze: str | Sequence[str], unfreeze: Sequence[float] = ()) -> None:
        self.asked = freeze if isinstance(freeze, str) else [*map(str, freeze)]
        self.unfreeze = [*unfreeze]
        self.parts: dict[str, list[nn.Module]] = {}
        """Those of the network, once it is held."""
        self.frozen: list[str] = []
        self.release: dict[str, float] = {}

    def __str__(self) -> str:
        return self.asked if isinstance(self.asked, str) else f"[{', '.join(self.asked)}]"

    def hold(self, net: nn.Module) -> None:
        """Freeze the parts of a network, at once. Raises ValueError where it has none such, or nothing is left to train."""
        self.parts = parts_of(net)
        names = [name for name in self.parts if name != HEAD] if self.asked == "all" else self.asked
        self.frozen = [names] if isinstance(names, str) else list(names)
        for name in self.frozen:
            if name not in self.parts:
                raise ValueError(f"freeze names {name!r}, but the network's parts are {', '.join(self.parts)}; or say all.")
        at, most = self.unfreeze, len(self.frozen)
        if len(at) > most or at != sorted(at) or not all(0 < each < 1 for each in at):
            raise ValueError(
                f"unfreeze is {at}; it is a rising list of fractions between 0 and 1, at most one for each of the {most} "
                f"frozen parts."
            )
        deepest_first = [name for name in reversed(self.parts) if name in self.frozen]
        self.release = dict(zip(deepest_first, at, strict=False))
        for name in self.frozen:
            self._set(name, trains=False)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise ValueError(f"freeze holds all that the network has ({', '.join(self.parts)}), so nothing would be trained.")

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """The name of each part, its parameters, and whether it trains."""
        for name, layers in self.parts.items():
            count = sum(p.numel() for layer in layers for p in layer.parameters(recurse=False))
            until = f"frozen until {self.release[name]:.0%} of the run" if name in self.release else "frozen"
            yield name, count, until if name in self.frozen else "trains"

    def _set(self, name: str, trains: bool) -> None:
        for layer in self.parts[name]:
            layer.train(trains)
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(trains)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if stage == "fit" and not self.parts:
            self.hold(getattr(pl_module, "net", pl_module))
        if self.release and trainer.world_size > 1:
            raise ValueError(
                "Parts cannot be released on several devices, which agree on what trains at the start. Drop unfreeze."
            )

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # At each step, for validation ends in train mode; and by the step, so that a resumed run is where it was.
        done = trainer.global_step / trainer.estimated_stepping_batches
        for name in list(self.frozen):
            if done >= self.release.get(name, 1.0):
                self.frozen.remove(name)
                self._set(name, trains=True)
            else:
                self._set(name, trains=False)
