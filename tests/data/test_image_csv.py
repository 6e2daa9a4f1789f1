"""Images listed in a table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.image_csv import ImageCsv


def table(folder: Path, lines: list[str]) -> str:
    for k in range(40):
        Image.fromarray(np.full((8, 8), k, dtype=np.uint8)).save(folder / f"{k}.png")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "table.csv")


def splits(root: str) -> tuple[tuple[str, ...], dict[str, list[tuple[str, int]]]]:
    names, found = ImageCsv(root=root, shape=(1, 8, 8)).find()
    return names, {split: [(path.name, label) for path, label in files] for split, files in found.items()}


def test_splits_are_carved_out_of_each_class(tmp_path: Path) -> None:
    lines = ["path,label", *(f"{k}.png,{'ten' if k % 2 else 'two'}" for k in range(40))]
    names, found = splits(table(tmp_path, lines))
    assert names == ("ten", "two")
    assert {split: len(files) for split, files in found.items()} == {"train": 28, "val": 4, "test": 8}
    assert all(sum(label for _, label in files) * 2 == len(files) for files in found.values())
    data = ImageCsv(root=str(tmp_path / "table.csv"), shape=(1, 8, 8))
    data.setup()
    batch = data.splits["val"].__getitems__([(0, 0)])
    assert batch["input"].unique().tolist() == [int(found["val"][0][0].split(".")[0])]


def test_numbers_are_classes_in_their_order_and_given_splits_are_kept(tmp_path: Path) -> None:
    lines = [
        "split,path,label",
        *(f"{('train', 'train', 'val', 'test')[k % 4]},{k}.png,{10 if k < 20 else 9}" for k in range(40)),
    ]
    names, found = splits(table(tmp_path, lines))
    assert names == ("9", "10")
    assert [name for name, _ in found["test"]] == [f"{k}.png" for k in range(3, 40, 4)]


def test_groups_are_not_torn_apart(tmp_path: Path) -> None:
    lines = ["path,label,group", *(f"{k}.png,{k % 2},{k // 4}" for k in range(40))]
    _, found = splits(table(tmp_path, lines))
    where = [{int(name.split(".")[0]) // 4 for name, _ in files} for files in found.values()]
    assert not where[0] & where[1]
    assert not where[0] & where[2]
    assert not where[1] & where[2]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["file,label", "0.png,a"], "has no column path"),
        (["path,label"], "lists no image"),
        (["path,label", "0.png,a", "1.png,"], "Line 3 of .* lacks its path or its label"),
        (["path,label,split", "0.png,a,training"], "Line 2 of .* has the split 'training'"),
        (["path,label,split", "0.png,a,train", "1.png,b,test", "2.png,a,val"], "no training image of b"),
        (["path,label,split", "0.png,a,train", "1.png,a,train"], "lists no image of the split test"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        splits(table(tmp_path, lines))


def test_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*nothing\.csv\. Set data\.root to a CSV file"):
        splits(str(tmp_path / "nothing.csv"))
    (tmp_path / "table.csv").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(ValueError, match=r"Line 1 of .*table\.csv is not text in UTF-8"):
        splits(str(tmp_path / "table.csv"))


def test_files_that_are_listed_but_not_there_are_counted(tmp_path: Path) -> None:
    lines = ["path,label", *(f"{k}.png,a" for k in range(39)), "missing.png,a"]
    with pytest.raises(ValueError, match=r"missing\.png"):
        ImageCsv(root=table(tmp_path, lines), shape=(1, 8, 8), max_bad=0).setup()
    data = ImageCsv(root=str(tmp_path / "table.csv"), shape=(1, 8, 8))  # a handful is left out
    data.setup()
    assert [Path(path).name for path in data.skipped] == ["missing.png"]
    assert sum(len(samples) for samples in data.splits.values()) == 39
