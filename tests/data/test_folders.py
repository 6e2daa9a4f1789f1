"""Folders of classes: every layout, stable and disjoint splits, and mistakes named."""

import os
import shutil
from pathlib import Path

import pytest

from zoo.data.reading.folders import labeled_splits, listing

KINDS = frozenset({".png"})


def fill(root: Path, names: list[str], count: int) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"é ({number}), a=b!.png").touch()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97])
def test_without_splits_they_are_carved_out(tmp_path: Path, count: int) -> None:
    fill(tmp_path, ["b", "a"], count)
    names, splits = labeled_splits(tmp_path, KINDS)
    assert names == ("a", "b")
    everything = [entry for entries in splits.values() for entry in entries]
    assert len(everything) == len(set(everything)) == 2 * count
    assert all(path.parent.name == names[label] for path, label in everything)
    for label in (0, 1):
        sizes = {split: sum(its == label for _, its in entries) for split, entries in splits.items()}
        assert sizes["train"] >= 1
        if count == 97:
            assert abs(sizes["test"] - 0.2 * 97) <= 1
            assert abs(sizes["val"] - 0.1 * 97) <= 1


def test_adding_a_file_leaves_the_order_of_the_others(tmp_path: Path) -> None:
    fill(tmp_path, ["a"], 50)
    before = labeled_splits(tmp_path, KINDS)[1]
    (tmp_path / "a" / "one more.png").touch()
    after = labeled_splits(tmp_path, KINDS)[1]
    moved = sum(len(set(before[split]) - set(after[split])) for split in before)
    assert moved <= 2


@pytest.mark.parametrize("given", [("train", "val", "test"), ("train", "test"), ("train", "val")])
def test_given_splits_are_kept(tmp_path: Path, given: tuple[str, ...]) -> None:
    for split in given:
        fill(tmp_path / split, ["a", "b"], 20)
    _, splits = labeled_splits(tmp_path, KINDS)
    assert {path.relative_to(tmp_path).parts[0] for path, _ in splits["test"]} == {"test" if "test" in given else "val"}
    carved = len(given) == 2
    assert {path.relative_to(tmp_path).parts[0] for path, _ in splits["val"]} == {"train" if carved else "val"}
    assert len(splits["train"]) == (36 if carved else 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "has no class folders"),
        (lambda root: (root / "a").mkdir(), "The class folder .*a holds no files of the kinds .png"),
        (lambda root: fill(root / "train", ["a"], 3), "neither val nor test"),
        (lambda root: [fill(root / "train", ["a"], 3), fill(root / "test", ["b"], 3)], r"differ \(b\)"),
        (lambda root: root.rmdir(), "There is no folder"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, make: object, said: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make(root)  # type: ignore[operator]
    with pytest.raises(ValueError, match=said):
        labeled_splits(root, KINDS)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, ["a"], 3)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)  # the superuser, who may run the tests, is refused nothing
    with pytest.raises(ValueError, match="may not be read"):
        labeled_splits(tmp_path, KINDS)


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/0-checkpoint.png",
        "._0.png",
        "deep/.cache/0.png",
        "deep/._0.png",
        ".zoo/0.png",
        "@eaDir/0.png",
        "__MACOSX/0.png",
    ],
)
def test_hidden_and_foreign_things_are_no_data(tmp_path: Path, hidden: str) -> None:
    fill(tmp_path, ["a", "b"], 10)
    put(tmp_path / "a", hidden)
    if not hidden.startswith("deep"):
        put(tmp_path, hidden)
    names, splits = labeled_splits(tmp_path, KINDS)
    assert names == ("a", "b")
    assert sum(map(len, splits.values())) == 20
    assert set(listing(tmp_path, KINDS).files) == {path for files in splits.values() for path, _ in files}


def test_a_hidden_folder_may_hold_the_data(tmp_path: Path) -> None:
    fill(tmp_path / ".cache" / "set", ["a"], 10)
    assert sum(map(len, labeled_splits(tmp_path / ".cache" / "set", KINDS)[1].values())) == 10


def test_what_is_not_taken_is_counted_and_said(tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"], 40)
    put(tmp_path / "a", "1.heic", "2.HEIC", "deep/3.heic", "notes.txt", "README", "Thumbs.db", "@eaDir/x.png")
    put(tmp_path / "b", "odd/one.gif")
    (tmp_path / "b" / "linked").symlink_to(tmp_path / "a")
    notes: list[str] = []
    labeled_splits(tmp_path, frozenset({".png", ".gif"}), notes)
    assert notes == [
        f"Not taken from the class folders of {tmp_path}: 3 .heic, 1 .txt, 1 @eaDir, 1 Thumbs.db, 1 links to folders, "
        "1 no suffix.",
        f"The files in {tmp_path} are of several kinds, and all are used: 80 .png, 1 .gif; the few are b/odd/one.gif.",
    ]


def test_what_only_looks_like_a_file_is_left_to_be_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path, ["a"], 3)
    put(tmp_path, "a/folder.png/inside.png")
    (tmp_path / "a" / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    found = listing(tmp_path, KINDS)
    assert {path.name for path in found.files} >= {"inside.png", "loop.png", "pipe.png"}
    assert [path.name for path in found.disguised] == ["folder.png"]
    notes: list[str] = []
    labeled_splits(tmp_path, KINDS, notes)
    assert notes == ["Folders named like files are taken for folders: a/folder.png (1)."]


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_may_be_missing_from_what_is_scored(tmp_path: Path, split: str, empty: bool) -> None:
    for each in ("train", "val", "test"):
        fill(tmp_path / each, ["ant", "bee", "cow"], 6)
    shutil.rmtree(tmp_path / split / "ant")
    if empty:
        (tmp_path / split / "ant").mkdir()
    notes: list[str] = []
    names, splits = labeled_splits(tmp_path, KINDS, notes)
    assert names == ("ant", "bee", "cow")
    assert all(path.parent.name == names[label] for files in splits.values() for path, label in files)
    assert [label for _, label in splits[split]] == [1] * 6 + [2] * 6
    assert notes == [f"The {split} split has no files of ant: what it scores says nothing of them."]
