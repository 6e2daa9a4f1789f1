"""Names that others gave, in each place where they are shown: one line, valid, and nothing but text."""

import csv
import html
import io
import json
import linecache
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from zoo.common import words

ODD_NAMES = (
    "a\nb",
    "a\r\nb",
    "tab\tbed",
    'a "quote"',
    "it's",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "@sum(1)",
    "-leading",
    "\x1b[31mred\x1b[0m",
    "\x9b2J",
    "\x1b]0;title\x07",
    "nul\0l",
    os.fsdecode(b"bytes\xff\xe9"),
    "\ud800lone",
    "line\u2028\u2029\x85\x0bends",
    "turned\u202eround",
    "<script>alert(1)</script>",
    "</td>&amp;",
    "a|b\\|c",
    "`code`` and more`",
    "$x^2$ and \\$",
    "_hidden_",
    "*bold* ~~gone~~",
    "[link](http://example.org)",
    "[red]rich[/red]",
    "{braces} %s ${env}",
    "图片 é",
    "",
)
FILE_NAMES = [name for name in ODD_NAMES if name and "\0" not in name and "\ud800" not in name]
"""Those that a file can have, but for slashes."""
NAMED = pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)


def is_one_plain_line(text: str) -> bool:
    """Nothing in it steers a terminal, breaks a line or turns the direction; and it can be written as UTF-8."""
    text.encode()
    return len(text.splitlines()) <= 1 and not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@NAMED
@pytest.mark.parametrize("place", [words.printable, words.markdown, words.code, words.html_text, words.caption])
def test_a_name_is_one_plain_line_in_every_place(place: object, name: str) -> None:
    assert callable(place)
    assert is_one_plain_line(place(name))


def test_what_can_be_shown_stays_as_it_is() -> None:
    for name in ("plain.png", "图片 é", "with\u00a0space", "it's 50 % [3,32]", "layer3.0.conv_1"):
        assert words.printable(name) == name
        assert words.markdown(name) == name
        assert json.loads(words.json_text(name)) == name
    assert words.printable("a\nb\x1b\u2028" + os.fsdecode(b"\xe9")) == r"a\nb\x1b\u2028\xe9"


@NAMED
def test_a_name_in_json_is_one_line_that_reads_back(name: str) -> None:
    line = words.json_text({"file": name, name: [name]})
    assert is_one_plain_line(line)
    assert json.loads(line.encode()) == {"file": name, name: [name]}
    assert json.loads(words.json_text({"file": name}, indent=1)) == {"file": name}


def test_json_has_no_numbers_that_json_has_not() -> None:
    found = json.loads(words.json_text({"a": [float("nan"), {"b": (float("-inf"), 1.5)}]}), parse_constant=pytest.fail)
    assert found == {"a": [None, {"b": [None, 1.5]}]}


@NAMED
def test_a_name_in_a_csv_is_one_line_and_no_formula(name: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([words.csv_cell(name), 1])
    assert len(stream.getvalue().rstrip("\r\n").splitlines()) == 1
    (cell, _), *more = csv.reader(io.StringIO(stream.getvalue()))
    assert not more
    assert is_one_plain_line(cell)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")


def test_numbers_in_a_csv_stay_numbers() -> None:
    assert [words.csv_cell(value) for value in (-1.5, "-1.5", "+2e-3", None, "plain")] == [-1.5, "-1.5", "+2e-3", None, "plain"]


@NAMED
def test_a_name_in_markdown_is_text(name: str) -> None:
    said = words.markdown(name)
    for sign in "|`*$~":
        assert not re.search(rf"(?<!\\)(\\\\)*{re.escape(sign)}", said), sign  # each is behind an odd number of backslashes
    assert "<" not in said
    assert not re.search(r"(?<!\\)(\\\\)*\]\(", said)
    plain = html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", said))  # as a reader of Markdown takes them away
    assert plain == words.printable(name)


@NAMED
def test_a_name_as_code_stays_inside(name: str) -> None:
    said = words.code(name)
    fence = re.match("`+", said)
    assert fence is not None
    inside = said[len(fence[0]) : -len(fence[0])]
    assert len(fence[0]) not in map(len, re.findall("`+", inside))
    assert inside.strip(" ") == words.printable(name).strip(" ")


@NAMED
def test_a_name_on_a_page_is_text(name: str) -> None:
    said = words.html_text(name)
    assert not set("<>\"'") & set(said)
    assert html.unescape(said) == words.printable(name)


@NAMED
def test_a_name_in_a_picture_is_no_formula(name: str) -> None:
    figure = Figure()
    panel = figure.subplots()
    (line,) = panel.plot([0, 1], label=words.caption(name))
    title = panel.set_title(words.caption(name))
    shown, math = title._preprocess_math(title.get_text())  # type: ignore[attr-defined]
    assert math is False
    assert shown.strip() == words.printable(name).strip()
    assert line in panel.get_legend_handles_labels()[0] or not name  # one that begins with an underscore is hidden


@NAMED
def test_a_command_to_copy_names_the_file(name: str) -> None:
    said = words.shell_word(name)
    assert is_one_plain_line(said)
    if "\0" not in name and name != "\ud800lone":  # no file has such a name
        done = subprocess.run(["bash", "-c", f"printf %s {said}"], capture_output=True, check=True)
        assert done.stdout == os.fsencode(name)


BETWEEN = """
def called(function):
    return function()
"""


@pytest.mark.parametrize("library", ["zoo.somewhere", "hydra._internal.utils", "lightning.pytorch.trainer", "torch.nn.modules"])
def test_a_warning_names_the_users_line(library: str) -> None:
    """Whatever lies between them and the package."""
    inner: dict[str, Any] = {"__name__": "zoo.models.x", "warn": words.warn}
    exec("def said():\n    warn('Look.')\n", inner)
    outer: dict[str, Any] = {"__name__": library}
    exec(BETWEEN, outer)
    with pytest.warns(UserWarning, match=r"Look\.") as found:
        outer["called"](inner["said"])
    assert found[0].filename == __file__
    assert linecache.getline(__file__, found[0].lineno).strip() == 'outer["called"](inner["said"])'


def test_what_the_package_warns_of_names_the_users_line(tmp_path: Path) -> None:
    import torch

    import zoo
    from zoo.tasks.rotation import square

    torch.save(zoo.create_model("lenet5", num_classes=3).state_dict(), tmp_path / "three.pth")
    for warns in (
        lambda: zoo.create_model("lenet5", pretrained=tmp_path / "three.pth"),
        lambda: square(torch.zeros(1, 4, 6)),
    ):
        with pytest.warns(UserWarning, match=r"head|central") as found:
            warns()
        assert {each.filename for each in found} == {__file__}
