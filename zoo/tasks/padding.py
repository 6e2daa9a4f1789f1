"""Convolutions that are right in bfloat16 on a CPU."""

import lightning

from zoo.common.bfloat16 import pad_explicitly


class ExplicitPadding(lightning.Callback):
    """Pad the input of a network's convolutions in a step of its own, where a Trainer trains in bfloat16 on a CPU: see
    `zoo.common.bfloat16`. Every task brings it along."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if stage == "fit":
            pad_explicitly(pl_module, str(trainer.precision), trainer.strategy.root_device.type)
