"""Networks by name, their weights, and what a network or a head of one's own is made with.

The names stand in `__init__.pyi`, each with its home, and nothing is imported before it is asked for (PEP 562).
"""

import lazy_loader

from zoo.common.renaming import with_old_names

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = with_old_names(_found, __name__, {"Found": "Detections"})
