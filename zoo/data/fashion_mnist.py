"""Fashion-MNIST: photographs of clothes, 28x28 gray (Xiao, Rasul and Vollgraf 2017)."""

from zoo.data.stored import TorchvisionSet


class FashionMnist(TorchvisionSet):
    """54,000 train, 6,000 val and 10,000 test images of ten kinds of clothes, equally many of each."""

    default_shape = (1, 28, 28)
    dataset = "FashionMNIST"
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    source_mean = (0.2860,)
    source_std = (0.3530,)
