"""What is prepared of videos: the ledger, copies, flow; resumed, refused, and read."""

import base64
import importlib
import io
import json
import os
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from zoo.common.files import Unreadable
from zoo.common.flow import STEP, from_bytes, mirrored, resized, to_bytes
from zoo.data.loading.parallel import mapped
from zoo.data.reading import prepared
from zoo.data.reading.container import Video, probe
from zoo.data.reading.decode import read_frames
from zoo.data.reading.fields import FlowFile, FlowNow, computed, open_fields, write_fields
from zoo.data.reading.ledger import Entry, Store, runs
from zoo.data.reading.prepared import Job, scanned, work, write_copy, write_flow
from zoo.data.video_folder import VideoFolder

Frames = NDArray[np.uint8]
Verb = Callable[..., tuple[int, str, str]]


def drifting(count: int, height: int = 96, width: int = 128, shift: int = 2) -> Frames:
    """A photograph under a window that moves to the right: its contents move to the left."""
    from sklearn.datasets import load_sample_images

    source = cv2.resize(load_sample_images().images[1], (320, 214), interpolation=cv2.INTER_AREA)
    return np.stack([source[40 : 40 + height, 10 + shift * t : 10 + shift * t + width] for t in range(count)])


def write(path: Path, frames: Frames, codec: str = "libx264", pts: Sequence[int] | None = None, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes of their own would do is done here: they take seconds to start, and have tests of their own."""

    def mapped(work: Callable[[Job], Entry], jobs: Sequence[Job], title: str, **how: object) -> Iterator[Entry]:
        yield from map(work, jobs)

    monkeypatch.setattr(prepared, "mapped", mapped)


def folder(root: Path, count: int = 4, frames: int = 20) -> Path:
    """Two classes of films that move to the left or to the right."""
    for number in range(count):
        for name, step in (("left", 1), ("right", -1)):
            write(root / name / f"{number}.mp4", drifting(frames + number)[::step])
    return root


def test_times_are_kept_in_runs() -> None:
    cases: list[list[int]] = [[5], [0, 2], [0, 1, 2, 3], [0, 1, 2, 5, 8, 11, 12], [3, 4, 9, 20, 21]]
    for times in cases:
        entry = Entry("x", (0, 0), times=runs(np.array(times)), keys=(0,))
        assert entry.video(Path("x")).pts.tolist() == times
    assert runs(np.arange(0, 3000, 10)) == ((0, 10, 300),)


def test_a_scan_tells_what_decoding_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", drifting(13), pts=[100 * k + 7 * (k > 5) for k in range(13)])
    store = Store(tmp_path)
    store.add(scanned(path, "film.mkv"))
    entry = Store(tmp_path).entries["film.mkv"]
    assert (entry.codec, entry.width, entry.height, entry.frames, entry.reason) == ("h264", 128, 96, 13, None)
    video, probed = entry.video(path), probe(path)
    assert np.array_equal(video.pts, probed.pts)
    assert np.array_equal(video.keys, probed.keys)
    for name in ("codec", "settings", "header", "length"):
        assert getattr(video.places, name) == getattr(probed.places, name)
    for name in ("numbers", "offsets", "sizes", "free"):
        assert np.array_equal(getattr(video.places, name), getattr(probed.places, name))
    assert np.array_equal(read_frames(video, [3, 12]), read_frames(probed, [3, 12]))
    (tmp_path / "torn.mp4").write_bytes(b"torn")
    assert scanned(tmp_path / "torn.mp4", "torn.mp4").reason == "Invalid data found when processing input"


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "variable.mkv", "wide.webm"])
def test_a_copy_shows_the_same_frames_at_the_same_times(tmp_path: Path, name: str) -> None:
    frames = drifting(30, *((64, 200) if name == "wide.webm" else (128, 96)))
    pts = [40 * k + 11 * (k % 3) for k in range(30)] if name == "variable.mkv" else None
    codec = {"film.avi": "mpeg4", "wide.webm": "libvpx-vp9"}.get(name, "libx264")
    source = probe(write(tmp_path / name, frames, codec, pts))
    target = tmp_path / "copies" / f"{name}.mp4"
    write_copy(source, target, 48)
    copy = probe(target)
    assert len(copy) == 30
    assert copy.keys.tolist() == list(range(30))
    seconds = [(video.pts - video.pts[0]) * video.time_base for video in (source, copy)]
    assert np.abs(seconds[0] - seconds[1]).max() < 1e-3
    small = read_frames(copy, range(30))
    assert small.shape[1:3] == ((48, 150) if name == "wide.webm" else (64, 48))
    for one, other in zip(read_frames(source, range(30)), small, strict=True):
        scaled = cv2.resize(one, small.shape[2:0:-1], interpolation=cv2.INTER_AREA)
        assert np.abs(scaled.astype(int) - other).mean() < 6


def test_small_videos_are_not_enlarged(tmp_path: Path) -> None:
    source = probe(write(tmp_path / "small.mp4", drifting(9, 48, 64)))
    write_copy(source, tmp_path / "copy.mp4", 128)
    assert read_frames(probe(tmp_path / "copy.mp4"), [0]).shape == (1, 48, 64, 3)


def test_colours_of_a_copy_are_those_of_the_source(tmp_path: Path) -> None:
    """A file tagged as BT.709 is converted by other numbers than one without a tag."""
    path = tmp_path / "tagged.mp4"
    flat = np.zeros((9, 64, 64, 3), np.uint8)
    flat[:] = (200, 40, 90)
    write(path, flat, **{"x264-params": "colormatrix=bt709:colorprim=bt709:transfer=bt709"})
    write_copy(probe(path), tmp_path / "copy.mp4", 32)
    one, other = (read_frames(probe(each), [4])[0].reshape(-1, 3).mean(0) for each in (path, tmp_path / "copy.mp4"))
    assert np.abs(one - other).max() < 3


@pytest.mark.numerical
def test_flow_on_disk_is_the_flow(tmp_path: Path) -> None:
    video = probe(write(tmp_path / "film.mp4", drifting(70), g="8"))
    write_flow(video, tmp_path / "film.zip", "dis")
    stored = open_fields(tmp_path / "film.zip", len(video))
    assert (stored.count, stored.height, stored.width) == (69, 96, 128)
    expected = computed(read_frames(video, range(70)), "dis")
    fields = stored.read([0, 63, 64, 68, 69, 3, 3])
    assert fields.shape == (7, 96, 128, 2)
    for place, number in enumerate((0, 63, 64, 68, 68, 3, 3)):
        assert np.abs(fields[place].astype(int) - expected[number]).mean() < 1.5, "JPEG loses little"
    u, v = from_bytes(torch.from_numpy(fields)).flatten(0, 2).median(0).values.tolist()
    assert u == pytest.approx(-2, abs=2 * STEP)
    assert v == pytest.approx(0, abs=2 * STEP)
    with zipfile.ZipFile(tmp_path / "film.zip") as archive:
        assert archive.namelist()[:2] == ["flow_x_00000.jpg", "flow_y_00000.jpg"]
    now = FlowNow(video, "dis", None).read([0, 69])
    assert np.array_equal(now, expected[[0, 68]])


def test_a_video_of_one_frame_stands_still(tmp_path: Path) -> None:
    video = probe(write(tmp_path / "one.mp4", drifting(1)))
    write_flow(video, tmp_path / "one.zip", "dis")
    assert (open_fields(tmp_path / "one.zip", 1).read([0, 0]) == 128).all()
    assert np.abs(FlowNow(video, "dis", None).read([0]).astype(int) - 128).max() <= 1


def test_flow_files_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "film.zip"
    write_fields(path, "dis", [np.full((5, 16, 16, 2), 128, np.uint8)])
    assert isinstance(open_fields(path, 6), FlowFile)
    with pytest.raises(Unreadable, match="holds 5 flow fields, but its video has 9 frames, hence 8"):
        open_fields(path, 9)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Unreadable, match="not a file of flow fields"):
        open_fields(path, 6)
    for odd, change in (("none.zip", lambda path: None), ("pipe.zip", os.mkfifo), ("folder.zip", Path.mkdir)):
        change(tmp_path / odd)
        with pytest.raises(Unreadable, match=r"No such file|a pipe, not a file|a folder, not a file"):
            open_fields(tmp_path / odd, 6)


def flow_archive(path: Path, picture: tuple[int, int] = (16, 16), packed: bool = False, **facts: object) -> None:
    content = io.BytesIO()
    Image.new("L", picture, 128).save(content, "JPEG")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for number in range(5):
            for letter in "xy":
                archive.writestr(f"flow_{letter}_{number:05d}.jpg", content.getvalue())
        archive.comment = json.dumps({"flow": "dis", "fields": 5, "height": 16, "width": 16} | facts).encode()


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"height": 100_000, "width": 100_000}, "promises 5 fields of 100000 x 100000, more than it can hold"),
        ({"height": "16"}, 'height is "16"'),
        ({"width": -1}, "width is -1"),
        ({"fields": 5.0}, "fields is 5.0"),
        ({"picture": (400, 16)}, "its picture flow_x_00000.jpg has 400 x 16 pixels"),
        ({"packed": True}, "its picture flow_x_00000.jpg is packed"),
    ],
)
def test_a_flow_archive_is_bounded_before_it_is_unpacked(tmp_path: Path, odd: dict[str, Any], said: str) -> None:
    flow_archive(tmp_path / "film.zip")
    assert open_fields(tmp_path / "film.zip", 6).read([0, 4]).shape == (2, 16, 16, 2)
    flow_archive(tmp_path / "film.zip", **odd)
    with pytest.raises(Unreadable, match=said):
        open_fields(tmp_path / "film.zip", 6).read([0])


@pytest.mark.usefixtures("inline")
def test_prepare_makes_what_is_missing_and_nothing_twice(tmp_path: Path, verb: Verb) -> None:
    root = folder(tmp_path / "my films (1), a=b!")
    (root / "left" / "torn.mp4").write_bytes(b"torn")
    write(root / "left" / "sound.mp4", drifting(2))
    status, out, err = verb("prepare", "video_folder", str(root), "short_side=48", "flow=dis", "data.max_bad=0.5")
    assert status == 0, err
    assert f"ledger {root / '.zoo' / 'ledger.jsonl'}" in out
    assert "1 files cannot be read and are left out:" in out
    assert "torn.mp4: Invalid data found" in out
    store = Store(root)
    assert len(store.entries) == 10
    assert store.entries["left/torn.mp4"].reason == "Invalid data found when processing input"
    made = sorted(path for path in (root / ".zoo").rglob("*") if path.is_file())
    assert len(made) == 1 + 9 + 9 + 1
    drawn = np.array(Image.open(root / ".zoo" / "48-dis" / "flow.png").convert("RGB"))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1000
    before = {path: path.stat().st_mtime_ns for path in made}

    from zoo.run.trained import listed

    assert len(listed([root], frozenset([".mp4"]), "videos")[0]) == 10, "copies are not the user's"
    status, out, err = verb("prepare", "video_folder", str(root), "short_side=48", "flow=dis", "data.max_bad=0.5")
    assert status == 0, err
    after = {path: path.stat().st_mtime_ns for path in made}
    assert all(after[path] == before[path] for path in made if path.name != "flow.png"), "nothing is made twice"

    # One copy is lost, one video replaced, and the ledger's last line half-written: three files are made, no other.
    Store(root).copy(root / "left" / "1.mp4", 48).unlink()
    changed = write(root / "right" / "2.mp4", drifting(9))
    with (root / ".zoo" / "ledger.jsonl").open("a") as stream:
        stream.write('{"file": "left/0.mp4", "stam')
    status, out, err = verb("prepare", "video_folder", str(root), "short_side=48", "flow=dis", "data.max_bad=0.5")
    assert status == 0, err
    after = {path: path.stat().st_mtime_ns for path in made}
    renewed = {path.relative_to(root / ".zoo").as_posix() for path in made if after[path] != before[path]}
    assert renewed - {"48-dis/flow.png"} == {
        "ledger.jsonl",
        "48/left/1.mp4.mp4",
        "48/right/2.mp4.mp4",
        "48-dis/right/2.mp4.zip",
    }
    assert len(probe(Store(root).copy(changed, 48))) == 9
    assert Store(root).entries["right/2.mp4"].frames == 9


def test_an_interrupted_scan_keeps_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "films", 2, 5)
    paths = sorted(root.rglob("*.mp4"))

    def some(work: Callable[[object], Entry], jobs: Sequence[object], title: str, **how: object) -> object:
        yield work(jobs[0])
        yield work(jobs[1])
        raise KeyboardInterrupt

    monkeypatch.setattr(prepared, "mapped", some)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare(Store(root), paths, None, None)
    assert len(Store(root).entries) == 2
    done: list[object] = []

    def rest(work: Callable[[object], Entry], jobs: Sequence[object], title: str, **how: object) -> object:
        done.extend(jobs)
        yield from map(work, jobs)

    monkeypatch.setattr(prepared, "mapped", rest)
    prepared.prepare(Store(root), paths, None, None)
    assert len(done) == 2
    assert len(Store(root).entries) == 4


@pytest.mark.usefixtures("inline")
def test_a_folder_that_cannot_be_written_to_is_prepared_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    root = folder(tmp_path / "films", 1, 5)
    monkeypatch.setattr("os.access", lambda place, mode: False)  # the superuser may write everywhere
    store = Store(root)
    assert store.folder.parent == cache / "prepared"
    prepared.prepare(store, [root / "left" / "0.mp4"], None, None)
    assert list(Store(root).entries) == ["left/0.mp4"]
    assert sorted(path.name for path in root.iterdir()) == ["left", "right"]


def setup(root: Path, **settings: object) -> VideoFolder:
    defaults: dict[str, object] = {"root": str(root), "shape": (3, 4, 32, 32), "num_workers": 0, "rate": None}
    data = VideoFolder(**(defaults | settings))  # type: ignore[arg-type]
    data.setup()
    return data


@pytest.mark.usefixtures("inline")
def test_the_ledger_is_believed_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "films", 4, 5)
    data = setup(root)
    clips = data.splits["train"].__getitems__([(0, 0), (0, 1)])["input"]
    data.prepare()
    with monkeypatch.context() as patch:
        patch.setattr("zoo.data.reading.ledger.probe", None)
        again = setup(root)
    assert torch.equal(again.splits["train"].__getitems__([(0, 0), (0, 1)])["input"], clips)
    # What the scan found unreadable is left out, though its header is whole.
    store = Store(root)
    victim = store.entries["left/0.mp4"]
    store.add(Entry(victim.file, victim.stamp, "frame 3 cannot be decoded"))
    bad = setup(root, max_bad=0.5)
    assert bad.skipped == {str(root / "left" / "0.mp4"): "frame 3 cannot be decoded"}
    write(root / "left" / "0.mp4", drifting(6))
    assert not setup(root).skipped


@pytest.mark.usefixtures("inline")
def test_copies_and_flow_are_served(tmp_path: Path) -> None:
    root = folder(tmp_path / "films", 4, 12)
    VideoFolder(root=str(root), shape=(3, 4, 32, 32)).prepare(short_side=48, flow="dis")
    shape = (5, 4, 32, 32)
    data = setup(root, prepared=48, flow="dis", shape=shape, flip=True)
    assert len(data.mean) == len(data.std) == 5
    batch = data.splits["test"].__getitems__([(0, 0)])
    assert batch["input"].shape == (1, *shape)
    samples = data.splits["test"]
    video: Video = samples.videos[0]  # type: ignore[attr-defined]
    assert video.path.parts[-4:-1] == (".zoo", "48", "left")
    picture = samples.clips.scaled(read_frames(video, range(4), samples.clips.box(0.5, 0.5)))  # type: ignore[attr-defined]
    assert torch.equal(batch["input"][0, :3], picture)
    alone = setup(root, prepared=48, flow="dis", shape=(2, 4, 32, 32)).splits["test"].__getitems__([(0, 0)])["input"]
    assert torch.equal(alone[0], batch["input"][0, 3:])

    # 2 pixels of 96 are 1 of 48, and two thirds of that of 32. Half of the clips are mirrored, and move the other way; the
    # flow that DIS sees between the pictures that were served agrees.
    files, signs = data.splits["train"], set()
    for number in range(len(files)):
        for epoch in range(4):
            served = files.__getitems__([(epoch, number)])["input"][0]
            u = from_bytes(served[3:])[0].median().item()
            assert abs(u) == pytest.approx(2 / 3, abs=2 * STEP)
            seen = from_bytes(torch.from_numpy(computed(served[:3].permute(1, 2, 3, 0).contiguous().numpy(), "dis")))
            assert np.sign(seen[..., 0].median().item()) == np.sign(u)
            signs.add((files.labels[number], np.sign(u)))  # type: ignore[attr-defined]
    assert signs == {(0, -1), (0, 1), (1, -1), (1, 1)}
    user = data.files([root / "right" / "0.mp4"])
    flow = from_bytes(user.__getitems__([(0, 0)])["input"][0, 3:])
    assert flow[0].median().item() == pytest.approx(2 / 3, abs=2 * STEP), "a user's file is computed as it is read"


@pytest.mark.numerical
def test_serving_flow_is_resizing_and_mirroring_it(tmp_path: Path) -> None:
    from zoo.data.video import Clips

    clips = Clips((5, 3, 24, 40))
    fields = np.random.default_rng(0).integers(256, size=(3, 48, 60, 2), dtype=np.uint8)
    flow = from_bytes(torch.from_numpy(fields).permute(0, 3, 1, 2))
    for mirror in (False, True):
        expected = to_bytes(resized(mirrored(flow) if mirror else flow, (24, 40))).transpose(0, 1)
        served = clips.scaled_flow(fields, mirror)
        assert (served.int() - expected.int()).abs().max() <= 1
    assert torch.equal(
        Clips((5, 3, 48, 60)).scaled_flow(fields, True)[0].int(), 255 - torch.from_numpy(fields)[..., 0].flip(-1).int()
    )


@pytest.mark.usefixtures("inline")
def test_what_was_not_prepared_names_the_command(tmp_path: Path) -> None:
    root = folder(tmp_path / "my films", 4, 5)
    quoted = rf"'{root}'"
    with pytest.raises(ValueError, match=rf"no flow of .*: python -m zoo\.prepare video_folder {quoted} flow=dis"):
        setup(root, flow="dis", shape=(5, 4, 32, 32))
    with pytest.raises(ValueError, match=rf"no copy of .* at 48 pixels\. .*video_folder {quoted} short_side=48 flow=raft"):
        setup(root, prepared=48, flow="raft", shape=(2, 4, 32, 32))
    data = VideoFolder(root=str(root), shape=(3, 4, 32, 32))
    data.prepare(flow="dis")
    path = Store(root).fields(root / "left" / "0.mp4", "dis", None)
    other = Store(root).fields(root / "left" / "3.mp4", "dis", None)
    path.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=r"holds 7 flow fields, but its video has 5 frames.* Remove it\. Prepare it by: "):
        setup(root, flow="dis", shape=(5, 4, 32, 32))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shape": (5, 4, 32, 32)}, r"clips of 5 channels, with optical flow\. Set data\.flow"),
        ({"flow": "dis"}, r"reads clips of 3 channels, pictures alone"),
        ({"flow": "dis", "shape": (5, 4, 32, 32), "augment": {"flip": object()}}, r"Set data\.augment={} with data\.flow"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        VideoFolder(**({"root": str(tmp_path), "shape": (3, 4, 32, 32)} | settings))  # type: ignore[arg-type]


def test_mistakes_of_the_verb(tmp_path: Path, verb: Verb) -> None:
    cases = {
        ("video_folder", str(tmp_path), str(tmp_path)): "one DATA and ROOT is taken at a time",
        ("video_folder", str(tmp_path), "short_side=big"): "short_side is 'big', but it must be a whole number or null",
        ("video_folder", str(tmp_path), "flow=farneback"): "'dis' or 'raft'",
        ("video_folder", str(tmp_path), "short_side=2"): "for instance 128 or 256",
        ("video_folder", str(tmp_path), "sort_side=128"): "There is no setting 'sort_side'",
        ("digits", "short_side=128"): "There is no setting 'short_side'",
        ("video_folder", str(tmp_path / "none")): "There is no folder",
    }
    for arguments, sentence in cases.items():
        status, _, err = verb("prepare", *arguments)
        assert status == 1, arguments
        assert sentence in err, arguments
        assert "Traceback" not in err


def test_a_ledger_line_is_plain(tmp_path: Path) -> None:
    path = write(tmp_path / "films" / "a" / "çé 你好.mp4", drifting(5))
    store = Store(tmp_path / "films")
    store.add(work(prepared._job(store, path, None, None)))
    line = json.loads(store.ledger.read_text(encoding="utf-8"))
    assert line["file"] == "a/çé 你好.mp4"
    assert (line["codec"], line["frames"], line["rate"], line["reason"]) == ("h264", 5, 10.0, None)


def bomb(rows: int) -> str:
    return base64.b64encode(zlib.compress(bytes(8 * 4 * rows), 9)).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"times": [[0, 1, 10**15]]},
        {"times": [[0, 1, 5], [3, 1, 2]]},
        {"times": [[0, 0, 5]]},
        {"times": [[0, 2**62, 5]]},
        {"times": []},
        {"times": "no"},
        {"keys": [7]},
        {"keys": [-1]},
        {"time_base": 0},
        {"time_base": None},
        {"stamp": [1]},
        {"file": 3},
        {"unheard": 1},
        {"places": 3},
        {"places": {}},
        *({"places": {"table": table}} for table in ("", "no base 64!", bomb(4_000_000), bomb(5))),
        {"places": {"settings": {"options": {"x": "y"}}}},
        {"places": {"settings": {"width": "64"}}},
        {"places": {"codec": "aac"}},
        {"places": {"codec": "unheard of"}},
        {"places": {"length": 7}},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_ledger_that_somebody_changed_chooses_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    """What it says is compared with the film's size before it is built; then the film itself is looked at."""
    path = write(tmp_path / "films" / "a" / "1.mp4", drifting(5))
    store = Store(tmp_path / "films")
    store.add(work(prepared._job(store, path, None, None)))
    assert Store(store.root).video(path).places is not None
    line = json.loads(store.ledger.read_text())
    inner = change.get("places")
    line |= {"places": {**line["places"], **inner}} if isinstance(inner, dict) and inner else change
    store.ledger.write_text(json.dumps(line) + "\n")
    tracemalloc.start()
    video = Store(store.root).video(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert np.array_equal(video.pts, probe(path).pts)
    assert np.array_equal(read_frames(video, [2, 4]), read_frames(probe(path), [2, 4]))


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\0" * 99, b"[" * 100_000, b"{}\n3\n\n", b"\x80" * 9])
def test_a_ledger_that_is_none_is_written_anew(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "films" / "a" / "1.mp4", drifting(5))
    store = Store(tmp_path / "films")
    store.folder.mkdir()
    store.ledger.write_bytes(content)
    assert not Store(store.root).entries
    prepared.prepare(store, [path], None, None)
    assert list(Store(store.root).entries) == ["a/1.mp4"]


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """_trouble.py, which processes of their own find by its name. The folder comes last: zoo stays the one that is
    installed."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    return importlib.import_module("tests.data._trouble")


def test_a_process_that_crashes_or_hangs_costs_one_item(trouble: ModuleType) -> None:
    doubled = trouble.doubled
    numbers = [number for number in range(12) if number != 9]
    found = list(mapped(doubled, numbers, "Doubling", processes=2, patience=2, lost=lambda number, why: (number, why)))
    reasons = dict(each for each in found if isinstance(each, tuple))
    assert reasons == {
        3: "a process crashed over it (SIGSEGV)",
        5: "it was not done in 2 seconds",
        7: "a process crashed over it (status 3)",
    }
    assert sorted(each for each in found if isinstance(each, int)) == [2 * n for n in numbers if n not in reasons]
    with pytest.raises(Unreadable, match="it is nine"):
        list(mapped(doubled, [1, 9], "Doubling", chunk=2))
    with pytest.raises(RuntimeError, match="status 3"):
        list(mapped(doubled, [7], "Doubling"))


@pytest.mark.slow
def test_a_file_that_crashes_or_hangs_a_decoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: ModuleType
) -> None:
    """The others are prepared, and the next run does not try it again."""
    root = folder(tmp_path / "films", 4, 5)
    (root / "left" / "0.mp4").rename(root / "left" / "crash.mp4")
    (root / "right" / "1.mp4").rename(root / "right" / "hang.mp4")
    monkeypatch.setattr(prepared, "work", trouble.troubled)
    VideoFolder(root=str(root), shape=(3, 4, 32, 32)).prepare(short_side=48, patience=5)
    reasons = {entry.file: entry.reason for entry in Store(root).entries.values() if entry.reason}
    assert reasons == {
        "left/crash.mp4": "a process crashed over it (SIGABRT)",
        "right/hang.mp4": "it was not done in 5 seconds",
    }
    data = setup(root, prepared=48, max_bad=0.5)
    assert {Path(name).name for name in data.skipped} == {"crash.mp4", "hang.mp4"}
    monkeypatch.setattr(prepared, "mapped", lambda work, todo, *rest, **others: pytest.fail(str(todo)) if todo else ())
    VideoFolder(root=str(root), shape=(3, 4, 32, 32)).prepare(short_side=48)


def test_what_was_made_of_another_file_of_the_name_is_not_taken_for_its_copy(tmp_path: Path) -> None:
    """Films that are exchanged keep their old times, older than the copies."""
    for number, name in enumerate(("a.mp4", "b.mp4"), start=1):
        write(tmp_path / name, drifting(4 + number))
        os.utime(tmp_path / name, (number, number))
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]

    def made(short_side: int | None) -> list[bool]:
        store = Store(tmp_path)
        for path in paths:
            copy = store.copy(path, short_side) if short_side else None
            store.add(work(Job(path, store.name(path), store.entry(path), short_side, copy, None, None)))
        return copies()

    def copies() -> list[bool]:
        return [Store(tmp_path).has(path, Store(tmp_path).copy(path, 32)) for path in paths]

    assert made(32) == [True, True]
    paths[0].rename(tmp_path / "c")
    paths[1].rename(paths[0])
    (tmp_path / "c").rename(paths[1])
    assert copies() == [False, False]
    assert made(None) == [False, False], "scanned, and the copies are still of the others"
    assert made(32) == [True, True]
    assert [len(probe(Store(tmp_path).copy(path, 32))) for path in paths] == [6, 5]
