"""Compare what a network learned of rotations with what it learns from scratch, seed by seed and share by share."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from zoo.common.words import printable
from zoo.run import cli
from zoo.run.build import build_data, build_task
from zoo.run.compose import check_overrides, choices_of, composed
from zoo.run.facts import facts_of, publish
from zoo.run.grammar import Named
from zoo.study.outcome import Outcome, write

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.base import DataModule
    from zoo.data.loading.dataset import SplitDataset
    from zoo.models._base import Classifier


@cli.in_python
def study(
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    shares: Sequence[float] = (1, 10, 100),
    pretext_epochs: Annotated[int, Named("pretext.max_epochs")] = 10,
    folder: str | Path = Path("runs/study"),
) -> list[Outcome]:
    """Measure all steps for all seeds. Each seed's outcome is written when it is done, and an outcome in the folder is not
    measured again: an interrupted study resumes, and processes can share its seeds.

    Args:
        overrides: settings of the runs, as on the command line: `["model=rotnet", "data=fashion_mnist"]`.
        seeds: of the weights, the order of the samples and the choice of labels, one study each.
        shares: how many of the labels are used in step 3, in per cent.
        pretext_epochs: the length of step 2.
        folder: where the table, the pictures and all figures go.

    Returns:
        What each seed measured.

    Raises:
        ValueError: settings that do not exist, a share without a label, or figures of another study in the folder.
    """
    from zoo.common.places import read_outcome, write_outcome
    from zoo.run import report
    from zoo.run.result import versions

    check_overrides(overrides)
    if wrong := [f"{share:g}" for share in shares if not 0 < share <= 100]:
        raise ValueError(f"shares are percentages of the labels, above 0 and up to 100, not {', '.join(wrong)}.")
    if min(seeds, default=-1) < 0:
        raise ValueError(f"seeds are whole numbers from 0 on, not {', '.join(map(str, seeds)) or 'none'}.")
    if pretext_epochs < 1:
        raise ValueError(f"pretext.max_epochs is {pretext_epochs}; it is a number of epochs, at least 1.")
    report.quiet()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"overrides": list(overrides), "shares": list(shares), "pretext_epochs": pretext_epochs}
    outcomes = []
    for seed in seeds:
        path = folder / f"seed-{seed}.json"
        if path.exists():
            names = [each.name for each in fields(Outcome)]
            found = read_outcome(path, *names)
            outcome = Outcome(**{name: found[name] for name in names})
            if outcome.settings != settings:
                raise ValueError(f"{path} is of a study with other settings ({outcome.settings}). Choose another folder=.")
            print(f"seed {seed}: measured before, {printable(path)}", flush=True)
        else:
            outcome = Outcome(settings, seed, versions())
            _measure(outcome, folder)
            write_outcome(path, outcome.__dict__)  # that it is there means it is done
        outcomes.append(outcome)
        write(outcomes, folder)
    return outcomes


def _measure(outcome: Outcome, folder: Path) -> None:
    """Measure all steps for one seed."""
    settings, shares = [*outcome.settings["overrides"], f"seed={outcome.seed}"], outcome.settings["shares"]
    everything = _data(settings, 100)
    if everything.num_classes < 2:
        raise ValueError("The data set has no labels to transfer to. Choose one with two classes or more.")
    for share in shares:
        _enough(everything, share)
    weights = folder / f"rotation-{outcome.seed}.safetensors"
    net = _pretrain(settings, weights, outcome)
    splits = {name: _tensors(everything.splits[name]) for name in ("val", "test")}
    for share in shares:
        data = _data(settings, share)
        splits["train"] = _tensors(data.splits["train"])
        _note_subset(outcome, everything, data, share)
        for arm, start in (("scratch", None), ("fine-tuned", weights)):
            _train_arm(settings, data, arm, start, share, outcome)
        _frozen_arms(net, everything, splits, share, outcome)


# The steps


def _data(settings: Sequence[str], share: float) -> "DataModule":
    config = composed([*settings, "run_dir=."])
    if "fraction" not in config.data:
        raise ValueError(f"data={choices_of(config)['data']} cannot serve a share of its labels; it has no data.fraction.")
    config.data.fraction = share / 100
    data = build_data(config)
    data.prepare_data()
    data.setup()
    return data


def _enough(data: "DataModule", share: float) -> None:
    """Refuse a share that leaves a class without a label."""
    smallest = int(_tensors(data.splits["train"])[1].bincount(minlength=data.num_classes).min())
    if smallest * share / 100 < 0.5:
        least = 100 / (2 * smallest)
        raise ValueError(
            f"{share:g} % of the labels is less than one for the smallest class, which has {smallest}. "
            f"Take at least {math.ceil(least * 100) / 100:g} %."
        )


def _note_subset(outcome: Outcome, everything: "DataModule", data: "DataModule", share: float) -> None:
    """Which labels were used. The places are found again from the seed, and held against the images that were served."""
    import torch

    from zoo.common.chance import FRACTION
    from zoo.data.reading.stratified import stratified

    (images, labels), (served, known) = (_tensors(each.splits["train"]) for each in (everything, data))
    places = torch.arange(len(labels))
    if share != 100:
        places = stratified(labels, share / 100, seed=outcome.seed, stream=FRACTION).nonzero().squeeze(1)
    assert torch.equal(images[places], served)
    counts = known.bincount(minlength=data.num_classes).tolist()
    outcome.subsets[f"{share:g} %"] = {"labels of each class": counts, "places": "all" if share == 100 else places.tolist()}


def _fit(
    settings: Sequence[str], data: "DataModule", pretrained: Path | None, steps: int, checks: int = 1
) -> tuple[Any, list[tuple[int, float]]]:
    """Train for so many steps; the task, and its validation accuracy along the way."""
    import lightning

    from zoo.flops.dry import check_step
    from zoo.run.callbacks import Lines
    from zoo.run.trainer import build_trainer

    config = composed([*settings, "run_dir=."])
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    publish(config, facts_of(data))
    if pretrained is not None:
        config.model.pretrained = str(pretrained)
    elif not any(setting.startswith("model.pretrained=") for setting in settings):
        config.model.pretrained = None  # what is from scratch starts from no weights that a file of the configuration names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the head starts afresh is the point
        task = build_task(config)
    check_step(task, data)
    curve: list[tuple[int, float]] = []

    class Curve(lightning.Callback):
        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            curve.append((trainer.global_step, float(trainer.callback_metrics["val/accuracy"])))

    trainer = build_trainer(
        config,
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=max(1, steps // checks),
        check_val_every_n_epoch=None,
        logger=False,
        callbacks=[Curve(), Lines(f"seed {config.seed}, {steps:,} steps of training", epochs=False)],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, datamodule=data)
    return task.eval(), curve


def _pretrain(settings: Sequence[str], weights: Path, outcome: Outcome) -> "Classifier":
    """Step 2, and the network it leaves, whose head is of no more use."""
    from safetensors.torch import save_file

    from zoo.models._base import Classifier
    from zoo.tasks.rotation import confusion_by_class

    data = _data(settings, 100)
    epochs = outcome.settings["pretext_epochs"]
    steps = epochs * len(data.train_dataloader())
    task, _ = _fit([*settings, "task=rotation"], data, None, steps)
    records = _records(task, data)
    accuracy = task.metrics(records)["accuracy"]
    confusion = confusion_by_class(records, data.num_classes)
    outcome.pretext = {"accuracy": accuracy, "confusion": confusion.tolist(), "classes": list(data.class_names)}
    print(f"seed {outcome.seed}: rotations told apart {accuracy:.4f} (test, {epochs} epochs)", flush=True)
    if not isinstance(task.net, Classifier):
        raise ValueError(f"{type(task.net).__name__} has no named blocks to take features from. Choose a classification model.")
    save_file({key: value.contiguous() for key, value in task.net.state_dict().items()}, weights)
    return task.net


def _records(task: Any, data: "DataModule") -> dict[str, "Tensor"]:
    import torch

    from zoo.tasks.gathering import gather

    with torch.inference_mode():
        return gather([task.sample_outputs(batch) for batch in data.test_dataloader()])


def _lengths(count: int, batch: int) -> tuple[int, ...]:
    """Steps among which an arm's length is chosen: by the labels there are, from short to many times over them."""
    epoch = math.ceil(count / batch)
    if epoch >= 100:
        return (5 * epoch, 15 * epoch)
    return tuple(max(steps, epochs * epoch) for steps, epochs in ((100, 5), (400, 15), (1200, 25)))


