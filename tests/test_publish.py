"""`zoo publish`: a folder that anybody can load, pushed to a hub and brought back from it."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import zoo
import zoo.tasks
from zoo.evaluate import evaluate
from zoo.publish import publish
from zoo.run.check import check_parts
from zoo.run.compose import composed

Verb = Callable[..., tuple[int, str, str]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """What a hub answers to a push, and to those who fetch."""

    files: dict[str, bytes]
    asked: list[str]
    closed: bool = False


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: object, status: int = 200) -> None:
        self._say(status, json.dumps(content).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        name = self.path.rpartition("/resolve/")[2].partition("/")[2]
        self.server.asked.append(self.path)
        if not self.path.startswith("/me/net/resolve/") or name not in self.server.files:
            self._say(404, X_Error_Code="RepoNotFound" if "/me/net/" not in self.path else "EntryNotFound")
            return
        body = self.server.files[name]
        tag = f'"{len(body):040x}"'
        self._say(200, body, ETag=tag, X_Repo_Commit=COMMIT, Content_Type="application/octet-stream")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        if self.server.closed:
            self._json({"error": "Invalid username or password."}, 401)
        elif self.path.endswith("/repos/create"):
            self._json({"url": f"http://{self.headers['Host']}/me/net", "name": "me/net"})
        elif "/preupload/" in self.path:
            named = [each["path"] for each in json.loads(content)["files"]]
            self._json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in named]})
        elif "/commit/" in self.path:
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._json({"commitUrl": f"http://{self.headers['Host']}/me/net/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({"errors": [], "warnings": []})

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Handler)
    server.files, server.asked = {}, []
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as training leaves it."""
    task = zoo.tasks.ClassificationTask(zoo.create_model("lenet5:fashion_mnist"))
    facts = {
        "num_classes": 10,
        "class_names": ["<b>a</b>", *"bcdefghij"],
        "mean": [0.286],
        "std": [0.353],
        "shape": [1, 32, 32],
    }
    arguments = {
        "model": {"name": "lenet5", "num_classes": 10, "in_chans": 1, "input_shape": [1, 32, 32]},
        "task": {"metric": "accuracy", "num_outputs": 10},
        "data": {"root": "/home/me/secret", "batch_size": 32},
    }
    recipe = {
        "version": zoo.__version__,
        "size": "small",
        "names": {"model": "lenet5", "task": "classification", "data": "image_folder"},
        "arguments": arguments,
        "facts": facts,
        "settings": {"data.root": "/home/me/secret"},
        "run": "0" * 32,
    }
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    content = {"zoo": recipe, "state_dict": task.state_dict(), "global_step": 7}
    torch.save(content, folder / "checkpoints/best.ckpt")
    torch.save(content, folder / "checkpoints/last.ckpt")
    result = {
        "tests": {"accuracy": 0.9, "loss": 0.3},
        "scored": 1000,
        "weights": "best.ckpt, after 7 steps",
        "protocol": "1 crop | the center",
        "versions": "torch 2",
        "device": "cpu",
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_the_folder_holds_weights_recipe_and_card(run: Path, verb: Verb, tmp_path: Path) -> None:
    status, out, err = verb("publish", "run", "license=apache-2.0")
    assert status == 0, err
    folder = run / "published"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert all(f"published/{path.name}  {path.stat().st_size:,} bytes" in out for path in folder.iterdir())
    net = zoo.create_model("lenet5", pretrained=folder / "model.safetensors")
    assert torch.equal(net.head.weight, zoo.create_model("lenet5:fashion_mnist").head.weight)
    said = "".join((folder / name).read_text() for name in ("config.json", "README.md"))
    assert "/home/me" not in said, "it names no place of the user's"
    assert "0" * 32 not in said
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-classification"
    assert {each.metric_type: each.metric_value for each in card.data.eval_results} == {"accuracy": 0.9, "loss": 0.3}
    for line in ("- task: classification", "- parameters: 61,706", "| accuracy | 0.9 |", "1,000 samples; 1 crop", "zoo.load("):
        assert line in card.text, line
    assert "<b>" not in card.text
    again = zoo.load(folder)
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(again.task.eval()(x), zoo.load(run).task.eval()(x))
    assert again.class_names == zoo.load(run).class_names
    verb("publish", "run")  # a second time it is replaced
    assert "license: not stated" in (folder / "README.md").read_text()


CHECKPOINTS = sorted((Path(__file__).parent / "data/checkpoints").glob("*.ckpt"))


@pytest.mark.parametrize("path", CHECKPOINTS, ids=[path.stem for path in CHECKPOINTS])
def test_every_kind_of_task_comes_back(path: Path, tmp_path: Path) -> None:
    own, again = zoo.load(path), zoo.load(publish(path, out=tmp_path / "published"))
    state, restored = own.task.state_dict(), again.task.state_dict()
    assert state.keys() == restored.keys()
    assert all(torch.equal(value, restored[key]) for key, value in state.items())
    assert type(own.task) is type(again.task)
    assert own.class_names == again.class_names


def test_figures_are_of_the_weights_that_are_published(run: Path, tmp_path: Path) -> None:
    folder = publish(run / "checkpoints/last.ckpt", out=tmp_path / "other")
    assert "None was measured of these weights." in (folder / "README.md").read_text()
    (run / "result.json").write_text("{")
    assert "None was measured" in (publish(run) / "README.md").read_text()


def test_a_network_comes_back_from_the_hub(run: Path, hub: Hub, verb: Verb, tmp_path: Path) -> None:
    status, out, err = verb("publish", "run", "repo=me/net")
    assert status == 0, err
    assert "/me/net" in out
    assert {*hub.files} == {"model.safetensors", "config.json", "README.md"}
    assert 'zoo.load("hf-hub:me/net")' in hub.files["README.md"].decode()
    own = zoo.load(run)
    x = torch.rand(2, 1, 32, 32)
    for place in ("hf-hub:me/net", "hf-hub:me/net@main"):
        assert torch.equal(zoo.load(place).task.eval()(x), own.task.eval()(x))
    net = zoo.create_model("hf-hub:me/net")
    assert torch.equal(net.head.weight, own.net.head.weight)
    assert net.normalization == {"mean": [0.286], "std": [0.353]}
    assert net.recipe["name"] == "lenet5"
    with pytest.warns(UserWarning, match="2 tensors of lenet5 start afresh: head"):
        assert zoo.create_model("hf-hub:me/net", num_classes=3).num_classes == 3
    from PIL import Image

    Image.new("L", (40, 40), 99).save(tmp_path / "gray.png")
    assert verb("predict", "hf-hub:me/net", "gray.png") == verb("predict", "run", "gray.png")
    restored = zoo.tasks.ClassificationTask.load_from_checkpoint("hf-hub:me/net")
    assert torch.equal(restored.net.head.weight, own.net.head.weight)
    fetched = [path for path in hub.asked if path.endswith("model.safetensors")]
    hub.shutdown()
    zoo.load("hf-hub:me/net@" + COMMIT)
    assert fetched


def test_a_hubs_tensors_start_other_networks(hub: Hub, tmp_path: Path) -> None:
    """Of any repository that holds them under the usual name."""
    import torchvision
    from safetensors.torch import save

    theirs = torchvision.models.resnet18(num_classes=7)
    hub.files = {"config.json": b"{}", "model.safetensors": save(theirs.state_dict())}
    net = zoo.create_model("resnet18", num_classes=7, pretrained="hf-hub:me/net")
    assert torch.equal(net.features.conv1.weight, theirs.conv1.weight)
    with pytest.warns(UserWarning, match="2 tensors of the file have no place in resnet18"):
        net = zoo.create_model("single_frame", stem="imagenet", backbone_weights="hf-hub:me/net")
    assert torch.equal(net.features.frames.net.conv1.weight, theirs.conv1.weight)
    config = composed(["model=single_frame", "model.backbone=resnet18", "model.backbone_weights=hf-hub:me/net"])
    check_parts(config)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("hf-hub:me/nothing", r"config\.json of hf-hub:me/nothing is not in .*hub, and could not be fetched from http://127"),
        ("hf-hub:nothing", "is no name of a repository; it is hf-hub:ORG/NAME"),
        ("hf-hub:../../etc", "is no name of a repository|could not be fetched"),
        ("hf-hub:me/net", r"was not published by zoo: its config\.json does not say.* timm's is create_model\(\"timm/net\"\)"),
    ],
)
def test_what_is_not_there_is_one_sentence(place: str, sentence: str, hub: Hub, verb: Verb, tmp_path: Path) -> None:
    hub.files = {"config.json": b'{"architecture": "resnet18", "pretrained_cfg": {}}', "model.safetensors": b""}
    for ask in (zoo.load, zoo.create_model, evaluate):
        with pytest.raises(ValueError, match=sentence) as caught:
            ask(place)
        assert "\n" not in str(caught.value)
    status, _, err = verb("predict", place, "x.png")
    assert status == 1
    assert err.startswith("Error: ")


