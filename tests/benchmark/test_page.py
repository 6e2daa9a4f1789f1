"""The page of `zoo.benchmark` in a real browser: a person's pointer moves and clicks, and what is on the screen is read."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoo.benchmark import charts
from zoo.benchmark.rows import Row

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH to show the page in")

HOSTILE = "</script><script>document.title = 'taken'</script><b>&amp;"


def rows() -> list[Row]:
    def row(model: str, family: str, macs: int, **more: Any) -> Row:
        return Row(model, family, "classification", "3 x 8 x 8", macs // 100, macs, 2 * macs, **more)

    imagenet = {"accuracy_what": "top-1 on ImageNet-1K val", "accuracy_from": "published"}
    measured = {**imagenet, "accuracy_from": "measured"}
    fashion = {"accuracy_what": "top-1 on fashion_mnist test", "accuracy_from": "measured"}
    return [
        row("resnet18", "resnet", 1_800_000_000, accuracy=69.76, inference_rate=20.0, mode="eager", **imagenet),
        row("resnet101", "resnet", 7_800_000_000, accuracy=81.89, inference_rate=5.0, mode="eager", **imagenet),
        row(
            "vgg16",
            "vgg",
            15_500_000_000,
            accuracy=71.59,
            inference_rate=3.0,
            mode="eager",
            **measured,
        ),
        row("lenet5", "lenet", 416_520, accuracy=89.04, inference_rate=9e4, mode="eager", **fashion),
        row("linear", "linear", 7_840, notes=[HOSTILE]),
    ]


class Browser:
    """A headless chromium, spoken to by its DevTools protocol over two pipes (file descriptors 3 and 4)."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in (ours[0], theirs[1]))

        def wire() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        flags += [f"--user-data-dir={profile}", "--window-size=1200,900", "--remote-debugging-pipe", "about:blank"]
        command = [str(CHROMIUM), *flags]
        self.process = subprocess.Popen(
            command, preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for fd in (ours[0], theirs[1], read, write):
            os.close(fd)
        self.to = os.fdopen(ours[1], "wb", buffering=0)
        self.back = os.fdopen(theirs[0], "rb")
        self.events: list[dict[str, Any]] = []
        self.count = 0
        self.session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        session = {"sessionId": self.session} if self.session else {}
        message = {"id": self.count, "method": method, "params": parameters, **session}
        self.to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.hear()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def hear(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self.back.read(1)) != b"\0":
            assert byte, "the browser went away"
            message += byte
        content: dict[str, Any] = json.loads(message)
        if "method" in content:
            self.events.append(content)
        return content

    def open(self, path: Path) -> None:
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.hear()

    def js(self, expression: str) -> Any:
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def point(self, selector: str) -> tuple[float, float]:
        """The middle of an element on the screen."""
        x, y = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        return x, y

    def move(self, x: float, y: float) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        x, y = self.point(selector)
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        self.to.close()
        self.back.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started: Browser, tmp_path: Path) -> Browser:
    (tmp_path / "benchmark.html").write_text(charts.page(rows()))
    started.events.clear()
    started.move(1, 1)
    started.open(tmp_path / "benchmark.html")
    return started


def column(browser: Browser, key: str) -> list[str]:
    at = browser.js(f"[...document.querySelectorAll('th')].findIndex(e => e.dataset.key === '{key}')")
    found: list[str] = browser.js(f"[...document.querySelectorAll('tbody tr')].map(e => e.cells[{at}].innerText)")
    return found


def drawn(browser: Browser) -> list[str]:
    found: list[str] = browser.js("[...document.querySelectorAll('circle')].map(e => e.dataset.model)")
    return found


def test_it_shows_everything_and_asks_nobody(browser: Browser) -> None:
    assert column(browser, "model") == ["lenet5", "linear", "resnet18", "resnet101", "vgg16"], "18 comes before 101"
    assert column(browser, "macs") == ["416,520", "7,840", "1.80 G", "7.80 G", "15.50 G"]
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert [url.partition(":")[0] for url in asked] == ["file"]
    assert not [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]


def test_words_in_the_data_stay_words(browser: Browser) -> None:
    assert browser.js("document.title") == "zoo: benchmark"
    assert HOSTILE in column(browser, "notes")


