"""HMDB51: 6,766 clips of 51 actions from films and the web, 240 pixels high (Kuehne et al. 2011)."""

import re
from pathlib import Path
from typing import ClassVar

from zoo.data.reading.folders import listing
from zoo.data.reading.folds import Folds
from zoo.data.reading.groups import Listed
from zoo.data.reading.lists import Row, lines, once, placed

_TAGS = re.compile(r"_[fuhl]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")
"""What follows the source video and the class in a clip's name: visible body, camera, people, view, quality, number."""


class Hmdb51(Folds):
    """`root/hmdb51/hmdb51_org/CLASS/*.avi` and the lists in `root/hmdb51/testTrainMulti_7030_splits/`, as they are published:
    `CLASS_test_split1.txt`, a line a clip and behind its name 1 for train, 2 for test, 0 for neither.

    Clips of one source video, by which they are named, are one group.
    """

    place = "hmdb51"
    videos: ClassVar[str] = "hmdb51_org"
    splits_folder: ClassVar[str] = "testTrainMulti_7030_splits"

    def lists(self) -> tuple[tuple[str, ...], list[Listed], list[Listed]]:
        ending = f"_test_split{self.fold}.txt"
        folder = self.root / self.splits_folder
        there = listing(folder, frozenset([".txt"]), depth=0)
        # A folder of such a name is refused when it is read: a class would be missing.
        files = sorted(path for path in (*there.files, *there.disguised) if path.name.endswith(ending))
        if not files:
            raise ValueError(
                f"There is no {folder / f'CLASS{ending}'}, so {type(self).__name__} cannot be read. Set ZOO_DATA or data.root "
                f"to the folder that holds {self.place}."
            )
        names = tuple(path.name.removesuffix(ending) for path in files)
        found: dict[str, list[Listed]] = {"0": [], "1": [], "2": []}
        for label, (name, path) in enumerate(zip(names, files, strict=True)):
            for row in once(path, [_clip(path, row) for row in lines(path, "Unpack it again.")], "clip", self.notes):
                group = f"{name}/{_TAGS.sub('', row['clip'].removesuffix('.avi'))}"
                video = placed(path, row, self.root / self.videos / name, row["clip"])
                found[row["use"]].append(Listed(video, label, group))
        return names, found["1"], found["2"]


def _clip(path: Path, row: Row) -> Row:
    clip, _, use = row["line"].rpartition(" ")
    if use not in ("0", "1", "2") or not clip.strip():
        raise ValueError(f"Line {row.number} of {path} is {row['line'][:200]!r}; a clip and 0, 1 or 2 were expected.")
    return Row(row.number, {"clip": clip.strip(), "use": use})