def _train_arm(
    settings: Sequence[str], data: "DataModule", arm: str, start: Path | None, share: float, outcome: Outcome
) -> None:
    """All weights trained, the length chosen on validation."""
    best: tuple[float, int, Any] | None = None
    for steps in _lengths(len(data.splits["train"]), data.batch_size):
        task, curve = _fit(settings, data, start, steps, checks=10)
        outcome.curves.append({"share": share, "arm": arm, "curve": curve})
        if best is None or curve[-1][1] > best[0]:
            best = (curve[-1][1], steps, task)
    assert best is not None
    accuracy = best[2].metrics(_records(best[2], data))["accuracy"]
    _book(outcome, share, arm, best[0], accuracy, f"{best[1]} steps")


def _frozen_arms(
    net: "Classifier",
    data: "DataModule",
    splits: Mapping[str, tuple["Tensor", "Tensor"]],
    share: float,
    outcome: Outcome,
) -> None:
    """Probes and nearest neighbors on the frozen network's blocks, and neighbors on the pixels as the floor."""
    from zoo.study.probes import features, fit_probe, nearest

    places = {"pixels": {name: images.flatten(1).float() / 255 for name, (images, _) in splits.items()}}
    labels = {name: its for name, (_, its) in splits.items()}
    for block in net.blocks:
        places[block] = {name: features(net, block, images, data.mean, data.std) for name, (images, _) in splits.items()}
        mean, deviation = places[block]["train"].mean(0), places[block]["train"].std(0).clamp_min(1e-3)
        places[block] = {name: (x - mean) / deviation for name, x in places[block].items()}
    probes = {block: fit_probe(places[block], labels, data.num_classes, hidden=0, seed=outcome.seed) for block in net.blocks}
    for block, (val, test, chosen) in probes.items():
        _book(outcome, share, f"linear probe, {block}", val, test, chosen)
    best = max(probes, key=lambda block: probes[block][0])
    val, test, chosen = fit_probe(places[best], labels, data.num_classes, hidden=200, seed=outcome.seed)
    _book(outcome, share, "non-linear probe, best block", val, test, f"{best}, {chosen}")
    _book(outcome, share, "k-NN, pixels", *nearest({"pixels": places.pop("pixels")}, labels, data.num_classes))
    _book(outcome, share, "k-NN, best block", *nearest(places, labels, data.num_classes))


def _book(outcome: Outcome, share: float, arm: str, val: float, test: float, chosen: str) -> None:
    outcome.rows.append({"share": share, "arm": arm, "val": val, "test": test, "chosen": chosen})
    print(
        f"seed {outcome.seed}, {share:g} % of the labels, {printable(arm)}: test {test:.4f} ({printable(chosen)})", flush=True
    )


def _tensors(samples: "SplitDataset") -> tuple["Tensor", "Tensor"]:
    """All of a split: uint8 (N, C, H, W) and int64 (N,)."""
    batch: Any = samples.__getitems__([(0, index) for index in range(0, len(samples), samples.views)])
    return batch["input"], batch["label"]
