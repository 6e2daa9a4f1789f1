"""MNIST: handwritten digits, 28x28 gray (LeCun, Cortes and Burges 1998)."""

from zoo.data.stored import TorchvisionSet


class Mnist(TorchvisionSet):
    """About 54,000 train, 6,000 val and 10,000 test images."""

    default_shape = (1, 28, 28)
    dataset = "MNIST"
    class_names = tuple("0123456789")
    source_mean = (0.1307,)
    source_std = (0.3081,)
