"""The command `zoo`: `zoo VERB ...`, `python -m zoo VERB ...` and `python -m zoo.VERB ...` are alike.

A verb is a module of this package, or a folder with `__main__.py`, that has a function `main`; nothing else lists them. It is
run as `python -m zoo.VERB` would run it, so that whatever starts further processes by the command line finds the same.
"""

import contextlib
import os
import re
import runpy
import sys
from pathlib import Path

from zoo import __version__
from zoo.common.words import nearest

_FOLDER = Path(__file__).parent


def verbs() -> dict[str, str]:
    """All verbs and the first line of their docstrings, as the source has them: nothing is imported."""
    found = {}
    for path in _FOLDER.iterdir():
        source = path / "__main__.py" if path.is_dir() else path
        if path.name.startswith("_") or source.suffix != ".py" or not source.is_file():
            continue
        text = source.read_text(encoding="utf-8")
        if re.search(r"^def main\(", text, re.MULTILINE):
            line = re.match(r'"""(.*?)(?:"""|\n)', text)
            found[path.stem] = line[1] if line else ""
    return dict(sorted(found.items()))


def usage() -> str:
    known = verbs()
    width = max(map(len, known))
    lines = "\n".join(f"  {name:<{width}}  {line}" for name, line in known.items())
    return (
        f"usage: zoo VERB [path ...] [key=value ...]\n\n{lines}\n\n"
        "`zoo VERB --help` says what a verb takes, `zoo --version` which version this is. `python -m zoo.VERB` is\n"
        '`zoo VERB`. eval "$(zoo --completion bash)" completes verbs, options, groups and keys in bash; zsh and fish likewise.'
    )


def run(verb: str, arguments: list[str]) -> None:
    """Do what `python -m zoo.VERB` does, which finds modules in the working folder too."""
    with contextlib.suppress(FileNotFoundError):  # of a working folder that has been removed
        if not sys.flags.safe_path and (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)
    sys.argv = [verb, *arguments]
    runpy.run_module(f"zoo.{verb}", run_name="__main__", alter_sys=True)


def main() -> None:
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in verbs():
        run(verb, arguments)
    elif verb == "--complete":
        from zoo.run.completion import candidates

        _say("\n".join(candidates(arguments, list(verbs()))))
    elif verb == "--completion":
        from zoo.run.completion import SCRIPTS

        shell = arguments[0] if arguments else ""
        _say(SCRIPTS[shell]) if shell in SCRIPTS else _refuse(
            f"Name a shell, one of {', '.join(SCRIPTS)}: zoo --completion bash"
        )
    elif verb == "--version":
        _say(f"zoo {__version__}")
    elif verb in ("--help", "-h"):
        _say(usage())
    elif "=" in verb:
        _refuse(f"{verb} is a setting, and a verb stands before it: zoo train {verb}")
    else:
        _refuse(f"There is no verb {verb!r}; {nearest(verb, verbs())}")


def _refuse(said: str) -> None:
    print(f"Error: {said}", file=sys.stderr)
    raise SystemExit(1)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader that has seen enough, head for instance
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None  # 128 and SIGPIPE, as of any program


if __name__ == "__main__":
    main()
