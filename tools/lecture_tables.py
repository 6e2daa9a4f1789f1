"""Write flops.md, the lectures' tables row by row beside our count: `python tools/lecture_tables.py`.

Nothing is run or timed. A test says when the page is stale.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn

import zoo
from zoo.common.numbers import quantity
from zoo.flops import Layer, Profile

PAGE = Path(__file__).parent.parent / "benchmarks" / "flops.md"

# What the slides (Michigan EECS 498-007/598-005 2019, as shown in UW CSE 576 2020, lecture 11) say of C3D, in G.
C3D = dict(
    zip(
        ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "head"),
        (1.04, 11.10, 5.55, 11.10, 2.77, 5.55, 0.69, 0.69, 0.51, 0.45, 0.05),
        strict=True,
    )
)
SLIDES_VGG16 = 13.6


def profiled(name: str, shape: tuple[int, ...], **arguments: object) -> Profile:
    with torch.device("meta"):
        net = zoo.create_model(name, **arguments)
    return zoo.profile(net, shape)


def times(numbers: Iterable[int]) -> str:
    return " x ".join(map(str, numbers))


def giga(macs: int, digits: int = 2) -> str:
    return f"{macs / 1e9:.{digits}f}"


def of(cost: Profile, name: str) -> Layer:
    """A layer by the last part of its path."""
    return next(layer for layer in cost.layers if layer.name.rpartition(".")[2] == name)


def short(layer: Layer) -> str:
    return layer.name.rpartition(".")[2]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *rows])


def prose(text: str) -> str:
    """Paragraphs as Markdown, folded."""
    return "\n".join(f"{textwrap.fill(' '.join(part.split()), 120)}\n" for part in text.strip().split("\n\n"))


def worked_example() -> str:
    (layer,) = zoo.profile(nn.Sequential(nn.Conv2d(3, 10, 5, padding=2)), (3, 32, 32)).layers
    return (
        "## The worked example\n\nTen 5 x 5 filters, stride 1, padding 2, on 3 x 32 x 32 (DeepRob): each of 10 x 32 x 32 "
        "outputs meets 3 x 5 x 5 weights.\n\n"
        + table(
            ["", "output", "parameters", "multiply-adds"],
            [
                ["lecture", "10 x 32 x 32", "760", "768,000"],
                ["counted", times(layer.output_shape), f"{layer.params:,}", f"{layer.macs:,}"],
            ],
        )
    )


def lenet() -> str:
    cost = profiled("lenet_wide", (1, 28, 28))
    rows = [
        [
            short(layer),
            times(layer.output_shape),
            times(layer.weight_shape),
            f"{layer.params:,}" if layer.params else "",
            f"{layer.macs:,}" if layer.macs else "",
            times("-" if n is None else n for n in layer.receptive_field),
        ]
        for layer in cost.layers
        if not short(layer).startswith("relu")
    ]
    return (
        "## LeNet, layer by layer: `lenet_wide`\n\n"
        "At 1 x 28 x 28. DeepRob heads its table LeNet-5; LeCun's network of 1998 has tanh, trainable subsampling and partial\n"
        "connections. The lecture writes a linear layer's weight as in x out, torch stores out x in.\n\n"
        + table(["layer", "output", "weight", "parameters", "multiply-adds", "receptive field"], rows)
        + f"\nIn all {cost.params:,} parameters (the lecture: 1,256,080) and {cost.macs:,} multiply-adds.\n"
    )


def c3d() -> str:
    lecture = profiled("c3d", (3, 16, 112, 112), pool5_padding=False)
    released = profiled("c3d", (3, 16, 112, 112))
    rows = []
    for layer in lecture.layers:
        name = short(layer)
        if name in C3D or name.startswith("pool"):
            slide = f"{C3D[name]:.2f}" if name in C3D else ""
            digits = 4 if slide and round(layer.macs / 1e9, 2) != C3D[name] else 2
            shown = giga(layer.macs, digits) if layer.macs else ""
            ratio = f"the slides count {27 * layer.macs / 1e9:.2f}: 27 times" if digits == 4 else ""
            rows.append(["fc8" if name == "head" else name, times(layer.output_shape), slide, shown, ratio])
    convolutions = sum(layer.macs for layer in lecture.layers if layer.kind == "Conv3d")
    ucf = profiled("c3d", (3, 16, 112, 112), num_classes=101)
    vgg = profiled("vgg16", (3, 224, 224))
    said = sum(C3D.values())
    return (
        "## C3D\n\n"
        "At 3 x 16 x 112 x 112 and 487 classes, in G multiply-adds; the slides head the column MFLOPs.\n\n"
        + table(["layer", "output", "slides", "counted", ""], rows)
        + "\n"
        + prose(f"""
            **Where the slides are wrong.** FC6, FC7 and FC8 are linear layers, {times(of(lecture, "fc6").weight_shape[::-1])},
            4096 x 4096 and 4096 x 487: one multiply-add a weight. The slides multiply once more by the 3 x 3 x 3 = 27 positions
            of a convolution's kernel, which these layers do not have. So their total, {said:.1f} G, "2.9 x VGG", is too high:
            the convolutions are {giga(convolutions)} G ({giga(convolutions, 3)}), {convolutions / vgg.macs:.2f} times VGG-16's
            {giga(vgg.macs)}, and with the linear layers it is {giga(lecture.macs)} G. (2.9 is {said:.1f} over the slides' own
            {SLIDES_VGG16} for VGG-16, which is too low: below.)

            **Where the released model differs from the slides.** Its pool5 is padded by 1 in space:
            {times(of(released, "pool5").output_shape)} instead of {times(of(lecture, "pool5").output_shape)}, and FC6 is
            {times(of(released, "fc6").weight_shape[::-1])}. That is `c3d` here (`pool5_padding=False` is the slides'):
            {quantity(released.params)} parameters and {giga(released.macs)} G at 487 classes, {quantity(ucf.params)} and
            {giga(ucf.macs)} G at 101.
            """)
    )


def vgg() -> str:
    cost, alexnet = profiled("vgg16", (3, 224, 224)), profiled("alexnet", (3, 224, 224))
    rows = [
        [layer.kind, times(layer.output_shape), times(layer.weight_shape), f"{layer.params:,}", giga(layer.macs, 3)]
        for layer in cost.layers
        if layer.macs
    ]
    largest = max(layer.macs for layer in cost.layers)
    many = sum(layer.macs == largest for layer in cost.layers)
    return (
        "## VGG-16 and AlexNet\n\n"
        "At 3 x 224 x 224 and 1,000 classes, in G multiply-adds.\n\n"
        + table(["VGG-16", "output", "weight", "parameters", "counted"], rows)
        + "\n"
        + prose(f"""
            **Where the slides are wrong.** They give VGG-16 {SLIDES_VGG16} GFLOP. The rows add up to {giga(cost.macs)} G
            multiply-adds ({giga(cost.flops)} GFLOPs); torchvision's metadata say the same. The slides show no rows, so why is a
            guess: the difference, {cost.macs / 1e9 - SLIDES_VGG16:.2f}, is one of the {many} convolutions of {giga(largest)} G
            ({giga(cost.macs)} - {giga(largest)} = {giga(cost.macs - largest)}), as if one had been left out of the sum.

            AlexNet: the slides say about 0.7 G, and {giga(alexnet.macs)} is counted. A slide's 96 first filters are those of
            the original in two columns on two GPUs; torchvision's, of one column (Krizhevsky 2014), has
            {alexnet.layers[0].weight_shape[0]}.
            """)
    )


def slowfast() -> str:
    cost = profiled("slowfast_r50_4x16", (3, 32, 224, 224))
    large = profiled("slowfast_r50_4x16", (3, 32, 256, 256))
    wide = profiled("slowfast_r50_4x16", (3, 32, 224, 224), fusion_kernel=7)
    places = {"conv1": "blocks.0", "res2": "blocks.1", "res3": "blocks.2", "res4": "blocks.3", "res5": "blocks.4"}
    rows = []
    for stage, block in places.items():
        line = [stage]
        for pathway in (0, 1):
            inside = f"{block}.multipathway_blocks.{pathway}."
            own = [layer for layer in cost.layers if inside in layer.name]
            shapes = [layer.output_shape for layer in own if layer.kind == "Conv3d"]
            line += [times(shapes[-1]), giga(sum(layer.macs for layer in own), 3)]
        lateral = [layer for layer in cost.layers if f"{block}.multipathway_fusion" in layer.name]
        rows.append([*line, giga(sum(layer.macs for layer in lateral), 3) if stage != "res5" else ""])
    views = 10 * 3
    return (
        "## SlowFast 4x16, ResNet-50\n\n"
        + prose("""
            One clip of 3 x 32 x 224 x 224 (the fast pathway's frames, every second of 64), in G multiply-adds; conv1's outputs
            before the pooling that follows it.
            """)
        + "\n"
        + table(["stage", "slow output", "slow", "fast output", "fast", "lateral"], rows)
        + "\n"
        + prose(f"""
            In all {giga(cost.macs)} G at a crop of 224 and {giga(large.macs)} G at 256 (the paper: 36.1). The lateral
            connections' kernels see 5 frames, as in the paper and its authors' 4x16; 7, which their 8x8 has and
            pytorchvideo's builder by default, would make it {giga(wide.macs)} G at 224. Accuracies are published with 10
            clips x 3 crops = {views} views: a prediction at 256 costs {giga(views * large.macs, 0)} G.
            """)
    )


def page() -> str:
    sections = [worked_example(), lenet(), c3d(), vgg(), slowfast()]
    return (
        "# What networks cost: the lectures' tables, counted\n\n"
        + prose("""
            A multiply-add (MAC) is one multiplication with its addition; FLOPs are two of them. Papers and slides mostly write
            FLOPs and mean multiply-adds. Biases, activations, normalisation and pooling are not counted, here or there. All
            figures are of one forward pass over one sample.

            Written by `python tools/lecture_tables.py`, which calls `zoo.profile`; `python -m zoo.flops model=c3d` prints
            such a table of any network, and `python benchmarks/flops_peers.py` compares other counters with it.
            """)
        + "\n"
        + "\n".join(sections)
    )


assert math.isclose(sum(C3D.values()), 39.5, abs_tol=0.01), "the slides' rows add up to the slides' total"

if __name__ == "__main__":
    PAGE.write_text(page())
