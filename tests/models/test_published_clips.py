"""Published networks of clips: what their files hold, loaded by tag over a network, gives what the publisher's own network and
preprocessing give of the same film."""

import functools
import inspect
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.precision import SINGLE, gap
from tests.published_clips import PUBLISHED
from zoo.common import download
from zoo.common.flow import STEP
from zoo.data.rendered import motion
from zoo.models._entries import entries_of
from zoo.models._registry import get_builder

QUICK = "x3d_xs:kinetics400"
NAMES = [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in PUBLISHED]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files a server on this machine hands out as a mirror of all publishers."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_WEIGHTS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(download, "matches", lambda path, sha256: True)  # random values have another hash than the published
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def released(name: str, folder: Path) -> nn.Module:
    """The publisher's network with random values and statistics, and its file in the mirror."""
    torch.manual_seed(0)
    net = PUBLISHED[name].build().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    torch.save(PUBLISHED[name].saved(net), folder / PUBLISHED[name].file)
    return net


@functools.cache
def drawn() -> bytes:
    """Three seconds of 30 frames, 128 x 96 pixels."""
    rows, columns = np.mgrid[:96, :128]
    frames = [
        np.stack([128 + 100 * np.sin((rows * a + columns * b) / 9 + time / 3) for a, b in ((1, 0), (0, 1), (1, 1))], 2)
        for time in range(90)
    ]
    return motion.encode(np.stack(frames).astype(np.uint8), 30)


@pytest.fixture(params=["drawn", pytest.param("real", marks=pytest.mark.realdata)])
def film(request: pytest.FixtureRequest, tmp_path: Path, real_data: Callable[[str], Path]) -> Path:
    """A film; a real one, two seconds of 25 frames, 640 x 480 pixels."""
    if request.param == "real":
        return real_data("oddvideos") / "Zulko__example.mp4"
    path = tmp_path / "waves.mp4"
    path.write_bytes(drawn())
    return path


@functools.cache
def decoded(film: Path) -> tuple[Tensor, float]:
    """All frames (T, H, W, 3), by PyAV alone, and how many a second has."""
    with av.open(str(film)) as container:
        rate = float(container.streams.video[0].average_rate or 0)
        return torch.from_numpy(np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])), rate


def moment(film: Path, entry: zoo.models.Weights) -> Tensor:
    """The frames of the clip in the middle, of which the publisher's preprocessing takes its own."""
    frames, rate = decoded(film)
    count, asked = entry.input_shape[1], entry.rate or rate
    start = max(0.0, len(frames) / rate - count / asked) / 2
    if entry.views.get("sampling") == "linspace":
        shown = torch.arange(len(frames)) / rate
        return frames[(shown > start - 1e-3) & (shown < start + count / asked - 1e-3)]
    return frames[[min(int((start + each / asked + 1e-3) * rate), len(frames) - 1) for each in range(count)]]


def centered(scores: Tensor) -> Tensor:
    return scores - scores.mean(1, keepdim=True)


@pytest.mark.numerical
@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_gives_what_the_publishers_network_gives(name: str, mirror: Path, film: Path) -> None:
    published, entry = PUBLISHED[name], zoo.get_weights(name)
    theirs = released(name, mirror)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        ours = zoo.create_model(entry.model, pretrained=entry.tag).eval()
    frames, count = moment(film, entry), entry.input_shape[1]
    if entry.input_shape[0] == 2:
        field = (torch.randint(0, 256, (count, 2, 224, 224)) * STEP - 20).transpose(0, 1)  # what bytes hold exactly
        x = field.clamp(-20, 20) / 20
        mean, std = (torch.tensor(each)[:, None, None, None] for each in (entry.mean, entry.std))
        y = ((field + 20) / STEP - 255 * mean) / (255 * std)
    else:
        x = published.prepare(frames, count, entry.input_shape[2])
        taken = torch.linspace(0, len(frames) - 1, count).long()
        pixels = frames[taken].permute(0, 3, 1, 2)
        exact = pixels if entry.model == "r3d_18" else pixels.float() / 255  # others do not round what they scale
        y = entry.transforms()(exact)
        step = 1 / (255 * min(entry.std))
        assert (entry.transforms()(pixels) - x).abs().max() < 1.01 * step, "a byte"
    assert x.shape == y.shape
    assert gap(y, x) < SINGLE
    with torch.inference_mode():
        expected = centered(published(theirs, x[None]))
        assert expected.std() > 1000 * SINGLE
        assert (centered(ours(y[None])) - expected).abs().max() < SINGLE


@pytest.mark.numerical
@pytest.mark.parametrize(
    "name", [pytest.param(each.values[0], marks=each.marks) for each in NAMES if "flow" not in str(each.values[0])]
)
def test_a_film_is_read_as_the_publisher_reads_it(name: str, mirror: Path, film: Path) -> None:
    entry = zoo.get_weights(name)
    released(name, mirror)
    loaded = zoo.load(name, ["data.clips=1", "data.crops=1"])
    expected = PUBLISHED[name].prepare(moment(film, entry), entry.input_shape[1], entry.input_shape[2])
    found = loaded.transforms(film)
    assert found.shape == expected.shape == entry.input_shape
    assert (found - expected).abs().max() < 1.01 / (255 * min(entry.std)), "a byte"


@pytest.mark.numerical
@pytest.mark.parametrize("name", [QUICK, pytest.param("slowfast_r50_4x16:kinetics400", marks=pytest.mark.slow)])
def test_predict_names_what_a_film_shows(
    name: str, mirror: Path, film: Path, verb: Callable[..., tuple[int, str, str]]
) -> None:
    theirs, entry = released(name, mirror), zoo.get_weights(name)
    status, out, err = verb("predict", name, str(film), "json=-", "top_k=400", "data.clips=1", "data.crops=1")
    assert status == 0, err
    top = json.loads(next(line for line in out.splitlines() if line.startswith("{")))["top"]
    x = PUBLISHED[name].prepare(moment(film, entry), entry.input_shape[1], entry.input_shape[2])
    with torch.inference_mode():
        expected = PUBLISHED[name](theirs, x[None]).softmax(1)[0]
    assert {each["class"] for each in top} == set(entry.class_names)
    for each in top:  # a pixel is a byte
        assert each["probability"] == pytest.approx(expected[entry.class_names.index(each["class"])].item(), abs=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_file_has_its_entry_and_its_spelling(name: str) -> None:
    entry = zoo.get_weights(name)
    file = PUBLISHED[name].file
    assert entry.addresses[0].url.endswith(f"/{file}")
    assert zoo.get_weights(entry.model, file.rpartition(".")[0]) == entry
    assert (entry.rate is None) == (entry.model == "c3d")
    stated = entry.addresses[0].sha256
    assert stated is None or file.endswith((f"-{stated}.pth",)), "a hash that nobody published is absent"


def test_every_entry_of_clips_is_proved() -> None:
    shapes = {name: inspect.signature(get_builder(name)).parameters.get("input_shape") for name in zoo.list_models()}
    readers = [name for name, shape in shapes.items() if shape is not None and len(shape.default) == 4]
    published = {f"{name}:{tag}" for name in readers for tag, entry in entries_of(name).items() if entry.file is None}
    assert published - {"c3d:sports1m"} == set(PUBLISHED), "but for what has no classifier"
