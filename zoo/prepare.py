"""Prepare: `python -m zoo.prepare DATA [ROOT] [option=value ...] [key=value ...]` makes what a data set needs, once.

Data that are rendered or downloaded are so ahead of time. Videos are scanned into a ledger that says which can be read;
`short_side=128` makes small copies of key frames alone, which `data.prepared=128` reads many times as fast; `flow=dis`
(or raft) extracts optical flow, which `data.flow=dis` reads. ROOT is data.root. Safe to interrupt and to run again: it goes
on where it stopped.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo import cli
from zoo import config as run
from zoo.words import printable


def prepare(name: str, overrides: Sequence[str] = (), **options: Any) -> None:
    """Prepare a data set by name, and say what it holds. The options are the arguments of its `prepare`."""
    from zoo import report

    report.quiet()
    config = run.composed([f"data={name}", *overrides])
    # What lies on disk does not depend on the shape that is served, which is the model's to say.
    config.data.shape = [3, 16, 32, 32] if run.layout_of(config) == 4 else [3, 32, 32]
    data = run.make(config.data, "data")()
    run.check_values(data.prepare, options, name)
    data.strict = False  # what cannot be read is listed here, and refused where it is trained on
    data.augment = ()  # fitted to training samples, of which there may be none
    try:
        data.prepare(**options)
        data.setup()
    except ValueError:
        report.name_bad(data)
        raise
    counts = ", ".join(f"{report.count(samples):,} {split}" for split, samples in data.splits.items())
    print(f"{printable(name)}: {counts}, {data.num_classes} classes")
    report.found(data)
    if data.bad:
        total = sum(map(report.count, data.splits.values())) + sum(data.left_out.values())
        print(
            f"{len(data.bad)} of {total} files ({len(data.bad) / total:.1%}) are left out; training refuses a split of "
            f"which more than a handful and more than data.max_bad={data.max_bad:g} are, or all."
        )


def _main(arguments: list[str]) -> None:
    from omegaconf import OmegaConf

    name, *rest = arguments
    overrides: list[str] = []
    options: dict[str, Any] = {}
    places = [argument for argument in rest if "=" not in argument or Path(argument).exists()]
    if len(places) > 1:
        raise ValueError(f"{places[1]} is not a setting (key=value); one folder is prepared at a time.")
    known = inspect.signature(run.located(run.composed([f"data={name}"]).data._target_).prepare).parameters
    for argument in rest:
        key = argument.partition("=")[0]
        if argument in places:
            overrides.append(f"data.root={run.quoted(run.place(argument))}")
        elif key in known:
            options[key] = OmegaConf.from_dotlist([argument])[key]
        else:
            overrides += run.literal_paths([argument])
    prepare(name, overrides, **options)


def main() -> None:
    cli.verb(_main, __doc__, goes_on="The same command goes on where it stopped.")


if __name__ == "__main__":
    main()
