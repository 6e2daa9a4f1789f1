"""From clothes to digits: `python benchmarks/transfer.py [RUNS]`, after benchmarks/lenet_wide.py with the same RUNS.

lenet_wide, pretrained on Fashion-MNIST, is transferred to a tenth of the training digits, in the two ways of the
lectures, and compared with training from scratch.
"""

import sys
from pathlib import Path

from _record import spread, train, write

SEEDS = (0, 1, 2)


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/lenet_wide_fashion_mnist").absolute()
    digits = ["model=lenet_wide", "data=digits", "data.fraction=0.1", "trainer.max_epochs=100", "callbacks.pictures=null"]
    ways = {
        "features frozen, new classifier": ["freeze=all"],
        "fine-tuned": [],
        "from scratch": ["model.pretrained=null"],
    }
    rows = []
    for name, settings in ways.items():
        accuracy = []
        for seed in SEEDS:
            start = f"model.pretrained={runs / str(seed) / 'checkpoints' / 'best.ckpt'}"
            chosen = [*digits, f"seed={seed}", *([] if "model.pretrained=null" in settings else [start]), *settings]
            accuracy.append(train(chosen, runs / f"{name.replace(' ', '_').replace(',', '')}-{seed}")["test/accuracy"])
        rows.append([name, spread(accuracy)])
    write(
        "transfer",
        "Transfer from Fashion-MNIST to a tenth of the digits",
        "a tenth of the training digits of each class, drawn anew with each seed, 100 epochs of AdamW at 1e-3, the epoch "
        "chosen by 180 validation digits, scored once on 359 test digits; each seed has its own pretrained network, of "
        "lenet_wide_fashion_mnist.md, whose head is where the new classifier starts",
        [["way", "test accuracy, %: mean ± standard deviation (seeds 0, 1, 2)"], *rows],
    )


if __name__ == "__main__":
    main()
