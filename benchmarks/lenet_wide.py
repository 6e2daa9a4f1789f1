"""lenet_wide on the complete Fashion-MNIST, three seeds: `python benchmarks/lenet_wide.py [RUNS]`.

Finished runs in the folder RUNS are scored and not repeated; an interrupted one goes on.
"""

import sys
from pathlib import Path

from _record import spread, train, write

SEEDS = (0, 1, 2)


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/lenet_wide_fashion_mnist").absolute()
    recipe = ["experiment=lenet_wide_fashion_mnist"]
    accuracy = [train([*recipe, f"seed={seed}"], runs / str(seed))["test/accuracy"] for seed in SEEDS]
    write(
        "lenet_wide_fashion_mnist",
        "lenet_wide on Fashion-MNIST",
        "trained on 54,000 images by `experiment=lenet_wide_fashion_mnist`, the epoch chosen by 6,000 validation images carved "
        "out of train, scored once on the 10,000 test images, one view",
        [["seeds", "test accuracy, %: mean ± standard deviation (each)"], [", ".join(map(str, SEEDS)), spread(accuracy)]],
    )


if __name__ == "__main__":
    main()
