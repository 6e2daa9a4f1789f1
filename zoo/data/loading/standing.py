"""Where training stands: Lightning keeps it in the checkpoint, and brings it back before it asks for the loader."""

from typing import Any

import lightning


class Standing(lightning.LightningDataModule):
    """A data module that goes on in the middle of an epoch."""

    batch_size: int

    def __init__(self) -> None:
        super().__init__()
        self._begun = (0, 0)

    def state_dict(self) -> dict[str, int]:
        """The epoch that is under way, and how many of its samples this rank has learned from."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        epoch, done = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current.completed
        within = epoch.ready > epoch.processed
        return {"epoch": epoch.processed, "samples": done * self.batch_size if within else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._begun = (int(state_dict["epoch"]), int(state_dict["samples"]))
