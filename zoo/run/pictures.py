"""Pictures that a run leaves in its folder: the curves of its metrics, the filters of its first convolution."""

import csv
from pathlib import Path

import torch
from torch import nn

from zoo.common.draw import save
from zoo.common.words import caption


def draw_curves(run_dir: Path) -> Path | None:
    """Every metric over the steps, training and validation in one panel, from the CSV log; None without a log."""
    log = run_dir / "metrics.csv"
    if not log.is_file():
        return None
    from matplotlib.figure import Figure

    series: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    with log.open() as stream:
        for row in csv.DictReader(stream):
            for column, value in row.items():
                split, slash, name = column.partition("/")
                if value and slash and split in ("train", "val") and "/" not in name:  # the classes' own are in the log
                    steps, values = series.setdefault(name, {}).setdefault(split, ([], []))
                    steps.append(int(row["step"]))
                    values.append(float(value))
    if not series:
        return None
    figure = Figure(figsize=(4.5 * len(series), 3.5), layout="constrained")
    panels = figure.subplots(1, len(series), squeeze=False)[0]
    for panel, (name, curves) in zip(panels, sorted(series.items()), strict=True):
        for split, (steps, values) in curves.items():
            panel.plot(steps, values, marker="o" if len(steps) < 20 else None, markersize=3, label=split)
        panel.set(title=caption(name.replace("_", " ")), xlabel="step")
        panel.grid(alpha=0.3)
        panel.legend()
    path = run_dir / "curves.png"
    save(figure, path, dpi=120)
    return path


def draw_filters(net: nn.Module, run_dir: Path) -> Path | None:
    """The first convolution's filters, each scaled to its own range: a PNG, or for 3-D filters a GIF of little clips.

    A filter of three input channels is shown in color, any other by its first channel in gray. None without a convolution.
    """
    import numpy as np
    from PIL import Image

    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
    if first is None:
        return None
    weight = first.weight.detach().float().cpu()
    if weight.dim() == 4:
        weight = weight.unsqueeze(2)  # a clip of one frame
    if weight.shape[1] != 3:
        weight = weight[:, :1].expand(-1, 3, -1, -1, -1)
    flat = weight.flatten(1)
    low, high = flat.min(1).values, flat.max(1).values
    scaled = (weight - low.view(-1, 1, 1, 1, 1)) / (high - low).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
    columns = min(16, len(scaled))
    zoom = max(1, 40 // scaled.shape[-1])
    frames = []
    for time_step in scaled.unbind(2):
        tiles = time_step.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
        tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=0.2)
        blanks = tiles.new_full((-len(tiles) % columns, *tiles.shape[1:]), 0.2)
        rows = torch.cat([tiles, blanks]).reshape(-1, columns, *tiles.shape[1:])
        canvas = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        frames.append(Image.fromarray((canvas.numpy() * 255).round().astype(np.uint8)))
    if len(frames) == 1:
        path = run_dir / "filters.png"
        save(frames[0], path)
    else:
        path = run_dir / "filters.gif"
        save(frames[0], path, save_all=True, append_images=frames[1:], duration=300, loop=0)
    return path
