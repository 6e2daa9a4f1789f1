"""The objects of a set in COCO's layout, cut out, as a folder of pictures for a classifier.

python examples/coco_crops.py coco128 crops        # crops/{train,val,test}/CLASS/*.png
zoo train model=resnet18 data=image_folder data.root=crops

An object counts whose shorter side is at least 24 pixels; a class, of which there are at least 12 on at least 8 photographs.
Of each class at most 40 are taken, of each photograph in turn, so that one crowd is no class. The objects of one photograph are
all in one split: those of each class, the rarest first, are dealt to training, test and validation, 3 to 2 to 1.
"""

import argparse
import collections
import itertools
import json
from pathlib import Path

from PIL import Image

SIDE, LEAST, PHOTOGRAPHS, MOST = 24, 12, 8, 40
Box = tuple[float, float, float, float]


def objects(root: Path) -> dict[str, dict[Path, list[Box]]]:
    """By class and photograph the boxes (left, top, right, bottom), pixels, the largest first."""
    found: dict[str, dict[Path, list[Box]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for file in sorted((root / "annotations").glob("instances_*.json")):
        content = json.loads(file.read_text())
        names = {each["id"]: each["name"] for each in content["categories"]}
        folder = root / file.stem.removeprefix("instances_")
        photographs = {each["id"]: folder / each["file_name"] for each in content["images"]}
        for each in content["annotations"]:
            left, top, width, height = each["bbox"]
            if min(width, height) >= SIDE and not each.get("iscrowd"):
                found[names[each["category_id"]]][photographs[each["image_id"]]].append((left, top, left + width, top + height))
    for boxes in (boxes for of_class in found.values() for boxes in of_class.values()):
        boxes.sort(key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
    return found


def chosen(of_class: dict[Path, list[Box]]) -> list[tuple[Path, Box]]:
    """At most MOST objects: the largest of each photograph, then the second largest, and so on."""
    turns = [(turn, path, box) for path, boxes in of_class.items() for turn, box in enumerate(boxes)]
    return [(path, box) for _, path, box in sorted(turns, key=lambda each: (each[0], each[1].name))][:MOST]


def dealt(crops: dict[str, list[tuple[Path, Box]]]) -> dict[Path, str]:
    """The split of each photograph."""
    split: dict[Path, str] = {}
    for name in sorted(crops, key=lambda name: len(crops[name])):
        turns = itertools.cycle(("train", "test", "train", "val", "test", "train"))
        for path, _ in crops[name]:
            if path not in split:
                split[path] = next(turns)
    return split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="with annotations/instances_SPLIT.json and the photographs in SPLIT/")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()

    crops = {
        name: chosen(of_class)
        for name, of_class in sorted(objects(arguments.root).items())
        if len(of_class) >= PHOTOGRAPHS and sum(map(len, of_class.values())) >= LEAST
    }
    split, lines = dealt(crops), []
    for name, of_class in crops.items():
        for number, (path, box) in enumerate(of_class):
            folder = arguments.out / split[path] / name
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.convert("RGB").crop(tuple(map(round, box))).save(folder / f"{path.stem}_{number}.png")
        counts = collections.Counter(split[path] for path, _ in of_class)
        lines.append(f"{name}  {' '.join(f'{part} {count}' for part, count in sorted(counts.items()))}")
    print(*lines, sep="\n")  # when all are cut out, whoever reads no further than the first


if __name__ == "__main__":
    main()
