"""Sets of videos in their official folders and lists: every file in the split it belongs to, and no group in two."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.data.hmdb51 import Hmdb51
from zoo.data.jhmdb import Jhmdb
from zoo.data.kinetics import Kinetics
from zoo.data.reading.folders import Labeled
from zoo.data.ucf101 import Ucf101
from zoo.data.video_csv import VideoCsv
from zoo.data.video_folder import VideoFolder

SHAPE = (3, 8, 32, 32)
Splits = dict[str, Labeled]


def groups_of(splits: Splits, group: Callable[[Path], str]) -> list[set[str]]:
    return [{group(path) for path, _ in splits[split]} for split in ("train", "val", "test")]


def assert_apart(sets: list[set[str]]) -> None:
    assert all(sets)
    for one in range(3):
        for other in range(one):
            assert not sets[one] & sets[other]


def ucf101(root: Path) -> None:
    """Three classes, not in the order of the alphabet, of 25 groups of 4; groups 1 to 7 are tested, as published."""
    lists = root / "ucf101" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = ["ApplyEyeMakeup", "YoYo", "Archery"]
    (lists / "classInd.txt").write_text("".join(f"{k} {name}\r\n" for k, name in enumerate(names, 1)))
    for fold in (1, 2, 3):
        train, test = [], []
        for number, name in enumerate(names, 1):
            for group in range(1, 26):
                for clip in range(1, 5):
                    line = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
                    (test if 7 * fold - 6 <= group <= 7 * fold else train).append((line, number))
        (lists / f"trainlist{fold:02d}.txt").write_text("".join(f"{line} {number}\r\n" for line, number in train))
        (lists / f"testlist{fold:02d}.txt").write_text("".join(f"{line}\r\n" for line, _ in test))


def test_ucf101(tmp_path: Path) -> None:
    ucf101(tmp_path)
    for fold in (1, 2, 3):
        data = Ucf101(shape=SHAPE, root=str(tmp_path), fold=fold)
        names, splits = data.find()
        assert names == ("ApplyEyeMakeup", "YoYo", "Archery")
        assert all(path.parent == tmp_path / "ucf101" / "UCF-101" / names[label] for s in splits.values() for path, label in s)
        sets = groups_of(splits, lambda path: path.name[:-8])
        assert_apart(sets)
        assert sets[2] == {f"v_{name}_g{group:02d}" for name in names for group in range(7 * fold - 6, 7 * fold + 1)}
        assert sum(map(len, splits.values())) == 300
        for label in range(3):
            assert sum(its == label for _, its in splits["val"]) in (4, 8), "a tenth of 72, in groups of 4"
        assert not data.skipped_groups
    with pytest.raises(ValueError, match=r"data\.fold is 4"):
        Ucf101(shape=SHAPE, root=str(tmp_path), fold=4)
    with pytest.raises(ValueError, match=r"classInd\.txt\. Without it UCF101 cannot be read"):
        Ucf101(shape=SHAPE, root=str(tmp_path / "elsewhere")).find()
    (tmp_path / "ucf101" / "ucfTrainTestlist" / "classInd.txt").write_text("1 YoYo\nArchery\n")
    with pytest.raises(ValueError, match=r"Line 2 of .* is 'Archery'; a number and a class were expected"):
        Ucf101(shape=SHAPE, root=str(tmp_path)).find()
    ucf101(tmp_path / "other")
    (tmp_path / "other" / "ucf101" / "ucfTrainTestlist" / "testlist01.txt").write_text("YoYo/film.avi\n")
    with pytest.raises(ValueError, match=r"'YoYo/film\.avi', which is not CLASS/v_CLASS_gGG_cCC\.avi"):
        Ucf101(shape=SHAPE, root=str(tmp_path / "other")).find()


def hmdb(folder: Path, videos: str, lists: str) -> None:
    """Two classes of 20 source videos of 3 clips; the first 5 are tested, the last is not used. Odd names, as there are."""
    (folder / lists).mkdir(parents=True)
    for name in ("climb_stairs", "wave"):
        (folder / videos / name).mkdir(parents=True)
        for fold in (1, 2, 3):
            lines = []
            for source in range(20):
                for clip in range(3):
                    film = f"Ein_Film_!&(x)_{source}_{name}_u_nm_np1_fr_goo_{clip}.avi"
                    lines.append(f"{film} {2 if source < 5 else 0 if source == 19 else 1}")
            (folder / lists / f"{name}_test_split{fold}.txt").write_text(" \n".join(lines) + " \n")


@pytest.mark.parametrize(
    ("kind", "videos", "lists"),
    [(Hmdb51, "hmdb51_org", "testTrainMulti_7030_splits"), (Jhmdb, "ReCompressed_Videos", "splits")],
)
def test_hmdb51_and_jhmdb(tmp_path: Path, kind: type[Hmdb51], videos: str, lists: str) -> None:
    folder = tmp_path / kind.place
    hmdb(folder, videos, lists)
    data = kind(shape=SHAPE, root=str(tmp_path), fold=2)
    names, splits = data.find()
    assert names == ("climb_stairs", "wave")
    assert all(path.parent == folder / videos / names[label] for its in splits.values() for path, label in its)

    def source(path: Path) -> str:
        return path.parent.name + path.name.partition("_u_nm")[0]

    sets = groups_of(splits, source)
    assert_apart(sets)
    assert [len(its) for its in sets] == [26, 2, 10], "14 of a class for training, of which a tenth is validation"
    assert sum(map(len, splits.values())) == 2 * 19 * 3
    with pytest.raises(ValueError, match=r"CLASS_test_split2\.txt, so .* cannot be read"):
        kind(shape=SHAPE, root=str(tmp_path / "elsewhere"), fold=2).find()
    # A clip of a tested video is listed for training too: it is withheld, and named.
    path = folder / lists / "wave_test_split2.txt"
    path.write_text(path.read_text().replace("_0_wave_u_nm_np1_fr_goo_1.avi 2", "_0_wave_u_nm_np1_fr_goo_1.avi 1"))
    data = kind(shape=SHAPE, root=str(tmp_path), fold=2)
    assert_apart(groups_of(data.find()[1], source))
    assert [Path(name).name for name in data.skipped_groups] == ["Ein_Film_!&(x)_0_wave_u_nm_np1_fr_goo_1.avi"]
    path.write_text("film.avi 3\n")
    with pytest.raises(ValueError, match=r"Line 1 of .* is 'film\.avi 3'"):
        data.find()


def kinetics(root: Path, splits: dict[str, int], flat: bool, labels_of_test: bool = True) -> None:
    (root / "annotations").mkdir(parents=True)
    for split, count in splits.items():
        rows = ["label,youtube_id,time_start,time_end,split"]
        for number in range(count):
            label = ("abseiling", "air drumming")[number % 2]
            identity = f"{split[:2]}-_{number // 2:08d}"  # two clips of each video
            shown = label if split != "test" or labels_of_test else ""
            rows.append(f"{shown},{identity},{10 * (number % 2)},{10 * (number % 2) + 10},{split}")
            folder = root / split if flat else root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{identity}_{10 * (number % 2):06d}_{10 * (number % 2) + 10:06d}.mp4").touch()
        (root / "annotations" / f"{split}.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("tested", [False, True])
def test_kinetics(tmp_path: Path, flat: bool, tested: bool) -> None:
    kinetics(tmp_path, {"train": 80, "val": 20, "test": 12}, flat, labels_of_test=tested)
    names, splits = Kinetics(root=str(tmp_path), shape=SHAPE).find()
    assert names == ("abseiling", "air drumming")
    assert_apart(groups_of(splits, lambda path: path.name[:12]))
    sizes = {split: len(files) for split, files in splits.items()}
    if tested:
        assert sizes == {"train": 80, "val": 20, "test": 12}
    else:
        assert sizes["test"] == 20, "test has no labels: val is scored, and validation carved out of train"
        assert sizes["train"] + sizes["val"] == 80
        assert 4 <= sizes["val"] <= 12
    assert all(path.is_file() for files in splits.values() for path, _ in files)


def test_kinetics_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no annotations/train\.csv and annotations/val\.csv"):
        Kinetics(root=str(tmp_path), shape=SHAPE).find()
    kinetics(tmp_path, {"train": 8, "val": 4}, flat=True)
    next((tmp_path / "train").iterdir()).unlink()
    _, splits = Kinetics(root=str(tmp_path), shape=SHAPE).find()
    gone = [path for path, _ in splits["train"] + splits["val"] if not path.is_file()]
    assert len(gone) == 1, "what is listed and not there is counted when it is looked at"
    path = tmp_path / "annotations" / "val.csv"
    path.write_text(path.read_text().replace("abseiling", "flying"))
    with pytest.raises(ValueError, match=r"val\.csv has classes that train\.csv lacks: flying"):
        Kinetics(root=str(tmp_path), shape=SHAPE).find()
    path.write_text("label,youtube_id,time_start,time_end,split\nabseiling,x,ten,20,val\n")
    with pytest.raises(ValueError, match=r"Line 2 of .* has the time_start 'ten', which must be a whole number"):
        Kinetics(root=str(tmp_path), shape=SHAPE).find()
    path.write_text("label,id\nabseiling,x\n")
    with pytest.raises(ValueError, match="has no column youtube_id and time_start and time_end"):
        Kinetics(root=str(tmp_path), shape=SHAPE).find()


def table(folder: Path, lines: list[str]) -> VideoCsv:
    path = folder / "list (1), all = videos!.csv"
    path.write_text("\n".join(lines) + "\n")
    return VideoCsv(root=str(path), shape=SHAPE)


def test_a_table_of_videos(tmp_path: Path) -> None:
    """Train and val alone: val is what is scored, and validation is carved out of train by group."""
    rows = [f"{k}.mp4,{'ab'[k % 2]},film {k // 4},{'train' if k < 80 else 'val'}" for k in range(100)]
    names, splits = table(tmp_path, ["path,label,group,split", *rows]).find()
    assert names == ("a", "b")
    assert [path.name for path, _ in splits["test"]] == [f"{k}.mp4" for k in range(80, 100)]
    assert_apart(groups_of(splits, lambda path: str(int(path.stem) // 4)))
    assert 4 <= len(splits["val"]) <= 12


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["file,label", "0.mp4,a"], "has no column path"),
        (["path,group", "0.mp4,a"], "has no column label"),
        (["path,label"], "lists no video"),
        (["path,label", "0.mp4,a", ",a"], "Line 3 of .* lacks its path or its label"),
        (["path,label", "0.mp4,"], "Line 2 of .* lacks its path or its label"),
        (
            ["path,label,group,split", "0.mp4,a,film,train", "1.mp4,a,film,test", "2.mp4,a,other,val"],
            r"The group 'film' of .* is in two splits, train \(line 2\) and test \(line 3\)",
        ),
        (
            ["path,label,split", "0.mp4,a,train", "0.mp4,a,test", "2.mp4,a,val"],
            r"Lines 2 and 3 of .*0\.mp4', with the split 'train' and 'test'",
        ),
        (["path,label,split", "0.mp4,a,train", "1.mp4,a,training"], "Line 3 of .* has the split 'training'"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        table(tmp_path, lines).find()


def test_a_listed_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    rows = [f"{k}.mp4,a" for k in range(10)]
    with pytest.raises(ValueError, match=r"files can be read.*\d\.mp4 \(No such file or directory\)"):
        table(tmp_path, ["path,label", *rows]).setup()


def test_images_where_videos_are_expected(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "film").mkdir(parents=True)
        (tmp_path / name / "film" / "00001.jpg").touch()
    with pytest.raises(ValueError, match=r"holds no files of the kinds .*, but files of the kinds \.jpg; choose another"):
        VideoFolder(root=str(tmp_path), shape=SHAPE).find()


@pytest.mark.realdata
def test_real_clips_by_source_video(real_data: Callable[[str], Path]) -> None:
    root = real_data("jhmdb9")
    data = VideoCsv(root=str(root / "split.csv"), shape=SHAPE, num_workers=0)
    data.setup()
    assert not data.skipped
    assert data.num_classes == 9
    assert {split: len(samples) // samples.views for split, samples in data.splits.items()}["test"] == 121
    with (root / "split.csv").open() as stream:
        group = {row["path"]: row["group"] for row in csv.DictReader(stream)}
    _, splits = data.find()
    assert_apart(groups_of(splits, lambda path: group[path.relative_to(root).as_posix()]))
    assert sum(map(len, splits.values())) == 387
    assert 15 <= len(splits["val"]) <= 45
    # The same clips in the official folders, by lists of our own: the names' sources are the groups of the table.
    sources = {path: re.sub(r"_[fuhl]_(cm|nm)_.*", "", Path(path).name).lower() for path in group}
    for path, source in sources.items():
        same = {group[other] for other, its in sources.items() if its == source}
        assert len(same) == 1, path


@pytest.mark.slow
@pytest.mark.realdata
def test_odd_videos_crash_and_hang_no_worker(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Every one of them is served or named, by two workers, and again after a scan."""
    for path in real_data("oddvideos").iterdir():
        (tmp_path / path.name).symlink_to(path)
    paths = sorted(tmp_path.iterdir())
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for number, path in enumerate(paths):
            writer.writerow([path.name, "ab"[number // 4 % 2], ("train", "val", "test", "test")[number % 4]])
    for scanned in (False, True):
        data = VideoCsv(
            root=str(tmp_path / "table.csv"), shape=(3, 8, 64, 64), clips=2, num_workers=2, batch_size=4, max_bad=0.1
        )
        if scanned:
            data.prepare()
        data.setup()
        served = set()
        for samples in data.splits.values():
            for batch in data.loader(samples):
                served |= {samples.videos[at].path for at in batch["id"].tolist()}  # type: ignore[attr-defined]
                data.skipped.update(batch.get("bad", {}))
        assert {str(path) for path in served} | set(data.skipped) == {str(path) for path in paths}
        assert 1 <= len(data.skipped) <= 3
        assert all(data.skipped.values())
