"""Every set that reads a list or a table x every odd content of one: read right, or refused by its name and line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.data.test_video_sets import hmdb, kinetics, ucf101
from zoo.data.base import DataModule
from zoo.data.hmdb51 import Hmdb51
from zoo.data.image_csv import ImageCsv
from zoo.data.jhmdb import Jhmdb
from zoo.data.kinetics import Kinetics
from zoo.data.mask_folder import MaskFolder
from zoo.data.reading.lists import lines, once, rows
from zoo.data.ucf101 import Ucf101
from zoo.data.video_csv import VideoCsv
from zoo.data.voc_detection import VocDetection
from zoo.data.voc_segmentation import VocSegmentation

FILM = (3, 8, 32, 32)
Found = object
Made = tuple[Path, Callable[[], tuple[DataModule, Found]]]
"""The list that is spoiled; what reads the set and says what was found."""


def image_csv(root: Path) -> Made:
    return _csv(root, lambda path: ImageCsv(root=path, shape=(3, 8, 8)))


def video_csv(root: Path) -> Made:
    return _csv(root, lambda path: VideoCsv(root=path, shape=FILM))


def _csv(root: Path, make: Callable[[str], ImageCsv | VideoCsv]) -> Made:
    path = root / "table.csv"
    places = ("train", "train", "val", "test")
    path.write_text("path,label,split\n" + "".join(f"{k}.png,{'ab'[k % 2]},{places[k // 2 % 4]}\n" for k in range(16)))

    def read() -> tuple[DataModule, Found]:
        data = make(str(path))
        return data, data.find()

    return path, read


def kinetics_train(root: Path) -> Made:
    kinetics(root, {"train": 40, "val": 8}, flat=True)

    def read() -> tuple[DataModule, Found]:
        data = Kinetics(root=str(root), shape=FILM)
        return data, data.find()

    return root / "annotations" / "train.csv", read


def ucf101_train(root: Path) -> Made:
    return _ucf101(root, "trainlist01.txt")


def ucf101_test(root: Path) -> Made:
    return _ucf101(root, "testlist01.txt")


def ucf101_classes(root: Path) -> Made:
    return _ucf101(root, "classInd.txt")


def _ucf101(root: Path, name: str) -> Made:
    ucf101(root)

    def read() -> tuple[DataModule, Found]:
        data = Ucf101(root=str(root), shape=FILM)
        return data, data.find()

    return root / "ucf101" / "ucfTrainTestlist" / name, read


def hmdb51(root: Path) -> Made:
    return _hmdb(root, Hmdb51)


def jhmdb(root: Path) -> Made:
    return _hmdb(root, Jhmdb)


def _hmdb(root: Path, kind: type[Hmdb51]) -> Made:
    hmdb(root / kind.place, kind.videos, kind.splits_folder)

    def read() -> tuple[DataModule, Found]:
        data = kind(root=str(root), shape=FILM)
        return data, data.find()

    return root / kind.place / kind.splits_folder / "wave_test_split1.txt", read


def voc_segmentation(root: Path) -> Made:
    data = VocSegmentation(root=str(root), shape=(3, 8, 8))
    path = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt"
    return _voc(path), lambda: (data, data._listed("train"))


def voc_detection(root: Path) -> Made:
    data = VocDetection(root=str(root), shape=(3, 8, 8))
    path = data.folder / "ImageSets" / "Main" / f"{data.train_list}.txt"
    return _voc(path), lambda: (data, data._listed(data.train_list, 1))


def _voc(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"2008_{number:06d}\n" for number in range(8)))
    return path


def mask_folder(root: Path) -> Made:
    path = root / "classes.txt"
    path.write_text("sky\nroad\n")

    def read() -> tuple[DataModule, Found]:
        data = MaskFolder(root=str(root), shape=(3, 8, 8))
        try:
            data.load()
        except ValueError as error:  # there are no pictures, which it sees once it has read its classes
            if not hasattr(data, "class_names"):
                raise error from None
        return data, data.class_names

    return path, read


TABLES = {"image_csv": image_csv, "video_csv": video_csv, "kinetics": kinetics_train}
LISTS = {
    "ucf101 train": ucf101_train,
    "ucf101 test": ucf101_test,
    "hmdb51": hmdb51,
    "jhmdb": jhmdb,
    "voc_segmentation": voc_segmentation,
    "voc_detection": voc_detection,
}
NAMES = {"ucf101 classes": ucf101_classes, "mask_folder": mask_folder}
ALL = {**TABLES, **LISTS, **NAMES}

SAME: dict[str, Callable[[bytes], bytes]] = {
    "BOM": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "CR alone": lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "no last line break": lambda content: content.rstrip(),
    "blank lines": lambda content: b"\n" + content.replace(b"\n", b"\n\n \n"),
    "blanks at the ends": lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b" \t\n"),
}
"""What changes nothing."""
QUOTED: dict[str, Callable[[bytes], bytes]] = {
    "quotes": lambda content: b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in content.split()),
    "quotes after blanks": lambda content: b"\n".join(b'"' + line.replace(b",", b'", "') + b'"' for line in content.split()),
    "a further column": lambda content: content.replace(b"\n", b',"more, and more"\n'),
    "empty columns behind": lambda content: content.replace(b"\n", b",,\n"),
    "empty rows behind": lambda content: content + b",,\n,,\n",
}
SAID = {
    "empty": (lambda content: b"", "is empty"),
    "blank": (lambda content: b" \n\r\n\n", "is empty"),
    "NUL": (lambda content: content[:-2] + b"\0" + content[-2:], r"Line \d+ of .* is not text in UTF-8"),
    "UTF-16": (lambda content: content.decode().encode("utf-16"), "Line 1 of .* is not text in UTF-8"),
    "UTF-16 without BOM": (lambda content: content.decode().encode("utf-16-le"), "Line 1 of .* is not text in UTF-8"),
    "Latin-1": (lambda content: content.rstrip() + b"\xfc\n", r"Line \d+ of .* is not text in UTF-8"),
    "a picture": (lambda content: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "Line 1 of .* is not text in UTF-8"),
    "one huge line": (lambda content: b"a" * 3_000_000, "Line 1 of .* has more than 100,000 characters"),
    "a huge line behind": (lambda content: content + b"," * 3_000_000, r"Line \d+ of .* has more than 100,000 characters"),
}
"""What is refused, and how."""


def pairs(sets: dict[str, Callable[[Path], Made]], contents: dict[str, object]) -> Iterator[tuple[str, str]]:
    return ((name, content) for name in sets for content in contents)


@pytest.mark.parametrize(("name", "content"), [*pairs(ALL, {**SAME}), *pairs(TABLES, {**QUOTED})])
def test_a_table_of_another_look_says_the_same(tmp_path: Path, name: str, content: str) -> None:
    path, read = ALL[name](tmp_path)
    _, before = read()
    if name == "kinetics" and content in QUOTED:
        path.write_text(path.read_text().replace("air drumming", "drumming"))
        (path.parent / "val.csv").write_text((path.parent / "val.csv").read_text().replace("air drumming", "drumming"))
        _, before = read()
    path.write_bytes({**SAME, **QUOTED}[content](path.read_bytes()))
    assert read()[1] == before


@pytest.mark.parametrize(("name", "content"), [*pairs(ALL, {**SAID})])
def test_what_is_no_table_is_refused_by_its_name_and_line(tmp_path: Path, name: str, content: str) -> None:
    path, read = ALL[name](tmp_path)
    change, sentence = SAID[content]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=sentence) as refused:
        read()
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_file_is_not_opened(tmp_path: Path, name: str) -> None:
    path, read = ALL[name](tmp_path)
    for make, why in (
        (lambda: os.mkfifo(path), "it is a pipe, not a file"),
        (path.mkdir, "it is a folder, not a file"),
        (lambda: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda: path.symlink_to(path.name), "cannot be read"),
    ):
        path.rmdir() if path.is_dir() else path.unlink()
        make()
        with pytest.raises(ValueError, match=rf"{path.name} .*{why}"):
            read()


@pytest.mark.parametrize("name", {**TABLES, **LISTS})
def test_a_row_twice_counts_once(tmp_path: Path, name: str) -> None:
    path, read = ALL[name](tmp_path)
    _, before = read()
    content = path.read_text().rstrip("\n").split("\n")
    path.write_text("\n".join([*content, content[-1]]) + "\n")
    data, after = read()
    assert after == before
    assert f"Listed again in {path}, and counted once: what line {len(content) + 1} names." in data.notes


@pytest.mark.parametrize("name", ["image_csv", "video_csv", "kinetics", "hmdb51", "jhmdb"])
def test_a_file_with_two_labels_is_refused_with_both_lines(tmp_path: Path, name: str) -> None:
    path, read = ALL[name](tmp_path)
    content = path.read_text().rstrip("\n").split("\n")
    other = content[-1].replace(",b,", ",a,").replace("air drumming", "abseiling").rstrip().removesuffix(" 0")
    path.write_text("\n".join([*content, other + (" 2" if name in ("hmdb51", "jhmdb") else "")]) + "\n")
    with pytest.raises(ValueError, match=rf"Lines {len(content)} and {len(content) + 1} of .*{path.name} both list .*Remove"):
        read()


@pytest.mark.parametrize("name", ["./1.png", "x/../1.png"])
def test_a_file_by_two_names_is_one(tmp_path: Path, name: str) -> None:
    path, read = image_csv(tmp_path)
    path.write_text(path.read_text() + f"{name},a,train\n")
    with pytest.raises(ValueError, match=r"Lines 3 and 18 of .*with the label 'b' and 'a'"):
        read()


@pytest.mark.parametrize("name", ["image_csv", "video_csv"])
def test_a_users_own_table_names_any_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "tables").mkdir()
    path, read = ALL[name](tmp_path / "tables")
    with path.open("a") as stream:
        stream.write(
            f"../pictures/x.png,a,train\n{tmp_path}/pictures/y.png,b,train\n{tmp_path}/tables/../pictures/x.png,a,train\n"
        )
    data, (_, splits) = read()  # type: ignore[misc]
    elsewhere = [file for file, _ in splits["train"] if file.parent == tmp_path / "pictures"]
    assert [file.name for file in elsewhere] == ["x.png", "y.png"]
    assert f"Listed again in {path}, and counted once: what line 20 names." in data.notes


@pytest.mark.parametrize("name", [*LISTS, "kinetics"])
@pytest.mark.parametrize("place", ["../../../x", "/etc/passwd"])
def test_a_name_in_a_list_leads_nowhere_else(tmp_path: Path, name: str, place: str) -> None:
    path, read = ALL[name](tmp_path)
    row = {
        "kinetics": f"abseiling,../../{place},0,10,train",
        "hmdb51": f"{place} 1",
        "jhmdb": f"{place} 1",
    }
    number = 1 + len(path.read_text().rstrip("\n").split("\n"))
    with path.open("a") as stream:
        stream.write(row.get(name, place) + "\n")
    with pytest.raises(ValueError, match=rf"Line {number} of .*{path.name}.*(leads out of|which is not CLASS)"):
        read()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("path;label\na;b\n", r"has no column path and label: its line 1 is 'path;label'\. Set"),
        ("path,label,label\na,b,c\n", "Line 1 of .* names the column label twice"),
        ("path,label\na.png,cat, dog\n", r"Line 2 of .* has 3 fields, but there are 2 columns\. Put what holds a comma"),
        ("path,label\n\n\na.png\n", "Line 4 of .* lacks its path or its label"),
        ('path,label\na.png,"cat\nb.png,dog"\n', "The label at line 2 of .* goes over several lines"),
        ('path,label\na.png,cat\nb.png,"dog\n', r"Line 3 of .* is no row of a CSV file \(.*\)\. Look at its quotes"),
        ('path,label\na.png,"cat"s\n', "Line 2 of .* is no row of a CSV file"),
        ('path,label\na.png,"' + "x,\n" * 50_000, "Line 2 of .* is no row of a CSV file"),
    ],
)
def test_a_ragged_table_is_refused_by_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence) as refused:
        ImageCsv(root=str(tmp_path / "table.csv"), shape=(3, 8, 8)).find()
    assert "table.csv" in str(refused.value)


def test_numbers_as_text_are_classes(tmp_path: Path) -> None:
    """Also two ways to write one number, and numbers longer than Python converts: never an order by chance."""
    for labels, expected in (
        (('"10"', "9"), ("9", "10")),
        (("01", "1"), ("01", "1")),
        (("9" * 5000, "2"), ("2", "9" * 5000)),
        (("²", "1"), ("1", "²")),
    ):
        content = "".join(f"{k}.png,{labels[k % 2]}\n" for k in range(40))
        (tmp_path / "table.csv").write_text("path,label\n" + content)
        assert ImageCsv(root=str(tmp_path / "table.csv"), shape=(3, 8, 8)).find()[0] == expected


def test_a_class_of_which_nothing_is_scored_is_said(tmp_path: Path) -> None:
    path, read = image_csv(tmp_path)
    path.write_text(path.read_text() + "".join(f"only {k}.png,c,train\n" for k in range(4)))
    said = "The {} split has no files of c: what it scores says nothing of them."
    assert {said.format("val"), said.format("test")} <= set(read()[0].notes)


def test_a_class_number_that_contradicts_its_folder_is_refused(tmp_path: Path) -> None:
    path, read = ucf101_train(tmp_path)
    content = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join([content[0].replace(b" 1", b" 2"), *content[1:]]))
    with pytest.raises(ValueError, match=r"Line 1 of .* the class '2', but ApplyEyeMakeup is 1 in classInd\.txt"):
        read()


def test_classes_named_twice_are_refused(tmp_path: Path) -> None:
    path, read = ucf101_classes(tmp_path / "ucf")
    path.write_text("1 YoYo\n2 Archery\n3 YoYo\n")
    with pytest.raises(ValueError, match=r"Line 3 of .* names a class or a number for the second time"):
        read()
    (tmp_path / "classes.txt").write_text("sky\nroad\nsky\n")
    with pytest.raises(ValueError, match="The class 'sky' is named twice"):
        MaskFolder(root=str(tmp_path), shape=(3, 8, 8)).load()


def test_a_list_need_not_fit_the_memory_to_be_refused(tmp_path: Path) -> None:
    with (tmp_path / "list.txt").open("wb") as stream:
        stream.truncate(10**12)  # of zeros, of which the disk holds none
    for read in (lambda path: lines(path, "Write it."), lambda path: rows(path, ["a"], [], "Write it.")):
        with pytest.raises(ValueError, match="more than 100,000 characters"):
            read(tmp_path / "list.txt")


def test_what_is_listed_again_is_told_in_few_words(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "list.txt"
    path.write_text("a\n" * 9)
    assert [row.number for row in once(path, lines(path, ""), "line", notes)] == [1]
    assert notes == [f"Listed again in {path}, and counted once: what lines 2, 3, 4, 5, 6 and 3 more names."]
