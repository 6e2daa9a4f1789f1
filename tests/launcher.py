"""Start runs in processes of their own, in a moment: a server that has imported everything forks one for each.

Started by the fixture `started` (conftest.py). A request is one line of JSON on standard input: the module and its arguments,
the working folder, the environment, the number of processes, and the moment at which the first of them gets a signal. A
moment is counted in calls of what a run does again and again, so that it may lie in the midst of a step, of a validation, of
writing a checkpoint or of writing a log. The answer is one line: each process's status, and the calls that were counted.
"""

import contextlib
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compositions import remember


def counted(kill_at: int | None, number: int, record: Path) -> None:
    """Count the calls of a run's doings, and send this process a signal before or within the call of that number."""
    import tempfile

    import torch

    from zoo.data import base
    from zoo.run import logs, resume
    from zoo.tasks.base import Task

    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        record.write_text(str(calls))
        if calls == kill_at:
            # As a scheduler does: another process signals this one and its workers.
            subprocess.run(["kill", f"-{int(number)}", "--", f"-{os.getpgid(0)}"], check=True, start_new_session=True)

    def ticking(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            tick()
            return function(*args, **kwargs)

        return wrapped

    whole = resume.write_whole

    def half(path: Path, content: Any) -> None:
        tick()
        if calls + 1 == kill_at:  # between the first half of the file and its end
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as stream:
                stream.write(bytes(content)[: len(content) // 2])
        tick()
        whole(path, content)

    resume.write_whole = logs.write_whole = half
    for owner, names in (
        (Task, ("validation_step", "test_step", "_score", "configure_optimizers")),
        (resume.Savepoints, ("on_train_batch_start", "on_train_end")),
        (logs.MetricsCsv, ("log_metrics", "save")),
        (base.DataModule, ("on_after_batch_transfer",)),
    ):
        for name in names:
            setattr(owner, name, ticking(getattr(owner, name)))
    torch.optim.Optimizer.profile_hook_step = staticmethod(ticking)  # type: ignore[method-assign]

    step = Task.training_step

    def noted(self: Task, batch: Any, batch_idx: int) -> Any:
        tick()
        with record.with_suffix(".order").open("a") as stream:
            stream.write(json.dumps([int(batch["epoch"][0]), batch_idx, batch["id"].tolist()]) + "\n")
        return step(self, batch, batch_idx)

    Task.training_step = noted  # type: ignore[method-assign]


def tiny(num_classes: int = 10, in_chans: int = 1, input_shape: Any = (1, 28, 28), hidden: Any = ()) -> Any:
    """In the place of `mlp`: a network of convolutions, BatchNorm and dropout that trains in a second."""
    from torch import nn

    from zoo.models._base import Classifier

    layers = {
        "conv1": nn.Conv2d(in_chans, 4, 3, stride=4),
        "norm1": nn.BatchNorm2d(4),
        "relu1": nn.ReLU(),
        "drop1": nn.Dropout(0.3),
        "conv2": nn.Conv2d(4, 8, 3, stride=2),
        "relu2": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    return Classifier(layers, num_features=8, num_classes=num_classes, in_chans=in_chans, blocks=("relu1", "relu2"))


def start(folder: Path) -> None:
    """Weights for `tiny` to start from."""
    import torch

    from zoo.common.tensors import write_tensors

    torch.manual_seed(0)
    write_tensors(tiny().state_dict(), folder / "start.safetensors")


def run(request: dict[str, Any], rank: int, folder: Path) -> int:
    """In the forked process: what `python -m MODULE ARGUMENTS` would do."""
    os.chdir(request["cwd"])
    os.environ.update({name: value.replace("RANK", str(rank)) for name, value in request["env"].items()})
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if request["processes"] > 1 and "SLURM_JOB_ID" not in request["env"]:
        os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(request["processes"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from zoo.models import _registry

    if request["tiny"]:
        _registry.get_builder("mlp")
        _registry._BUILDERS["mlp"] = tiny
    if request["count"]:
        counted(request["kill_at"] if rank == 0 else None, request["number"], folder / "calls")
    sys.argv = [request["module"].replace(".", "/"), *request["arguments"]]
    try:
        if request["code"]:
            exec(request["code"], {})
        else:
            importlib.import_module(request["module"]).main()
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


MODULES = (
    *(
        "zoo.train",
        "zoo.evaluate",
        "zoo.predict",
        "zoo.prepare",
        "zoo.run.report",
        "zoo.run.resume",
        "zoo.run.callbacks",
        "zoo.run.sweep",
    ),
    *(
        "zoo.data.digits",
        "zoo.data.video_folder",
        "zoo.tasks.classification",
        "zoo.tasks.segmentation",
        "zoo.run.protocol",
        "cv2",
    ),
    *("hydra.main", "lightning.pytorch.loggers.tensorboard", "lightning.pytorch.plugins.environments", "sklearn.datasets"),
    *("matplotlib.backends.backend_agg", "zoo.run.determinism", "zoo.flops", "zoo.common.draw", "zoo.run.freeze"),
)
"""What runs import, the most of them sooner or later."""


def serve() -> None:
    for module in MODULES:
        importlib.import_module(module)
    import zoo
    from zoo.run.check import check_parts
    from zoo.run.compose import composed

    remember(Path(sys.argv[1]), setattr)
    zoo.list_models()
    check_parts(composed(["model=mlp", "run_dir=."]))  # what parses a command line learns as it reads
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["record"])
        if request["tiny"]:
            start(Path(request["cwd"]))
        children = []
        for rank in range(request["processes"]):
            child = os.fork()
            if child == 0:
                os.setsid()
                status = 1
                with contextlib.suppress(BaseException):
                    status = run(request, rank, folder)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    serve()
