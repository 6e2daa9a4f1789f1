"""Odd contents of every kind of file that is read: by name, what writes one, and what may come of it.

To add a content, put it into the table of its kind; every reader of that kind is then asked about it (`test_odd_contents.py`).
"""

import csv
import io
import json
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data import test_odd_films, test_odd_tables

Write = Callable[[Path], object]
"""Puts a file where none is."""
Change = Callable[[bytes], bytes]
"""Makes of a sound file's content another."""
READ, OUT = "read", "left out"
REFUSED = "refused"
BAD = {OUT, REFUSED}
Contents = dict[str, tuple[Write, set[str]]]
HEIGHT, WIDTH = 24, 32
VICTIM = "000007"
"""What the file is called that is spoiled, or whose objects are; where a set lets one choose."""

# Pictures and masks


def pixels(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def classes(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Of three classes, each in every mask."""
    return (np.arange(height * width).reshape(height, width) // 8 % 3).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> Write:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            image.save(stream, kind, **how)

    return write


def cut(write: Write, share: float = 0.5) -> Write:
    def cutting(path: Path) -> None:
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return cutting


def header(width: int, height: int) -> bytes:
    """A PNG of so many grey pixels, of which hardly any is there."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(orientation: int | str) -> bytes:
    if isinstance(orientation, str):
        tag = struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 4, orientation.encode(), 0)
    else:
        tag = struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0II*\0" + tag


def bytes_of(content: bytes) -> Write:
    return lambda path: void(path.write_bytes(content))


def void(_: object) -> None:
    return None


def link_to_copy(write: Write) -> Write:
    def linked(path: Path) -> None:
        target = path.with_name(f".elsewhere{path.suffix}")
        write(target)
        path.symlink_to(target)

    return linked


def with_mode(write: Write, mode: int) -> Write:
    def moded(path: Path) -> None:
        write(path)
        path.chmod(mode)

    return moded


def interlaced(array: np.ndarray) -> bytes:
    """An Adam7 PNG, which Pillow does not write."""
    height, width = array.shape[:2]
    channels = 3 if array.ndim == 3 else 1
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = array[y::dy, x::dx]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 1)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_colours() -> bytes:
    """A PNG of three 16-bit channels, which Pillow does not write."""
    rows = b"".join(b"\0" + bytes(6 * WIDTH) for _ in range(HEIGHT))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


COLOUR = Image.fromarray(pixels())
GREY = COLOUR.convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
MASK = Image.fromarray(classes())

