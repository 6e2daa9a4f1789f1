"""Three heads together against each alone, on digit_scenes: `python benchmarks/detection.py [--seeds 0 1 2] [--folder DIR]`.

Each run is the command a user types, in a process of its own; a run that was finished before is only scored again. Written
to results/detection.md.
"""

import argparse
import shlex
import tempfile
from pathlib import Path

from _record import spread, train, write

RUNS = {
    "box": "model=faster_rcnn",
    "box, mask": "model=mask_rcnn",
    "box, keypoint": "model=keypoint_rcnn",
    "box, mask, keypoint": "model=mask_rcnn model.heads=[box,mask,keypoint]",
}
METRICS = ("box_ap", "box_ap50", "mask_ap", "mask_ap50", "keypoint_ap", "keypoint_ap50")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folder", type=Path, help="where the runs are kept, to go on with them later")
    parser.add_argument("settings", nargs="*", help="as of zoo.train, for every run")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    rows = [["heads", "command", "seeds", *(metric.replace("_ap", " AP") for metric in METRICS)]]
    for heads, command in RUNS.items():
        found = []
        for seed in arguments.seeds:
            place = folder / f"{heads.replace(', ', '-')}-{seed}"
            settings = [*shlex.split(command), *arguments.settings, f"seed={seed}", "callbacks.progress=null"]
            found.append(train(settings, place.absolute()))
        scores = [[run[f"test/{metric}"] for run in found if f"test/{metric}" in run] for metric in METRICS]
        seeds = ", ".join(map(str, arguments.seeds))
        rows.append([heads, f"`{command}`", seeds, *(spread(values) if values else "" for values in scores)])
    write(
        "detection",
        "Boxes, masks and keypoints of handwritten digits",
        "per cent; pycocotools on the 800 test scenes at 128 x 128, overlaps 0.50 to 0.95; keypoints are the four corners of a "
        "digit's turned box, sigma 0.1; best epoch chosen on val by the model's own metric"
        + (f"; {' '.join(arguments.settings)}" if arguments.settings else ""),
        rows,
    )


if __name__ == "__main__":
    main()
