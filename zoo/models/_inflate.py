"""Inflation: any 2-D network reads clips (Carreira & Zisserman, "Quo Vadis, Action Recognition?", 2017, section 2.4.1).

Rewriting all layers to 3-D goes wrong wherever a network's own code says `x.mean((2, 3))` or `F.max_pool2d`: squeeze-
excite would average time and height. So the network's code stays, and reads frames folded into the batch, (B * T, C, H,
W); only its convolutions unfold to (B, C, T, H, W), look at neighbouring frames, and fold back.

What that makes of the rest: BatchNorm over (B * T, H, W) has exactly BatchNorm3d's statistics; squeeze-excite and attention
have extent one in time, and adaptive pools keep their 2-D meaning; dropout and stochastic depth draw per frame. Pools have
extent one in time by default, where the paper makes N x N pools N x N x N ("square filters are made cubic"): `pool_time` is
that. (Pools that are function calls in a network's code stay 2-D.) Folded channels_last memory *is* unfolded channels_last_3d,
so in that format folding copies nothing.
"""

import threading
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from zoo.models._arguments import check_choice

Padding = Literal["replicate", "zeros"]


class _Fold(threading.local):
    """The clips that the forward running in this thread has folded: their number, and the lengths they may have."""

    clips: int = 0
    lengths: tuple[int, ...] = ()


_FOLD = _Fold()  # not a ContextVar: torch.compile cannot trace setting one


def fold(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B * T, C, H, W). Dense: the bare view is strided where B = 1, and breaks networks' `view`."""
    x = x.transpose(1, 2).flatten(0, 1)
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _unfold(x: Tensor, seen: dict[int, int]) -> Tensor:
    """(B * T, C, H, W) -> (B, C, T, H, W). `seen` maps the batch sizes a layer has met to clips: checkpointing inside
    the network calls layers again in the backward pass, perhaps on another thread, when the forward is over."""
    size = x.shape[0]
    if clips := _FOLD.clips:
        if all(size != clips * length for length in _FOLD.lengths):
            raise ValueError(
                f"cannot inflate: a convolution got a batch of {size}, not {clips} clips of "
                f"{' or '.join(map(str, _FOLD.lengths))} frames; the network mixes its batch axis with others."
            )
        if not torch.compiler.is_compiling() and seen.setdefault(size, clips) != clips:
            seen[size] = 0  # one size, two meanings
    elif not (clips := seen.get(size, 0)):
        raise ValueError(
            f"an inflated layer got {size} frames outside its network's forward, and cannot tell how many clips they "
            "are. Call the inflated network; if batches vary in shape, checkpoint it as a whole."
        )
    return x.reshape(clips, -1, *x.shape[1:]).transpose(1, 2)


def _pad_time(x: Tensor, time: int, padding: Padding) -> Tensor:
    """Add time - 1 frames to (B, C, T, H, W), the odd one at the end: at stride s, T frames become ceil(T / s)."""
    before, after = (time - 1) // 2, time // 2
    if padding == "zeros":
        return F.pad(x, (0, 0, 0, 0, before, after))
    # Not F.pad's replication, whose CUDA backward is not deterministic.
    return torch.cat([x[:, :, :1]] * before + [x] + [x[:, :, -1:]] * after, 2)


def repeat(weight: Tensor, time: int) -> Tensor:
    """(O, I, Kh, Kw) -> (O, I, Kt, Kh, Kw): copies whose sum is the 2-D filter, so constant videos get its response."""
    return weight.unsqueeze(2).repeat(1, 1, time, 1, 1) / time


