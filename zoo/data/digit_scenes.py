"""Scenes of several handwritten digits: labels for every pixel and for every object, rendered once from real digits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot, pad

from zoo.batch import Batch, InstanceBatch, Instances, MaskBatch
from zoo.common.files import File, Unreadable
from zoo.common.places import rendered_root
from zoo.data.base import SPLITS
from zoo.data.images import PictureLoading, PictureSet
from zoo.data.instances import FACTS, BareImages, Sizing
from zoo.data.loading.dataset import Draw, SplitDataset
from zoo.data.masks import WholeImages
from zoo.data.rendered import scenes as _scenes
from zoo.data.rendered.synth import render_files, renewed


class DigitScenes(PictureSet):
    """4,000 train, 400 val and 800 test scenes of three to five overlapping digits, 128x128.

    Rendered once, under `root`; the splits share no digit and no photograph's column. They are served at the shape asked
    for, from memory. As `semantic`, classes are the background and the ten digits, and a pixel's class is that of the
    digit that covers most of it. As `instances`, classes are the ten digits (labels 1 to 10), boxes enclose what is seen
    of a digit, and its four keypoints are the corners of the upright digit's box, turned with it. (Their similarity is
    COCO's, with a sigma of 0.1 each, about that of a hip.)

    Args:
        root: where the set is rendered. None, or what cannot be written to, is the cache folder; $ZOO_DATA stays as it is.
        target: what is served with the images.
    """

    default_shape = (3, 128, 128)
    unscored = PictureSet.unscored | {"ground"}  # of the user's pictures; its own have no transparency
    targets = ("semantic", "instances")
    facts = FACTS
    fields = ("boxes", "masks", "keypoints")
    keypoint_names = ("top left", "top right", "bottom right", "bottom left")
    keypoint_sigmas = (0.1, 0.1, 0.1, 0.1)
    num_keypoints = 4
    # Over the training scenes.
    mean = (0.273, 0.273, 0.273)
    std = (0.279, 0.279, 0.279)
    default_arguments = PictureLoading(batch_size=8)

    def __init__(
        self,
        *,
        root: str | None = None,
        target: Literal["semantic", "instances"] = "semantic",
        **loading: Unpack[PictureLoading],
    ) -> None:
        super().__init__(**loading)
        if self.shape[0] != 3:
            raise ValueError(f"digit_scenes are color images, but the shape asked for is {self.shape}. Ask for 3 channels.")
        self.folder = rendered_root(root) / _scenes.FOLDER
        self.target = target
        background = ("background",) if target == "semantic" else ()
        self.class_names = (*background, *"0123456789")
        self.category_ids = tuple(range(1, 11))

    def default_workers(self) -> int:
        return 0  # in memory

    def prepare_data(self) -> None:
        """Render what is missing."""
        paths = [path for split in SPLITS for path in _scenes.scene_files(self.folder, split)]
        render_files(_scenes.render, paths, f"Rendering digit_scenes to {self.folder}")

    def load(self) -> dict[str, SplitDataset]:
        return {split: self._read(_scenes.scene_files(self.folder, split)) for split in SPLITS}

    def _read(self, paths: Sequence[Path]) -> "SceneDataset":
        parts = []
        for path in paths:
            try:
                scenes = _scenes.read_scenes(path)
            except Unreadable:  # empty, cut, or another file in its place
                renewed(_scenes.render, path)
                scenes = _scenes.read_scenes(path)
            parts.append(_resized(scenes, self.shape[1:]))
        return SceneDataset(*(torch.cat(column) for column in zip(*parts, strict=True)), target=self.target)

    def files(self, paths: Sequence[File]) -> SplitDataset:
        if self.target == "semantic":
            return WholeImages(paths, channels=3, ground=self.ground)
        sizing = Sizing(self.shape, interpolation=self.interpolation, antialias=self.antialias)
        return BareImages(paths, sizing, ground=self.ground)


def _resized(scenes: _scenes.Scenes, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scenes as tensors at another size: images antialiased, an instance where it covers most, keypoints scaled."""
    images, instances, labels, keypoints = (torch.from_numpy(array) for array in scenes)
    images = images.permute(0, 3, 1, 2)
    height, width = size
    if (height, width) != images.shape[2:]:
        images = interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)
        share = one_hot(instances.long(), _scenes.MOST + 1).permute(0, 3, 1, 2).float()
        instances = interpolate(share, (height, width), mode="area").argmax(1).to(torch.uint8)
        keypoints = keypoints * torch.tensor([width / _scenes.SIZE, height / _scenes.SIZE])
    return images.contiguous(), instances, labels, keypoints


class SceneDataset(SplitDataset):
    """Scenes in memory, served as class masks or as instances.

    Args:
        images: uint8 (N, 3, H, W).
        instances: uint8 (N, H, W), 0 or the number of the digit seen there.
        labels: uint8 (N, 5), what the digits are.
        keypoints: float32 (N, 5, 4, 2).
        target: `semantic` or `instances`.
    """

    def __init__(self, images: Tensor, instances: Tensor, labels: Tensor, keypoints: Tensor, *, target: str) -> None:
        self.images = images
        self.instances = instances
        self.labels = labels
        self.keypoints = keypoints
        self.target = target

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, draws: Sequence[Draw], /) -> Batch:
        epoch, index = torch.tensor(draws, dtype=torch.int64).reshape(-1, 2).unbind(1)
        batch = Batch(input=self.images[index], id=index, view=torch.zeros_like(index), epoch=epoch)
        if self.target == "semantic":
            return MaskBatch(**batch, mask=self._classes(index))
        size = torch.tensor(self.images.shape[2:]).expand(len(index), 2)
        instances = [self._objects(scene) for scene in index.tolist()]
        return InstanceBatch(**batch, size=size, full=size, image_id=index, file=[""] * len(index), instances=instances)

    def _classes(self, index: Tensor) -> Tensor:
        """(B, H, W): 0, or one more than the digit."""
        table = pad(self.labels[index] + 1, (1, 0))  # (B, 6): instance number to class
        flat = self.instances[index].flatten(1).long()
        return table.gather(1, flat).reshape(-1, *self.images.shape[2:])

    def _objects(self, scene: int) -> Instances:
        numbers = torch.arange(1, _scenes.MOST + 1)
        masks = self.instances[scene] == numbers[:, None, None]
        seen = masks.flatten(1).any(1)
        masks, keypoints = masks[seen], self.keypoints[scene][seen]
        return Instances(
            boxes=torch.stack([*_extent(masks.any(1)), *_extent(masks.any(2))]).float()[[0, 2, 1, 3]].T,
            labels=self.labels[scene][seen].long() + 1,
            masks=masks.to(torch.uint8),
            keypoints=torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], dim=-1),
        )


def _extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """(N, L) bool -> where each row's first true pixel begins and its last one ends."""
    marks = line.to(torch.uint8)
    return marks.argmax(1), line.shape[1] - marks.flip(1).argmax(1)
