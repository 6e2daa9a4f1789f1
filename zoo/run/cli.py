"""What all verbs share at their edges: help, words for mistakes, what a signal does, and an output that never fails.

A verb is a function; `command` reads its arguments from the command line (grammar.py) and runs it, `verb` one that reads them
itself. SIGTERM, SIGUSR1 and Ctrl-C raise `Stopped` where the
main thread is, so that files are closed and what is there can be said on the way out. The processes that the verb has begun are
ended too; and where the way out is blocked, by a reader that waits for ever for instance, the process leaves without it.
"""

import contextlib
import functools
import inspect
import io
import locale
import logging
import multiprocessing
import multiprocessing.resource_tracker
import os
import re
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from omegaconf import DictConfig

from zoo import __version__
from zoo.common.places import CONF
from zoo.common.progress import speaking
from zoo.common.words import printable, shell_word
from zoo.run import folder, grammar, plugins
from zoo.run.check import check_fit, check_parts
from zoo.run.compose import check_overrides, in_one_folder, literal_paths, parse, quoted
from zoo.run.sweep import SweepTable, outlived

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

AGAIN = getattr(os, "EX_TEMPFAIL", 75)
"""75, "try again later" (sysexits.h): the status of a verb that was asked to stop and that the same command goes on with. It is
the code to name in SLURM's `RequeueExit`, or to look for in a job script."""
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""What a scheduler sends before it takes the machine away (SIGTERM, or SIGUSR1 by `sbatch --signal=USR1@120`), and Ctrl-C."""
PATIENCE = 5.0
"""Seconds that the way out may take after a signal."""


class Stopped(SystemExit):
    """The verb was asked to stop. `said` is what the user is told last; whoever it passes may fill it in."""

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(status)
        self.said = said

    def tell(self) -> None:
        """Say it once, where it disturbs no output that is read by a program."""
        if self.said and _rank() == 0:
            print(f"\n{self.said}", file=sys.stderr, flush=True)
        self.said = ""


def command(function: Callable[..., object], *, bare: bool = False, goes_on: str | None = None) -> None:
    """Run a verb whose options are its function's parameters, as `grammar` reads them; the rest as of `verb`."""
    module = inspect.unwrap(function).__globals__
    name = module["__spec__"].name.split(".")[1]  # however it was started; of a folder's `__main__` the folder

    def work(arguments: list[str]) -> None:
        function(**grammar.read(function, arguments, name))

    verb(work, lambda: grammar.usage(function, name, module["__doc__"]), bare=bare, goes_on=goes_on)


def verb(
    work: Callable[[list[str]], object],
    usage: Callable[[], str] | None = None,
    *,
    bare: bool = False,
    goes_on: str | None = None,
) -> None:
    """Run a verb on the command line's arguments.

    Args:
        usage: makes what is printed for `--help`, and without arguments; None where `work` sees to that.
        bare: whether it also runs without arguments.
        goes_on: what to add for the user where the same command goes on with a verb that was stopped; its status is then
            `AGAIN`, else 128 and the signal's number. Ctrl-C's is always 130.
    """
    arguments = sys.argv[1:]
    _speak_any_letters()
    logging.getLogger("matplotlib.font_manager").setLevel(
        logging.ERROR
    )  # a library imports it, and it speaks of its fonts once
    before = _descendants()
    try:
        with speaking(to_a_person=True), stopping(goes_on), plainly(debug="debug=true" in arguments):
            if any("--version".startswith(each) for each in arguments if len(each) > 2):  # or Hydra would say which it is
                print(f"zoo {__version__}")
            elif usage is not None and ({"-h", "--help"} & {*arguments} or not (arguments or bare)):
                print(usage())
            else:
                work(plugins.taken(arguments))
            sys.stdout.flush()  # here a reader that has gone is no traceback yet
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:
            _end(_descendants() - before)
        raise


