"""Folders of classes: every layout, stable and disjoint splits, and mistakes named."""

from pathlib import Path

import pytest

from zoo.data._folders import labelled_splits

KINDS = frozenset({".png"})


def fill(root: Path, names: list[str], count: int) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"é ({number}), a=b!.png").touch()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97])
def test_without_splits_they_are_carved_out(tmp_path: Path, count: int) -> None:
    fill(tmp_path, ["b", "a"], count)
    names, splits = labelled_splits(tmp_path, KINDS)
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
    before = labelled_splits(tmp_path, KINDS)[1]
    (tmp_path / "a" / "one more.png").touch()
    after = labelled_splits(tmp_path, KINDS)[1]
    moved = sum(len(set(before[split]) - set(after[split])) for split in before)
    assert moved <= 2


@pytest.mark.parametrize("given", [("train", "val", "test"), ("train", "test"), ("train", "val")])
def test_given_splits_are_kept(tmp_path: Path, given: tuple[str, ...]) -> None:
    for split in given:
        fill(tmp_path / split, ["a", "b"], 20)
    _, splits = labelled_splits(tmp_path, KINDS)
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
        (lambda root: [fill(root / "train", ["a"], 3), fill(root / "test", ["b"], 3)], r"differ \(a, b\)"),
        (lambda root: root.rmdir(), "There is no folder"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, make: object, said: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make(root)  # type: ignore[operator]
    with pytest.raises(ValueError, match=said):
        labelled_splits(root, KINDS)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, ["a"], 3)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)  # the superuser, who may run the tests, is refused nothing
    with pytest.raises(ValueError, match="may not be read"):
        labelled_splits(tmp_path, KINDS)
