"""Splits of images that are known by more than a label: what is carved out where a set has no split of its own."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar


class Pictured(Protocol):
    """Something with an image."""

    @property
    def image(self) -> Path: ...


SomePictured = TypeVar("SomePictured", bound=Pictured)


def completed(given: Mapping[str, Sequence[SomePictured]]) -> dict[str, list[SomePictured]]:
    """The three splits of a set that has train, and perhaps val or test. Of train alone 20 % are test and 10 % validation.
    Without test, val is scored at the end, as test. Without validation, 10 % of train are."""
    train, val, test = (list(given[split]) if split in given else None for split in ("train", "val", "test"))
    assert train is not None
    if test is None and val is None:
        train, test = carved(train, 0.2)
        train, val = carved(train, 0.125)
    elif test is None:
        val, test = None, val
    if val is None:
        train, val = carved(train, 0.1)
    return {"train": train, "val": val, "test": test or []}


def carved(pairs: Sequence[SomePictured], share: float) -> tuple[list[SomePictured], list[SomePictured]]:
    """What stays and what is carved out: the share whose images' names hash lowest, so that adding files moves no other."""
    ranked = sorted(pairs, key=lambda pair: hashlib.sha256(os.fsencode(pair.image.stem)).digest())
    taken = {pair.image for pair in ranked[: max(1, round(share * len(ranked)))]}
    return [pair for pair in pairs if pair.image not in taken], [pair for pair in pairs if pair.image in taken]


def apart(learned: Sequence[SomePictured], scored: Sequence[SomePictured], lists: str, notes: list[str]) -> list[SomePictured]:
    """What is learned without what is scored too, which the notes tell: its figures would say what is known by heart.

    Args:
        lists: what the two are called, in a sentence.

    Raises:
        ValueError: nothing is left to learn.
    """
    known = {pair.image for pair in scored}
    rest = [pair for pair in learned if pair.image not in known]
    twice = [pair.image.name for pair in learned if pair.image in known]
    if not rest:
        raise ValueError(f"All {len(learned):,} images to train on are scored too: {lists}. Name two lists that differ.")
    if twice:
        notes.append(
            f"{len(twice):,} image{'s' * (len(twice) > 1)} of both {lists} {'are' if len(twice) > 1 else 'is'} scored, and not "
            f"trained on, the first {twice[0]}."
        )
    return rest
