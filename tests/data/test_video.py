"""Frames from files: those of plain decoding, at the times asked for, upright, and never silently others."""

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import get_ident

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from zoo.common.crops import region
from zoo.common.files import Unreadable
from zoo.data.reading import decode
from zoo.data.reading.container import SUFFIXES, opened, probe
from zoo.data.reading.decode import DECODERS, check_decoder, read_frames
from zoo.data.video import ClipFiles, Clips

Frames = NDArray[np.uint8]
ODD_NAME = "a film (1), take #2 = best! çé 你好.mp4"


def moving(count: int, height: int = 48, width: int = 64) -> Frames:
    """Smooth pictures that drift, so that codecs use their motion tools."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin((x * (1 + c) + 3 * t) / 9 + (y - 2 * t) / (5 + c)) for t in range(count) for c in range(3)]
    return np.stack(waves).reshape(count, 3, height, width).transpose(0, 2, 3, 1).round().astype(np.uint8)


def write(
    path: Path, frames: Frames, codec: str = "libx264", rate: int = 10, pts: Sequence[int] | None = None, **options: str
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain(path: Path) -> list[Frames]:
    """Decoding from the start with a converter of its own for each frame."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


ENCODINGS = {
    "one_gop.mp4": ("libx264", {"g": "250"}),
    "short_gops.mp4": ("libx264", {"g": "8", "sc_threshold": "0"}),
    "intra.mp4": ("libx264", {"g": "1"}),
    "b_frames.mkv": ("libx264", {"g": "12", "bf": "3", "b_strategy": "0"}),
    "open_gop.mp4": ("libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3:b-adapt=0"}),
    "b_frames.avi": ("libx264", {"g": "12", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "12"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "cpu-used": "8"}),
    "transport.ts": ("libx264", {"g": "12"}),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_frames_are_those_of_plain_decoding(tmp_path: Path, name: str) -> None:
    codec, options = ENCODINGS[name]
    path = write(tmp_path / name, moving(40), codec, **options)
    video = probe(path)
    reference = plain(path)
    assert len(video) == len(reference) == 40
    rng = np.random.default_rng(0)
    wishes = [[0], [39], [20], [39, 0, 20, 20], [3, 4, 5, 30, 31], *[rng.integers(0, 40, 6).tolist() for _ in range(6)]]
    assert (video.places is None) == (name in ("transport.ts", "b_frames.avi")), "the others are read without demuxing"
    for wish in wishes:
        for each in (video, replace(video, places=None)):
            assert np.array_equal(read_frames(each, wish), np.stack([reference[k] for k in wish])), wish


