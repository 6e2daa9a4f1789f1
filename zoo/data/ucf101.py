"""UCF101: 13,320 clips of 101 actions, 320x240 (Soomro, Zamir and Shah 2012)."""

import re

from zoo.data._folds import Folds
from zoo.data._groups import Listed, lines_of


class Ucf101(Folds):
    """`root/ucf101/UCF-101/CLASS/v_CLASS_gGG_cCC.avi` and the lists in `root/ucf101/ucfTrainTestlist/`, as they are published:
    `classInd.txt`, `trainlist01.txt` (a file and its class number a line), `testlist01.txt` (a file a line).

    Clips of one group (`gGG` of a class) are cut from one video.
    """

    place = "ucf101"

    def lists(self) -> tuple[tuple[str, ...], list[Listed], list[Listed]]:
        folder = self.root / "ucfTrainTestlist"
        rows = [line.split() for line in lines_of(folder / "classInd.txt", "UCF101")]
        wrong = next((row for row in rows if len(row) != 2 or not row[0].isdecimal()), None)
        if wrong:
            raise ValueError(f"{folder / 'classInd.txt'} has the line {' '.join(wrong)!r}; a number and a class were expected.")
        names = tuple(name for _, name in sorted(rows, key=lambda row: int(row[0])))

        def read(list_name: str) -> list[Listed]:
            path = folder / f"{list_name}{self.fold:02d}.txt"
            return [self._listed(line.split()[0], names) for line in lines_of(path, "UCF101")]

        return names, read("trainlist"), read("testlist")

    def _listed(self, name: str, names: tuple[str, ...]) -> Listed:
        found = re.fullmatch(r"(\w+)/v_(\w+_g\d+)_c\d+\.avi", name)
        if found is None or found[1] not in names:
            raise ValueError(f"The lists of UCF101 in {self.root} name {name!r}, which is not CLASS/v_CLASS_gGG_cCC.avi.")
        return Listed(self.root / "UCF-101" / name, names.index(found[1]), found[2])
