"""A convolutional autoencoder: strided convolutions to an embedding, transposed convolutions back (Hinton and Salakhutdinov
2006, "Reducing the dimensionality of data with neural networks", in the convolutional form of Toronto CSC321 2020,
lecture 8)."""

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models._base import kaiming_init_
from zoo.models._registry import register
from zoo.models._vgg import conv_norm_relu, scaled_channels

_FILTERS = (32, 64, 128)


class Autoencoder(nn.Module):
    """`encoder` turns an image into one vector, `decoder` turns a vector into an image."""

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential, embedding: int, in_chans: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.embedding = embedding
        self.in_chans = in_chans

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, embedding)."""
        embedding: Tensor = self.encoder(x)
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, embedding) -> (B, C, H, W)."""
        image: Tensor = self.decoder(embedding)
        return image

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


@register
def autoencoder(
    in_chans: int = 1,
    input_shape: Sequence[int] = (1, 28, 28),
    embedding: int = 32,
    width: float = 1.0,
    norm: bool = True,
) -> Autoencoder:
    """Three convolutions of stride 2 and a linear layer, and their mirror.

    The mirror undoes each convolution's shape exactly: `output_padding` where the stride left a remainder.

    Args:
        in_chans: channels of the image.
        input_shape: (C, H, W); it sizes the linear layers, hence images are of this size.
        embedding: length of the vector between.
        width: factor on the 32, 64 and 128 filters.
        norm: BatchNorm after each convolution but the last, in place of its bias.
    """
    if embedding < 1:
        raise ValueError(f"embedding is {embedding}; it must be at least 1.")
    sizes = [tuple(input_shape[1:])]
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    before = in_chans
    for number, filters in enumerate(_FILTERS):
        after = scaled_channels(filters, width)
        # kernel 3, padding 1, stride 2: (W - 3 + 2) // 2 + 1, half of W rounded up; the remainder is output_padding.
        sizes.append(tuple((extent + 1) // 2 for extent in sizes[-1]))
        height, width_ = ((extent + 1) % 2 for extent in sizes[-2])
        encoder += conv_norm_relu(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=not norm), after, norm)
        mirrored = nn.ConvTranspose2d(
            after, before, 3, stride=2, padding=1, output_padding=(height, width_), bias=not norm or not number
        )
        decoder = [*(conv_norm_relu(mirrored, before, norm) if number else [mirrored]), *decoder]
        before = after
    area = sizes[-1][0] * sizes[-1][1]
    encoder += [nn.Flatten(), nn.Linear(before * area, embedding)]
    decoder = [nn.Linear(embedding, before * area), nn.ReLU(inplace=True), nn.Unflatten(1, (before, *sizes[-1])), *decoder]
    net = Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder), embedding, in_chans)
    kaiming_init_(net)
    return net
