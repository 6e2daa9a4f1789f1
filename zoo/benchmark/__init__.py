"""How fast networks are, what they need and how right they are: `from zoo.benchmark import benchmark`."""

from zoo.benchmark.measure import Options as Options
from zoo.benchmark.measure import benchmark as benchmark
from zoo.benchmark.rows import Row as Row
from zoo.benchmark.rows import read_rows as read_rows
