"""CIFAR-10: photographs of animals and vehicles, 32x32 in color (Krizhevsky 2009)."""

from zoo.data.stored import TorchvisionSet


class Cifar10(TorchvisionSet):
    """45,000 train, 5,000 val and 10,000 test images, equally many of each class."""

    default_shape = (3, 32, 32)
    dataset = "CIFAR10"
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    source_size = (32, 32)
    source_mean = (0.4914, 0.4822, 0.4465)
    source_std = (0.2470, 0.2435, 0.2616)
