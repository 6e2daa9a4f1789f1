"""What all verbs share at their edges: help, words for mistakes, and an output that never fails.

A verb is a function; `command` reads its arguments from the command line (grammar.py) and runs it, `verb` one that reads them
itself. What a signal does is in signals.py.
"""

import contextlib
import copy
import functools
import inspect
import io
import locale
import logging
import os
import re
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from omegaconf import DictConfig

from zoo import __version__
from zoo.common.places import CONF
from zoo.common.progress import speaking
from zoo.common.words import printable, shell_word, warning_line
from zoo.run import folder, grammar, plugins
from zoo.run.check import check_fit, check_parts
from zoo.run.compose import check_overrides, in_one_folder, literal_paths, parse, quoted, renamed
from zoo.run.signals import Stopped, _descendants, _end, stopping
from zoo.run.sweep import SweepTable, outlived

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def command(function: Callable[..., object], *, bare: bool = False, resumes: str | None = None) -> None:
    """Run a verb whose options are its function's parameters, as `grammar` reads them; the rest as of `verb`."""
    module = inspect.unwrap(function).__globals__
    name = module["__spec__"].name.split(".")[1]  # however it was started; of a folder's `__main__` the folder

    def work(arguments: list[str]) -> None:
        function(**grammar.read(function, arguments, name))

    verb(work, lambda: grammar.usage(function, name, module["__doc__"]), bare=bare, resumes=resumes)


def verb(
    work: Callable[[list[str]], object],
    usage: Callable[[], str] | None = None,
    *,
    bare: bool = False,
    resumes: str | None = None,
) -> None:
    """Run a verb on the command line's arguments.

    Args:
        usage: makes what is printed for `--help`, and without arguments; None where `work` sees to that.
        bare: whether it also runs without arguments.
        resumes: what to add for the user where the same command goes on with a verb that was stopped; its status is then
            `AGAIN`, else 128 and the signal's number. Ctrl-C's is always 130.
    """
    arguments = sys.argv[1:]
    _speak_any_letters()
    logging.getLogger("matplotlib.font_manager").setLevel(
        logging.ERROR
    )  # a library imports it, and it speaks of its fonts once
    warnings.formatwarning = warning_line
    before = _descendants()
    try:
        with speaking(to_a_person=True), stopping(resumes), plainly(debug="debug=true" in arguments):
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

    arguments, config = _checked(arguments)

    @functools.wraps(job)
    def plain_job(config: DictConfig) -> None:
        # Once more: Hydra shows tracebacks of its own, and may run the job in another process.
        plugins.imported()
        sweep = HydraConfig.get().mode is RunMode.MULTIRUN
        with speaking(to_a_person=True), stopping(""), outlived(config, sentence) if sweep else plainly(config.debug):
            job(config)

    sys.argv = [sys.argv[0], *arguments]  # where Hydra reads them, and Lightning when it starts further processes
    if config is not None:
        _run(plain_job, config, logs=True)
        return
    with SweepTable.written():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(plain_job)()


def in_python(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a verb's function print its report, read settings as the command line does, and raise ValueError in one sentence for
    what the user can mend."""

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
    """Restore the loggers that a verb has muted."""
    muted = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in muted]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for each, level in zip(muted, levels, strict=True):
                each.setLevel(level)


def launch_here(job: Callable[[DictConfig], Result], settings: Sequence[str] | DictConfig) -> Result:
    """Run a job under Hydra for a caller in Python, as the command line would; what it returns. A configuration that
    Hydra has composed is used as it is."""
    if isinstance(settings, DictConfig):
        return job(settings)
    settings = plugins.taken(settings)
    if wrong := [each for each in settings if "=" not in each or each.startswith(("-", "hydra.mode="))]:
        raise ValueError(f"{wrong[0]} is not a setting of one run: settings are written key=value, as on the command line.")
    # Where Lightning has started the script again for a further process, it hands over the folder of the first run.
    if os.environ.get("LOCAL_RANK", "0") != "0" and not _given and not any(s.startswith("hydra.run.dir=") for s in settings):
        settings = [*settings, *(each for each in sys.argv[1:] if each.startswith("hydra."))]
    _, config = _checked(settings)
    assert config is not None  # of several runs it has been refused
    try:
        return _run(job, config)
    except Stopped as stopped:
        stopped.tell()
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise


def _run(job: Callable[[DictConfig], Result], config: DictConfig, *, logs: bool = False) -> Result:
    """Run a job in the folder of a run that is composed, as Hydra would after composing it."""
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.utils import run_job
    from hydra.types import HydraContext, RunMode

    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2("train", create_config_search_path(str(CONF)))
        config.hydra.mode = RunMode.RUN
        context = HydraContext(hydra.config_loader, Callbacks(config))
        context.callbacks.on_run_start(config=config, config_name="train")
        done = run_job(job, config, "hydra.run.dir", None, context, configure_logging=logs)
        context.callbacks.on_run_end(config=config, config_name="train", job_return=done)
        return cast(Result, done.return_value)
    finally:
        GlobalHydra.instance().clear()


def _checked(arguments: Sequence[str]) -> tuple[list[str], DictConfig | None]:
    """The arguments of a run, and its configuration; None of a sweep, and of what is no run at all, which are Hydra's. Raises
    ValueError in the user's words."""
    from hydra._internal.utils import get_args_parser

    folder.forget()
    _given[:] = arguments
    arguments = in_one_folder(literal_paths(renamed(arguments)))
    parsed, unknown = get_args_parser().parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"There is no option {unknown[0]}; settings are written key=value, for instance debug=true.")
    composes = None
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
        alone = not (several or parsed.multirun or parsed.cfg or parsed.experimental_rerun or parsed.config_name)
        if alone and "hydra.mode=MULTIRUN" not in parsed.overrides:  # a run of a sweep may fail alone
            trial = copy.deepcopy(config)
            trial.run_dir = "."  # a folder is made for a run that begins
            check_parts(trial)
            check_fit(trial)
            composes = config
    return arguments, composes


_given: list[str] = []
"""The arguments of the run that is under way, as they were given."""


def resume_command(folder: Path) -> str:
    """The command that resumes the run of this folder, or the sweep that it is part of."""
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
    """Turn an error that the user can mend into one sentence on standard error and exit status 1; any other error is a bug,
    and keeps its traceback."""
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
    """What to tell the user of an error; None if the user did not cause it."""
    from hydra.errors import HydraException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
    from yaml import YAMLError

    # A library that is not imported has raised nothing, and to import it takes seconds.
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
    """Write letters that the terminal lacks as escapes; read and write files as UTF-8 whatever the system's language."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


def _unheard() -> bool:
    """Whether the reader of the standard output has gone."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False
