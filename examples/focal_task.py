"""A task of one's own: classification by the focal loss (Lin et al. 2017, "Focal loss for dense object detection", section 3).

zoo train examples/focal_task.py task=focal task.gamma=1      # as any task, with any network and any data of labels
zoo evaluate RUN_FOLDER examples/focal_task.py
python examples/focal_task.py                                 # by a plain Trainer
"""

from typing import Any

import lightning
from torch import Tensor
from torch.nn.functional import cross_entropy

import zoo
from zoo.data import Digits
from zoo.tasks import ClassificationTask


class FocalTask(ClassificationTask):
    """Each sample counts by (1 - p) ** gamma, p being the probability of its class: what is known already counts little.

    Args:
        gamma: 0 is the cross-entropy.
        arguments: those of `ClassificationTask`.
    """

    def __init__(self, net: Any, *, gamma: float = 2.0, **arguments: Any) -> None:
        super().__init__(net, **arguments)
        self.gamma = gamma

    def losses(self, batch: Any) -> dict[str, Tensor]:
        loss = cross_entropy(self(batch["input"]).float(), batch["label"], reduction="none")
        return {"focal": ((1 - (-loss).exp()) ** self.gamma * loss).mean()}


def main(**limits: Any) -> None:
    task = FocalTask(zoo.create_model("lenet5"), gamma=1.0)
    trainer = lightning.Trainer(**{"max_epochs": 5, **limits})
    trainer.fit(task, Digits())
    trainer.test(task, Digits())


if __name__ == "__main__":
    main()
