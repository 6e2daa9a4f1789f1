"""Measure how fast networks are and what they need, and draw it: `zoo benchmark "resnet*" c3d`.

    zoo benchmark "*" measure=accuracy            # costs and accuracies, no times
    zoo benchmark c3d mode=eager precision=32-true,bf16-mixed layout=contiguous,channels_last

Each model is its paper's network at its paper's input shape, as `zoo flops` counts it, on noise that lies on the
device: no data set is read, but for the accuracy. A run's network is measured at the shape it was trained at.
Networks and steps take settings as a run does: model.num_classes=101, size=small, input_shape=[3,16,112,112], optimizer=sgd.

The folder gets benchmark.json and benchmark.csv, written after each row; benchmark.md; accuracy over multiply-adds and over
latency as pictures; and benchmark.html, a page that needs no network. An accuracy is measured where the weights and the
data are there, else it is the published one.
"""

import functools
from collections.abc import Sequence

from zoo.benchmark.measure import Options, benchmark
from zoo.common.words import printable
from zoo.run import cli, signals


@functools.wraps(benchmark)
def _main(patterns: Sequence[str], options: Options = Options()) -> None:
    try:
        benchmark(patterns, options)
    except signals.Stopped as stopped:
        stopped.said += f" What was measured is in {printable(options.folder)}."
        raise
    print(f"The table, the pictures, the page (benchmark.html) and all figures are in {printable(options.folder)}")


def main() -> None:
    cli.command(_main)


if __name__ == "__main__":
    main()
