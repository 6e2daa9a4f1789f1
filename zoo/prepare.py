"""Prepare a data set once: `zoo prepare motion_digits`, `zoo prepare video_folder FOLDER short_side=128`.

Data that are rendered or downloaded are so ahead of time. Videos are scanned into a ledger that says which can be read;
`short_side=128` makes small copies of key frames alone, which `data.prepared=128` reads many times as fast; `flow=dis`
(or raft) extracts optical flow, which `data.flow=dis` reads. Safe to interrupt and to run again: it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from zoo.common.words import printable
from zoo.run import cli, folder
from zoo.run.build import make
from zoo.run.check import check_values, layout_of, located
from zoo.run.compose import composed, quoted
from zoo.run.grammar import Further, Named, Plain


def _method(name: str) -> Callable[..., Any]:
    """The method that prepares the data set of that name."""
    method: Callable[..., Any] = located(composed([f"data={name}"]).data._target_).prepare
    return method


@cli.in_python
def prepare(
    name: Annotated[str, Named("data")],
    root: Annotated[str | Path | None, Plain()] = None,
    overrides: Sequence[str] = (),
    **options: Annotated[Any, Further(_method)],
) -> None:
    """Prepare a data set by name, and print what it holds. Files that exist are not made again.

    Args:
        name: a data set, one of `data=`.
        root: its folder, which is data.root.
        overrides: settings of the data, as on the command line: `["data.download=true"]`.
        options: the arguments of the data set's own `prepare`; of videos short_side, flow and patience.

    Raises:
        ValueError: a data set, a setting or an option that does not exist, or data of which nothing can be read.
    """
    from zoo.run import report

    report.quiet()
    place = [] if root is None else [f"data.root={quoted(folder.place(str(root)))}"]
    config = composed([f"data={name}", *place, *overrides])
    # What lies on disk does not depend on the shape that is served, which is the model's to say.
    config.data.shape = [3, 16, 32, 32] if layout_of(config) == 4 else [3, 32, 32]
    data = make(config.data, "data")()
    check_values(data.prepare, options, name)
    data.strict = False  # what cannot be read is listed here, and refused where it is trained on
    data.augment = ()  # fitted to training samples, and there may be none
    try:
        data.prepare(**options)
        data.setup()
    except ValueError:
        report.name_bad(data)
        raise
    counts = ", ".join(f"{report.count(samples):,} {split}" for split, samples in data.splits.items())
    print(f"{printable(name)}: {counts}, {data.num_classes} classes")
    report.found(data)
    if data.skipped:
        total = sum(map(report.count, data.splits.values())) + sum(data.skipped_counts.values())
        print(
            f"{len(data.skipped)} of {total} files ({len(data.skipped) / total:.1%}) are left out; training refuses a split of "
            f"which more than a handful and more than data.max_bad={data.max_bad:g} are, or all."
        )


def main() -> None:
    cli.command(prepare, resumes="The same command goes on where it stopped.")


if __name__ == "__main__":
    main()
