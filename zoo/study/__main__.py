"""Study self-supervision by rotation, in three steps: `zoo study data=digits model=lenet5`.

1. Train a network from scratch on all labels. 2. Train the same network to tell rotations, without labels. 3. Transfer what it
learned to classification with a share of the labels, against the same network from scratch with the same labels.

Every arm of a seed sees the same labels, chosen stratified, a smaller share within a larger. Lengths of training, strengths of
weight decay and numbers of neighbors are chosen on validation data; test is scored once, with the choice. Any setting of
`zoo train` can be given.
"""

import functools
from typing import Any

from zoo.common.words import printable
from zoo.run import cli
from zoo.study.compare import study


@functools.wraps(study)
def _main(**kwargs: Any) -> None:
    study(**kwargs)
    print(f"The table, the pictures and all figures are in {printable(kwargs.get('folder', 'runs/study'))}")


def main() -> None:
    cli.command(_main, bare=True, resumes="The seeds that are done are kept; the same command goes on with the others.")


if __name__ == "__main__":
    main()
