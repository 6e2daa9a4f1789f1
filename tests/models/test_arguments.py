"""What the values of arguments may be that many builders have."""

import inspect
import typing
from typing import Any

import pytest
import torch

import zoo
from zoo.models._arguments import check_choice, check_extents
from zoo.models._registry import get_builder

WORDS = [
    (name, argument)
    for name in zoo.list_models()
    for argument, hint in typing.get_type_hints(get_builder(name)).items()
    if typing.get_origin(hint) is typing.Literal
]
EXTENTS = [
    *[(name, (3, 31, 32)) for name in zoo.list_models("vgg*")],
    *[("alexnet", (3, 63, 62)), ("lenet5", (1, 15, 16)), ("lenet_wide", (1, 4, 3))],
    *[("c3d", (3, 15, 112, 112)), ("c3d", (3, 16, 15, 112)), ("slow_fusion", (3, 10, 31, 170))],
]
"""Networks, and a shape that is one pixel or one frame too small."""


@pytest.mark.parametrize(("name", "argument"), WORDS)
def test_a_word_that_an_argument_does_not_know_is_refused(name: str, argument: str) -> None:
    *words, last = typing.get_args(typing.get_type_hints(get_builder(name))[argument])
    with torch.device("meta"), pytest.raises(ValueError, match="odd") as caught:
        zoo.create_model(name, **{argument: "odd"})
    known = rf"{argument} is 'odd'; there are {', '.join(words)} and {last}."
    assert str(caught.value) == known or argument == "norm"


@pytest.mark.parametrize(("name", "shape"), EXTENTS)
def test_what_is_too_small_is_refused_and_one_pixel_more_is_built(name: str, shape: tuple[int, ...]) -> None:
    arguments: dict[str, Any] = {"in_chans": shape[0]}
    small = {"hidden": 8, "pooled": 1}
    arguments |= {key: value for key, value in small.items() if key in inspect.signature(get_builder(name)).parameters}
    kind = "A clip" if len(shape) == 4 else "An image"
    with torch.device("meta"):
        with pytest.raises(ValueError, match=f"{kind} of .* is too small for {name}: it takes at least "):
            zoo.create_model(name, **arguments, input_shape=shape)
        zoo.create_model(
            name, **arguments, input_shape=(shape[0], *(extent + 1 if extent != 10 else 10 for extent in shape[1:]))
        )


def test_the_sentences() -> None:
    with pytest.raises(
        ValueError, match=r"^A clip of \(3, 8, 8, 8\) is too small for c3d: it takes at least 16 frames of 32 x 32\.$"
    ):
        check_extents("c3d", [3, 8, 8, 8], (16, 32, 32))
    with pytest.raises(ValueError, match=r"^An image of \(1, 8, 8\) is too small for net: it takes at least 9 x 8\.$"):
        check_extents("net", (1, 8, 8), (9, 8))
    with pytest.raises(ValueError, match=r"^cell is None; there are lstm, gru and conv_gru\.$"):
        check_choice("cell", None, typing.Literal["lstm", "gru", "conv_gru"])
