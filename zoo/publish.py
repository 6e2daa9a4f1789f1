"""Make a folder of a run that anybody can load, and push it to Hugging Face: `zoo publish RUN repo=ORG/NAME`.

It holds the weights (`model.safetensors`), the recipe by which they are used (`config.json`) and a model card (`README.md`),
and says nothing of where the data lay. `zoo.load("hf-hub:ORG/NAME")` brings it back.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.common import trust
from zoo.common.hub import CARD, CONFIG, PREFIX, RECIPE, TASK, WEIGHTS, first_line, is_published
from zoo.common.words import json_text, markdown, muted, printable
from zoo.run import cli
from zoo.run.folder import checkpoint_path
from zoo.run.recipe import read_checkpoint

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

    from zoo.run.trained import Trained

_PIPELINES = {
    "classification": "image-classification",
    "video_classification": "video-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
}
"""Hugging Face's names of tasks."""


@cli.in_python
def publish(run: str | Path, repo: str | None = None, out: str | Path | None = None, license: str | None = None) -> Path:
    """Write the folder, print what is in it, and push it if a repository is named.

    Args:
        run: a run folder, of which the best checkpoint is taken, or a checkpoint.
        repo: ORG/NAME on Hugging Face, which is created if need be; `hf auth login` says who you are.
        out: the folder; by default `published` in the run's.
        license: of the weights, as Hugging Face spells it: apache-2.0, cc-by-nc-4.0, ... By default the card states none.

    Returns:
        The folder.

    Raises:
        ValueError: no such run, a folder that holds other files of these names, or a push that is refused.
    """
    from zoo.common.tensors import write_tensors
    from zoo.run.trained import load

    path = checkpoint_path(run)
    home = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    content = read_checkpoint(path)
    trained = load(path, device="cpu")
    folder = home / "published" if out is None else Path(out)
    _check_free(folder)
    recipe = _public(content["zoo"])
    card = _card(trained, recipe, _result(home, path, content), repo, license)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(_tensors(trained), folder / WEIGHTS)
        (folder / CARD).write_text(str(card), encoding="utf-8")
        (folder / CONFIG).write_text(json_text({"library_name": "zoo", RECIPE: recipe}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to: {error.strerror}. Name another folder: out=...") from None
    for name in (WEIGHTS, CONFIG, CARD):
        print(f"{printable(folder / name)}  {(folder / name).stat().st_size:,} bytes")
    if repo is not None:
        print(f"pushed to {_push(folder, repo)}")
    return folder


def _check_free(folder: Path) -> None:
    """Refuse a folder with files of other people's. Raises ValueError."""
    found = [name for name in (CARD, CONFIG, WEIGHTS) if (folder / name).exists()]
    if not found:
        return
    try:
        ours = is_published(folder) and RECIPE in json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise ValueError(f"{folder} holds a {found[0]} that zoo has not written. Name another folder: out=...")


def _public(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as far as a checkpoint of a stranger's may decide: numbers, names and facts, no place and no run of yours."""
    arguments = {
        group: {key: value for key, value in values.items() if _decides(group, key, value)}
        for group, values in recipe["arguments"].items()
    }
    kept = {key: recipe[key] for key in ("version", "size", "names", "facts") if key in recipe}
    return {**kept, "arguments": arguments}


def _decides(group: str, key: str, value: Any) -> bool:
    try:
        return trust.may(group, key, value)
    except ValueError:
        return False


def _tensors(trained: "Trained") -> dict[str, Any]:
    """The network's tensors by its own names, and what else its task learned; mean and deviation are facts."""
    net = {key: value.clone() for key, value in trained.net.state_dict().items()}
    others = {key: value for key, value in trained.task.state_dict().items() if not key.startswith("net.")}
    return net | {f"{TASK}{key}": value for key, value in others.items() if key not in ("mean", "std")}


def _result(home: Path, checkpoint: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the run's result says of this checkpoint; nothing where it is another one's."""
    from zoo.run.report import weights_of

    try:
        result = json.loads((home / "result.json").read_bytes())
        return result if result["weights"] == weights_of(checkpoint, content) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _card(
    trained: "Trained", recipe: Mapping[str, Any], result: Mapping[str, Any], repo: str | None, license: str | None
) -> "ModelCard":
    """The model card: what it is for, what it was trained on, how well it does and how that was measured, what it costs."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    from zoo.flops.count import profile

    names, facts = recipe["names"], recipe["facts"]
    title = repo.rpartition("/")[2] if repo else f"{names['model']}-{names['data']}"
    place = f"{PREFIX}{repo}" if repo else "FOLDER"
    cost = profile(trained.net, facts["shape"])
    pipeline = _PIPELINES.get(names["task"])
    scores: dict[str, float] = result.get("tests") or {}
    figures = [
        EvalResult(pipeline or names["task"], names["data"], names["data"], metric, value, dataset_split="test")
        for metric, value in scores.items()
    ]
    data = ModelCardData(
        license=license,
        library_name="zoo",
        pipeline_tag=pipeline,
        tags=["pytorch-lightning", names["model"]],
        model_name=title if figures else None,
        eval_results=figures or None,
    )
    axes = "C x T x H x W" if len(facts["shape"]) == 4 else "C x H x W"
    classes = ", ".join(map(str, trained.class_names[:20])) + (", ..." if len(trained.class_names) > 20 else "")
    rows = {
        "task": names["task"],
        "network": names["model"],
        "trained on": names["data"],
        "classes": f"{facts['num_classes']}: {classes}" if classes else "none",
        "input": f"{' x '.join(map(str, facts['shape']))} ({axes})",
        "normalized by": f"mean {_listed(facts['mean'])}, deviation {_listed(facts['std'])}, of pixels in 0..1",
        "parameters": f"{cost.params:,}",
        "multiply-adds": f"{cost.macs:,} an input",
        "license": license or "not stated",
    }
    text = [
        f"# {markdown(title)}",
        "",
        *(f"- {name}: {markdown(str(value))}" for name, value in rows.items()),
        "",
        "## Figures",
        "",
    ]
    if scores:
        text += [f"| {name} | {value:.4g} |" for name, value in scores.items()]
        text[-len(scores) : -len(scores)] = ["| test | |", "|---|---|"]
        how = (f"{result['scored']:,} samples", result["protocol"], result["weights"], result["versions"], result["device"])
        text += ["", f"Measured on {markdown('; '.join(map(str, how)))}."]
    else:
        text.append("None was measured of these weights.")
    said = f'zoo.load("{place}").predict("FILE")', f'zoo.create_model("{place}")' if repo else f'zoo.load("{place}").net'
    text += ["", "## Use", "", "```python", "import zoo", "", f"predictions = {said[0]}", f"net = {said[1]}", "```", ""]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(text))


def _listed(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _push(folder: Path, repo: str) -> str:
    """Create the repository if it is not there, and upload the files; return its address. Raises ValueError."""
    from huggingface_hub import HfApi

    from zoo.common.download import hub_endpoint

    api = HfApi(endpoint=hub_endpoint(), library_name="zoo")
    try:
        with muted():
            created = api.create_repo(repo, exist_ok=True)
            api.upload_folder(
                folder_path=folder,
                repo_id=repo,
                allow_patterns=[WEIGHTS, CONFIG, CARD],
                commit_message="Publish a network of zoo",
            )
    except Exception as error:  # those of the client of HTTP too, which is another one from release to release
        raise ValueError(
            f"{repo} could not be pushed to {hub_endpoint()} ({first_line(error)}). The folder is {folder}; log in by "
            f"hf auth login, and give the command again."
        ) from None
    return str(created)


def main() -> None:
    cli.command(publish)


if __name__ == "__main__":
    main()
