"""The public face: networks, weights, costs, and trained networks that predict.

The names stand in `__init__.pyi`, each with its home, and nothing is imported before it is asked for (PEP 562).
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "__version__"])


def __dir__() -> list[str]:
    return __all__
