"""An inflated network: a 2-D one whose convolutions reach over neighbouring frames (Carreira and Zisserman 2017, "Quo
Vadis, Action Recognition?", section 2.4.1); see `zoo.inflate`."""

from zoo.models._base import Classifier
from zoo.models._frames import Clips, composed, prefixed_blocks
from zoo.models._inflate import Padding, inflate
from zoo.models._registry import register


@register
@composed(num_classes=400, input_shape=(3, 64, 224, 224))
def inflated(
    clips: Clips,
    time: int = 3,
    padding: Padding = "replicate",
    pool_time: int = 1,
) -> Classifier:
    """A 2-D network inflated to clips, time stride 1; on a constant video it gives the 2-D network's scores.

    `pretrained` takes weights of the 2-D network (copied `time` times, divided by `time`) as well as of this one, and a
    backbone that is a network brings its own, its head too if it has as many classes.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); the frames' size is taken from it, any T is read.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        stem: of a resnet by name: "imagenet", "small", or None: "small" for frames of fewer than 64 pixels.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        time: frames that a convolution sees.
        padding: before the first frame and after the last: "replicate" or "zeros".
        pool_time: frames that a pool sees: 1 leaves pools 2-D; the paper's cubic pools are those of 2x2 with 2, of 3x3 with 3.
    """
    net2d = clips.build_2d(num_classes=clips.num_classes)
    features = inflate(net2d.features, time, padding=padding, pool_time=pool_time)
    net = clips.classifier(features, net2d.num_features, prefixed_blocks(net2d, "net"), net2d.renames)
    net.head = net2d.head
    return net
