"""Autoencoding: the error in pixels from 0 to 1, and the three pictures."""

from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo
from tests.precision import SINGLE
from zoo.batch import Batch, LabelBatch
from zoo.tasks.autoencoder import AutoencoderTask


def task(embedding: int = 4) -> AutoencoderTask:
    torch.manual_seed(0)
    return AutoencoderTask(
        zoo.create_model("autoencoder", input_shape=(1, 8, 8), embedding=embedding, width=0.25),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=None,
        mean=[0.3],
        std=[0.4],
    ).eval()


def samples(count: int) -> list[LabelBatch]:
    pixels = torch.randint(0, 256, (count, 1, 1, 8, 8), dtype=torch.uint8)
    zero = torch.zeros(1, dtype=torch.int64)
    return [LabelBatch(input=image, label=zero + k % 3, id=zero + k, view=zero, epoch=zero) for k, image in enumerate(pixels)]


@pytest.mark.numerical
def test_the_error_is_of_pixels_from_0_to_1() -> None:
    model, batch = task(), samples(1)[0]
    x = batch["input"] / 255
    y = model.net((x - 0.3) / 0.4) * 0.4 + 0.3
    expected = ((y - x) ** 2).mean().item()
    assert model.losses(batch)["mse"].item() == pytest.approx(expected, rel=SINGLE)
    assert model.metrics(model.sample_outputs(batch)) == {"mse": pytest.approx(expected, rel=SINGLE)}


@pytest.mark.parametrize("embedding", [1, 2, 5])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_pictures_of_a_run(embedding: int, labelled: bool, tmp_path: Path) -> None:
    shown: list[Batch] = list(samples(12))
    if not labelled:
        for batch in shown:
            del batch["label"]  # type: ignore[misc]
    with torch.inference_mode():
        task(embedding).draw(shown, tmp_path)
    for name in ("reconstructions", "interpolation", "embedding"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_answer() -> None:
    batch = samples(1)[0]
    with torch.inference_mode():
        answer = task(3).prediction(batch, (), 5)
    assert len(answer.fields["embedding"]) == 3
    assert answer.pictures["reconstruction"].size == (8, 8)
