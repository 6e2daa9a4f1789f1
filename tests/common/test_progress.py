"""What the package says on its way: to the logger `zoo`, which verbs show and libraries leave alone."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.common import progress
from zoo.common.progress import log, speaking
from zoo.data.loading.parallel import mapped

Verb = Callable[..., tuple[int, str, str]]


def test_a_caller_in_python_sees_nothing_unless_they_ask(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="zoo")  # as it is where nobody has asked
    log.info("one of %d", 3)
    assert list(mapped(abs, [-1], "counting", processes=1)) == [1]
    assert capsys.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, logger="zoo"):
        log.info("two of %d", 3)
    assert caplog.messages == ["two of 3"]


def test_a_verb_shows_it_once_and_hands_the_logger_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = (log.level, log.propagate, list(log.handlers))
    with speaking(), speaking():
        log.info("one of %d", 3)
        log.debug("nothing")
    assert capsys.readouterr().out == "one of 3\n"
    assert (log.level, log.propagate, list(log.handlers)) == before
    with pytest.raises(ValueError, match="x"), speaking():
        raise ValueError("x")
    assert (log.level, log.propagate, list(log.handlers)) == before


def test_verbs_say_what_they_said(verb: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from zoo.data.digits import Digits

    monkeypatch.setattr(Digits, "prepare", lambda self: log.info("ready"))
    status, out, err = verb("prepare", "digits")
    assert (status, out.splitlines()[0], err) == (0, "ready", "")


def test_a_sign_of_life_is_a_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    said = threading.Event()
    monkeypatch.setattr(log, "info", lambda *args: said.set())
    with progress.beating("looking"):
        assert said.wait(10)
