"""digit_scenes: deterministic, disjoint, its labels true to its pictures and to one another."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data.digit_scenes import DigitScenes
from zoo.data.rendered import scenes
from zoo.data.rendered.synth import SPLITS, digit_indices


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with six scenes a split."""
    folder: Path = tmp_path_factory.mktemp("data")
    for split in SPLITS:
        (folder / scenes.FOLDER / split).mkdir(parents=True)
        parts = [scenes.draw_scene(split, number) for number in range(6)]
        arrays = scenes.Scenes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        np.savez(folder / scenes.FOLDER / split / "000.npz", **arrays._asdict())
    return folder


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SCENES", dict.fromkeys(SPLITS, 6))
    monkeypatch.setattr(scenes, "_A_FILE", 6)


def served(root: Path, target: str, shape: tuple[int, int, int] = (3, 128, 128)) -> tuple[DigitScenes, dict]:
    data = DigitScenes(shape=shape, root=str(root), target=target)
    data.prepare_data()
    data.setup()
    return data, data.splits["train"].__getitems__([(0, number) for number in range(6)])


def test_a_scene_is_a_function_of_its_number() -> None:
    once, again, other = (scenes.draw_scene("val", number) for number in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once.images, other.images)
    assert scenes.render(Path("val/000.npz")) == scenes.render(Path("elsewhere/val/000.npz"))


def test_the_splits_share_no_digit() -> None:
    sets = [set(digit_indices(split).tolist()) for split in SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 1797


@pytest.mark.numerical
@pytest.mark.parametrize("number", range(12))
def test_digits_overlap_yet_stay_in_sight_and_inside(number: int) -> None:
    scene = scenes.draw_scene("train", number)
    count = int((scene.labels[0] != scenes.NO_DIGIT).sum())
    assert 1 <= count <= 5
    assert set(np.unique(scene.instances)) == set(range(count + 1))
    assert scene.keypoints[0, :count].min() >= 0
    assert scene.keypoints[0, :count].max() <= scenes.SIZE
    for place in range(count):
        # The corners make an upright digit's box again when the turn is taken back: a parallelogram with right angles
        # that encloses the ink that is seen.
        corners = scene.keypoints[0, place].astype(np.float64)
        right, down = corners[1] - corners[0], corners[3] - corners[0]
        assert abs(right @ down) < 1e-2 * np.linalg.norm(right) * np.linalg.norm(down)
        assert np.allclose(corners[0] + right + down, corners[2], atol=1e-3)
        assert right[0] * down[1] - right[1] * down[0] > 0, "as one reads it: right, then down"
        y, x = np.nonzero(scene.instances[0] == place + 1)
        inside = np.stack([x + 0.5, y + 0.5], 1) - corners[0]
        for axis in (right, down):
            along = inside @ axis / (axis @ axis)
            assert along.min() > -0.05
            assert along.max() < 1.05


def test_some_digits_hide_part_of_others(root: Path) -> None:
    boxes = [target["boxes"] for target in served(root, "instances")[1]["instances"]]
    crossing = [(b[:, None, :2].maximum(b[:, :2]) < b[:, None, 2:].minimum(b[:, 2:])).all(-1).sum() - len(b) for b in boxes]
    assert sum(crossing) > 0


@pytest.mark.parametrize("shape", [(3, 128, 128), (3, 64, 64), (3, 48, 80)])
def test_instances_and_classes_are_two_views_of_one_scene(root: Path, shape: tuple[int, int, int]) -> None:
    data, objects = served(root, "instances", shape)
    assert data.class_names == tuple("0123456789")
    pixels, classes = served(root, "semantic", shape)
    assert pixels.class_names == ("background", *"0123456789")
    assert torch.equal(objects["input"], classes["input"])
    assert classes["input"].shape == (6, *shape)
    assert classes["input"].dtype == classes["mask"].dtype == torch.uint8
    for target, mask in zip(objects["instances"], classes["mask"], strict=True):
        painted = (target["masks"].long() * target["labels"][:, None, None]).sum(0)
        assert torch.equal(painted, mask.long())
        assert target["masks"].sum(0).max() == 1, "one pixel, one digit"
        assert target["keypoints"].shape == (len(target["labels"]), 4, 3)
        for box, visible in zip(target["boxes"].tolist(), target["masks"], strict=True):
            y, x = torch.nonzero(visible, as_tuple=True)
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.numerical
def test_keypoints_follow_the_shape(root: Path) -> None:
    whole, small = (served(root, "instances", (3, edge, 2 * edge))[1]["instances"][0]["keypoints"] for edge in (128, 64))
    assert torch.allclose(whole[..., :2], 2 * small[..., :2])


def other_arrays(path: Path, **changed: np.ndarray) -> None:
    with np.load(path) as arrays:
        content = {**arrays, **changed}
    np.savez(path, **content)


def promising(path: Path) -> None:
    """A few bytes that say they are a hundred gigabytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10**11,)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in scenes.Scenes._fields:
            archive.writestr(f"{name}.npy", head.getvalue())


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "another kind": lambda path: path.write_bytes(b"not a zip"),
    "another shape": lambda path: other_arrays(path, images=np.zeros((6, 64, 64, 3), np.uint8)),
    "another type": lambda path: other_arrays(path, instances=np.zeros((6, 128, 128), np.int64)),
    "other digits": lambda path: other_arrays(path, labels=np.full((6, 5), 11, np.uint8)),
    "no numbers": lambda path: other_arrays(path, keypoints=np.full((6, 5, 4, 2), np.nan, np.float32)),
    "huge": promising,
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_ours_is_rendered_anew_or_refused(root: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    path = tmp_path / scenes.FOLDER / "val" / "000.npz"
    DAMAGE[damage](path)
    data = DigitScenes(shape=(3, 128, 128), root=str(tmp_path))
    if damage == "a link to nothing":
        with pytest.raises(ValueError, match=r"000\.npz is no regular file, so it is not replaced"):
            data.setup()
        return
    data.setup()
    expected = served(root, "semantic")[0].splits["val"].__getitems__([(0, 3)])
    found = data.splits["val"].__getitems__([(0, 3)])
    assert torch.equal(found["input"], expected["input"])
    assert torch.equal(found["mask"], expected["mask"])  # type: ignore[typeddict-item]


def test_grey_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="color images"):
        DigitScenes(shape=(1, 64, 64))
