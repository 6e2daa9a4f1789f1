"""Self-supervision by rotation: `from zoo.study import study`."""

from zoo.study.compare import study as study
from zoo.study.outcome import Outcome as Outcome