@pytest.mark.parametrize("name", ["one_gop.mp4", "short_gops.mp4", "open_gop.mp4", "b_frames.mkv", "mpeg4.avi", "vp9.webm"])
def test_no_more_is_decoded_than_must_be(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """These are read by seeking, not by the slow way out; and a box is cut out of what plain decoding gives."""
    codec, options = ENCODINGS[name]
    video = probe(write(tmp_path / name, moving(40), codec, **options))
    reference = plain(video.path)
    monkeypatch.setattr(decode, "_from_the_start", None)
    for wish in ([0, 39], [11, 12, 13], [38], list(range(40)), list(range(2, 40, 6))):
        for each in (video, replace(video, places=None)):
            frames = read_frames(each, wish, lambda height, width: (slice(3, height - 2), slice(5, 50)))
            assert np.array_equal(frames, np.stack([reference[k][3:46, 5:50] for k in wish]))


def test_bytes_that_moved_are_not_decoded(tmp_path: Path) -> None:
    """What is known of a file's bytes is of no use once it was written anew: it is demuxed again, and shows the same."""
    video = probe(write(tmp_path / "film.mp4", moving(20), g="8"))
    frames = read_frames(video, [3, 12])
    content = video.path.read_bytes()  # type: ignore[attr-defined]
    (tmp_path / "film.mp4").write_bytes(content + (64).to_bytes(4, "big") + b"free" + bytes(56))
    assert np.array_equal(read_frames(video, [3, 12]), frames)
    (tmp_path / "film.mp4").write_bytes(content[:-2000])
    with pytest.raises(Unreadable):
        read_frames(video, [3, 19])


def test_samples_of_a_batch_are_read_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at a time as torch has threads, in the order asked for, those that fail named."""
    files = labelled(tmp_path, 3)
    (tmp_path / "1.mp4").write_bytes(b"torn")
    draws = [(epoch, number) for epoch in range(3) for number in range(3)]
    read, seen = ClipFiles.read, list[int]()
    monkeypatch.setattr(ClipFiles, "read", lambda *wish: (seen.append(get_ident()), read(*wish))[1])
    batches = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        batches.append(files.__getitems__(draws))
        assert (set(seen) == {get_ident()}) == (threads == 1)
        seen.clear()
    assert batches[0]["bad"] == batches[1]["bad"] != {}
    for name in ("input", "id", "view", "epoch", "label"):
        assert torch.equal(batches[0][name], batches[1][name])  # type: ignore[literal-required]


def test_stretches_of_decoding() -> None:
    """From a key frame to the last frame wanted before the next; a tail of two frames is not worth a seek."""
    keys = np.array([0, 12, 24])
    cases: dict[tuple[int, ...], list[tuple[int, list[int]]]] = {
        (3, 5): [(0, [3, 5])],
        (3, 14): [(0, [3]), (12, [14])],
        (9, 14, 30): [(0, [9, 14]), (24, [30])],
        (8, 14): [(0, [8]), (12, [14])],
        (25,): [(24, [25])],
    }
    for wanted, expected in cases.items():
        assert decode._stretches(keys, np.array(wanted), 2) == expected
    assert decode._stretches(np.array([], dtype=np.int64), np.array([7]), 2) == [(0, [7])]
    assert decode._stretches(np.array([5]), np.array([1, 7]), 2) == [(0, [1]), (5, [7])]


def test_frames_that_none_needs_are_not_decoded(tmp_path: Path) -> None:
    """Three of four frames are referred to by no other; FFmpeg's decoder leaves out most of them."""
    video = probe(write(tmp_path / "film.mp4", moving(60), g="250", bf="3", b_strategy="0", b_pyramid="none"))
    times = {int(video.pts[k]) for k in (20, 40)}
    fed: dict[bool, int] = {}
    for thrifty in (False, True):
        with opened(video.path) as (container, stream):
            fed[thrifty] = sum(1 for _ in decode._fed(stream.codec_context, container.demux(stream), times, thrifty))
    assert fed[True] < 0.6 * fed[False] <= 0.6 * 46
    with opened(video.path) as (container, stream):
        stream.codec_context.skip_frame = "NONREF"
        needed = {frame.pts for frame in container.decode(stream)}
    assert video.places is not None
    free = set(video.pts[video.places.numbers[video.places.free]].tolist())
    assert free == set(video.pts.tolist()) - needed, "what FFmpeg leaves out is not even handed to it"


def test_frames_are_shown_by_time(tmp_path: Path) -> None:
    """Variable frame rate: 0, 100, 500, 600, 1000 ms. A frame is shown until the next one's time."""
    path = write(tmp_path / "vfr.mkv", moving(5), rate=30, pts=[0, 100, 500, 600, 1000])
    video = probe(path)
    shown = video.at(np.array([-1.0, 0.0, 0.05, 0.099, 0.1, 0.3, 0.5, 0.59, 0.6, 0.99, 1.0, 9.0]))
    assert shown.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert video.rate == pytest.approx(4.0)
    assert video.duration == pytest.approx(1.25)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("rate", [10, 25, 30])
def test_a_clip_at_the_files_own_rate_takes_every_frame_once(tmp_path: Path, suffix: str, rate: int) -> None:
    video = probe(write(tmp_path / f"film{suffix}", moving(33), rate=rate))
    for place in (0.0, 1.0):
        clips = Clips((3, 16, 48, 64))
        frames = video.at(clips.times(video, place))
        assert np.diff(frames).tolist() == [1] * 15
        assert frames[0] == (0 if place == 0 else 17)


def test_a_clip_longer_than_the_video_holds_the_last_frame(tmp_path: Path) -> None:
    video = probe(write(tmp_path / "short.mp4", moving(6), rate=10))
    frames = video.at(Clips((3, 16, 48, 64), 10).times(video, 0.7))
    assert frames.tolist() == [0, 1, 2, 3, 4, 5] + [5] * 10


def cut(clips: Clips, frames: Frames, top: float = 0.5, left: float = 0.5) -> torch.Tensor:
    rows, columns = clips.box(top, left)(*frames.shape[1:3])
    return clips.scaled(frames[:, rows, columns])


@pytest.mark.numerical
def test_a_cut_is_the_region_scaled() -> None:
    frames = moving(3, 48, 64)
    same = cut(Clips((3, 3, 48, 64)), frames)
    assert np.array_equal(same.permute(1, 2, 3, 0).numpy(), frames)
    square = Clips((3, 3, 24, 24))
    left, right = (cut(square, frames, left=place) for place in (0.0, 1.0))
    # Halving exactly is, but for the antialiasing filter's border, the average of 2 x 2 pixels under a triangle. Rows and
    # columns are rounded one after the other, each by half a byte; the filter's weights have some 15 bits.
    blurred = torch.nn.functional.interpolate(
        torch.from_numpy(frames[:, :, :48]).permute(0, 3, 1, 2).float(), (24, 24), mode="bilinear", antialias=True
    )
    assert (left.transpose(0, 1).float() - blurred).abs().max() < 1.05
    assert not torch.equal(left, right)
    inner = cut(Clips((3, 3, 24, 24), short_side=48), frames)  # short side 48 = native: 24 x 24 cut from the centre
    assert np.array_equal(inner.permute(1, 2, 3, 0).numpy(), frames[:, 12:36, 20:44])
    wide = Clips((3, 3, 24, 48), short_side=24)  # of 48 x 64 pixels 48 x 96 would be wanted; 32 x 64 are there
    assert wide.box(0.5, 0.0)(48, 64) == (slice(8, 40), slice(0, 64))


def test_each_segment_gives_one_frame(tmp_path: Path) -> None:
    """Wang et al. 2016: T equal parts, one frame of each; a slow loop over the parts is the reference."""
    video = probe(write(tmp_path / "film.mp4", moving(37), rate=10))
    clips = Clips((3, 8, 48, 64), segments=True, clips=3)
    for clip in range(3):
        frames = video.at(clips.times(video, clips.place_of(clip)))
        assert frames.tolist() == [int((part + (clip + 0.5) / 3) * 37 / 8 + 1e-2) for part in range(8)]
    files = ClipFiles([video], [0], clips, train=True, seed=0)
    drawn = [files.__getitems__([(epoch, 0)])["input"] for epoch in range(2)]
    assert not torch.equal(*drawn)
    short = probe(write(tmp_path / "short.mp4", moving(3), rate=10))
    assert short.at(clips.times(short, 0.5)).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_a_video_shorter_than_a_frame_interval_is_held(tmp_path: Path) -> None:
    video = probe(write(tmp_path / "one.mp4", moving(1), rate=30))
    for clips in (Clips((3, 16, 48, 64), 5), Clips((3, 16, 48, 64)), Clips((3, 16, 48, 64), segments=True)):
        assert video.at(clips.times(video, 0.5)).tolist() == [0] * 16
    assert read_frames(video, [0] * 16).shape == (16, 48, 64, 3)


def rotated(source: Path, target: Path, degrees: int) -> Path:
    """The same packets with a display matrix: what a phone writes."""
    import math
    import struct

    data = bytearray(source.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 2 + 2 + 2 + 2  # version 0: up to the matrix
    cos, sin = round(math.cos(math.radians(degrees))), round(math.sin(math.radians(degrees)))
    data[at : at + 36] = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    target.write_bytes(bytes(data))
    return target


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_rotation_metadata_turns_the_frames(tmp_path: Path, degrees: int, turns: int) -> None:
    """A display matrix of 90 degrees asks the player to turn the picture clockwise."""
    source = write(tmp_path / "source.mp4", moving(4))
    upright = np.stack(plain(source))
    turned = read_frames(probe(rotated(source, tmp_path / "turned.mp4", degrees)), range(4))
    assert np.array_equal(turned, np.rot90(upright, -turns, axes=(1, 2)))


def labelled(folder: Path, count: int = 3) -> ClipFiles:
    videos = [probe(write(folder / f"{k}.mp4", moving(30))) for k in range(count)]
    return ClipFiles(videos, list(range(count)), Clips((3, 8, 32, 32), 10, clips=2, flip=True), train=True, seed=0)


def test_training_clips_are_functions_of_seed_epoch_and_id(tmp_path: Path) -> None:
    clips = labelled(tmp_path)
    one = clips.__getitems__([(0, 0), (0, 1), (1, 0)])
    two = clips.__getitems__([(1, 0), (0, 0)])
    assert torch.equal(one["input"][0], two["input"][1])
    assert torch.equal(one["input"][2], two["input"][0])
    assert not torch.equal(one["input"][0], one["input"][2])
    assert one["label"].tolist() == [0, 1, 0]  # type: ignore[typeddict-item]


def test_test_clips_are_views_of_a_video(tmp_path: Path) -> None:
    files = labelled(tmp_path, 2)
    clips = ClipFiles(files.videos, files.labels, files.clips, train=False, seed=0)
    assert len(clips) == 4
    batch = clips.__getitems__([(0, k) for k in range(4)])
    assert batch["id"].tolist() == [0, 0, 1, 1]
    assert batch["view"].tolist() == [0, 1, 0, 1]
    assert batch["input"].is_contiguous(memory_format=torch.channels_last_3d)
    first = cut(files.clips, read_frames(files.videos[0], range(8)))
    last = cut(files.clips, read_frames(files.videos[0], range(22, 30)))
    assert torch.equal(batch["input"][0], first)
    assert torch.equal(batch["input"][1], last)


@pytest.mark.parametrize("crops", [1, 3, 10])
def test_clips_and_crops_are_views(tmp_path: Path, crops: int) -> None:
    """View k is crop k % M of clip k // M: the region of the whole frames, whichever view was asked for before."""
    video = probe(write(tmp_path / "film.mp4", moving(30)))
    upright = probe(write(tmp_path / "upright.mp4", moving(30, 64, 48)))
    clips = Clips((3, 4, 24, 24), 10, clips=2, crops=crops, short_side=36)
    files = ClipFiles([video, upright], [0, 1], clips, train=False, seed=0)
    assert files.views == 2 * crops
    batch = files.__getitems__([(0, k) for k in range(len(files))])
    assert batch["view"].tolist() == list(range(2 * crops)) * 2
    centre, corners = (0.5, 0.5), [(0, 0), (0, 1), (1, 0), (1, 1)]
    for number, each in enumerate((video, upright)):
        ends = [(0.5, 0.0), (0.5, 1.0)] if number == 0 else [(0.0, 0.5), (1.0, 0.5)]
        places = {1: [centre], 3: [centre, *ends], 10: [centre, *corners] * 2}[crops]
        for clip in range(2):
            whole = torch.from_numpy(read_frames(each, range(26 * clip, 26 * clip + 4))).permute(0, 3, 1, 2)
            for crop, (top, left) in enumerate(places):
                expected = region(whole, top, left, 48 / 36, (24, 24)).transpose(0, 1)
                expected = expected.flip(-1) if crop >= 5 else expected
                view = number * files.views + clip * crops + crop
                assert torch.equal(batch["input"][view], expected), (number, clip, crop)
                assert torch.equal(files.__getitems__([(0, view)])["input"][0], expected)


def test_a_file_that_breaks_later_is_left_out_and_named(tmp_path: Path) -> None:
    clips = labelled(tmp_path)
    (tmp_path / "1.mp4").write_bytes(b"torn")
    batch = clips.__getitems__([(0, 0), (0, 1), (0, 2)])
    assert batch["id"].tolist() == [0, 2]
    assert list(batch["bad"]) == [str(tmp_path / "1.mp4")]
    (tmp_path / "0.mp4").write_bytes(b"torn")
    assert clips.__getitems__([(0, 0), (0, 1)])["id"].tolist() == [2], "the next that can be read"


def test_frames_of_changing_size_are_refused(tmp_path: Path) -> None:
    """Two transport streams one after the other are one, in which the size changes."""
    parts = [
        write(tmp_path / f"{size}.ts", moving(5, size, size), pts=range(start, start + 500, 100)).read_bytes()
        for size, start in ((48, 0), (64, 500))
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    frames = plain(tmp_path / "both.ts")
    assert {frame.shape for frame in frames} == {(48, 48, 3), (64, 64, 3)}
    video = probe(tmp_path / "both.ts")
    with pytest.raises(Unreadable, match=r"change their size|could not be decoded"):
        read_frames(video, range(len(video)))


def test_odd_file_names(tmp_path: Path) -> None:
    video = probe(write(tmp_path / ODD_NAME, moving(5)))
    assert read_frames(video, [4]).shape == (1, 48, 64, 3)


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(1000)])
def test_broken_files_say_why(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(Unreadable, match=r"broken\.mp4 cannot be read"):
        probe(tmp_path / "broken.mp4")


def test_a_file_of_sound_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no video stream"):
        probe(sound(tmp_path / "sound.mp4"))


def test_a_file_torn_in_its_middle_is_not_read_wrong(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mkv", moving(40), g="8", sc_threshold="0")
    reference = plain(whole)
    torn = tmp_path / "torn.mkv"
    content = whole.read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    video = probe(torn)
    assert 0 < len(video) < 40
    kept = read_frames(video, range(len(video) - 1))
    assert np.array_equal(kept, np.stack(reference[: len(video) - 1]))


@pytest.mark.realdata
def test_real_action_clips_count_right(real_data: "object") -> None:
    """J-HMDB's headers count three to eight frames too many; demuxing counts what decoding gives."""
    import csv

    root = real_data("jhmdb9")  # type: ignore[operator]
    with (root / "split.csv").open() as stream:
        paths = [root / row["path"] for row in csv.DictReader(stream)]
    for path in paths[::8]:
        reference = plain(path)
        video = probe(path)
        assert len(video) == len(reference)
        wish = [0, len(video) // 2, len(video) - 1]
        assert np.array_equal(read_frames(video, wish), np.stack([reference[k] for k in wish]))


def loads_torchcodec() -> None:
    try:
        check_decoder("torchcodec")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [*ENCODINGS, "turned.mp4"])
def test_all_decoders_give_the_same_frames(tmp_path: Path, name: str) -> None:
    """The contract: the same times, the same frames, pixel by pixel, at native size."""
    loads_torchcodec()
    codec, options = ENCODINGS.get(name, ENCODINGS["short_gops.mp4"])
    path = write(tmp_path / name.replace("turned", "source"), moving(40), codec, **options)
    video = probe(rotated(path, tmp_path / name, 90) if name == "turned.mp4" else path)
    for wish in ([0], [39, 3, 3], [5, 6, 7, 30]):
        one, *others = (read_frames(video, wish, decoder=decoder) for decoder in DECODERS)
        assert all(np.array_equal(one, other) for other in others), wish


@pytest.mark.realdata
def test_all_decoders_agree_on_real_files(real_data: "object") -> None:
    loads_torchcodec()
    folders = [real_data("jhmdb9") / "wave", real_data("oddvideos")]  # type: ignore[operator]
    for path in sorted(p for folder in folders for p in folder.iterdir() if p.suffix in SUFFIXES):
        try:
            video = probe(path)
            wish = sorted({0, len(video) // 2, len(video) - 1})
            one = read_frames(video, wish)
        except Unreadable:
            continue
        assert np.array_equal(one, read_frames(video, wish, decoder="torchcodec")), path.name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shape": (1, 8, 32, 32)}, "served in 3 channels"),
        ({"shape": (3, 0, 32, 32)}, "at least 1 frame long"),
        ({"rate": 0.0}, "above 0, or null"),
        ({"clips": 0}, "at least 1 clip"),
        ({"crops": 4}, "scored by 1, 3, 10 crops"),
        ({"short_side": 31}, "Give 32 or more"),
        ({"decoder": "opencv"}, "there are pyav, torchcodec"),
    ],
)
def test_clips_that_cannot_be_cut_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Clips(**{"shape": (3, 8, 32, 32), **settings})  # type: ignore[arg-type]


def test_a_decoder_that_does_not_load_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ValueError, match=r"torchcodec, which does not load here .* set data\.decoder=pyav"):
        check_decoder("torchcodec")


@pytest.mark.realdata
def test_odd_videos_are_read_right_or_named(real_data: "object") -> None:
    root = real_data("oddvideos")  # type: ignore[operator]
    read, refused = 0, 0
    for path in sorted(p for p in root.iterdir() if p.suffix in SUFFIXES):
        try:
            video = probe(path)
            wish = sorted({0, len(video) // 2, len(video) - 1})
            ours = read_frames(video, wish)
        except Unreadable:
            refused += 1
            continue
        with av.open(str(path)) as container:
            frames = [frame for number, frame in enumerate(container.decode(video=0)) if number in wish]
            reference = [np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90) for f in frames]
        assert np.array_equal(ours, np.stack(reference)), path.name
        read += 1
    assert read >= 37
    assert refused <= 2


def test_nothing_of_a_video_is_written_to_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.mp4").write_bytes(io.BytesIO(b"ftyp" * 100).getvalue())
    with pytest.raises(Unreadable):
        probe(tmp_path / "broken.mp4")
    assert capfd.readouterr().err == ""
