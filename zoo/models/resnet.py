"""ResNet: blocks that learn what to add to their input (He et al. 2016, "Deep residual learning for image recognition",
table 1); torchvision's networks, in which the 3x3 convolution of a bottleneck has the stride ("ResNet V1.5")."""

import torchvision
from torch import nn

from zoo.models._arguments import Stem, check_choice
from zoo.models._base import Classifier, kaiming_init_, wrapped
from zoo.models._registry import variant


def _resnet(name: str, num_classes: int = 1000, in_chans: int = 3, stem: Stem = "imagenet") -> Classifier:
    """`stem`: "imagenet" is a 7x7 convolution of stride 2 and a pooling of stride 2; "small" is one 3x3 convolution of
    stride 1, as the paper's networks for CIFAR-10 begin (section 4.2), for images of 16 to 64 pixels."""
    check_choice("stem", stem, Stem)
    net = getattr(torchvision.models, name)(num_classes=max(1, num_classes))
    if stem == "small":
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        kaiming_init_(net.conv1, mode="fan_out")
        net.maxpool = nn.Identity()
    return wrapped(net, "fc", num_classes, in_chans, ("layer1", "layer2", "layer3", "layer4"))


resnet18 = variant(_resnet, "resnet18", "ResNet-18; 11.69 M parameters, 1.81 G multiply-adds at 3x224x224.")
resnet34 = variant(_resnet, "resnet34", "ResNet-34; 21.80 M parameters, 3.66 G multiply-adds at 3x224x224.")
resnet50 = variant(_resnet, "resnet50", "ResNet-50; 25.56 M parameters, 4.09 G multiply-adds at 3x224x224.")
resnet101 = variant(_resnet, "resnet101", "ResNet-101; 44.55 M parameters, 7.80 G multiply-adds at 3x224x224.")
resnet152 = variant(_resnet, "resnet152", "ResNet-152; 60.19 M parameters, 11.51 G multiply-adds at 3x224x224.")