def launch(job: Callable[[DictConfig], object], arguments: Sequence[str]) -> None:
    """Run a job under Hydra: `--help`, `-m` sweeps, launchers and the shells' completion are Hydra's."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    arguments, _ = _checked(arguments)

    @functools.wraps(job)
    def plain_job(config: DictConfig) -> None:
        # Once more: Hydra shows tracebacks of its own, and may run the job in another process.
        plugins.imported()
        sweep = HydraConfig.get().mode is RunMode.MULTIRUN
        with speaking(to_a_person=True), stopping(""), outlived(config, sentence) if sweep else plainly(config.debug):
            job(config)

    sys.argv = [sys.argv[0], *arguments]  # where Hydra reads them, and Lightning when it starts further processes
    with SweepTable.written():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(plain_job)()


def in_python(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a verb's function say what it does, read its settings as the command line's, and raise ValueError, in the user's
    words, for whatever the user can mend."""

    @functools.wraps(function)
    def plain(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        given = inspect.signature(function).bind(*args, **kwargs)
        for name in given.arguments.keys() & {"overrides", "settings"}:
            if isinstance(said := given.arguments[name], str):
                raise ValueError(f"{name} is {said!r}; it is a list of settings: [{said!r}].")
            if name == "overrides":
                given.arguments[name] = tuple(literal_paths(said))
        try:
            with speaking(), _as_before():
                return function(*given.args, **given.kwargs)
        except Exception as error:
            said = sentence(error)
            if said is None or type(error) is ValueError or isinstance(error, OSError):
                raise
            raise ValueError(said) from error

    return plain


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """What a verb mutes is heard again by a caller in Python."""
    muted = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in muted]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for each, level in zip(muted, levels, strict=True):
                each.setLevel(level)


def launch_here(job: Callable[[DictConfig], Result], settings: Sequence[str] | DictConfig) -> Result:
    """Run a job under Hydra for a caller in Python, as the command line would; what it returns. Of a run that Hydra has begun,
    the job is done at once."""
    if isinstance(settings, DictConfig):
        return job(settings)
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    settings = plugins.taken(settings)
    if wrong := [each for each in settings if "=" not in each or each.startswith(("-", "hydra.mode="))]:
        raise ValueError(f"{wrong[0]} is not a setting of one run: settings are written key=value, as on the command line.")
    # Where Lightning has started the script again for a further process, it hands over the folder of the first run.
    if os.environ.get("LOCAL_RANK", "0") != "0" and not _given and not any(s.startswith("hydra.run.dir=") for s in settings):
        settings = [*settings, *(each for each in sys.argv[1:] if each.startswith("hydra."))]
    _, parsed = _checked(settings)
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2("train", create_config_search_path(str(CONF)))
        return cast(Result, hydra.run("train", job, parsed.overrides, with_log_configuration=False).return_value)
    except Stopped as stopped:
        stopped.tell()
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise
    finally:
        GlobalHydra.instance().clear()


def _checked(arguments: Sequence[str]) -> tuple[list[str], Any]:
    """The arguments of a run, and what Hydra reads in them. Raises ValueError in the user's words."""
    from hydra._internal.utils import get_args_parser

    folder.forget()
    _given[:] = arguments
    arguments = in_one_folder(literal_paths(arguments))
    parsed, unknown = get_args_parser().parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"There is no option {unknown[0]}; settings are written key=value, for instance debug=true.")
    if not (parsed.help or parsed.hydra_help or parsed.info or parsed.shell_completion):
        config = check_overrides(parsed.overrides, parsed.config_dir)
        several = [each.input_line for each in parse(parsed.overrides) if each.is_sweep_override()]
        if several and not parsed.multirun and "hydra.mode=MULTIRUN" not in parsed.overrides:
            raise ValueError(f"{several[0]} names several values; with -m they are run one after another.")
        named = [each.partition("=")[2] for each in arguments if each.startswith(("hydra.run.dir=", "hydra.sweep.dir="))]
        for each in named:
            place = Path(str(parse([f"run_dir={each}"])[0].value()))
            if any(part.exists() and not part.is_dir() for part in (place, *place.parents)):
                raise ValueError(f"{place} cannot be a run's folder: a file stands in its place.")
        if not (several or parsed.multirun or parsed.cfg):  # a run of a sweep may fail alone
            config.run_dir = "."  # a folder is made for a run that begins
            check_parts(config)
            check_fit(config)
    return arguments, parsed


_given: list[str] = []
"""The arguments of the run that is under way, as they were given."""


def go_on(folder: Path) -> str:
    """The command that takes up again the run of this folder, or the sweep that it is part of."""
    again = ("resume=", "overwrite=", *(["hydra.sweep.dir="] if SweepTable.under_way else []))
    earlier = [*plugins.imported(), *(argument for argument in _given if not argument.startswith(again))]
    if SweepTable.under_way:
        place = [f"hydra.sweep.dir={quoted(str(SweepTable.under_way.folder.absolute()))}", "resume=auto"]
    else:
        place = [f"resume={quoted(str(folder))}"]
    return f"Go on with it by\n{' '.join(map(shell_word, ['python', '-m', 'zoo.train', *earlier, *place]))}"


# Words


