"""A batch with the bits of its samples alone."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.ops import MultiScaleRoIAlign

from tests.models.test_models import MARKED, small
from tests.written import chosen
from zoo.common import apart
from zoo.common.apart import Apart

IMAGES = [each for each in MARKED if chosen("model", str(each.values[0]))["task"] == "classification"]


@pytest.mark.numerical
@pytest.mark.parametrize("name", IMAGES)
def test_a_network_says_of_a_batch_what_it_says_of_each(name: str) -> None:
    torch.manual_seed(0)
    net, shape = small(name)
    net.eval()
    x = torch.randn(4, *shape)
    with torch.inference_mode():
        for part in (1, 2):
            alone = torch.cat([net(each) for each in x.split(part)])
            known: dict[Any, Any] = {}
            for kept in (None, known, known):
                with Apart(len(x), part, kept):
                    assert torch.equal(net(x), alone)
            assert known


LAYERS = {
    nn.Linear(64, 9): (64,),
    nn.Conv1d(3, 8, 3): (3, 12),
    nn.Conv2d(3, 8, 3): (3, 12, 12),
    nn.Conv3d(3, 8, 3): (3, 12, 12, 12),
    nn.ConvTranspose1d(3, 8, 3): (3, 12),
    nn.ConvTranspose2d(3, 8, 3): (3, 12, 12),
    nn.ConvTranspose3d(3, 8, 3): (3, 12, 12, 12),
}


class Counting(TorchFunctionMode):
    """The rows of each layer that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in apart._LAYERS:
            self.seen.append(len(args[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_compute_parts_of_a_batch_alone(layer: nn.Module) -> None:
    x = torch.randn(10, *LAYERS[layer])
    with torch.inference_mode(), Counting() as counting:
        with Apart(10, 5):
            assert len(layer(x)) == 10
        assert counting.seen == [5, 5]
        with Apart(12, 3):  # a batch of another size is none of its
            layer(x)
        assert counting.seen == [5, 5, 10]


def test_regions_are_computed_image_by_image() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = MultiScaleRoIAlign(["0"], 2, 2)
            self.linear = nn.Linear(12, 5)

        def forward(self, maps: dict[str, torch.Tensor], boxes: list[torch.Tensor]) -> torch.Tensor:
            scores: torch.Tensor = self.linear(self.pool(maps, boxes, [(16, 16)] * len(boxes)).flatten(1))
            return scores

    net, box = Head(), torch.tensor([[1.0, 2.0, 9.0, 8.0]])
    maps = {"0": torch.randn(3, 3, 16, 16)}
    with torch.inference_mode(), Counting() as counting:
        for counts in ([4, 1, 2], [0, 3, 5]):
            counting.seen.clear()
            with Apart(3, 1) as layers, layers.of_regions(net):
                assert net(maps, [box.expand(count, 4) for count in counts]).shape == (sum(counts), 5)
            assert counting.seen == counts
    assert not net.pool._forward_pre_hooks, "nothing stays behind"
