"""Count what a network costs, layer by layer, multiply-adds, parameters, receptive fields, memory: `zoo flops model=c3d`.

From the command line it is the paper's network at the paper's input shape, but for what is set; size=small is the one for small
data. A run's network is counted at the shape it was trained at.
"""

from collections.abc import Sequence
from typing import Annotated

import torch

from zoo.flops.count import profile
from zoo.run.grammar import Named, Plain


def _main(
    trained: Annotated[str | None, Plain(), Named("run_folder")] = None,
    overrides: Sequence[str] = (),
    clips: int = 1,
    crops: int = 1,
    regions: int | None = None,
) -> None:
    """Count what a network costs.

    Args:
        trained: a run folder or a checkpoint: its network, at the shape it was trained at.
        overrides: settings of the network.
        clips: of a video that are scored at test.
        crops: of each clip, or of an image.
        regions: of an image that a detector's heads look at; null takes the most.
    """
    from zoo.run.network import untrained_net
    from zoo.run.recipe import trained_net

    with torch.device("meta"):
        _, net, shape = untrained_net(overrides) if trained is None else trained_net(trained, overrides)
    print(profile(net, shape, clips=clips, crops=crops, regions=regions))


def main() -> None:
    from zoo.run import cli

    cli.command(_main)


if __name__ == "__main__":
    main()