class _Conv(nn.Conv3d):
    """A Conv2d that became 3-D (see `become`): folded frames in, folded frames out. Loads 2-D and 3-D weights."""

    spatial: list[int]  # F.pad's argument
    native: bool  # whether the convolution can pad by itself
    same: bool  # TensorFlow's padding, which depends on the input's size
    standardized: bool  # timm's StdConv2d, with its `eps`; ScaledStdConv2d has `gain` and `scale` as well
    time_padding: Padding
    seen: dict[int, int]

    @staticmethod
    def become(conv: nn.Conv2d, weight: nn.Parameter, stride: int, padding: Padding) -> None:
        """Change the layer's class in place, so that names, aliases, sharing and hooks all stay true."""
        kind = _kind(conv)
        native = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
        vars(conv).update(
            spatial=list(conv._reversed_padding_repeated_twice),
            native=native,
            same=kind == "Conv2dSame" or getattr(conv, "same_pad", False),
            standardized="StdConv2d" in kind,
            time_padding=padding,
            seen={},
            kernel_size=tuple(weight.shape[2:]),
            stride=(stride, *conv.stride),
            padding=(0, *conv.padding) if native else (0, 0, 0),
            dilation=(1, *conv.dilation),
            output_padding=(0, 0, 0),
        )
        conv.weight = weight
        object.__setattr__(conv, "__class__", _Conv)

    def forward(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        padding = self.padding
        if self.same:
            axes = zip(x.shape[:1:-1], self.kernel_size[:0:-1], self.stride[:0:-1], self.dilation[:0:-1], strict=True)
            short = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in axes]
            x = F.pad(x, [side for n in short for side in (n // 2, n - n // 2)])
        elif not self.native or self.padding_mode != "zeros":  # the latter: `bfloat16.pad_explicitly`
            x = F.pad(x, self.spatial, mode="constant" if self.padding_mode == "zeros" else self.padding_mode)
            padding = (0, 0, 0)
        weight, time = self._filters(), self.kernel_size[0]
        if time == self.stride[0] == 1:
            return F.conv2d(x, weight[:, :, 0], self.bias, self.stride[1:], padding[1:], self.dilation[1:], self.groups)
        x = _pad_time(_unfold(x, self.seen), time, self.time_padding)
        return fold(F.conv3d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups))

    def _filters(self) -> Tensor:
        if not self.standardized:
            return self.weight
        # Copies divided by Kt deviate by 1 / Kt: with eps scaled alike, standardizing them gives Kt whole 2-D filters.
        time, own = self.kernel_size[0], vars(self)
        gain = (self._parameters["gain"] * own["scale"]).view(-1) if "scale" in own else None
        flat = self.weight.reshape(1, self.out_channels, -1)
        flat = F.batch_norm(flat, None, None, gain, training=True, momentum=0.0, eps=own["eps"] / time**2)
        return flat.reshape_as(self.weight) / time

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None and weight.dim() == 4:
            state_dict[prefix + "weight"] = repeat(weight, self.kernel_size[0])
        super()._load_from_state_dict(state_dict, prefix, *args)


class _TimePool:
    """Forward hook of a 2-D pool: pools its result over time. A maximum (mean) of maxima (means) is the 3-D pool."""

    def __init__(self, time: int, stride: int) -> None:
        self.kernel, self.stride = (time, 1, 1), (stride, 1, 1)
        self.seen: dict[int, int] = {}

    def __call__(self, pool: nn.Module, args: tuple[Any, ...], x: Tensor) -> Tensor:
        op = F.max_pool3d if isinstance(pool, nn.MaxPool2d) else F.avg_pool3d
        return fold(op(_pad_time(_unfold(x, self.seen), self.kernel[0], "replicate"), self.kernel, self.stride))


class Inflated(nn.Module):
    """A 2-D network, `net`, made to read clips; `inflate` builds it. State-dict keys are those of the network alone."""

    def __init__(self, net: nn.Module, strides: Iterable[int] = (), per_frame: bool = False) -> None:
        super().__init__()
        self.net, self.strides, self.per_frame, self.training = net, tuple(strides), per_frame, net.training
        self.register_state_dict_post_hook(_drop_prefix)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_prefix)  # type: ignore[no-untyped-call]

    def forward(self, clips: Tensor) -> Any:
        """(B, C, T, H, W) -> what the network returns for (B, C, H, W), each tensor the mean over its frames; or, with
        `per_frame`, (B, T, ...) of them."""
        if clips.dim() != 5 or clips.shape[2] == 0:
            raise ValueError(f"an inflated network reads (B, C, T, H, W) clips, but got {tuple(clips.shape)}.")
        batch, lengths = clips.shape[0], [clips.shape[2]]
        for stride in self.strides:
            lengths += [n for n in (-(-length // stride) for length in lengths) if n not in lengths]
        if batch == 1 and min(lengths) == 1 < lengths[0]:
            # A batch of one broadcasts where branches that disagree about time meet, and hides it. Two clips never do.
            clips = clips.expand(2, -1, -1, -1, -1)
        count = clips.shape[0]
        outer = _FOLD.clips, _FOLD.lengths  # an inflated network may hold another
        _FOLD.clips, _FOLD.lengths = count, tuple(lengths)
        try:
            out = self.net(fold(clips))
        except RuntimeError as error:
            if self.strides and "must match" in str(error):
                raise ValueError(f"branches that meet again must take the same time_stride: {error}") from error
            raise
        finally:
            _FOLD.clips, _FOLD.lengths = outer

        def joined(x: object) -> Tensor | None:
            if x is None:
                return None
            if not isinstance(x, Tensor) or x.dim() == 0 or all(x.shape[0] != count * n for n in lengths):
                what = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(f"cannot inflate: the network returned {what}, which has no frames.")
            frames = x.reshape(count, -1, *x.shape[1:])[:batch]
            return frames if self.per_frame else frames.mean(1)

        return tree_map(joined, out)


def _drop_prefix(module: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
    for key in [key for key in state if key.startswith(prefix + "net.")]:
        state[prefix + key.removeprefix(prefix + "net.")] = state.pop(key)


def _add_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + "net." + key.removeprefix(prefix)] = state.pop(key)


def _kind(conv: nn.Conv2d) -> str:
    """Return the class whose `forward` the layer runs. Raises ValueError where its meaning in 3-D is not known."""
    kind = type(conv)
    if type(conv._parameters.get("weight")) is not nn.Parameter:
        raise ValueError("its weight is computed (weight or spectral norm, parametrization) or not initialized yet.")
    if "forward" in vars(conv) or kind._conv_forward is not nn.Conv2d._conv_forward:
        raise ValueError(f"this {kind.__name__} has a forward of its own.")
    if kind.forward is nn.Conv2d.forward:
        return "Conv2d"
    if kind.__module__ in ("timm.layers.conv2d_same", "timm.layers.std_conv") and kind.__name__ != "Conv2dSameExport":
        return kind.__name__
    raise ValueError(f"this {kind.__name__} has a forward of its own.")


def _is_pool(layer: nn.Module) -> bool:
    return type(layer) is nn.AvgPool2d or (type(layer) is nn.MaxPool2d and not layer.return_indices)


def inflate(
    net2d: nn.Module,
    time: int = 3,
    *,
    padding: Padding = "replicate",
    time_stride: Mapping[str, int] | None = None,
    pool_time: int = 1,
    per_frame: bool = False,
) -> Inflated:
    """A copy of a 2-D network that reads (B, C, T, H, W) clips and returns what the 2-D network returns for images.

    Every Kh x Kw convolution with a kernel above one becomes `time` x Kh x Kw, its weights the 2-D ones copied `time`
    times and divided by `time` (Carreira & Zisserman 2017, section 2.4.1); 1 x 1 becomes 1 x 1 x 1. A constant video
    therefore gives the 2-D network's output, for any number of frames. All other layers read each frame by itself
    (attention, transposed and deformable convolutions too), and outputs are averaged over the frames.
    State-dict keys are the 2-D network's; `load_state_dict` takes its weights as well as inflated ones.

    Args:
        padding: what lies before the first frame and after the last. With "zeros" a constant video gives the 2-D
            response only in frames whose windows reach over no end.
        time_stride: layer name -> stride in time, for Conv2d, MaxPool2d and AvgPool2d; the others have stride 1. T
            frames become ceil(T / stride). A pool named here pools `time` frames, the ends replicated. Branches that
            meet again must take the same stride: in a ResNet, a strided convolution and its block's shortcut.
        pool_time: frames that each MaxPool2d and AvgPool2d pools, the ends replicated; 1 leaves them 2-D. (Those named in
            `time_stride` pool `time` frames where this is 1.)
        per_frame: return the frames' outputs, (B, T, ...), as they are, not their mean.

    Raises:
        ValueError: nothing in the network inflates, or a layer cannot; in `forward`, the network mixes its batch axis
            with others, returns what has no frames, or has branches that disagree about time.
    """
    if pool_time < 1:
        raise ValueError(f"pool_time={pool_time}: a pool sees at least 1 frame, which is the 2-D network's.")
    if time < 2:
        raise ValueError(f"time={time} inflates nothing: a kernel must see at least 2 frames.")
    check_choice("padding", padding, Padding)
    strides = dict(time_stride or {})
    named = dict(net2d.named_modules(remove_duplicate=False))
    for name, stride in strides.items():
        if name not in named:
            raise ValueError(f"time_stride names {name!r}; the nearest layers are {get_close_matches(name, named)}.")
        layer = named[name]
        if stride < 1 or not (_is_pool(layer) or isinstance(layer, nn.Conv2d)):
            raise ValueError(f"time_stride of {name!r}: a {type(layer).__name__} cannot take stride {stride} in time.")
    convs = {name: layer for name, layer in named.items() if isinstance(layer, nn.Conv2d)}
    if all(max(conv.kernel_size) == 1 for conv in convs.values()):
        raise ValueError(f"nothing in this {type(net2d).__name__} inflates: it has no Conv2d with a kernel above 1.")
    for name, conv in convs.items():
        try:
            _kind(conv)
        except ValueError as reason:
            raise ValueError(f"cannot inflate {name!r}: {reason}") from None

    net = deepcopy(net2d)
    named = dict(net.named_modules(remove_duplicate=False))
    stride_of = {named[name]: stride for name, stride in strides.items()}
    inflated: dict[Tensor, nn.Parameter] = {}  # weights that layers share stay shared
    for layer in dict.fromkeys(named.values()):
        if isinstance(layer, nn.Conv2d):
            flat = layer.weight
            if flat not in inflated:
                filters = repeat(flat.detach(), time if max(layer.kernel_size) > 1 else 1)
                inflated[flat] = nn.Parameter(filters, requires_grad=flat.requires_grad)
            _Conv.become(layer, inflated[flat], stride_of.get(layer, 1), padding)
        elif layer in stride_of or (pool_time > 1 and _is_pool(layer)):
            layer.register_forward_hook(_TimePool(pool_time if pool_time > 1 else time, stride_of.get(layer, 1)))
    if shared := next((name for name, parameter in net.named_parameters() if parameter in inflated), None):
        raise ValueError(f"cannot inflate: {shared!r} is shared by a convolution and a layer that does not inflate.")
    return Inflated(net, strides.values(), per_frame)
