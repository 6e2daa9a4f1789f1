"""Where answers go: nothing that was there is lost, nothing collides, and what was said stays said."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.common.test_words import FILE_NAMES, is_one_plain_line
from tests.conftest import Launcher
from zoo.common.draw import VideoWriter
from zoo.common.places import write_whole
from zoo.run import predictions
from zoo.run.predictions import Gallery, Lines, mark

Verb = Callable[..., tuple[int, str, str]]
LENET = "lenet5:fashion_mnist"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("L", (28, 28), 80 * number).save(folder / f"{number}.png")
    return folder


def saved(gallery: Gallery, source: str, value: int = 0, names: tuple[str, ...] = ("overlay", "classes")) -> tuple[str, ...]:
    return gallery.save(Path(source), {name: Image.new("L", (2, 2), value) for name in names})


def values(files: tuple[str, ...]) -> set[object]:
    return {Image.open(file).getpixel((0, 0)) for file in files}


# Pictures


def test_every_input_has_pictures_of_its_own(tmp_path: Path) -> None:
    sources = [
        "a-2.png",
        "a.png",
        "a.jpg",
        "x/a.jpg",
        "A.png",
        "x/A-2.png",
        "a_overlay.png",
        "é.png",
        "e\u0301.png",
        "ß.png",
        "SS.png",
    ]
    sources += ["y" * 300 + ".png", "y" * 301 + ".png", *FILE_NAMES, *(f"x{name}" for name in FILE_NAMES)]
    gallery = Gallery(tmp_path / "out")
    files = [saved(gallery, source, number) for number, source in enumerate(sources)]
    for number, own in enumerate(files):
        assert values(own) == {number}, sources[number]
    every = [file for own in files for file in own]
    assert len({predictions._folded(file) for file in every}) == len(every) == 2 * len(sources)
    assert sorted(every) == sorted(str(path) for path in (tmp_path / "out").rglob("*"))
    assert all(is_one_plain_line(file) for file in every)
    assert [Path(file).name for file in files[1]] == ["a_overlay.png", "a_classes.png"]


def test_names_of_pictures_and_of_inputs_do_not_meet(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    one, other = saved(gallery, "a_b.png", 1, ("c", "d")), saved(gallery, "a.png", 2, ("b_c", "e"))
    assert values(one) == {1}
    assert values(other) == {2}
    assert len({*one, *other}) == 4


def test_a_later_prediction_replaces_pictures_of_the_same_inputs_alone(tmp_path: Path) -> None:
    first = {name: saved(Gallery(tmp_path), name, 1) for name in ("x/a.png", "y/a.png")}
    assert len({*first["x/a.png"], *first["y/a.png"]}) == 4
    assert saved(Gallery(tmp_path), "y/a.png", 2) == first["y/a.png"]
    assert values(first["y/a.png"]) == {2}
    assert values(first["x/a.png"]) == {1}


@pytest.mark.parametrize("kind", ["picture", "text", "folder", "link", "dead link", "pipe"])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, kind: str) -> None:
    place, elsewhere = tmp_path / "a_overlay.png", tmp_path / "mine"
    Image.new("L", (2, 2), 9).save(tmp_path / "nine.png")
    content = (tmp_path / "nine.png").read_bytes()
    if kind == "picture":
        place.write_bytes(content)
    elif kind == "text":
        place.write_text("notes")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        if kind == "link":
            elsewhere.write_bytes(content)
        place.symlink_to(elsewhere)
    before = place.lstat()
    assert [Path(file).name for file in saved(Gallery(tmp_path), "a.png")] == ["a-2_overlay.png", "a-2_classes.png"]
    after = place.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert elsewhere.exists() == (kind == "link")
    assert kind != "link" or elsewhere.read_bytes() == content


def film(gallery: Gallery, source: str, value: int) -> str:
    with gallery.room() as room:
        with VideoWriter(room / "objects", 5, mark(Path(source))) as made:
            made.add(Image.new("RGB", (16, 16), (value,) * 3))
        (told,) = gallery.add(Path(source), {"objects": made})
    return told


def test_films_have_names_of_their_own_and_replace_their_own(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    names = [film(gallery, "x/a.mp4", 0), film(gallery, "a.mp4", 90), film(gallery, "a.avi", 200)]
    assert [Path(name).name for name in names] == ["a_objects.mp4", "a-2_objects.mp4", "a-3_objects.mp4"]
    before = Path(names[1]).read_bytes()
    assert film(Gallery(tmp_path), "x/a.mp4", 255) == names[0]
    assert film(Gallery(tmp_path), "b/a.mp4", 255) == str(tmp_path / "a-4_objects.mp4")
    assert Path(names[1]).read_bytes() == before
    assert not list(tmp_path.glob(".*"))  # nothing unfinished stays


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictions, "write_whole", full)
    with pytest.raises(ValueError, match=r"The pictures cannot be written to .*: No space left on device"):
        saved(Gallery(tmp_path / "out"), "a.png")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", ["file", "pipe", "below a file", "dead link"])
def test_a_place_for_pictures_that_is_no_folder_is_refused_before_the_work(verb: Verb, pictures: Path, kind: str) -> None:
    place = pictures.parent / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "dead link":
        place.symlink_to("nowhere")
    else:
        place.write_text("kept")
    status, out, err = verb("predict", LENET, str(pictures), f"out={place / 'in' if kind == 'below a file' else place}")
    assert (status, out) == (1, "")
    assert "place is no folder. Choose another out=FOLDER." in err
    assert err.count("\n") == 1
    assert place.is_symlink() or place.is_fifo() or place.read_text() == "kept"


# Files


def test_what_is_no_picture_is_named_and_the_others_are_answered(
    verb: Verb, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(pictures / "pipe.png")
    (pictures / "dead.png").symlink_to("nowhere")
    (pictures / "loop.png").symlink_to("loop.png")
    (pictures / "linked.png").symlink_to("0.png")
    (pictures / "folder.png").mkdir()
    (pictures / "folder.png" / "inside.png").hardlink_to(pictures / "0.png")
    (pictures / "closed").mkdir()
    (pictures / "empty.png").touch()
    (pictures / "byte.png").write_bytes(b"B")
    for hidden in (".zoo/short/a.png", ".ipynb_checkpoints/a.png", "folder.png/.b/a.png", "._0.png"):
        (pictures / hidden).parent.mkdir(parents=True, exist_ok=True)
        (pictures / hidden).hardlink_to(pictures / "0.png")
    for other in ("notes.txt", "more.TXT", "README"):
        (pictures / other).touch()

    def closing(listing: Callable[..., Any]) -> Callable[..., Any]:
        def closed(place: Any = ".") -> Any:
            if not isinstance(place, int) and os.path.basename(place) == "closed":  # noqa: PTH119
                raise PermissionError(13, "Permission denied", os.fspath(place))
            return listing(place)

        return closed

    for name in ("scandir", "listdir"):  # permissions would not stop a superuser
        monkeypatch.setattr(os, name, closing(getattr(os, name)))
    status, _, err = verb(
        "predict", LENET, str(pictures), str(pictures / "pipe.png"), str(pictures / "._0.png"), "json=a.jsonl"
    )
    assert status == 0, err
    told = {str(Path(row["file"]).relative_to(pictures)): row.get("error") for row in rows(Path("a.jsonl"))}
    answered = {"0.png", "1.png", "2.png", "linked.png", "folder.png/inside.png", "._0.png"}
    assert {name for name, error in told.items() if error is None} == answered
    assert {name: error for name, error in told.items() if error and name not in ("empty.png", "byte.png")} == {
        "pipe.png": "it is a pipe, not a file",
        "dead.png": "No such file or directory",
        "loop.png": "Too many levels of symbolic links",
        "closed": "Permission denied",
    }
    assert told["empty.png"] == "it is empty"
    assert told["byte.png"].startswith("it holds no picture of the kinds that are read here")  # type: ignore[union-attr]
    assert "Left out, by suffix: 2 .txt, 1 no suffix. Name a file to have it read." in err
    assert "7 of 13 files could not be read." in err


# Lines


def rows(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.read_bytes().splitlines()]


def test_files_of_any_name_are_answered_on_one_line(verb: Verb, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.new("L", (28, 28), 90).save(folder / "plain.png")
    names = {f"{name.replace('/', '-')}.png" for name in FILE_NAMES}
    for name in names:
        (folder / name).hardlink_to(folder / "plain.png")
        (folder / f"torn {name}").write_bytes(b"no picture")
    (folder / "plain.png").unlink()
    status, out, err = verb("predict", LENET, str(folder), "json=answers.jsonl")
    assert status == 0, err
    assert len(out.splitlines()) == 2 * len(names)
    assert all(map(is_one_plain_line, out.splitlines()))
    assert err.splitlines()[-1] == f"{len(names)} of {2 * len(names)} files could not be read."
    told = rows(tmp_path / "answers.jsonl")
    assert {row["file"] for row in told} == set(map(str, folder.iterdir()))
    assert {Path(row["file"]).name for row in told if "error" not in row} == names
    status, out, err = verb("predict", LENET, str(folder), "json=-")
    assert out.encode() == (tmp_path / "answers.jsonl").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_prediction_that_is_stopped_keeps_what_it_said(started: Launcher, tmp_path: Path, number: int) -> None:
    (tmp_path / "pictures").mkdir()
    for each in range(200):
        Image.new("L", (28, 28), each).save(tmp_path / "pictures" / f"{each:03d}.png")
    code = f"""
