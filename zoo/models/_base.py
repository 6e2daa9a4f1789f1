"""The contract of every classification network: features, then a head that can be replaced."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Classifier(nn.Module):
    """`features` turn an image or a clip into one vector, `head` turns the vector into class scores.

        vectors = net.embed(x)           # (B, net.num_features)
        scores = net.classify(vectors)   # (B, net.num_classes), which is net(x)
        maps = net.forward_blocks(x)     # what is in between, by the names in net.blocks, shallow to deep

    The last is what timm gives by `features_only=True`, of networks of images and of clips, without another network. The names
    `num_features`, `num_classes`, `get_classifier` and `reset_classifier` are timm's. `embed` and `classify` are not called
    `forward_features` and `forward_head`, for in timm the pooling belongs to the head.

    Attributes:
        features: one module, or named layers in a row; it ends in a vector of `num_features`.
        head: the last linear layer; `nn.Identity` where `num_classes` is 0.
        in_chans: channels of the input.
        blocks: names of the places in `features` from which features are usually taken, shallow to deep.
        renames: how published weights call our tensors: the first of these prefixes that a name starts with is replaced.
    """

    def __init__(
        self,
        features: nn.Module | Mapping[str, nn.Module],
        *,
        num_features: int,
        num_classes: int,
        in_chans: int,
        blocks: tuple[str, ...],
        renames: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.features: nn.Module = nn.Sequential() if isinstance(features, Mapping) else features
        if isinstance(features, Mapping):
            for name, layer in features.items():
                self.features.add_module(name, layer)
        self.num_features = num_features
        self.in_chans = in_chans
        self.blocks = blocks
        self.renames = {"cls_head.fc_cls.": "head.", **(renames or {})}  # mmaction2's recognizers end so
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by an untrained one; with 0 classes the network ends in its features."""
        if num_classes < 0:
            raise ValueError(f"num_classes is {num_classes}; it must be positive, or 0 for no head.")
        self.num_classes = num_classes
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        if recipe := vars(self).get("recipe"):
            recipe["arguments"]["num_classes"] = num_classes

    def get_classifier(self) -> nn.Module:
        return self.head

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C, T, H, W) -> (B, num_features)."""
        features: Tensor = self.features(x)
        return features

    def forward_blocks(self, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the outputs of the named blocks of `features`, by name.

        Args:
            x: images (B, C, H, W) or clips (B, C, T, H, W).
            names: any layers of `features` (`net.features.named_modules()`); None is all of `blocks`.

        Returns:
            A map a block: of images (B, c, h, w); of clips (B, c, t, h, w), also where a 2-D network reads frame by frame (its
            vectors are (B, c, t)), but for what is one for all frames, (B, c, h, w). Vectors are (B, c), tokens of attention
            (B, n, c). Gradients flow.

        Raises:
            ValueError: a name that is no layer of `features`.
        """
        chosen = tuple(self.blocks if names is None else names)
        layers = dict(self.features.named_modules())
        for name in chosen:
            if name not in layers or not name:
                raise ValueError(f"The network has no block {name!r}; its blocks are {', '.join(self.blocks)}.")
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                value = output.clone()  # a later layer may work in place on what an earlier one gave
                found[name] = value.transpose(1, 2) if getattr(module, "frames_first", False) else _by_clips(value, len(x))

            return hook

        hooks = [layers[name].register_forward_hook(keep(name)) for name in chosen]
        try:
            self.embed(x)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def classify(self, features: Tensor) -> Tensor:
        """(B, num_features) -> (B, num_classes), scores before the softmax."""
        scores: Tensor = self.head(features)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))

    def checkpoint_blocks(self) -> None:
        """Save memory in training: keep the inputs of `blocks` alone for the backward pass, which computes the rest again, in
        about a third more time (Chen et al. 2016, "Training deep nets with sublinear memory cost").

        Gradients and BatchNorm's statistics stay what they were.
        """
        for name in self.blocks:
            block = self.features.get_submodule(name)
            if getattr(block.forward, "func", None) is checkpoint:
                continue
            for module in block.modules():
                if getattr(module, "inplace", False):
                    vars(module)["inplace"] = False  # or what entered the block would be gone when it is computed again
            block.forward = functools.partial(
                checkpoint, block.forward, use_reentrant=False, context_fn=functools.partial(_once, block)
            )


def _by_clips(value: Tensor, clips: int) -> Tensor:
    """Turn frames that are folded into the batch, (B * t, c, ...), into (B, c, t, ...); leave anything else as it is."""
    if len(value) == clips or len(value) % clips:
        return value
    return value.reshape(clips, -1, *value.shape[1:]).transpose(1, 2)


def _once(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the forward pass and of its repetition, which must not count a batch twice."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def kaiming_init_(
    net: nn.Module,
    kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.ConvTranspose2d),
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> None:
    """Draw the weights of all layers of these kinds as ReLUs want them, and set their biases to 0 (He et al. 2015, "Delving
    deep into rectifiers").

    PyTorch's default shrinks the signal from layer to layer; a deep network without BatchNorm would hardly start to learn.
    """
    for layer in net.modules():
        if isinstance(layer, kinds):
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            # A transposed convolution's second axis is its outputs: what reaches one of them is its fan out.
            turned = isinstance(layer, nn.ConvTranspose2d)
            nn.init.kaiming_normal_(weight, mode="fan_out" if turned else mode, nonlinearity="relu")
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)


def wrapped(
    net: nn.Module,
    head: str,
    num_classes: int,
    in_chans: int,
    blocks: tuple[str, ...],
    renames: Mapping[str, str] | None = None,
    kind: type[Classifier] = Classifier,
) -> Classifier:
    """Turn another library's network into a `Classifier`: its linear layer `head` is the head, all before it the features.

    Its first convolution is made anew for `in_chans` channels. Tensors keep their names, behind `features.` or `head.`.
    """
    linear = net.get_submodule(head)
    assert isinstance(linear, nn.Linear), f"{head} of {type(net).__name__} is not linear"
    _replace(net, head, nn.Identity())
    name, first = first_convolution(net)
    if first.in_channels != in_chans:
        _replace(net, name, _with_channels(first, in_chans))
    result = kind(
        net,
        num_features=linear.in_features,
        num_classes=num_classes,
        in_chans=in_chans,
        blocks=blocks,
        renames={f"{head}.": "head.", **(renames or {}), "": "features."},
    )
    # With its library's initial values; but EfficientNets are drawn within 1 / sqrt(classes), which for few classes is so wide
    # that what the head is drawn with outweighs what it learns.
    narrow = linear.weight.is_meta or bool(linear.weight.std() < 2 / math.sqrt(linear.in_features))
    if linear.out_features == num_classes and narrow:
        result.head = linear
    return result


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d | nn.Conv3d]:
    """Find the convolution that reads the input, and its name. Raises ValueError where there is none."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return name, module
    raise ValueError(f"{type(net).__name__} has no convolution, so it cannot be made to read other channels.")


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(net.get_submodule(parent), leaf, module)


def _with_channels(old: nn.Conv2d | nn.Conv3d, in_chans: int) -> nn.Conv2d | nn.Conv3d:
    new = type(old)(
        in_chans,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        dilation=old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new