@contextlib.contextmanager
def plainly(debug: bool) -> Iterator[None]:
    """Turn what the user can mend into one sentence on standard error and exit status 1; anything else is our mistake."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unheard():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer
            raise SystemExit(128 + signal.SIGPIPE) from None  # as of any program whose reader has gone
        said = sentence(error)
        if debug or said is None:
            raise
        print(f"Error: {said}", file=sys.stderr)
        raise SystemExit(1) from None


def sentence(error: BaseException) -> str | None:
    """What to tell the user of an error; None if it is not one of theirs."""
    from hydra.errors import HydraException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
    from yaml import YAMLError

    # Of a library that is not imported there is no error, and to import it takes seconds.
    lightning: Any = sys.modules.get("lightning.fabric.utilities.exceptions")
    refusals = (lightning.MisconfigurationException,) if lightning else ()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MissingMandatoryValue):
            return f"{cause.full_key} is not set and has no default. Give it on the command line: {cause.full_key}=..."
        if isinstance(cause, (ValueError, OSError, ModuleNotFoundError, YAMLError, *refusals)):
            return _line(cause)
        if not isinstance(cause, HydraException | OmegaConfBaseException):
            return None
        if cause.__cause__ is None:
            return _line(cause)
        cause = cause.__cause__
    return None


def _line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    if key := re.search(r" full_key: (\S+)", said):
        said = f"{key[1]}: {said}"
    return printable(
        re.sub(r" (HINT:|full_key:|Set the environment variable HYDRA).*", "", said)
    )  # a library's advice to programmers


def _speak_any_letters() -> None:
    """Letters that the terminal has not are written as escapes; files are UTF-8 whatever the system's language."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


def _unheard() -> bool:
    """Whether whoever read our standard output has gone."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _rank() -> int:
    """Of many processes of one run the first speaks."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


# Signals


@contextlib.contextmanager
def stopping(goes_on: str | None) -> Iterator[None]:
    """Have signals raise `Stopped`, and say in the end that they did. See `verb` for `goes_on`."""
    leaving: list[threading.Timer] = []
    threads = threading.enumerate()

    def stop(number: int, frame: FrameType | None) -> None:
        status = AGAIN if goes_on is not None and number != signal.SIGINT else 128 + number
        if leaving:  # on the way out already: only the one who asks at a keyboard is heard a second time
            if number == signal.SIGINT:
                leave(status)
            return
        leaving.append(threading.Timer(PATIENCE, leave, (status,)))
        leaving[0].daemon = True
        leaving[0].start()
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        raise Stopped(status, f"Stopped by {name}. {goes_on or ''}".strip())

    before = handled(stop, *STOPPING)
    try:
        yield
    except Stopped as stopped:  # the progress bar has left the screen by now
        stopped.tell()
        raise
    finally:
        # A thread that does not end would keep the process at its exit.
        if all(each.daemon for each in threading.enumerate() if each not in threads):
            for timer in leaving:
                timer.cancel()
                timer.join()
        for number, handler in before.items():
            handled(handler, number)


def handled(handler: Any, *numbers: int) -> dict[int, Any]:
    """Have signals handled; what handled them before. Elsewhere than in the main thread Python cannot."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, signal.SIG_DFL if handler is None else handler) for number in numbers}


def fail(said: str) -> NoReturn:
    """Say what went wrong and end at once, with all that this process has begun."""
    os.write(2, f"Error: {said}\n".encode())
    _end(_descendants())
    os._exit(1)


def leave(status: int) -> None:
    """End at once: something does not let go."""
    _end(_descendants())
    os.write(2, b"\nStopped in the midst of something that does not end.\n")
    os._exit(status)


# Processes


def _descendants() -> set[int]:
    """The processes that this one has begun, and theirs; not multiprocessing's keeper of shared memory, which ends itself."""
    if not Path("/proc/self/task").is_dir():
        return {child.pid for child in multiprocessing.active_children() if child.pid}
    keeper = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    found: set[int] = set()
    to_ask = [os.getpid()]
    while to_ask:
        for path in Path(f"/proc/{to_ask.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                to_ask += [pid for each in path.read_text().split() if (pid := int(each)) != keeper and pid not in found]
        found.update(to_ask)
    return found


def _end(processes: set[int], patience: float = 3.0) -> None:
    """Ask processes to end, then make them."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 0.0)):
        for pid in processes:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        until = time.monotonic() + wait
        while (processes := {pid for pid in processes if _runs(pid)}) and time.monotonic() < until:
            time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether a process is more than an entry that its parent has not read yet."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(") ")[2][:1] != "Z"
    return False
