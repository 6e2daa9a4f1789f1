"""The rotation study: its parts against slow references, its mistakes, and the whole of it on the embedded digits."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.study import compare as studied
from zoo.study import probes
from zoo.study.probes import neighbor_votes

Verb = Callable[..., tuple[int, str, str]]


@pytest.mark.numerical
@pytest.mark.parametrize("p", [1, 2])
def test_neighbours_against_scikit_learn(p: int) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    torch.manual_seed(0)
    known, x = torch.randn(60, 5), torch.randn(40, 5)
    labels = torch.randint(0, 3, (60,))
    counts = [1, 4, 7]
    for k, votes in zip(counts, neighbor_votes(x, known, labels, 3, p, counts), strict=True):
        shares = KNeighborsClassifier(k, p=p).fit(known.numpy(), labels.numpy()).predict_proba(x.numpy())
        assert np.allclose(votes.numpy() / k, shares, atol=2e-3), (
            "what decides between equals is at most a thousandth of a vote"
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data=digits", "shares=0.1"), "is less than one for the smallest class, which has 122"),
        (("data=digits", "shares=0"), "shares are percentages"),
        (("data=digits", "seeds=x"), "seeds is 'x', but it must be whole numbers separated by commas"),
        (("data=motion_digits", "model=c3d"), "has no data.fraction"),
        (("data=digit",), "did you mean digits"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], said: str, verb: Verb) -> None:
    status, _, err = verb("study", *arguments)
    assert status == 1
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("count", "lengths"), [(14, (100, 400, 1200)), (1078, (170, 510, 1200)), (3200, (500, 1500))])
def test_lengths_grow_with_the_labels(count: int, lengths: tuple[int, ...]) -> None:
    """Batches of 32: 1, 34 and 100 steps an epoch."""
    assert studied._lengths(count, 32) == lengths


@pytest.mark.slow
def test_the_whole_study_on_digits(verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its steps, with two short lengths and two weight decays to choose among, and probes of few features."""
    monkeypatch.setattr(studied, "_lengths", lambda count, batch: (60, 200))
    monkeypatch.setattr(probes, "DECAYS", probes.DECAYS[:2])
    monkeypatch.setattr(probes, "PROBE_SIZE", 300)
    status, _, err = verb("study", "data=digits", "model=lenet5", "seeds=0", "shares=1,10,100")
    assert status == 0, err
    folder = tmp_path / "runs" / "study"
    found = json.loads((folder / "seed-0.json").read_text())
    score = {(row["share"], row["arm"]): row["test"] for row in found["rows"]}
    assert found["pretext"]["accuracy"] > 0.5  # chance is a quarter
    assert score[100, "scratch"] > 0.8
    assert score[100, "fine-tuned"] > 0.8
    assert score[10, "scratch"] > 0.6
    assert 0.3 < score[1, "k-NN, pixels"] < 0.9
    arms = {arm for _, arm in score}
    assert {"scratch", "fine-tuned", "linear probe, pool1", "non-linear probe, best block", "k-NN, best block"} <= arms
    table = (folder / "study.md").read_text()
    assert f"{100 * score[10, 'scratch']:.2f}" in table
    for picture in ("accuracy.png", "curves.png", "confusion.png"):
        pixels = np.array(Image.open(folder / picture).convert("L"))
        assert pixels.std() > 10
    assert (folder / "rotation-0.safetensors").is_file()
    assert list(found["subsets"]) == ["1 %", "10 %", "100 %"]
    few, more = (set(found["subsets"][share]["places"]) for share in ("1 %", "10 %"))
    assert few < more
    assert len(few) == sum(found["subsets"]["1 %"]["labels of each class"])
    gain = re.search(r"^At 1 % .* gains (-?[\d.]+) points on scratch", table, flags=re.MULTILINE)
    assert gain is not None
    best = score[1, "scratch"] + float(gain[1]) / 100
    assert any(best == pytest.approx(value, abs=1e-4) for value in score.values()), "the gain leads to an arm's accuracy"
    status, out, _ = verb("study", "data=digits", "model=lenet5", "seeds=0", "shares=1,10,100")
    assert status == 0
    assert "seed 0: measured before" in out
    assert (folder / "study.md").read_text() == table
    status, _, err = verb("study", "data=digits", "model=lenet5", "seeds=0", "shares=1")
    assert status == 1
    assert "is of a study with other settings" in err
