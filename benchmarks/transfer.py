"""From clothes to digits: `python benchmarks/transfer.py [RUNS]`; finished runs in the folder RUNS are not repeated.

lenet_wide with the weights inside the package (Fashion-MNIST) is transferred to a tenth of the training digits, in the two
ways of the lectures, and compared with training from scratch.
"""

import sys
from pathlib import Path

from _record import spread, train, write

SEEDS = (0, 1, 2)
WAYS = {
    "features frozen, classifier trained": ["model.pretrained=fashion_mnist", "freeze=all"],
    "fine-tuned": ["model.pretrained=fashion_mnist"],
    "from scratch": [],
}


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/transfer").absolute()
    digits = ["model=lenet_wide", "data=digits", "data.fraction=0.1", "trainer.max_epochs=100", "callbacks.pictures=null"]
    rows = []
    for number, (name, settings) in enumerate(WAYS.items()):
        recipes = [([*digits, *settings, f"seed={seed}"], runs / f"{number}-{seed}") for seed in SEEDS]
        rows.append([name, " ".join(settings), spread([train(*recipe)["test/accuracy"] for recipe in recipes])])
    write(
        "transfer",
        "Transfer from Fashion-MNIST to a tenth of the digits",
        f"`python -m zoo.train {' '.join(digits)}` with the settings of the row; a tenth of the training digits of each class, "
        "drawn anew with each seed; the epoch chosen by 180 validation digits; scored once on 359 test digits; the classifier "
        "starts from that of the ten clothes",
        [["way", "settings", "test accuracy, %: mean ± standard deviation (seeds 0, 1, 2)"], *rows],
    )


if __name__ == "__main__":
    main()
