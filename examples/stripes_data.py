"""A data set of one's own: stripes of four directions, drawn in memory.

zoo train examples/stripes_data.py data=stripes data.contrast=20      # with any network and any task
zoo evaluate RUN_FOLDER examples/stripes_data.py
python examples/stripes_data.py                                       # by a plain Trainer
"""

from typing import Any

import lightning
import torch
from torch import Tensor

import zoo
from zoo.data import Stored
from zoo.tasks import ClassificationTask

SIZES = {"train": 400, "val": 100, "test": 200}


class Stripes(Stored):
    """Grey images of 32 x 32 whose brightness is a wave of one of four directions, under noise.

    Args:
        contrast: of the stripes; that of the noise is 40.
        arguments: those of `Stored`: the shape that is served, the batch, ...
    """

    default_shape = (1, 32, 32)
    class_names = ("-", "/", "|", "\\")
    source_mean = (0.5,)
    source_std = (0.17,)

    def __init__(self, *, contrast: float = 40.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.contrast = contrast

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Each split: uint8 (N, 1, 32, 32) and the numbers of the classes, (N,)."""
        return {split: self.drawn(count, number) for number, (split, count) in enumerate(SIZES.items())}

    def drawn(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        chance = torch.Generator().manual_seed(seed)
        labels, phases = torch.arange(count) % 4, 6.3 * torch.rand(count, 1, 1, generator=chance)
        angles = (labels * torch.pi / 4)[:, None, None]
        y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        waves = torch.sin(y * torch.cos(angles) + x * torch.sin(angles) + phases)
        noise = 40 * torch.randn(count, 32, 32, generator=chance)
        return (127 + self.contrast * waves + noise).clamp(0, 255).to(torch.uint8)[:, None], labels


def main(**limits: Any) -> None:
    trainer = lightning.Trainer(**{"max_epochs": 5, **limits})
    trainer.fit(ClassificationTask(zoo.create_model("lenet5", num_classes=4)), Stripes())


if __name__ == "__main__":
    main()
