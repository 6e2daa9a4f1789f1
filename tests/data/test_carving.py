"""Splits that a set of whole images does not have are carved out of those it has; and who says what of such a set."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import zoo.data
from zoo.data.images import WholeSet
from zoo.data.reading.carving import carved, completed


@dataclass(frozen=True)
class Item:
    image: Path


ITEMS = [Item(Path(f"{number}.png")) for number in range(100)]
GIVEN = {"train": ITEMS[:60], "val": ITEMS[60:80], "test": ITEMS[80:]}


@pytest.mark.parametrize("names", [("train",), ("train", "val"), ("train", "test"), ("train", "val", "test")])
def test_missing_splits_are_carved_out(names: tuple[str, ...]) -> None:
    splits = completed({name: GIVEN[name] for name in names})
    assert list(splits) == ["train", "val", "test"]
    images = [item.image for items in splits.values() for item in items]
    assert sorted(images) == sorted(item.image for name in names for item in GIVEN[name])
    if len(names) == 1:
        assert {name: len(items) for name, items in splits.items()} == {"train": 42, "val": 6, "test": 12}
        return
    assert splits["test"] == GIVEN[names[-1]], "without test, val is scored"
    if len(names) == 2:
        assert (splits["train"], splits["val"]) == carved(GIVEN["train"], 0.1)
    else:
        assert splits == GIVEN


@pytest.mark.parametrize("name", [name for name in zoo.data.__all__ if isinstance(getattr(zoo.data, name), type)])
def test_a_set_of_whole_images_says_what_there_is_and_its_base_does_the_rest(name: str) -> None:
    kind = getattr(zoo.data, name)
    if issubclass(kind, WholeSet):
        assert kind.load is WholeSet.load
        assert kind.find is not WholeSet.find
        assert kind.serve is not WholeSet.serve
