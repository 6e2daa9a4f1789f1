"""What frozen features know: linear and non-linear probes, and nearest neighbors, as Gidaris, Singh and Komodakis 2018 judge
pretraining (tables 1 and 2). Whatever is chosen, is chosen on validation; test is scored once, with the choice."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, one_hot

from zoo.models._base import Classifier

DECAYS = (1e-3, 1e-1, 1.0)
"""Weight decays (AdamW's, decoupled) among which a probe's is chosen."""
NEIGHBOURS = (1, 5, 20)
MOST_NEIGHBORS = 2000
"""Labeled samples that a nearest-neighbor search looks at, at most: more would take hours in L1."""
PROBE_SIZE = 2500
"""Features that a probe reads, at most: maps are averaged down to the largest grid within it."""


def features(net: Classifier, block: str, images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What `block` makes of uint8 images (N, C, H, W): (N, D), D at most PROBE_SIZE."""
    middle, spread = (torch.tensor(values).reshape(-1, 1, 1) for values in (mean, std))
    found = []
    with torch.inference_mode():
        for part in torch.split(images, 500):
            maps = net.forward_blocks((part.float() / 255 - middle) / spread, [block])[block]
            if maps.dim() == 4:
                edge = min(maps.shape[-1], max(1, math.isqrt(PROBE_SIZE // maps.shape[1])))
                maps = adaptive_avg_pool2d(maps, edge)
            found.append(maps.flatten(1))
    return torch.cat(found)


def fit_probe(
    places: Mapping[str, Tensor], labels: Mapping[str, Tensor], classes: int, hidden: int, seed: int
) -> tuple[float, float, str]:
    """A linear classifier, or one with a hidden layer, on fixed features; the weight decay is chosen on validation.

    Args:
        places: of "train", "val" and "test" the features, (N, D).
        labels: of each the classes, (N,).
        hidden: width of the hidden layer; 0 for a linear probe.

    Returns accuracy on val and on test, and what was chosen, in words.
    """
    width = places["train"].shape[1]
    best: tuple[float, nn.Module, str] | None = None
    for decay in DECAYS:
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(width, classes)]
        if hidden:  # dropout keeps thousands of features from learning a few hundred samples by heart
            layers = [nn.Dropout(0.5), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)]
        probe = nn.Sequential(*layers)
        optimizer = torch.optim.AdamW(probe.parameters(), 2e-3, weight_decay=decay)
        count, size = len(places["train"]), min(256, len(places["train"]))
        steps = min(1000, max(600, 10 * count // size))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(count, (size,))
            loss = cross_entropy(probe(places["train"][rows]), labels["train"][rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        val = accuracy(probe.eval(), places["val"], labels["val"])
        if best is None or val > best[0]:
            best = (val, probe, f"weight decay {decay:g}, {steps} steps")
    assert best is not None
    return best[0], accuracy(best[1], places["test"], labels["test"]), best[2]


def accuracy(probe: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows that the probe gets right."""
    with torch.inference_mode():
        hits: Tensor = probe(x).argmax(1) == y
        return hits.double().mean().item()


def nearest(places: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, Tensor], classes: int) -> tuple[float, float, str]:
    """k nearest neighbors; k, and of several places the one, are chosen on validation in L2; then L1 may do better there.

    `places` holds, by name, what `fit_probe` takes. Returns accuracy on val and on test, and what was chosen, in words.
    """

    def right(place: str, split: str, p: int, counts: Sequence[int]) -> list[float]:
        known = places[place]["train"][:MOST_NEIGHBORS], labels["train"][:MOST_NEIGHBORS]
        votes = neighbor_votes(places[place][split], *known, classes, p, counts)
        return [(each.argmax(1) == labels[split]).double().mean().item() for each in votes]

    scores = {(place, 2, k): v for place in places for k, v in zip(NEIGHBOURS, right(place, "val", 2, NEIGHBOURS), strict=True)}
    best = max(scores, key=lambda choice: scores[choice])[0]
    scores |= {(best, 1, k): v for k, v in zip(NEIGHBOURS, right(best, "val", 1, NEIGHBOURS), strict=True)}
    place, p, k = max(scores, key=lambda choice: scores[choice])
    count = min(MOST_NEIGHBORS, len(labels["train"]))
    return scores[place, p, k], right(place, "test", p, [k])[0], f"{place}, L{p}, k = {k}, {count} neighbors"


def neighbor_votes(x: Tensor, known: Tensor, labels: Tensor, classes: int, p: int, counts: Sequence[int]) -> list[Tensor]:
    """For each k in `counts` the votes of the k nearest of `known`, (N, classes); a nearer one breaks ties."""
    most = min(max(counts), len(known))
    found = torch.cat([torch.cdist(part, known, p=p).topk(most, largest=False).indices for part in torch.split(x, 500)])
    chosen = one_hot(labels[found], classes).float()
    weights = 1 + torch.linspace(1e-3, 0, most)  # less than a vote altogether, so that they decide between equals only
    return [(chosen[:, :k] * weights[:k, None]).sum(1) for k in counts]
