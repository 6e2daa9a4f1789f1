"""Films of all kinds, each read as the file that it is, or left out with a reason; nothing else is opened for one."""

import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from zoo.common.files import Unreadable, pixels_limited
from zoo.data.reading.container import Video, probe
from zoo.data.reading.decode import each_frame, read_frames
from zoo.data.reading.prepared import scanned

COUNT = 12
Make = Callable[[Path], None]


def film(path: Path, codec: str = "mpeg4", size: tuple[int, int] = (64, 48), pixels: str = "yuv420p", **options: str) -> None:
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "xxQQxx"
        stream = out.add_stream(codec, rate=8, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for at in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 20 * at, np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _titled_in_latin_1(path: Path) -> None:
    film(path)
    path.write_bytes(path.read_bytes().replace(b"xxQQxx", b"M\xfcller"))


def _of_one_frame(path: Path) -> None:
    film(path)
    with av.open(str(path)) as source, av.open(str(path.with_name("one.mp4")), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packet = next(source.demux(video=0))
        packet.stream = stream
        out.mux(packet)
    path.with_name("one.mp4").replace(path)


def _of_uneven_rate(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for at in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * at, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at * at * 10, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _without_duration(path: Path) -> None:
    film(path.with_suffix(".webm"), "libvpx")
    content = io.BytesIO()
    with av.open(str(path.with_suffix(".webm"))) as source, av.open(content, "w", format="webm", options={"live": "1"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    path.with_suffix(".webm").unlink()
    path.write_bytes(content.getvalue())


READ: dict[str, Make] = {
    "plain": film,
    "title in Latin-1": _titled_in_latin_1,
    "odd size": lambda path: film(path, "libx264", (65, 49), "yuv444p"),
    "ten bit": lambda path: film(path, "libx264", pixels="yuv420p10le"),
    "B-frames, one key frame": lambda path: film(path, "libx264", bf="3", g="1000"),
    "interlaced": lambda path: film(path, "mpeg2video", flags="+ilme+ildct"),
    "one frame": _of_one_frame,
    "uneven rate": _of_uneven_rate,
    "no duration": _without_duration,
}


@pytest.mark.parametrize("kind", READ)
def test_an_odd_film_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film.mp4"
    READ[kind](path)
    video = probe(path)
    count = 1 if kind == "one frame" else COUNT
    assert len(video) == count
    levels = [int(frame.mean()) for frame in each_frame(video)]
    assert np.abs(np.array(levels) - 20 * np.arange(count)).max() < 8
    assert scanned(path, "film.mp4").frames == count


@pytest.mark.parametrize(
    "name",
    ["12:30:05.mp4", "concat:plain.mp4", "file:plain.mp4", "http:x.mp4", "-i.mp4", "%03d.mp4", "a|b.mp4", "crypto:x?y#z.mp4"],
)
def test_a_films_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    film(Path("plain.mp4"), "mpeg4")
    film(Path("other.mp4"), "libx264", (32, 32))
    Path("other.mp4").rename(name)
    assert read_frames(probe(Path(name)), [3]).shape == (1, 32, 32, 3)


def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nplain.ts\n#EXT-X-ENDLIST\n")


def _huge(path: Path) -> None:
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("mjpeg", rate=8)
        stream.width = stream.height = 2000
        stream.pix_fmt = "yuvj420p"
        out.start_encoding()
        for at in range(2):
            picture = io.BytesIO()
            Image.new("L", (2000, 2000), 90).save(picture, "JPEG")
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, at, at, True
            packet.time_base = Fraction(1, 8)
            out.mux(packet)


def _larger_than_its_header(path: Path) -> None:
    """The container says 64 x 64."""
    _huge(path)
    content = path.read_bytes()
    width = content.index(b"\xb0\x82\x07\xd0")
    path.write_bytes(content[:width] + content[width:].replace(b"\x82\x07\xd0", b"\x82\x00\x40", 2))


def _sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _cut(path: Path) -> None:
    film(path)
    path.write_bytes(path.read_bytes()[:600])


REFUSED: dict[str, Make] = {
    "playlist": _playlist,
    "list of films": lambda path: path.write_text("ffconcat version 1.0\nfile plain.ts\n") and None,
    "session": lambda path: path.write_text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n") and None,
    "empty": lambda path: path.write_bytes(b"") and None,
    "one byte": lambda path: path.write_bytes(b"x") and None,
    "picture": lambda path: Image.new("RGB", (64, 64)).save(path, "PNG"),
    "sound alone": _sound_alone,
    "cut": _cut,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path),
    "huge": _huge,
    "huge within": _larger_than_its_header,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_film_is_left_out_with_a_reason(tmp_path: Path, kind: str) -> None:
    film(tmp_path / "plain.ts")
    path = tmp_path / "film.mp4"
    REFUSED[kind](path)

    def decoded() -> list[object]:
        video: Video = probe(path)
        return list(each_frame(video))

    with pixels_limited(1_000_000, "ZOO_MAX_PIXELS"), pytest.raises(Unreadable) as error:
        decoded()
    assert error.value.path == str(path)
    assert error.value.reason
    assert "Errno" not in error.value.reason


def test_a_film_in_memory_follows_no_list_either(tmp_path: Path) -> None:
    film(tmp_path / "plain.ts")

    class Held:
        def open(self, mode: str = "rb", /) -> io.BytesIO:
            return io.BytesIO(f"ffconcat version 1.0\nfile {tmp_path}/plain.ts\n".encode())

    with pytest.raises(Unreadable):
        probe(Held())
