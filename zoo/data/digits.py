"""The 1,797 handwritten digits that come inside scikit-learn: real data that need no download."""

import torch
from torch import Tensor

from zoo.data.base import SPLITS
from zoo.data.rendered.synth import digit_indices, digits
from zoo.data.stored import Stored


class Digits(Stored):
    """Handwritten digits, 8x8 at the source, enlarged to the shape in use; splits are fixed and stratified.

    1,258 train, 180 val and 359 test images, bright strokes on black.
    """

    default_shape = (1, 32, 32)
    class_names = tuple("0123456789")
    # Bilinear enlarging moves them by less than a hundredth.
    source_mean = (0.306,)
    source_std = (0.324,)

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        images, labels = (torch.from_numpy(array) for array in digits())
        rows = {split: torch.from_numpy(digit_indices(split)) for split in SPLITS}
        return {split: (images[index, None], labels[index]) for split, index in rows.items()}
