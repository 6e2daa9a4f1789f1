"""The order of an epoch, as a function of the seed and the epoch."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DistributedSampler

from zoo.common.chance import SPREAD, permutation, uniform
from zoo.common.files import Unreadable as Unreadable

MIXED = 4
"""Archives whose samples are mixed with one another: a reader needs these few at a time, and no more."""


class EpochSampler(DistributedSampler[Any]):
    """The order of an epoch as a function of (seed, epoch), dealt out to the ranks in turn.

    (It has nothing of torch's sampler but the name, by which Lightning knows that the ranks share the samples already.)

    Every rank gets the same number of samples, or strategies that talk in each step would wait for ever; the shortest
    ranks repeat samples from the start. In training these count twice, in evaluation they are dropped by their id.

    Args:
        blocks: where samples lie in archives, how many in each. A rank then takes a stretch of archives, one after another,
            and an epoch mixes the archives and the samples of `MIXED` at a time.
        groups: (length,): samples of one number are put into one batch, but for a few at the borders; None mixes all.
        batch: samples a step on each rank.
        spread: begin with so many samples, over all ranks, from every part of the split: an evaluation that is cut short would
            score the first classes of a folder only. None keeps the order.
        views: samples that belong together, and are taken together by `spread`.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        blocks: Sequence[int] | None = None,
        groups: Tensor | None = None,
        batch: int = 1,
        spread: int | None = None,
        views: int = 1,
    ) -> None:
        self.spread = spread
        self.views = views
        self.groups = groups
        self.batch = batch
        self.length = length
        self.blocks = blocks
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._begun = (0, 0)

    def resume_at(self, epoch: int, samples: int) -> None:
        """Begin in this epoch, of which this rank has had so many samples."""
        self.epoch = epoch
        self._begun = (epoch, samples)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.length / self.world)

    def __iter__(self) -> Iterator[Any]:
        """Draws."""
        order = permutation(self.seed, self.epoch, self.length) if self.shuffle else torch.arange(self.length)
        if self.shuffle and self.groups is not None:
            order = self._grouped(order)
        if not self.shuffle and self.spread is not None:
            order = spread_order(self.length, self.spread, self.views)
        steps = torch.arange(len(self))
        if self.blocks is None or self.spread is not None:
            dealt = order[(steps * self.world + self.rank) % max(1, self.length)]
        else:
            if self.shuffle:
                order = self._by_block(order)
            dealt = order[(self.rank * len(self) + steps) % max(1, self.length)]
        epoch, had = self._begun
        return ((self.epoch, index) for index in dealt[had if epoch == self.epoch else 0 :].tolist())

    def _by_block(self, order: Tensor) -> Tensor:
        """An order of all samples, sorted by the turn of each one's group of archives: inside a group it stays."""
        assert self.blocks is not None
        turn = torch.empty(len(self.blocks), dtype=torch.int64)
        turn[permutation(self.seed, self.epoch, len(self.blocks))] = torch.arange(len(self.blocks)) // MIXED
        block = torch.repeat_interleave(torch.arange(len(self.blocks)), torch.tensor(self.blocks))
        return order[turn[block[order]].argsort(stable=True)]

    def _grouped(self, order: Tensor) -> Tensor:
        """Cut an order, sorted by group, into the steps of all ranks, and shuffle the steps; the last, short one stays last."""
        assert self.groups is not None
        order = order[self.groups[order].argsort(stable=True)]
        steps = torch.split(order, self.batch * self.world)
        whole = [step for step in steps if len(step) == self.batch * self.world]
        chosen = permutation(self.seed, self.epoch, len(whole)).tolist()
        return torch.cat([*(whole[at] for at in chosen), *steps[len(whole) :]])


def spread_order(length: int, count: int, views: int = 1) -> Tensor:
    """All samples, (length,), those first that stand for the whole split: of each of `count` equal stretches one.

    Which one of a stretch is drawn, the same each time: every k-th of a set whose classes take turns could be of one class.
    The `views` of an image or video stay together.
    """
    numbers = length // views
    parts = min(numbers, max(1, count // views))
    edges = torch.arange(parts + 1) * numbers // parts
    place = uniform(0, 0, torch.arange(parts), 1, SPREAD).squeeze(1)
    chosen = edges[:-1] + (place * (edges[1:] - edges[:-1])).long()
    others = torch.ones(numbers, dtype=torch.bool)
    others[chosen] = False
    order = torch.cat([chosen, others.nonzero().squeeze(1)])
    return (order[:, None] * views + torch.arange(views)).flatten()