NO_FILE: Contents = {
    "a pipe": (lambda path: os.mkfifo(path), BAD),
    "a folder": (lambda path: path.mkdir(), BAD | {READ}),  # with nothing in it
    "a link to itself": (lambda path: path.symlink_to(path.name), BAD),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), BAD),
    "a device": (lambda path: path.symlink_to("/dev/zero"), BAD),
}
NOTHING: Contents = {
    "empty": (bytes_of(b""), BAD),
    "one byte": (bytes_of(b"\x89"), BAD),
    "text": (bytes_of(b"not what it should be\n"), BAD),
    "a page": (bytes_of(b"<!DOCTYPE html><html><body>Please log in</body></html>"), BAD),
}
NO_PICTURE: Contents = {
    **NOTHING,
    "PostScript": (bytes_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n{} loop\n%%EOF\n"), BAD),
    "DDS": (saved(COLOUR, "DDS"), BAD),
    "50,000 x 50,000 in the header": (bytes_of(header(50_000, 50_000)), BAD),
    "0 x 0 in the header": (bytes_of(header(0, 0)), BAD),
    **NO_FILE,
}
PICTURES: Contents = {
    **NO_PICTURE,
    "cut PNG": (cut(saved(COLOUR)), BAD),
    "cut JPEG": (cut(saved(COLOUR, "JPEG")), BAD),
    "float": (saved(Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)), "TIFF"), BAD),
    "32-bit": (saved(Image.fromarray(np.asarray(GREY).astype(np.int32) * 1000), "TIFF"), BAD),
    "32-bit bytes": (saved(Image.fromarray(np.asarray(GREY).astype(np.int32)), "TIFF"), {READ}),
    "1 x 1": (saved(Image.fromarray(pixels(1, 1))), {READ, OUT}),
    "1 x 5,000": (saved(Image.fromarray(pixels(5000, 1))), {READ, OUT}),
    "turned": (saved(COLOUR, "JPEG", exif=exif(6)), {READ, OUT}),  # its mask or boxes do not fit it then
    "upside down": (saved(COLOUR, "JPEG", exif=exif(3)), {READ}),
    "EXIF text": (saved(COLOUR, "JPEG", exif=exif("top\0")), {READ}),
    "EXIF broken": (saved(COLOUR, "JPEG", exif=b"Exif\0\0II*\0\xff\xff"), {READ}),
    "ICC broken": (saved(COLOUR, icc_profile=b"no profile"), {READ}),
    "interlaced": (bytes_of(interlaced(pixels())), {READ}),
    "wrong suffix": (saved(COLOUR, "GIF"), {READ}),
    "CMYK": (saved(COLOUR.convert("CMYK"), "JPEG"), {READ}),
    "palette": (saved(COLOUR.convert("P")), {READ}),
    "palette with alpha": (saved(COLOUR.convert("P"), transparency=3), {READ}),
    "alpha": (saved(COLOUR.convert("RGBA")), {READ}),
    "grey with alpha": (saved(GREY.convert("LA")), {READ}),
    "one bit": (saved(COLOUR.convert("1")), {READ}),
    "16-bit": (saved(DEEP), {READ}),
    "animated": (saved(COLOUR, "WEBP", save_all=True, append_images=[COLOUR.rotate(180)]), {READ}),
    "two in one": (saved(COLOUR, "MPO", save_all=True, append_images=[COLOUR.rotate(180)]), {READ}),
    "read-only": (with_mode(saved(COLOUR), 0o444), {READ}),
    "not to be read": (with_mode(saved(COLOUR), 0), BAD | ({READ} if os.geteuid() == 0 else set())),
    "a link": (link_to_copy(saved(COLOUR)), {READ}),
}
NUMBERS: Contents = {
    **NO_PICTURE,
    "cut": (cut(saved(MASK)), BAD),
    "other size": (saved(Image.fromarray(classes(9, 7))), BAD),
    "1 x 1": (saved(Image.fromarray(classes(1, 1))), BAD),
    "coloured": (saved(COLOUR), BAD),
    "two channels": (saved(MASK.convert("LA")), BAD),
    "float": (saved(Image.fromarray(classes().astype(np.float32)), "TIFF"), BAD),
    "JPEG": (saved(MASK, "JPEG"), BAD),  # its numbers are mixed with their neighbours'
    "16-bit": (saved(Image.fromarray(classes().astype(np.uint16))), {READ}),
    "32-bit": (saved(Image.fromarray(classes().astype(np.int32)), "TIFF"), {READ}),
    "interlaced": (bytes_of(interlaced(classes())), {READ}),
    "palette": (saved(MASK.convert("P")), {READ}),
    "one bit": (saved(Image.fromarray(classes() > 0)), {READ}),
    "colours with alpha": (saved(COLOUR.convert("RGBA")), BAD),
    "16-bit colours": (bytes_of(deep_colours()), BAD),
    "wrong suffix": (saved(MASK, "BMP"), {READ}),
    "a link": (link_to_copy(saved(MASK)), {READ}),
    "not to be read": (with_mode(saved(MASK), 0), BAD | ({READ} if os.geteuid() == 0 else set())),
}
MASKS: Contents = {
    **NUMBERS,
    "a class outside": (saved(Image.fromarray(classes() + 200)), BAD),
    "16-bit, a class outside": (saved(Image.fromarray(classes().astype(np.uint16) * 300)), BAD),
    "below 0": (saved(Image.fromarray(classes().astype(np.int32) - 1), "TIFF"), BAD),
    "nothing but void": (saved(Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8))), {READ}),
}


# Films

FILMS: Contents = {
    **{name: (make, {READ}) for name, make in test_odd_films.READ.items()},
    **{name: (make, BAD) for name, make in test_odd_films.REFUSED.items()},
    **NOTHING,
    **NO_FILE,
    "a link": (link_to_copy(test_odd_films.film), {READ}),
    "read-only": (with_mode(test_odd_films.film, 0o444), {READ}),
    "cut in the middle": (cut(test_odd_films.film, 0.7), {READ, OUT, REFUSED}),  # an index at its end is lost, and all with it
}
FILMS["folder"] = FILMS["a folder"]  # with nothing in it
CLIPS: Contents = {
    name: (write, {READ, REFUSED} if name in (*NO_FILE, "pipe", "folder", "link to itself", "a link") else {READ})
    for name, (write, _) in FILMS.items()
}
"""In the place of a rendered one, which is rendered anew; a link or a pipe is not replaced."""

