"""Self-attention over space and time: every position of every frame looks at all others (Wang et al. 2018, "Non-local
neural networks"; blocks and normalization as in Dosovitskiy et al. 2021, with the joint space-time attention of Bertasius
et al. 2021, "Is space-time attention all you need for video understanding?")."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from zoo.models._base import Classifier
from zoo.models._frames import Checked, Clips, Frames, Mean, composed, maps_of, prefixed_renames
from zoo.models._inflate import inflate
from zoo.models._registry import register


class _Tokens(nn.Module):
    """Maps of all frames as one row of tokens with their places: (B, T, C, h, w) -> (B, T * h * w, width).

    A place is a learned vector of its time plus one of its position in the frame. Without the time's, attention would be
    blind to the order of frames.
    """

    def __init__(self, channels: int, width: int, frames: int, height: int, across: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.time = nn.Parameter(nn.init.trunc_normal_(torch.empty(frames, 1, width), std=0.02))
        self.space = nn.Parameter(nn.init.trunc_normal_(torch.empty(height * across, width), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.project(x.flatten(3).transpose(2, 3))
        if tokens.shape[2] != len(self.space):
            raise ValueError(
                f"The network was built for maps of {len(self.space)} positions, but its backbone made {tokens.shape[2]} of "
                f"these frames. Build it with their input_shape."
            )
        return (tokens + self.time + self.space).flatten(1, 2)


class _Block(nn.Module):
    """Attention, then a small MLP on each token; each adds to its normalized input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(seen))
        added: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return added


@register
@composed()
def space_time_attention(
    clips: Clips,
    block: str | None = None,
    time: int = 1,
    width: int = 256,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
) -> Classifier:
    """A 2-D network on all frames, then self-attention over space and time.

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, T, H, W); it sizes the positions, and clips of another are refused.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        block: of the backbone, whose maps are attended to (what comes later is cut off); None is the deepest.
        time: frames that a convolution of the backbone sees; with more than 1 it is inflated (Wang et al., section 4:
            I3D), with 1 it reads each frame by itself (their C2D).
        width: of a token.
        depth: blocks of attention.
        heads: of each.
        dropout: after attention and after the MLP of each block.
    """
    if width % heads:
        raise ValueError(f"width={width} cannot be shared by {heads} heads; choose a multiple.")
    net = clips.build_2d()
    maps, (channels, height, across) = maps_of(net, clips.input_shape, block)
    blocks = {f"block{number}": _Block(width, heads, dropout) for number in range(1, depth + 1)}
    return clips.classifier(
        {
            "clip": Checked(clips.frames),
            "frames": inflate(maps, time, per_frame=True) if time > 1 else Frames(maps),
            "tokens": _Tokens(channels, width, clips.frames, height, across),
            **blocks,
            "norm": nn.LayerNorm(width),
            "mean": Mean(1),
        },
        width,
        ("frames", *blocks),
        prefixed_renames(net, "frames.net" if time > 1 else "frames.net.net"),
    )