import os, sys, zoo.predict as predict
from zoo.run.predictions import Lines
write = Lines.write
def stopping(self, line):
    write(self, line)
    if self.written == 7:
        os.kill(os.getpid(), {int(number)})
Lines.write = stopping
sys.argv = ["zoo.predict", "{LENET}", "pictures", "json=answers.jsonl"]
predict.main()
"""
    ended = started(code=code, cwd=tmp_path)
    assert ended.status != 0
    assert len(rows(tmp_path / "answers.jsonl")) == 7
    assert len(ended.out[0].splitlines()) in (6, 7)


def test_a_prediction_that_fails_keeps_what_it_said(verb: Verb, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.tasks.classification import ClassificationTask

    answer, calls = ClassificationTask.predictions, 0

    def failing(self: ClassificationTask, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ValueError("A failure.")
        return answer(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ClassificationTask, "predictions", failing)
    status, out, err = verb("predict", LENET, str(pictures), "json=answers.jsonl")
    assert status == 1
    assert err.splitlines() == ["Stopped after 2 files; their predictions are in answers.jsonl.", "Error: A failure."]
    assert len(out.splitlines()) == len(rows(Path("answers.jsonl"))) == 2


def test_answers_of_before_are_kept_until_there_are_new_ones(verb: Verb, pictures: Path) -> None:
    place = Path("answers.jsonl")
    assert verb("predict", LENET, str(pictures), "json=answers.jsonl")[0] == 0
    before = place.read_bytes()
    assert verb("predict", LENET, "nothing.png", "json=answers.jsonl")[0] == 1
    assert place.read_bytes() == before
    assert verb("predict", LENET, str(pictures / "0.png"), "json=answers.jsonl")[0] == 0
    assert place.read_bytes() == before.splitlines(keepends=True)[0]
    assert verb("predict", LENET, "nothing.png", "json=new.jsonl")[0] == 1
    assert not Path("new.jsonl").exists()


def test_answers_go_through_a_link(verb: Verb, pictures: Path) -> None:
    Path("link.jsonl").symlink_to("target.jsonl")
    for _ in range(2):
        assert verb("predict", LENET, str(pictures), "json=link.jsonl")[0] == 0
        assert Path("link.jsonl").is_symlink()
        assert len(rows(Path("target.jsonl"))) == 3


def test_answers_go_through_a_pipe(verb: Verb, pictures: Path) -> None:
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    assert verb("predict", LENET, str(pictures), "json=pipe")[0] == 0
    reader.join(timeout=30)
    assert Path("pipe").is_fifo()
    assert [json.loads(line)["file"] for line in read[0].splitlines()] == [str(pictures / f"{n}.png") for n in range(3)]


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="nobody reads this pipe"):
        Lines(tmp_path / "pipe", patience=0)
    assert (tmp_path / "pipe").is_fifo()


def test_answers_go_to_a_device(verb: Verb, pictures: Path) -> None:
    before = Path("/dev/null").lstat()
    status, out, _ = verb("predict", LENET, str(pictures), "json=/dev/null")
    assert status == 0
    assert len(out.splitlines()) == 3
    assert Path("/dev/null").lstat().st_rdev == before.st_rdev


def test_json_to_what_is_printed_to_is_json_alone(started: Launcher, pictures: Path) -> None:
    code = f'import sys, zoo.predict as p; sys.argv = ["", "{LENET}", "{pictures}", "json=/dev/stdout"]; p.main()'
    ended = started(code=code, cwd=pictures.parent)
    assert ended.status == 0, ended.err
    assert len([json.loads(line) for line in ended.out[0].splitlines()]) == 3


def test_answers_to_where_words_go_are_added_there(started: Launcher, pictures: Path) -> None:
    (pictures / "torn.png").touch()
    code = f"""
