"""How networks learn: one class a task. A task of one's own is a subclass of `Task`, or of one of these."""

import lazy_loader

from zoo.common.renaming import with_old_names

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = with_old_names(_found, __name__, {"Answer": "FilePrediction", "Records": "SampleOutputs"})
