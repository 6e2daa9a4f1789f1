"""Put a run's best weights inside the package: `python benchmarks/publish_weights.py RUN TAG [--half]`.

Writes `zoo/models/weights/MODEL-TAG.safetensors` and its entry; the accuracy in the entry is measured from the file as it
is shipped.
"""

import argparse
import contextlib
import hashlib
import io
from pathlib import Path

import torch
from safetensors.torch import save_file

import zoo
from zoo import config as run
from zoo.evaluate import evaluate
from zoo.models._entries import FOLDER, Accuracy, Weights, write_entry
from zoo.models._weights import read_tensors
from zoo.report import versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("tag")
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    arguments = parser.parse_args()

    path = run.checkpoint_path(arguments.run)
    recipe = run.read_checkpoint(path)["zoo"]
    name, data, facts = recipe["names"]["model"], recipe["names"]["data"], recipe["facts"]
    tensors = {key: value.half() if arguments.half else value for key, value in read_tensors(path).items()}
    file = FOLDER / f"{name}-{arguments.tag}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    file.chmod(0o644)
    net = zoo.create_model(name, num_classes=facts["num_classes"], in_chans=facts["shape"][0])
    cost = zoo.profile(net, facts["shape"])

    def entry(*accuracies: Accuracy) -> Weights:
        return Weights(
            model=name,
            tag=arguments.tag,
            source=f"trained by this project: python -m zoo.train experiment={name}_{data} seed=0",
            licence="Apache-2.0",
            input_shape=tuple(facts["shape"]),
            resize=None,
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
            class_names=tuple(facts["class_names"]),
            num_classes=facts["num_classes"],
            parameters=cost.params,
            multiply_adds=cost.macs,
            accuracies=accuracies,
            file=file.name,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )

    write_entry(entry())
    with contextlib.redirect_stdout(io.StringIO()):
        accuracy = evaluate(f"{name}:{arguments.tag}", [f"data={data}"])["test/accuracy"]
    views = "one view of each of 10,000 images"
    write_entry(entry(Accuracy("top-1", data, "test", round(100 * accuracy, 2), views, versions())))
    print(zoo.get_weights(name, arguments.tag))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