import sys, zoo.predict as p
print("before", file=sys.stderr, flush=True)
sys.argv = ["", "{LENET}", "{pictures}", "json=/dev/stderr"]
p.main()
"""
    ended = started(code=code, cwd=pictures.parent)
    assert ended.status == 0, ended.err
    first, *told, last = ended.err[0].splitlines()
    assert (first, last) == ("before", "1 of 4 files could not be read.")
    assert len(list(map(json.loads, told))) == len(ended.out[0].splitlines()) == 4


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("no/such/folder/answers.jsonl", "No such file or directory"),
        ("pictures", "Is a directory"),
        ("pictures/0.png", "holds something else than predictions"),
        ("pictures/0.png/answers.jsonl", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/full", "No space left on device"),
    ],
)
def test_answers_that_cannot_be_written_are_refused_in_a_sentence(
    verb: Verb, pictures: Path, place: str, sentence: str
) -> None:
    Path("loop").symlink_to("loop")
    before = (pictures / "0.png").read_bytes()
    status, out, err = verb("predict", LENET, "pictures", f"json={place}")
    assert (status, out) == (1, "")
    assert f"{place}" in err
    assert sentence in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert (pictures / "0.png").read_bytes() == before


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, 50

    def filling(handle: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        done = write(handle, bytes(content)[:room])
        room -= done
        return done

    with Lines(tmp_path / "answers.jsonl") as lines:
        monkeypatch.setattr(os, "write", filling)
        lines.write(f'{{"file": "{"a" * 20}"}}')
        with pytest.raises(ValueError, match=r"No space left on device\. It holds those of 1 files"):
            lines.write(f'{{"file": "{"b" * 20}"}}')
    assert rows(tmp_path / "answers.jsonl") == [{"file": "a" * 20}]


def test_the_mark_changes_no_pixel(tmp_path: Path) -> None:
    """The mark changes no pixel, and a palette stays one."""
    from torch import arange, uint8

    from zoo.common.draw import index_picture

    mask = arange(16, dtype=uint8).reshape(4, 4)
    (file,) = Gallery(tmp_path).save(Path("a.png"), {"classes": index_picture(mask)})
    with Image.open(file) as picture:
        assert picture.mode == "P"
        assert (np.asarray(picture) == mask.numpy()).all()


@pytest.mark.parametrize("kind", ["link", "dead link", "loop", "pipe", "folder"])
def test_a_whole_file_replaces_no_other_thing(tmp_path: Path, kind: str) -> None:
    place, elsewhere = tmp_path / "result.json", tmp_path / "elsewhere"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place if kind == "loop" else elsewhere)
    if kind == "link":
        elsewhere.write_text("kept")
    before = place.lstat()
    with pytest.raises(ValueError, match=r"result\.json is no regular file, so it is not replaced"):
        write_whole(place, b"new")
    assert place.lstat() == before
    assert sorted(tmp_path.iterdir()) == sorted([place, *([elsewhere] if kind == "link" else [])])
    assert kind != "link" or elsewhere.read_text() == "kept"


def test_the_pictures_of_a_run_replace_no_link(tmp_path: Path) -> None:
    """A run that goes on in a folder from a stranger writes where it was told to, and nowhere else."""
    from torch import nn

    from zoo.common import draw
    from zoo.run.pictures import draw_curves, draw_filters

    (tmp_path / "metrics.csv").write_text("step,val/loss\n1,0.5\n")
    (tmp_path / "victim").write_text("kept")
    doings: dict[str, Callable[[], object]] = {
        "curves.png": lambda: draw_curves(tmp_path),
        "filters.png": lambda: draw_filters(nn.Conv2d(1, 1, 3), tmp_path),
        "filters.gif": lambda: draw_filters(nn.Conv3d(1, 1, 3), tmp_path),
        "predictions.png": lambda: draw.save(Image.new("L", (2, 2)), tmp_path / "predictions.png"),
    }
    for name, doing in doings.items():
        (tmp_path / name).symlink_to("victim")
        with pytest.raises(ValueError, match=f"{name} is no regular file, so it is not replaced"):
            doing()
    assert (tmp_path / "victim").read_text() == "kept"


def test_a_limit_of_pixels_holds_for_the_frames_of_a_film_too(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.common import files as _files

    with VideoWriter(tmp_path / "film.mp4", 5) as made:
        made.add(Image.new("RGB", (70, 34)))  # a decoder makes 80 x 48 of it
    monkeypatch.setattr(_files, "_allowed", (1000, "ZOO_MAX_PIXELS"))
    assert "more than max_pixels=2379 allows" in verb("predict", LENET, "film.mp4", "max_pixels=2379")[1]
    for limit in (2380, 0):
        assert "film.mp4: 1 frame" in verb("predict", LENET, "film.mp4", f"max_pixels={limit}")[1]
