"""The 1,797 handwritten digits that come inside scikit-learn: real data that need no download."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from zoo.data._augment import Augment
from zoo.data._synth import digit_indices, digits
from zoo.data.base import SPLITS, DataModule, Samples
from zoo.data.images import SUFFIXES, ImageFiles, Pixels


class Digits(DataModule):
    """Handwritten digits, 8x8 at the source, enlarged once to the shape in use; splits are fixed and stratified.

    1,258 train, 180 val and 359 test images, bright strokes on black. A shape of three channels repeats the grey one.
    """

    layout = 3
    suffixes = SUFFIXES
    class_names = tuple("0123456789")

    def __init__(
        self,
        *,
        shape: Sequence[int],
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        max_bad: float = 0.01,
        augment: Mapping[str, Augment] | None = None,
    ) -> None:
        super().__init__(
            shape=shape, batch_size=batch_size, num_workers=num_workers, seed=seed, max_bad=max_bad, augment=augment
        )
        # Over the training digits; bilinear enlarging moves them by less than a hundredth.
        self.mean = (0.306,) * self.shape[0]
        self.std = (0.324,) * self.shape[0]

    def default_workers(self) -> int:
        return 0  # in memory

    def load(self) -> dict[str, Samples]:
        images, labels = (torch.from_numpy(array) for array in digits())
        channels, height, width = self.shape
        enlarged = interpolate(images[:, None], (height, width), mode="bilinear", align_corners=False)
        pixels = enlarged.expand(-1, channels, -1, -1)
        return {name: Pixels(*(t[torch.from_numpy(digit_indices(name))] for t in (pixels, labels))) for name in SPLITS}

    def files(self, paths: Sequence[Path]) -> Samples:
        return ImageFiles(paths, None, self.shape)
