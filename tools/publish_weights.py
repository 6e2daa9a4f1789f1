"""Put a run's best weights inside the package: `python tools/publish_weights.py RUN TAG [--half]`. The run may be one of
classification, of images or videos, of segmentation, detection or rotation.

Writes `zoo/models/weights/MODEL-TAG.safetensors` and its entry; the accuracy in the entry is measured from the file as it
is shipped.
"""

import argparse
import contextlib
import hashlib
import inspect
import io
import json
import shlex
from pathlib import Path

import torch

import zoo
from zoo.common.tensors import read_tensors, write_tensors
from zoo.evaluate import evaluate
from zoo.models._entries_packaged import write_entry
from zoo.models._entry import FOLDER, Accuracy, Weights
from zoo.models._registry import get_builder
from zoo.run.build import build_data
from zoo.run.folder import checkpoint_path
from zoo.run.recipe import compose_recipe, read_checkpoint
from zoo.run.result import versions
from zoo.tasks.rotation import CLASS_NAMES

PROTOCOL = {
    "classification": {"accuracy": ("top-1", "one view of each image of the test split")},
    "video_classification": {"accuracy": ("top-1", "one clip from the middle of each video of the test split")},
    "rotation": {"accuracy": ("accuracy", "the turns of each image of the test split, which is turned all four ways")},
    "segmentation": {"miou": ("miou", "the mean over the classes, from one confusion matrix over the test split")},
    "detection": {
        name: (name, "COCO's average precision over the whole test split, at most 100 objects an image")
        for name in ("box_ap", "mask_ap", "keypoint_ap")
    },
}
"""By task and metric, what an entry calls the metric, and its protocol."""
COMMON = ("num_classes", "class_names", "mean", "std", "shape")
"""Facts of data that an entry has fields for."""
WHOLE = ("segmentation", "detection")
"""Tasks of which images go in whole."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("tag")
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    arguments = parser.parse_args()

    path = checkpoint_path(arguments.run)
    recipe = read_checkpoint(path)["zoo"]
    name, task, data, facts = (*(recipe["names"][group] for group in ("model", "task", "data")), recipe["facts"])
    tensors = {key: value.half() if arguments.half else value for key, value in read_tensors(path).items()}
    file = FOLDER / f"{name}-{arguments.tag}.safetensors"
    write_tensors(tensors, file)
    file.chmod(0o644)
    classes = CLASS_NAMES if task == "rotation" else tuple(facts["class_names"])
    defaults = inspect.signature(get_builder(name)).parameters
    given = recipe["arguments"]["model"]
    chosen = {key: given[key] for key in defaults if key in given and key not in ("num_classes", "in_chans", "input_shape")}
    own = {key: value for key, value in chosen.items() if value != defaults[key].default}
    net = zoo.create_model(name, num_classes=len(classes), in_chans=facts["shape"][0], **own)
    cost = zoo.profile(net, facts["shape"])
    clips = getattr(build_data(compose_recipe(recipe, [], with_data=False)), "clips", None)
    rate = None if clips is None else clips.rate
    overrides = json.loads((arguments.run / "result.json").read_text())["overrides"]

    def entry(*accuracies: Accuracy) -> Weights:
        return Weights(
            model=name,
            tag=arguments.tag,
            source=f"trained by this project: {shlex.join(['python', '-m', 'zoo.train', *overrides])}",
            licence="Apache-2.0",
            input_shape=tuple(facts["shape"]),
            resize=None,
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
            rate=rate,
            class_names=classes,
            num_classes=len(classes),
            parameters=cost.params,
            multiply_adds=cost.macs,
            accuracies=accuracies,
            file=file.name,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            arguments=own,
            task=task,
            whole=task in WHOLE,
            facts={key: value for key, value in facts.items() if key not in COMMON} if task == "detection" else {},
        )

    write_entry(entry())
    with contextlib.redirect_stdout(io.StringIO()):
        scores = evaluate(f"{name}:{arguments.tag}", [f"data={data}"])
    accuracies = [
        Accuracy(called, data, "test", round(100 * scores[f"test/{metric}"], 2), how, versions())
        for metric, (called, how) in PROTOCOL[task].items()
        if f"test/{metric}" in scores
    ]
    write_entry(entry(*accuracies))
    print(zoo.get_weights(name, arguments.tag))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