# Text: what is changed of a sound file


def quoted(content: bytes) -> bytes:
    rows = csv.reader(content.decode().splitlines())
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()


Changes = dict[str, tuple[Change, set[str]]]
SAME: Changes = {name: (change, {READ}) for name, change in test_odd_tables.SAME.items()}
NO_TEXT: Changes = {name: (change, {REFUSED}) for name, (change, _) in test_odd_tables.SAID.items()}
DOUBLED = "the last line twice"
NAMES: Changes = {
    **SAME,
    **NO_TEXT,
    DOUBLED: (lambda content: content.rstrip() + b"\n" + content.split()[-1] + b"\n", {REFUSED}),
}
LISTS: Changes = {
    **SAME,
    **NO_TEXT,
    DOUBLED: (lambda content: content.rstrip() + b"\n" + content.rstrip().split(b"\n")[-1] + b"\n", {READ}),
}
TABLES: Changes = {
    **LISTS,
    "quotes": (quoted, {READ}),
    "a further column": (lambda content: content.replace(b"\n", b',"more, and more"\n'), {READ}),
    "empty rows behind": (lambda content: content + b",,\n,,\n", {READ}),
    "another separator": (lambda content: content.replace(b",", b";"), {REFUSED}),
    "a column less": (lambda content: b"\n".join(line.partition(b",")[2] for line in content.split(b"\n")), {REFUSED}),
    "a field too many": (lambda content: content.rstrip() + b",x,y\n", {REFUSED}),
    "an open quote": (lambda content: content.rstrip() + b'\n"x,a,train\n', {REFUSED}),
    "its heading alone": (lambda content: content.split(b"\n")[0] + b"\n", {REFUSED}),
    "numbers as labels": (lambda content: content.replace(b",a,", b",01,").replace(b",b,", b",2,"), {READ}),
}

# Objects: every field of every wrong type

NAN = float("nan")
WRONG: dict[str, list[Any]] = {
    "id": [None, "3", 1.5, [], {}, 10**30],
    "image_id": [None, "7", 7.5, [], {}, 99],
    "category_id": [None, "1", 1.5, [], {}, 99],
    "iscrowd": ["0", 2, 0.5, [], {}],
    "segmentation": [
        *(7, "1 2", [[1, 2]], [[1, 2, 3]], [[NAN] * 6], [[1e9] * 6], [["2"] * 6], {}),
        *({"size": [1, 2], "counts": [1]}, {"size": 3, "counts": "~~"}),
        *({"size": [HEIGHT, WIDTH], "counts": counts} for counts in ([2**63], [-1, 769], "P" * 99)),
    ],
}
BOXES_TOO: dict[str, list[Any]] = {
    "bbox": [
        7,
        "2",
        {},
        [1, 2],
        [2, 2, "10", 10],
        [2, 2, NAN, 10],
        [2, 2, 0, 10],
        [2, 2, -3, 10],
        [99, 99, 5, 5],
        [2, 2, 1e9, 5],
    ],
    "area": ["100", NAN, -1.0, float("inf"), [], {}, 1e9],
}
OF_IMAGES: dict[str, list[Any]] = {
    "id": [None, "7", 7.5, [], {}],
    "file_name": [None, 7, [], "../x.jpg", "/etc/passwd", "", "missing.jpg", "a\0b"],
    "height": [None, "24", 24.5, 0, -1, [], 30, 10**30],
    "width": [None, "32", 32.5, 0, -1, {}, 30],
}
OF_CATEGORIES: dict[str, list[Any]] = {"id": [None, "1", 1.5, []], "name": [None, 3, [], {}]}


def exchanged(part: str, field: str, value: Any) -> Change:
    """COCO's file, a field of the victim another."""

    def change(content: bytes) -> bytes:
        values = json.loads(content)
        at = 0 if part == "categories" else int(VICTIM)
        values[part][at][field] = value
        return json.dumps(values).encode()

    return change


