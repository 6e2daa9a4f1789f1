"""The folder of a run: made for one run alone, held while it lives, and never mixed with another's files.

A default name is the time of the start, so two runs that start in one second want the same: the folder is created
exclusively, and whoever comes second gets a name of its own. A folder that the user names is locked while a run writes into
it, and a new run is not begun where another has left its checkpoints, log or result.
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.common.places import LAST, checkpoint_of, exists, new_folder, write_whole
from zoo.common.words import printable, shell_word

WRITTEN = (
    "checkpoints/*.ckpt",
    "checkpoints/.*.ckpt-*",
    "result.json",
    "not_finite.json",
    "metrics.csv",
    "hparams.yaml",
    "events.out.tfevents.*",
    "curves.png",
    "filters.png",
    "filters.gif",
    "predictions.png",
    "reconstructions.png",
    "interpolation.png",
    "embedding.png",
)
"""All that a run writes, which `overwrite=true` removes; nothing else in a folder is anybody's to remove."""
KEPT = ("checkpoints/*.ckpt", "result.json", "metrics.csv", "events.out.tfevents.*")
"""What makes a folder a used one: what a new run would replace, or go on with as if it were its own."""

_claimed: dict[str, str] = {}
"""Parent folder to the one that this process made in it, or was told of: a run has one, however often it is asked for."""


def forget() -> None:
    """Forget the folders of this process: another command begins."""
    _claimed.clear()


def unique(parent: str) -> str:
    """A folder inside `parent` that no other run has: `${unique:runs/mlp-digits}` in a configuration.

    It is named by the time of its start, and is created here. All processes of a run get the same: under SLURM by the job
    and its step, a name that a job keeps when it is put back in the queue; under torchrun by what the first of them made.
    """
    if parent not in _claimed:
        _claimed[parent] = _agreed(parent)
    return _claimed[parent]


def _agreed(parent: str) -> str:
    if step := slurm_step():
        return f"{parent}/slurm-{step}"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return _created(parent)
    # torchrun's own store is there before any of its processes.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    name = f"zoo/folder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{parent}"
    if first_process():
        store.set(name, _created(parent))
    return str(store.get(name).decode())


def _created(parent: str) -> str:
    wanted = Path(parent) / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        return f"{parent}/{new_folder(wanted).name}"
    except OSError as error:
        raise ValueError(_unwritable(wanted, error)) from None


OmegaConf.register_new_resolver("unique", unique, use_cache=True, replace=True)


def slurm_step() -> str | None:
    """JOB.STEP where `srun` started this process; a job that was put back in the queue keeps its number."""
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID", "")
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return f"{job}.{step}" if job and step.isdecimal() and not by_hand else None


def first_process() -> bool:
    """Whether this process writes the run's files, by its launcher's variables: the processes do not know one another yet."""
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID"))
    places = (rank,) if rank is not None else (os.environ.get("LOCAL_RANK"), os.environ.get("NODE_RANK"))
    return not any(int(place or 0) for place in places)


@contextmanager
def held(config: DictConfig, resumed: str | None) -> Iterator[None]:
    """The run's folder for this run alone, until it ends or its process does. Raises ValueError in the user's words.

    Args:
        config: of the run.
        resumed: the checkpoint that it goes on from.
    """
    folder = Path(config.run_dir)
    resumes = resumed is not None and Path(resumed).absolute().parent.parent == folder.absolute()
    begins_anew = not resumes and (config.overwrite or config.resume == "auto")
    if not (resumes or begins_anew):
        refuse_used(folder)
    if not first_process():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("ab")
    except OSError as error:
        raise ValueError(_unwritable(folder, error)) from None
    with stream:
        if not _locked(stream.fileno()):
            raise ValueError(
                f"Another run is writing into {printable(folder)}. Wait for its end, or choose another folder: "
                f"hydra.run.dir=..."
            )
        _try(folder)
        if begins_anew:
            clear(folder)
        _note_settings(config, folder / ".hydra")
        yield


def _locked(handle: int) -> bool:
    """Take the lock, if nobody has it. The system takes it back from a process that ends, however it ends; unlike `flock`'s,
    it does not live on in the workers that a run has forked."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a network disk may have no locks
        return True
    return True


def _try(folder: Path) -> None:
    """Write a small file and remove it, to find out before the work whether the folder can be written."""
    checkpoints = folder / "checkpoints"
    there = checkpoints.exists()
    for place in (folder, checkpoints):
        try:
            place.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place, prefix=".trial-") as stream:
                stream.write(bytes(4096))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ValueError(_unwritable(place, error)) from None
    if not there:
        checkpoints.rmdir()  # a run that is refused after this leaves none
    for path in used(folder):
        if not os.access(path, os.W_OK):
            raise ValueError(_unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))


def _unwritable(folder: Path, error: OSError) -> str:
    return (
        f"{printable(folder)} cannot be written to: {error.strerror}. Make room or change its permissions, or choose another "
        f"folder: hydra.run.dir=..."
    )


def used(folder: Path) -> list[Path]:
    """What a run has left in a folder."""
    return sorted(path for pattern in KEPT for path in folder.glob(pattern) if path.is_file())


def refuse_used(folder: Path) -> None:
    """Raises ValueError where another run has left something."""
    if found := used(folder):
        raise ValueError(
            f"The folder {printable(folder)} holds a run already ({printable(found[0].relative_to(folder))}). Go on with that "
            f"run: resume={shell_word(folder)}; or choose another folder: hydra.run.dir=...; or have its files removed: "
            f"overwrite=true."
        )


def clear(folder: Path) -> None:
    """Remove what runs have written into a folder, and nothing else."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            if path.is_file() or path.is_symlink():
                path.unlink()


def _note_settings(config: DictConfig, place: Path) -> None:
    """Write the run's settings as Hydra does, but after the folder is known to be this run's."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return
    hydra = HydraConfig.get()
    parts: dict[str, Any] = {"config": config, "hydra": OmegaConf.create({"hydra": hydra}), "overrides": hydra.overrides.task}
    place.mkdir(exist_ok=True)
    for name, part in parts.items():
        write_whole(place / f"{name}.yaml", OmegaConf.to_yaml(part).encode())


def place(name: str) -> str:
    """Expand ~ to the user's home, unless something here is called so."""
    if not name.startswith("~"):
        return name
    home = name if exists(name) else os.path.expanduser(name)  # noqa: PTH111 (Path's fails where there is no such user)
    return f"./{home}" if home.startswith("~") else home


def checkpoint_path(named: str | Path) -> Path:
    """A checkpoint file, or the best one of a run folder (the last one where no epoch was finished)."""
    path = Path(place(str(named)))
    if exists(path) and path.is_dir():
        return checkpoint_of(path)
    if not (exists(path) and path.is_file()):
        raise ValueError(f"There is no checkpoint {path}. Name a checkpoint file or a run folder.")
    return path


def resumed_path(named: str) -> Path:
    """The checkpoint that a run goes on from: the last one of a folder, not its best."""
    last = Path(place(named)) / "checkpoints" / LAST
    return last if exists(last) else checkpoint_path(named)
