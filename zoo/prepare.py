"""Prepare: `python -m zoo.prepare DATA [key=value ...]` renders or downloads what a data set needs, once.

Safe to interrupt and to run again; training does the same by itself where something is missing.
"""

import sys
from collections.abc import Sequence

from zoo import config as run


def prepare(name: str, overrides: Sequence[str] = ()) -> None:
    """Prepare a data set by name, and say what it holds."""
    from zoo import report

    config = run.composed([f"data={name}", *overrides])
    # What lies on disk does not depend on the shape that is served, which is the model's to say.
    config.data.shape = [3, 16, 32, 32] if run.layout_of(config) == 4 else [3, 32, 32]
    data = run.make(config.data, "data")()
    data.prepare_data()
    data.setup()
    counts = ", ".join(f"{report.count(samples):,} {split}" for split, samples in data.splits.items())
    print(f"{name}: {counts}, {data.num_classes} classes")
    report.name_bad(data)


def main() -> None:
    arguments = sys.argv[1:]
    with run.plainly(debug="debug=true" in arguments):
        if not arguments or arguments[0] in ("-h", "--help"):
            print(__doc__)
            return
        prepare(arguments[0], run.literal_paths(arguments[1:]))


if __name__ == "__main__":
    main()
