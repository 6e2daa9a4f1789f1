"""The page about Python: its blocks run, one after the other, as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
README = PAGE.parents[1] / "README.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


BLOCKS = [*blocks(PAGE), blocks(README)[0]]  # its second trains C3D


def test_six_lines_lead_to_a_prediction() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 6
    assert {"fit", "test", "predict"} <= set(re.findall(r"trainer\.(\w+)", BLOCKS[0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.models import _registry

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_registry, "_BUILDERS", dict(_registry._BUILDERS))
    (tmp_path / "folder").mkdir()
    for name in ("a.jpg", "shoe.png", "folder/b.png"):
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / name)
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"block {number}", "exec"), names)
    assert "input 2: " in capsys.readouterr().out


SCRIPT = """
import lightning
import torch

import zoo
from zoo.data import Digits
from zoo.models import Classifier, register
from zoo.tasks import ClassificationTask


@register
def typed(num_classes: int = 10, in_chans: int = 1) -> Classifier:
    layers = {"flat": torch.nn.Flatten()}
    return Classifier(layers, num_features=1024, num_classes=num_classes, in_chans=in_chans, blocks=("flat",))


task = ClassificationTask(zoo.create_model("typed"), label_smoothing=0.1)
lightning.Trainer(max_epochs=1).fit(task, Digits(batch_size=64))
names: list[str] = zoo.list_models(pretrained=True)
loaded = zoo.load("lenet5:fashion_mnist")
for prediction in loaded.predict(["a.jpg", torch.rand(3, 8, 8)], top_k=2):
    text: str = prediction.as_text()
again = ClassificationTask.load_from_checkpoint("mine.ckpt")
rate: torch.Tensor = again.mean
vector: torch.Tensor = zoo.get_weights("lenet5").transforms()(torch.rand(1, 8, 8))
"""


@pytest.mark.slow
def test_a_users_script_passes_a_strict_type_check(tmp_path: Path) -> None:
    """And one with mistakes does not: the annotations are seen."""
    (tmp_path / "right.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(SCRIPT.replace("batch_size=64", "batch_size='64'").replace("top_k=2", "top=2"))
    words = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", "--config-file=", "right.py", "wrong.py"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True).stdout
    assert [line.partition(":")[0] for line in said.splitlines() if "error:" in line] == ["wrong.py"] * 2, said
