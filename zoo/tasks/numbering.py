"""Batches of loaders that do not number their samples."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor


class Numbering:
    """The numbers of a loader's samples, by their places in its order."""

    def __init__(self) -> None:
        self._seen = 0

    def numbered(self, fields: Mapping[str, Any], batch_idx: int, trainer: Any) -> dict[str, Any]:
        """A batch's fields with its `id`, `view` and `epoch`, and the `image_id` of objects."""
        count = len(fields["input"])
        ids = self._numbers(count, batch_idx, trainer).to(fields["input"].device)
        epoch = trainer.current_epoch if trainer else 0
        common = {"id": ids, "view": torch.zeros_like(ids), "epoch": torch.full_like(ids, epoch)}
        return {"image_id": ids, **common, **fields} if "size" in fields else {**common, **fields}

    def _numbers(self, count: int, batch_idx: int, trainer: Any) -> Tensor:
        """(count,). Where several processes share the loader, Lightning deals it out in turn, and begins anew for those that
        have too few."""
        self._seen = count + (self._seen if batch_idx else 0)
        if trainer is None:
            return torch.arange(self._seen - count, self._seen)
        numbers: Tensor = torch.arange(self._seen - count, self._seen) * trainer.world_size + trainer.global_rank
        loop = "train" if trainer.training else "val" if trainer.validating or trainer.sanity_checking else "test"
        loader: Any = getattr(trainer, "train_dataloader" if loop == "train" else f"{loop}_dataloaders", None)
        try:
            total = len(loader.dataset)
        except (TypeError, AttributeError):  # a stream, which has no length
            return numbers
        return numbers % max(1, total)
