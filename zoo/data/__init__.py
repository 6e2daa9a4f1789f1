"""Data sets and their loading: one class a data set, and what is done to training batches. A set of one's own is a subclass of
`DataModule`, or of one of these."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
