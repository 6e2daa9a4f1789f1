"""Write README's table of models from the registry: `python benchmarks/readme.py`. A test says when it is stale."""

import re
from pathlib import Path

import torch
from omegaconf import OmegaConf

import zoo
from zoo.config import CONF
from zoo.models._registry import get_builder
from zoo.report import quantity

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- models: python benchmarks/readme.py -->\n", "<!-- /models -->"


def row(name: str) -> str:
    """A model at its paper's input shape and its builder's own number of classes."""
    shape = tuple(OmegaConf.load(CONF / "model" / f"{name}.yaml").input_shape)
    with torch.device("meta"):
        net = zoo.create_model(name)
    cost = zoo.profile(net, shape)
    about = re.split(r"[;:.]", (get_builder(name).__doc__ or "").strip().splitlines()[0])[0]
    size = " x ".join(map(str, shape))
    return f"| `{name}` | {about} | {size} | {quantity(cost.params)} | {quantity(cost.macs)} | {quantity(cost.flops)} |\n"


def table() -> str:
    head = "| model | what it is | input | parameters | multiply-adds | FLOPs |\n|---|---|---|---:|---:|---:|\n"
    return head + "".join(row(name) for name in zoo.list_models())


def renewed(text: str) -> str:
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
