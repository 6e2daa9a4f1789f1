"""CNN + RNN: a 2-D network on each frame, a recurrent network over its features (Donahue et al. 2015, "Long-term recurrent
convolutional networks for visual recognition and description"), or a convolutional one over its maps (Ballas et al. 2016,
"Delving deeper into convolutional networks for learning video representations", section 3.1)."""

from typing import Literal

import torch
from torch import Tensor, nn

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._frames import Clips, Frames, Mean, composed, maps_of, prefixed_blocks, prefixed_renames
from zoo.models._registry import register

Cell = Literal["lstm", "gru", "conv_gru"]


class _Last(nn.Module):
    """A recurrent network's last output: (B, T, F) -> (B, hidden)."""

    def __init__(self, rnn: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.rnn(x)[0]
        return outputs[:, -1]


class ConvGRU(nn.Module):
    """A GRU whose products are convolutions, so that its state is a map: (B, T, C, h, w) -> the last, (B, hidden, h, w).

    The equations 7 to 10 of Ballas et al.; the state begins at zero.
    """

    def __init__(self, channels: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; it must be odd, so that the state keeps its size.")
        self.hidden = hidden
        self.input = nn.Conv2d(channels, 3 * hidden, kernel, padding=kernel // 2)
        self.gates = nn.Conv2d(hidden, 2 * hidden, kernel, padding=kernel // 2, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        inputs = self.input(x.flatten(0, 1))
        inputs = inputs.reshape(batch, frames, *inputs.shape[1:])
        state: Tensor = inputs.new_zeros(batch, self.hidden, *inputs.shape[3:])
        for step in inputs.unbind(1):
            gates, new = step.split([2 * self.hidden, self.hidden], 1)
            update, reset = torch.sigmoid(gates + self.gates(state)).chunk(2, 1)
            proposal = torch.tanh(new + self.candidate(reset * state))
            state = (1 - update) * state + update * proposal
        return state


@register
@composed()
def cnn_rnn(
    clips: Clips,
    cell: Cell = "lstm",
    hidden: int = 256,
    layers: int = 1,
    block: str | None = None,
) -> Classifier:
    """A 2-D network on all frames, then an LSTM, a GRU or a convolutional GRU.

    Its last state goes to the head; of the convolutional one the mean over space.

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); the frames' size is taken from it, any T is read.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        cell: "lstm" or "gru" over the frames' features; "conv_gru" over the maps of `block`, before any pooling.
        hidden: width of the state; of "conv_gru" its channels.
        layers: of recurrence, one on another.
        block: of the backbone, whose maps "conv_gru" reads (what comes later is cut off); None is the deepest.
    """
    check_choice("cell", cell, Cell)
    if layers < 1:
        raise ValueError(f"layers is {layers}; a recurrent network has at least 1.")
    net = clips.build_2d()
    if cell == "conv_gru":
        if layers > 1:
            raise ValueError("conv_gru has one layer; set layers to 1.")
        maps, (channels, _, _) = maps_of(net, clips.input_shape, block)
        return clips.classifier(
            {"frames": Frames(maps), "rnn": ConvGRU(channels, hidden), "pool": Mean(2, 3)},
            hidden,
            ("frames", "rnn"),
            prefixed_renames(net, "frames.net.net"),
        )
    if block is not None:
        raise ValueError(f"block={block!r} is of conv_gru; {cell} reads the backbone's features. Set block to null.")
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    rnn = kind(net.num_features, hidden, layers, batch_first=True)
    return clips.classifier(
        {"frames": Frames(net.features), "last": _Last(rnn)},
        hidden,
        (*prefixed_blocks(net, "frames.net"), "last"),
        prefixed_renames(net, "frames.net"),
    )
