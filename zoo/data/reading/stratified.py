"""Taking a share of a labeled set so that the classes keep their proportions."""

import torch
from torch import Tensor

from zoo.common.chance import uniform


def stratified(labels: Tensor, share: float, *, seed: int, stream: int, groups: Tensor | None = None) -> Tensor:
    """(N,) bool: which samples are taken; of each class that share, rounded, and at least one.

    A smaller share of the same seed is a part of a larger one.

    Args:
        labels: int64 (N,), from 0 up.
        groups: int64 (N,): samples of one group (frames of a film, pictures of a person) are taken together or not at all,
            so that the classes' shares are met only as nearly as whole groups allow.
    """
    if not 0 < share <= 1:
        raise ValueError(f"A share of {share} of the samples was asked for; it must be above 0, and 1 at most.")
    taken = torch.zeros(len(labels), dtype=torch.bool)
    rank = uniform(seed, 0, torch.arange(len(labels)) if groups is None else groups, 1, stream).squeeze(1)
    wanted = (torch.bincount(labels) * share).round().long().clamp_min(1)
    if groups is None:
        for label, count in enumerate(wanted.tolist()):
            members = (labels == label).nonzero().squeeze(1)
            taken[members[rank[members].argsort()[:count]]] = True
        return taken
    for value in sorted(set(rank.tolist())):  # rising, so that the order of the groups is random
        members = rank == value
        counts = torch.bincount(labels[members], minlength=len(wanted))
        if 2 * torch.minimum(counts, wanted).sum() > counts.sum():
            taken |= members
            wanted = (wanted - counts).clamp_min(0)
    return taken
