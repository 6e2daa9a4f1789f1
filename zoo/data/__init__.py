"""Data sets and their loading: one class a data set, and what is done to training batches. A set of one's own is a subclass of
`DataModule`, or of one of these."""

import lazy_loader

from zoo.common.renaming import with_old_names

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = with_old_names(
    _found, __name__, {"Samples": "SplitDataset", "Decoded": "DecodedDataset", "Pixels": "PixelDataset"}
)
