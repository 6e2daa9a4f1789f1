"""Score a checkpoint on the data it was trained with, or on others of the same classes: `zoo evaluate RUN_FOLDER`.

Everything is rebuilt from the checkpoint alone; `data=...` chooses another data set of the same classes.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.run import cli
from zoo.run.build import build_data
from zoo.run.check import located
from zoo.run.facts import facts_of, publish
from zoo.run.recipe import compose_recipe, read_checkpoint, rebuild

if TYPE_CHECKING:
    from zoo.run.report import Conditions

Split = Literal["val", "test"]
"""What a checkpoint is scored on."""


@cli.in_python
def evaluate(checkpoint: str | Path, overrides: Sequence[str] = (), split: Split = "test") -> dict[str, float]:
    """Score a checkpoint on a split, print the result, return the metrics by name: `{"test/accuracy": 0.97, ...}`.

    The network, the task and the data are those of the checkpoint's recipe, as the overrides change them; every sample is
    scored once, by the protocol that is printed.

    Args:
        checkpoint: a run folder, a checkpoint or published weights (MODEL:TAG); of a folder its best checkpoint.
        overrides: settings that replace the recipe's, as on the command line: `["data.root=FOLDER", "data.batch_size=64"]`.
        split: which split of the data, val or test.

    Raises:
        ValueError: no checkpoint, settings that do not exist, data of other classes or that cannot be read.
    """
    return scored(checkpoint, overrides, split)[0]


def scored(checkpoint: str | Path, overrides: Sequence[str] = (), split: str = "test") -> "tuple[dict[str, float], Conditions]":
    """The metrics as `evaluate` returns them, and the conditions under which they were measured."""
    from zoo.run import report
    from zoo.run.callbacks import Lines
    from zoo.run.protocol import protocol
    from zoo.run.trainer import build_trainer

    if split not in ("val", "test"):
        raise ValueError(f"split is {split!r}; a checkpoint is scored on split=val or split=test.")
    report.quiet()
    content = read_checkpoint(checkpoint)
    config = compose_recipe(content["zoo"], overrides)
    data = build_data(config)
    data.prepare_data()
    data.setup()
    facts = facts_of(data)
    known = content["zoo"]["facts"]
    learns_classes = located(config.task._target_).target != "none"
    if learns_classes and facts["class_names"] != known["class_names"]:
        raise ValueError(
            f"The checkpoint knows {known['num_classes']} classes ({', '.join(known['class_names'][:5])}, ...), but the data "
            f"have {facts['num_classes']} ({', '.join(facts['class_names'][:5])}, ...). Choose data of the same classes."
        )
    publish(config, known)
    task = rebuild(content, config, checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            config, logger=False, default_root_dir=folder, callbacks=[Lines(epochs=False)], enable_checkpointing=False
        )
        (trainer.test if split == "test" else trainer.validate)(task, datamodule=data, verbose=False)
    data.gather_skipped()
    how = report.Conditions(
        report.weights_of(checkpoint, content), protocol(config, data, content["zoo"], str(trainer.precision))
    )
    report.scores(task, data, split, trainer.callback_metrics, how)
    report.found(data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}, how


def main() -> None:
    cli.command(evaluate)


if __name__ == "__main__":
    main()