def fields(part: str, wrong: dict[str, list[Any]], may: set[str]) -> Changes:
    return {
        f"{part}: {field} is {str(value)[:40]}": (exchanged(part, field, value), may)
        for field, values in wrong.items()
        for value in values
    }


def part(name: str, value: Any) -> tuple[Change, set[str]]:
    return lambda content: json.dumps({**json.loads(content), name: value}).encode(), {REFUSED}


JSON_TEXT: Changes = {
    **{name: SAME[name] for name in ("BOM", "CRLF", "CR alone", "blank lines", "no last line break")},
    **{name: NO_TEXT[name] for name in ("empty", "blank", "NUL", "a picture", "one huge line")},
    "UTF-16": (NO_TEXT["UTF-16"][0], {READ, REFUSED}),  # which JSON may be in
    "cut": (lambda content: content[: len(content) // 2], {REFUSED}),
    "deep": (lambda content: b"[" * 100_000, {REFUSED}),
    "a list": (lambda content: b"[" + content + b"]", {REFUSED}),
    "null": (lambda content: b"null", {REFUSED}),
    "a number": (lambda content: b"7", {REFUSED}),
    "twice": (lambda content: content + content, {REFUSED}),
    "Latin-1": (lambda content: content.replace(b'"a"', b'"\xfc"'), {REFUSED}),
}
COCO: Changes = {
    **JSON_TEXT,
    **fields("annotations", WRONG, BAD),
    **fields("images", OF_IMAGES, BAD),
    **fields("categories", OF_CATEGORIES, BAD),
    **{
        f"{name} is {value}": part(name, value)
        for name in ("images", "annotations", "categories")
        for value in (None, {}, 7, "x")
    },
    "images is []": part("images", []),
}
REGIONS: Changes = {**COCO, **fields("annotations", BOXES_TOO, BAD | {READ})}
"""Where an object is by its outline alone."""
BOXES: Changes = {**COCO, **fields("annotations", BOXES_TOO, BAD)}


def element(name: str, value: str | None, again: bool = False) -> Change:
    """VOC's file, the first element of a name with another text, without it, or with two."""

    def change(content: bytes) -> bytes:
        old = re.search(rf"<{name}>.*?</{name}>".encode(), content)
        assert old is not None
        new = b"" if value is None else f"<{name}>{value}</{name}>".encode()
        return content.replace(old[0], old[0] + new if again else new, 1)

    return change


OF_XML: dict[str, list[str | None]] = {
    "xmin": ["nan", "1e999", "", "one", "500", "-50", None, "3,5", "<x/>"],
    "xmax": ["inf", "2", "99", None],
    "ymax": ["0", "-1", "9" * 400],
    "difficult": ["no", "2", "-1", "1.0"],
    "width": ["80.5", "90", "", "nan", "-32", None],
    "height": ["9" * 30, "x"],
    "name": ["", None],
}
XML: Changes = {
    **{name: SAME[name] for name in ("BOM", "CRLF", "no last line break")},
    **{f"{name} is {value}": (element(name, value), BAD) for name, values in OF_XML.items() for value in values},
    **{f"name is {value}": (element("name", value), {READ}) for value in ("unicorn", "../x")},  # of no class: a note tells
    **{f"two {name}": (element(name, "5", again=True), BAD) for name in ("xmin", "ymax", "width")},
    **{name: (change, BAD) for name, (change, _) in NO_TEXT.items() if "huge line behind" not in name and "Latin" not in name},
    "cut": (lambda content: content[: len(content) // 2], BAD),
    "deep": (lambda content: b"<a>" * 100_000, BAD),
    "no such encoding": (lambda content: b'<?xml version="1.0" encoding="no-such"?>' + content, BAD),
    "entities": (lambda content: b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>' + content, BAD),
    "another file": (lambda content: b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + content, BAD),
}
for _name in ("UTF-16", "UTF-16 without BOM"):  # which XML may be in
    XML[_name] = (XML[_name][0], BAD | {READ})

# Archives, indexes, arrays


def arrays(change: Callable[[dict[str, Any]], object]) -> Change:
    def changed(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as found:
            values = {**found}
        change(values)
        buffer = io.BytesIO()
        np.savez(buffer, **values)
        return buffer.getvalue()

    return changed


def promising(content: bytes) -> bytes:
    """Each array says that it is huge."""
    buffer, head = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, head.getvalue())
    return buffer.getvalue()


def no_array(may: set[str]) -> Changes:
    return {
        **{name: (change, may) for name, (change, _) in NO_TEXT.items() if name in ("empty", "one huge line", "a picture")},
        "cut": (lambda content: content[: len(content) // 2], may),
        "its end alone": (lambda content: content[len(content) // 2 :], may),
        "an empty archive": (lambda content: b"PK\5\6" + bytes(18), may),
        "a pickle": (lambda content: pickle.dumps({"shard": 1}), may),
        "huge": (promising, may),
        "a part less": (arrays(lambda found: found.popitem()), may),
        "objects": (arrays(lambda found: found.update({name: np.array([{}]) for name in found})), may),
        "floats": (arrays(lambda found: found.update({name: found[name].astype(float) for name in found})), may),
        "longer": (arrays(lambda found: found.update({name: np.repeat(found[name], 9, 0) for name in found})), may),
        "another axis": (arrays(lambda found: found.update({name: found[name][None] for name in found})), may),
    }


INDEX: Changes = {
    **no_array({REFUSED}),
    **{
        f"{name} is {value}": (arrays(lambda found, name=name, value=value: found[name].__setitem__(0, value)), {REFUSED})
        for name, values in {"shard": [-1, 99], "offset": [-1, 10**9], "size": [-1, 10**9], "label": [-1, 99]}.items()
        for value in values
    },
}
SCENES = no_array({READ})
"""In the place of a rendered one, which is rendered anew."""


def one_archive(name: str, value: Any) -> tuple[Change, set[str]]:
    def change(content: bytes) -> bytes:
        values = json.loads(content)
        values["splits"]["train"][0][name] = value
        return json.dumps(values).encode()

    return change, {REFUSED}


CONTENTS: Changes = {
    **JSON_TEXT,
    **{f"classes is {value}": part("classes", value) for value in (None, "ab", [], [1, 2], ["a", "a"], {}, ["a"])},
    **{f"splits is {value}": part("splits", value) for value in (None, [], {}, {"train": []}, {"../train": []}, 7)},
    **{
        f"a name is {value!r}": one_archive("name", value)
        for value in (None, 3, "", "../x.tar", "/etc/passwd", "a\0b", "none.tar")
    },
    **{f"a size is {value}": one_archive("bytes", value) for value in (None, "3", 1.5, True, -1, 2**63, 7)},
}
del CONTENTS["Latin-1"]


def of_size(content: bytes) -> Change:
    """Other bytes, as many as there were: no size tells."""
    return lambda whole: (content * (len(whole) // max(1, len(content)) + 1))[: len(whole)]


ARCHIVES: Changes = {
    **{name: (change, {REFUSED}) for name, (change, _) in NO_TEXT.items() if name in ("empty", "one huge line", "a picture")},
    "cut": (lambda content: content[: len(content) // 2], {REFUSED}),
    "longer": (lambda content: content + b"x", {REFUSED}),
    "zeros": (of_size(b"\0"), BAD),
    "noise": (of_size(b"\xff\x00\x9d"), BAD),
    "a page": (of_size(b"<html>Please log in</html>"), BAD),
    "its second half": (lambda content: content[len(content) // 2 :] + bytes(len(content) // 2), BAD),
}

# What was made of films


def entry(**changed: Any) -> tuple[Change, set[str]]:
    """Every line of a ledger with other values; it is no authority, so the films are read all the same."""
    return lambda content: b"".join(
        json.dumps({**json.loads(line), **changed}).encode() + b"\n" for line in content.splitlines()
    ), {READ}


LEDGERS: Changes = {
    **{name: (change, {READ}) for name, (change, _) in {**SAME, **NO_TEXT}.items()},
    "cut": (lambda content: content[: len(content) // 2], {READ}),
    "another film": entry(file="../../x"),
    "many frames": entry(times=[[0, 1, 10**15]]),
    "no frames": entry(times=[]),
    "frames backwards": entry(times=[[9, -1, 5]]),
    "text for times": entry(times="0 1 2"),
    "keys outside": entry(keys=[99]),
    "no time base": entry(time_base=None),
    "NaN for a time base": entry(time_base=NAN),
    "a bomb for places": entry(
        places={"table": "eNoBAAD//wAAAAE=", "settings": {}, "codec": "h264", "header": "", "length": 1}
    ),
    "a setting of its own": entry(places={"settings": {"options": {"x": 1}}}),
}
FLOWS: Changes = {
    **{name: (change, {REFUSED}) for name, (change, _) in NO_TEXT.items() if name in ("empty", "one huge line", "a picture")},
    "cut": (lambda content: content[: len(content) // 2], {REFUSED}),
    "an empty archive": (lambda content: b"PK\5\6" + bytes(18), {REFUSED}),
    "huge": (lambda content: re.sub(rb'"height": \d+', b'"height": 99', content), {REFUSED, OUT}),
}

# Sets in their publishers' files, weights, checkpoints


def idx(*shape: int) -> Write:
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes_of(bytes([0, 0, 8, len(shape)]) + sizes + bytes(int(np.prod(shape))))


class Call:
    """Unpickled, it writes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def refused(contents: Contents) -> Contents:
    return {name: (write, {REFUSED}) for name, (write, _) in contents.items()}


OFFICIAL: Contents = {
    **refused({**NOTHING, **NO_FILE}),
    "another shape": (idx(12, 14, 56), {REFUSED}),
    "fewer": (idx(3, 28, 28), {REFUSED}),
    "no axis": (idx(), {REFUSED}),
    "another axis": (idx(12, 3), {REFUSED}),
    "code": (lambda path: path.write_bytes(pickle.dumps(Call())), {REFUSED}),
}
SAVED: Contents = {
    **refused({**NOTHING, **NO_FILE}),
    "a picture": (saved(COLOUR), {REFUSED}),
    "an empty archive": (bytes_of(b"PK\5\6" + bytes(18)), {REFUSED}),
    "code": (lambda path: path.write_bytes(pickle.dumps({"state_dict": Call()})), {REFUSED}),
    "a number": (lambda path: path.write_bytes(pickle.dumps(7, protocol=2)), {REFUSED}),
    "a deep pickle": (bytes_of(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."), {REFUSED}),
}
SAVED_CHANGED: Changes = {
    "cut": (lambda content: content[: len(content) // 2], {REFUSED}),
    "a bit turned": (
        lambda content: (
            content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :]
        ),
        {REFUSED},
    ),
    "zeros in its middle": (
        lambda content: content[: len(content) // 2] + bytes(99) + content[len(content) // 2 + 99 :],
        {REFUSED},
    ),
    "longer": (lambda content: content + bytes(99), {READ, REFUSED}),
}


# All kinds, each content as what is done to a sound file


Spoil = Callable[[Path, bytes], object]


def anew(contents: Contents) -> dict[str, tuple[Spoil, set[str]]]:
    return {name: (lambda path, _, write=write: write(path), may) for name, (write, may) in contents.items()}


def changed(changes: Changes, none: set[str] | None = None) -> dict[str, tuple[Spoil, set[str]]]:
    """And what is no file at all, of which `none` may come."""
    other = {name: (write, none or {REFUSED}) for name, (write, _) in NO_FILE.items()}
    found = {
        name: (lambda path, whole, change=change: path.write_bytes(change(whole)), may)
        for name, (change, may) in changes.items()
    }
    return {**anew(other), **found}


ODD: dict[str, dict[str, tuple[Spoil, set[str]]]] = {
    "picture": anew(PICTURES),
    "mask": anew(MASKS),
    "numbers": anew(NUMBERS),
    "film": anew(FILMS),
    "clip": anew(CLIPS),
    "copy": anew({name: (write, may | BAD) for name, (write, may) in FILMS.items()}),
    "table": changed(TABLES),
    "list": changed(LISTS),
    "names": changed(NAMES),
    "boxes": changed(BOXES),
    "regions": changed(REGIONS),
    "XML": changed(XML, BAD),
    "contents": changed(CONTENTS),
    "index": changed(INDEX),
    "archive": changed(ARCHIVES),
    "scenes": changed(SCENES, {READ, REFUSED}),
    "ledger": changed(LEDGERS, {READ}),
    "flow": changed(FLOWS),
    "official": anew(OFFICIAL),
    "weights": {**anew(SAVED), **changed(SAVED_CHANGED)},
}
"""By kind of file, by name of the content: what is done to a sound one, and what may come of it."""
