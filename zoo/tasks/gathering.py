"""The outputs of all processes, each sample once."""

from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor

SampleOutputs = dict[str, Any]
"""By name a tensor (B, ...), or a list of B where samples say more or less: plain values."""


def gather(parts: list[SampleOutputs]) -> SampleOutputs:
    """The outputs of all ranks, each (id, view) once, in the order of ids and views."""
    mine = _joined(parts)
    everyone = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        everyone = [{} for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(everyone, mine)
    outputs = _joined([part for part in everyone if part])
    if not outputs:
        return {}
    key = torch.stack([outputs["id"], outputs["view"]], dim=1).numpy()
    _, first = np.unique(key, axis=0, return_index=True)
    return {
        name: value[torch.from_numpy(first)] if isinstance(value, Tensor) else [value[at] for at in first]
        for name, value in outputs.items()
    }


def _joined(parts: list[SampleOutputs]) -> SampleOutputs:
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(value, Tensor)
        else [item for part in parts for item in part[name]]
        for name, value in (parts[0] if parts else {}).items()
    }