def test_a_click_on_a_head_sorts(browser: Browser) -> None:
    by_macs = [row.model for row in sorted(rows(), key=lambda row: -row.macs)]
    browser.click("th[data-key=macs] button")
    assert column(browser, "model") == by_macs
    assert browser.js("document.querySelector('th[data-key=macs]').ariaSort") == "descending"
    browser.click("th[data-key=macs] button")
    assert column(browser, "model") == by_macs[::-1]
    browser.click("th[data-key=accuracy] button")
    assert column(browser, "model") == ["lenet5", "resnet101", "vgg16", "resnet18", "linear"], "the most first"
    browser.click("th[data-key=accuracy] button")
    assert column(browser, "model") == ["resnet18", "vgg16", "resnet101", "lenet5", "linear"], "what is missing is last"


def test_points_stand_where_their_figures_are(browser: Browser) -> None:
    assert drawn(browser) == ["resnet18", "resnet101", "vgg16"], "linear has no accuracy, lenet5 that of another set"
    places = browser.js("[...document.querySelectorAll('circle')].map(e => [+e.getAttribute('cx'), +e.getAttribute('cy')])")
    have = [row for row in rows() if row.accuracy_what == "top-1 on ImageNet-1K val"]
    across = sorted(range(3), key=lambda k: have[k].macs)
    assert across == sorted(range(3), key=lambda k: places[k][0])
    assert sorted(range(3), key=lambda k: have[k].accuracy or 0) == sorted(range(3), key=lambda k: -places[k][1])
    assert all(70 <= x <= 880 and 15 <= y <= 370 for x, y in places)
    fills = browser.js("[...document.querySelectorAll('circle')].map(e => e.getAttribute('fill'))")
    assert [fill == "#fff" for fill in fills] == [row.accuracy_from == "published" for row in have]


def test_the_pointer_over_a_point_shows_its_name(browser: Browser) -> None:
    assert browser.js("document.getElementById('tip').hidden")
    browser.move(*browser.point("circle[data-model=vgg16]"))
    said = browser.js("document.getElementById('tip').innerText")
    assert said.splitlines()[0] == "vgg16"
    assert "multiply-adds: 15.50 G" in said
    assert "top-1 on ImageNet-1K val, %: 71.59" in said
    box = browser.js("(b => [b.left, b.top, b.right, b.bottom])(document.getElementById('tip').getBoundingClientRect())")
    width, height = browser.js("[innerWidth, innerHeight]")
    assert 0 <= box[0] < box[2] <= width
    assert 0 <= box[1] < box[3] <= height
    browser.move(1, 1)
    assert browser.js("document.getElementById('tip').hidden")


def test_families_are_filtered_in_table_and_plot(browser: Browser) -> None:
    browser.click("#families input[value=resnet]")
    assert column(browser, "model") == ["lenet5", "linear", "vgg16"]
    assert drawn(browser) == ["vgg16"]
    browser.click("#none")
    assert column(browser, "model") == []
    assert drawn(browser) == []
    browser.click("#families input[value=vgg]")
    assert drawn(browser) == ["vgg16"]
    browser.click("#all")
    assert len(column(browser, "model")) == 5
    assert browser.js("[...document.querySelectorAll('#families input')].every(e => e.checked)")


def test_axes_can_be_chosen(browser: Browser) -> None:
    choose = "(s => {{ s.value = '{}'; s.dispatchEvent(new Event('change')) }})(document.getElementById('y'))"
    browser.js(choose.format("accuracy top-1 on fashion_mnist test"))
    assert drawn(browser) == ["lenet5"], "accuracies on another set are another axis"
    browser.js(choose.format("inference_rate"))
    heights = browser.js("[...document.querySelectorAll('circle')].map(e => +e.getAttribute('cy'))")
    rates = [row.inference_rate for row in rows() if row.inference_rate is not None]
    assert sorted(range(4), key=lambda k: rates[k]) == sorted(range(4), key=lambda k: -heights[k])
    assert browser.js("document.getElementById('shown').innerText") == "4 of 5 rows have both"


@pytest.mark.parametrize("count", [0, 1])
def test_a_page_of_none_or_one_is_whole(started: Browser, tmp_path: Path, count: int) -> None:
    (tmp_path / "benchmark.html").write_text(charts.page([replace(rows()[0], accuracy=None)][:count]))
    started.events.clear()
    started.open(tmp_path / "benchmark.html")
    assert len(column(started, "model")) == count
    assert not [event for event in started.events if event["method"] == "Runtime.exceptionThrown"]
