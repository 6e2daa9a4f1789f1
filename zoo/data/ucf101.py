"""UCF101: 13,320 clips of 101 actions, 320x240 (Soomro, Zamir and Shah 2012)."""

import re
from pathlib import Path

from zoo.data.reading.folds import Folds
from zoo.data.reading.groups import Listed
from zoo.data.reading.lists import Row, lines, number_of, once

_REMEDY = "Without it UCF101 cannot be read. Set ZOO_DATA or data.root to the folder that holds it."


class Ucf101(Folds):
    """`root/ucf101/UCF-101/CLASS/v_CLASS_gGG_cCC.avi` and the lists in `root/ucf101/ucfTrainTestlist/`, as they are published:
    `classInd.txt`, `trainlist01.txt` (a file and its class number a line), `testlist01.txt` (a file a line).

    Clips of one group (`gGG` of a class) are cut from one video.
    """

    place = "ucf101"

    def lists(self) -> tuple[tuple[str, ...], list[Listed], list[Listed]]:
        names = self._classes(self.root / "ucfTrainTestlist" / "classInd.txt")

        def read(list_name: str) -> list[Listed]:
            path = self.root / "ucfTrainTestlist" / f"{list_name}{self.fold:02d}.txt"
            return [self._listed(path, row, names) for row in once(path, lines(path, _REMEDY), "line", self.notes)]

        return tuple(names), read("trainlist"), read("testlist")

    def _classes(self, path: Path) -> dict[str, int]:
        """By name, in the order of their numbers: which number each has in the lists."""
        numbers: dict[str, int] = {}
        for row in lines(path, _REMEDY):
            words = row["line"].split()
            if len(words) != 2 or not words[0].isdecimal():
                raise ValueError(f"Line {row.number} of {path} is {row['line'][:60]!r}; a number and a class were expected.")
            number = number_of(path, Row(row.number, {"number": words[0]}), "number")
            if words[1] in numbers or number in numbers.values():
                raise ValueError(f"Line {row.number} of {path} names a class or a number for the second time. Remove it.")
            numbers[words[1]] = number
        return dict(sorted(numbers.items(), key=lambda each: each[1]))

    def _listed(self, path: Path, row: Row, classes: dict[str, int]) -> Listed:
        name, *number = row["line"].split()
        found = re.fullmatch(r"(\w+)/v_(\w+_g\d+)_c\d+\.avi", name)
        if found is None or found[1] not in classes:
            raise ValueError(f"Line {row.number} of {path} names {name[:60]!r}, which is not CLASS/v_CLASS_gGG_cCC.avi.")
        if number and number != [str(classes[found[1]])]:
            raise ValueError(
                f"Line {row.number} of {path} gives {name} the class {' '.join(number)[:60]!r}, but {found[1]} is "
                f"{classes[found[1]]} in classInd.txt. Correct one of the two."
            )
        return Listed(self.root / "UCF-101" / name, list(classes).index(found[1]), found[2])
