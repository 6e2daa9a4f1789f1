"""A detector is asked about several images of one size together, and says of each what it says of it alone."""

from typing import Any

import pytest
import torch

import zoo
from zoo.tasks import predictions
from zoo.tasks.detection import DetectionTask

SIZES = [(64, 80)] * 3 + [(48, 64)] * 2 + [(64, 80)]


def images() -> list[Any]:
    draws = torch.Generator().manual_seed(0)
    found = []
    for number, (height, width) in enumerate(SIZES):
        size = torch.tensor([[height, width]])
        pixels = torch.randint(0, 256, (1, 3, height, width), generator=draws, dtype=torch.uint8)
        ids = torch.tensor([number])
        found.append({"input": pixels, "size": size, "full": 2 * size, "image_id": ids, "id": ids, "view": 0 * ids})
    return found


@pytest.mark.numerical
@pytest.mark.parametrize("proposals", [7, 60])
@pytest.mark.parametrize("heads", [["box"], ["box", "mask", "keypoint"]])
def test_of_several_images_is_said_what_is_said_of_each(
    heads: list[str], proposals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DetectionTask, "_drawn", lambda *_: torch.zeros(3, 4, 4, dtype=torch.uint8))  # which takes long
    torch.manual_seed(0)
    net = zoo.create_model(
        "mask_rcnn",
        num_classes=3,
        backbone="resnet18",
        channels=16,
        heads=heads,
        head_options={name: {"box": {"width": 32}}.get(name, {"widths": [8]}) for name in heads},
        rpn_options={"proposals": proposals},
    )
    task = DetectionTask(net, mean=[0.5] * 3, std=[0.2] * 3, threshold=0.0, class_names=("a", "b", "c")).eval()
    batches, seen = images(), []
    net.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    with torch.inference_mode():
        alone = [task.prediction(batch, task.class_names, 9) for batch in batches]
        seen.clear()
        together = task.predictions(batches, task.class_names, 9)
        assert seen == [4, 2]
        assert any(each.fields["objects"] for each in alone)
        for one, other in zip(alone, together, strict=True):
            assert one.fields == other.fields
        seen.clear()
        monkeypatch.setattr(predictions, "_VALUES", 3 * 64 * 80 * 2)
        assert task.predictions(batches, task.class_names, 9)[5].fields == alone[5].fields
        assert seen == [2, 2, 2]