def test_a_strangers_recipe_decides_no_more_than_a_checkpoint_may(run: Path) -> None:
    folder = publish(run)
    content = json.loads((folder / "config.json").read_text())
    whole = json.dumps(content)
    for group, key, value in (
        ("model", "name", "os.system"),
        ("model", "width_of_nothing", 3),
        ("data", "root", "/etc"),
        ("task", "metric", "${oc.env:HOME}"),
    ):
        content = json.loads(whole)
        content["zoo"]["names" if key == "name" else "arguments"][group] = (
            value if key == "name" else {**content["zoo"]["arguments"][group], key: value}
        )
        (folder / "config.json").write_text(json.dumps(content))
        if key == "root":
            assert str(zoo.load(folder).data.root) != "/etc"
            continue
        with pytest.raises(ValueError, match=r"os\.system|does not know|not for a checkpoint"):
            zoo.load(folder)


def test_a_push_that_is_refused_leaves_the_folder_and_says_so(run: Path, hub: Hub, verb: Verb) -> None:
    hub.closed = True
    status, _, err = verb("publish", "run", "repo=me/net")
    assert status == 1
    assert "Error: me/net could not be pushed to http://127.0.0.1" in err
    assert "The folder is" in err
    assert err.count("\n") == 1
    assert (run / "published/config.json").is_file()


