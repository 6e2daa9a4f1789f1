"""Official splits of videos: validation out of train by groups, and no group in two splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from zoo.common.chance import VALIDATION
from zoo.data.reading.folders import Labeled
from zoo.data.reading.stratified import stratified

VALIDATION_SHARE = 0.1


class Listed(NamedTuple):
    """A video of an official list."""

    path: Path
    label: int
    group: str
    """The video that it was cut from: clips of one video are told apart too easily."""


def grouped_splits(
    train: Sequence[Listed], test: Sequence[Listed], val: Sequence[Listed] = ()
) -> tuple[dict[str, Labeled], dict[str, str]]:
    """The splits, and which videos are skipped because their group is in the split that counts more.

    The test list stays as it is. Without a list for validation, about 10 % of each class of train are carved
    out, whole groups; which ones is the same for every seed.
    """
    tested = {video.group for video in test}
    scored = tested | {video.group for video in val}
    skipped = {str(video.path): f"its group {video.group} is in test" for video in val if video.group in tested}
    skipped |= {str(video.path): f"its group {video.group} is scored" for video in train if video.group in scored}
    val = [video for video in val if video.group not in tested]
    rest = [video for video in train if video.group not in scored]
    if not rest:
        raise ValueError("The training list has not one video left. Look at the lists of the data set.")
    if not val:
        names = sorted({video.group for video in rest})
        place = {name: number for number, name in enumerate(names)}
        labels, groups = torch.tensor([[video.label, place[video.group]] for video in rest]).unbind(1)
        held = stratified(labels, VALIDATION_SHARE, seed=0, stream=VALIDATION, groups=groups).tolist()
        val = [video for video, taken in zip(rest, held, strict=True) if taken]
        rest = [video for video, taken in zip(rest, held, strict=True) if not taken]
    splits = {"train": rest, "val": val, "test": test}
    return {name: [(video.path, video.label) for video in videos] for name, videos in splits.items()}, skipped
