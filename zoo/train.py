"""Train a network and score its best checkpoint: `zoo train model=c3d`, `zoo train data=image_folder data.root=FOLDER`.

From the command line to the loss a reader opens this file, `run/build.py`, `tasks/base.py` with `tasks/steps.py`, and the
task's own. A run goes one way: configuration -> data -> facts -> trainer -> task -> fit -> report.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.run import cli
from zoo.run.build import build_data, build_task
from zoo.run.check import check_parts, speaking_of
from zoo.run.compose import overrides_of
from zoo.run.facts import facts_of, pretrained_facts, publish
from zoo.run.recipe import configured, differences, read_checkpoint, recipe_of, resumable, settings_of
from zoo.run.transfer import check_frozen, fetch_weights

if TYPE_CHECKING:
    from zoo.run.compose import DictConfig


@cli.in_python
def train(settings: "Sequence[str] | DictConfig" = ()) -> dict[str, float]:
    """Compose a run, fit it, score its best checkpoint once on the test split, and return the scores.

    A run is a model, a task and a data set; the model chooses the other two unless they are said. `zoo train --help` names
    every group and key. The run's folder, files and report are those of the command line.

    Args:
        settings: as on the command line: `["model=c3d", "data.root=FOLDER", "trainer.max_epochs=3", "hydra.run.dir=FOLDER"]`,
            the names of Python files with networks, tasks and data sets of one's own among them; or a configuration that is
            composed already, of a run that Hydra has begun.

    Returns:
        The metrics by name, `{"val/accuracy": 0.96, "test/accuracy": 0.97, ...}`, as plain numbers; nothing where the run that
        is taken up had been at its end.

    Raises:
        ValueError: what is wrong with the settings, the data or the machine, in one sentence.
    """
    return cli.launch_here(_train, settings)


def _train(config: "DictConfig") -> dict[str, float]:
    """Train in the run's own folder, from the beginning or from a checkpoint."""
    from zoo.run import folder, report
    from zoo.run.result import finished
    from zoo.run.resume import saying_how_to_resume

    resume = resumable(config)
    others = differences(config, resume) if resume else {}
    if finished(config, resume):
        return {}
    with saying_how_to_resume(config.run_dir), folder.held(config, resume):
        report.differences(others)
        return _fit(config, resume)


def _fit(config: "DictConfig", resume: str | None) -> dict[str, float]:
    """Build what the configuration describes, fit it, score it."""
    import lightning

    from zoo.flops.count import profile
    from zoo.flops.dry import check_step, in_words
    from zoo.run import determinism, length, report
    from zoo.run.protocol import protocol
    from zoo.run.result import write_result
    from zoo.run.resume import taken_up
    from zoo.run.trainer import build_trainer, chosen_checkpoint, end_processes, forget_averages, frozen, scale_rate

    report.quiet()
    check_parts(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    settings = configured(config)
    data = build_data(config)
    data.prepare_data()
    data.setup()
    report.found(data)
    if not resume:
        fetch_weights(config)
    size = in_words(config)
    facts = facts_of(data)
    facts |= pretrained_facts(config, facts)
    publish(config, facts)
    trainer = build_trainer(config)
    length.fit(trainer, data, config)
    training = scale_rate(config, trainer.world_size)
    task = build_task(config, anew=not resume)
    task.recipe = recipe_of(config, facts, settings, training)
    freeze = frozen(trainer, task.net)
    if not resume:
        check_frozen(task.net, config.model, freeze)
    nondeterministic = determinism.check(task, data, trainer, config.trainer.deterministic)
    check_step(task, data, trainer.world_size, synchronized=config.trainer.sync_batchnorm)
    macs = profile(task.net, data.shape).macs
    report.before(trainer, task, data, config, macs, size)
    report.determinism(nondeterministic)
    report.parts(freeze)
    for logger in trainer.loggers:
        logger.log_hyperparams(settings_of(config))
    clock = report.Clock()
    with taken_up(trainer, clock, resume), speaking_of(config, "trainer", by="lightning"):
        trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    metrics = dict(trainer.callback_metrics)
    checkpoint = chosen_checkpoint(trainer)
    if config.test and not config.trainer.fast_dev_run:
        forget_averages(trainer)
        trainer.test(task, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
        metrics |= trainer.callback_metrics
    data.gather_skipped()
    weights = report.weights_of(checkpoint, read_checkpoint(checkpoint) if checkpoint else {})
    how = report.Conditions(weights, protocol(config, data, task.recipe, str(trainer.precision)))
    report.after(trainer, task, data, metrics, checkpoint, how, config.run_dir, clock)
    if "test" in task.scored:
        write_result(trainer, task, data, metrics, config, overrides_of(config), macs, clock, how)
    end_processes()
    return {name: float(value) for name, value in metrics.items()}


def main() -> None:
    cli.verb(functools.partial(cli.launch, _train), resumes="")


if __name__ == "__main__":
    main()