def test_requests_to_a_hub_are_in_no_log(run: Path, hub: Hub, verb: Verb, caplog: pytest.LogCaptureFixture) -> None:
    """As Hydra sets it up, the log is a stream that scripts read; the client of HTTP notes each request there."""
    caplog.set_level("INFO")
    assert verb("publish", "run", "repo=me/net")[0] == 0
    assert zoo.load("hf-hub:me/net").class_names
    assert not [record for record in caplog.records if "HTTP" in record.getMessage()]


@pytest.mark.slow  # its library asks several times
def test_a_hub_that_nobody_answers_for_is_one_sentence(run: Path, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    for words, sentence in (
        (("publish", "run", "repo=me/net"), "Error: me/net could not be pushed to http://127.0.0.1:1 ("),
        (("predict", "hf-hub:me/net", "x.png"), "could not be fetched from http://127.0.0.1:1 ("),
    ):
        status, _, err = verb(*words)
        assert status == 1
        assert sentence in err
        assert err.count("\n") == 1


def test_files_of_others_are_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"holds a README\.md that zoo has not written. Name another folder"):
        publish(run, out=tmp_path)
    (tmp_path / "closed").write_text("")
    with pytest.raises(ValueError, match="cannot be written to"):
        publish(run, out=tmp_path / "closed/x")
    assert (tmp_path / "README.md").read_text() == "mine"
