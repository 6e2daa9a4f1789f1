"""How networks learn: one class a task. A task of one's own is a subclass of `Task`, or of one of these."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
