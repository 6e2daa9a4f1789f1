"""Files and folders come to be whole, where they belong, and nobody else's is touched."""

import inspect
import os
from pathlib import Path

import pytest

from zoo.common.places import cache_folder, new_folder, rendered_root, write_whole, written


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_that_want_a_folder_get_two(tmp_path: Path) -> None:
    found = [new_folder(tmp_path / "runs" / "12-00-00") for _ in range(3)]
    assert [path.name for path in found] == ["12-00-00", "12-00-00-2", "12-00-00-3"]
    assert all(path.is_dir() for path in found)


@pytest.mark.parametrize("partial", [None, ".set.part"])
def test_what_is_not_what_was_to_come_gets_no_name(tmp_path: Path, partial: str | None) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != b"right":
            raise ValueError("another file came")

    place = tmp_path / "set"
    place.write_bytes(b"before")
    beside = tmp_path / partial if partial else None
    if beside:
        beside.write_bytes(b"what a kill left")
    with pytest.raises(ValueError, match="another file"), written(place, check, partial=beside) as stream:
        stream.write(b"<html>")
    assert (place.read_bytes(), _names(tmp_path)) == (b"before", ["set"])
    with written(place, check, partial=beside) as stream:
        stream.write(b"right")
        assert place.read_bytes() == b"before"
    assert (place.read_bytes(), _names(tmp_path)) == (b"right", ["set"])
    assert place.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    other.write_bytes(b"somebody's")
    {"link": lambda: place.symlink_to(other), "pipe": lambda: os.mkfifo(place), "folder": place.mkdir}[kind]()
    with pytest.raises(ValueError, match="no regular file"):
        write_whole(place, b"new")
    assert (other.read_bytes(), _names(tmp_path)) == (b"somebody's", ["other", "place"])


def test_a_rendered_set_goes_where_it_is_named_for_or_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "shared"))
    assert rendered_root(None) == cache_folder()
    assert rendered_root(str(tmp_path / "mine")) == tmp_path / "mine"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert rendered_root(str(tmp_path / "mine")) == cache_folder()


def test_every_rendered_set_keeps_out_of_the_folder_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.data import digit_scenes, motion_digits

    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "shared"))
    scenes = digit_scenes.DigitScenes(shape=(3, 32, 32))
    motions = motion_digits.MotionDigits(shape=(3, 4, 32, 32))
    for folder in (scenes.folder, motions.root):
        assert folder.is_relative_to(cache_folder())
    sets = Path(inspect.getfile(digit_scenes)).parent.glob("*.py")
    rendering = {path.stem for path in sets if "import render_files" in path.read_text()}
    assert rendering == {"digit_scenes", "motion_digits"}  # a set more belongs into this test
