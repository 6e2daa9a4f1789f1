"""Sentences for people, and text from outside, escaped for each place where it stands.

Names of files and classes, tags, and what a checkpoint or an error quotes were written by others. Each place that they are
shown in has one function here: `printable` a terminal or a log, `json_text` JSON, `csv_cell` a CSV, `markdown` and `code` a
Markdown table or line, `html_text` a page, `caption` a picture of Matplotlib, `shell_word` a command to be copied.
"""

import contextlib
import difflib
import html
import json
import logging
import math
import re
import shlex
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that does not exist: the nearest names, else all."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}."


_BETWEEN = frozenset("zoo hydra omegaconf lightning torch contextlib functools".split())
"""Packages through which a call comes that the user has made."""


def warn(message: str) -> None:
    """Warn as of the user's own line: the first that is neither of this package nor of a library between."""
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def warning_line(message: Warning | str, *where: object, **line: object) -> str:
    """Format a warning as one line, without the line of code that it comes from; for `warnings.formatwarning`."""
    return f"Warning: {printable(' '.join(str(message).split()))}\n"


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Meanwhile logs take errors alone: what a library, or the client of HTTP below it, would note there, we say ourselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def choice(kind: type) -> str:
    """The name by which a task or a data set is chosen (`task=...`, `data=...`): that of its file in this package, else that
    of
    its class: `BlobsTask` is `blobs`, `OwnClips` is `own_clips`."""
    if kind.__module__.startswith("zoo."):
        return kind.__module__.rpartition(".")[2]
    name = kind.__name__
    name = name.removesuffix("Task") or name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _shown(char: str) -> bool:
    """Whether a character has a shape of its own; the others steer a terminal, break a line or turn the reading direction."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _escape(char: str) -> str:
    r"""As in Python: `\n`, `\x1b`, `\u202e`; a byte of a name that is no UTF-8, which Python keeps as U+DCE9, is `\xe9`."""
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def printable(text: object) -> str:
    """Text as one line that any terminal shows as it is: what has no shape of its own is written as an escape."""
    said = str(text)
    return said if said.isprintable() else "".join(char if _shown(char) else _escape(char) for char in said)


def json_text(value: Any, indent: int | None = None) -> str:
    r"""Plain values as JSON, which is valid UTF-8 whatever is in it; one line without `indent`. NaN and infinities are null.

    What has no shape is escaped, so that the file can be shown and split into lines. A name that is no UTF-8 keeps its bytes
    as Python does (`\udce9`): what is read back names the file.
    """
    said = json.dumps(_finite(value), indent=indent, ensure_ascii=False)
    return "\n".join(line if line.isprintable() else _escaped_json(line) for line in said.split("\n"))


def _escaped_json(line: str) -> str:
    return "".join(char if _shown(char) else json.dumps(char)[1:-1] for char in line)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_cell(value: Any) -> Any:
    """A value of a table that a spreadsheet opens: text that it would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    said = printable(value)
    return f"'{said}" if said[:1] in tuple("=+-@") and not _is_number(said) else said


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None


def markdown(text: object) -> str:
    """Text inside a line or a table's cell of Markdown: it ends no cell and makes no markup, link or HTML."""
    said = html.escape(printable(text), quote=False).replace("\\", "\\\\")
    said = re.sub(r"[|`*$~]", r"\\\g<0>", said).replace("](", "]\\(")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", said)  # one inside a word is no markup


def code(text: object) -> str:
    """Text as code in a line of Markdown, not in a table: between more backticks than it has in a row."""
    said = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", said)), default=0))
    space = " " if said[:1] == "`" or said[-1:] == "`" else ""
    return f"{fence}{space}{said}{space}{fence}"


def html_text(text: object) -> str:
    """Text of a page, or of an attribute in quotes."""
    return html.escape(printable(text))


def caption(text: object) -> str:
    """Text in a picture of Matplotlib: dollars are no formula, and an underscore in front hides nothing from a legend."""
    said = printable(text).replace("$", "\\$")
    return f" {said}" if said.startswith("_") else said


def shell_word(text: object) -> str:
    """One word of a command that can be copied to a shell, on one line."""
    said = str(text)
    if printable(said) == said:
        return shlex.quote(said)
    quoted = said.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(char if _shown(char) else _shell_escape(char) for char in quoted) + "'"


def _shell_escape(char: str) -> str:
    errors = "surrogateescape" if 0xDC80 <= ord(char) <= 0xDCFF else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors=errors))
