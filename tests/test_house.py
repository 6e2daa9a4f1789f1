"""The house rules that can be read from the source."""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import zoo
from tests.written import lineage, written
from zoo.__main__ import verbs
from zoo.benchmark import charts
from zoo.benchmark.rows import read_rows
from zoo.common.places import CONF
from zoo.models._registry import get_builder

SOURCE = Path(zoo.__file__).parent
CHECKOUT = Path(__file__).parent.parent
ROOMS = ("models", "tasks", "data", "run", "flops", "benchmark", "study", "common")
UNREACHABLE = {
    "common": ("lightning", "hydra", "omegaconf", "zoo.batch", *(f"zoo.{room}" for room in ROOMS if room != "common")),
    "models": ("lightning", "hydra", "omegaconf", *(f"zoo.{room}" for room in ROOMS if room not in ("models", "common"))),
    "tasks": ("hydra", "omegaconf", *(f"zoo.{room}" for room in ROOMS if room not in ("tasks", "common"))),
    "data": ("hydra", "omegaconf", *(f"zoo.{room}" for room in ROOMS if room not in ("data", "common"))),
}
"""What no file of a room imports, nor any file that it imports, and so on."""
HYDRA = ("hydra", "omegaconf")
"""What is known in `zoo/run` alone; the others hand on what they are given."""


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


@functools.cache
def imported(source: str) -> frozenset[str]:
    """Every module or name that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Module to what it imports: modules of the package by their whole names, others as they are written. The package itself,
    of which the version is asked, is no room."""
    arrows = {}
    for name, source in modules.items():
        found = set()
        for each in imported(source):
            while each.startswith("zoo.") and each not in modules:
                each = each.rpartition(".")[0]
            found.add(each)
        arrows[name] = found - {name, "zoo", ""}
    return arrows


def reached(arrows: Mapping[str, set[str]], name: str) -> dict[str, str]:
    """All that a module imports, straight or through others of the package, with the one that imports it."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        by = waiting.pop()
        for each in arrows.get(by, set()) - found.keys():
            found[each] = by
            waiting.append(each)
    return found


ARROWS = graph(MODULES)


def trespasses(arrows: Mapping[str, set[str]], name: str) -> list[str]:
    """What a module may not reach, each with the module through which it does."""
    room = name.split(".")[1]
    return [
        f"{each} by {by}"
        for each, by in reached(arrows, name).items()
        if any(each == bad or each.startswith(f"{bad}.") for bad in UNREACHABLE[room])
    ]


def circles(arrows: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Groups of places that import one another."""
    reach = {name: reached(arrows, name).keys() for name in arrows}
    return {
        frozenset({name, *others})
        for name in arrows
        if (others := [each for each in arrows if each in reach[name] and name in reach[each]])
    }


def top(name: str) -> str:
    return ".".join(name.split(".")[:2])


def between_rooms(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same of the files and folders of `zoo/`."""
    rooms: dict[str, set[str]] = {top(name): set() for name in arrows}
    for name, others in arrows.items():
        rooms[top(name)] |= {top(each) for each in others if each in arrows} - {top(name)}
    return rooms


@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") and name.split(".")[1] in UNREACHABLE])
def test_rooms_do_not_know_one_another(name: str) -> None:
    assert not trespasses(ARROWS, name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("zoo.models.vgg", "import lightning"),
        ("zoo.models.vgg", "from hydra.utils import instantiate"),
        ("zoo.data.digits", "from zoo.tasks.base import Task"),
        ("zoo.data.digits", "def f():\n    import omegaconf"),
        ("zoo.tasks.base", "from zoo import data"),
        ("zoo.tasks.base", "import zoo.models.c3d"),
        ("zoo.tasks.base", "from zoo.run import folder"),
        ("zoo.common.words", "from zoo.batch import Batch"),
        ("zoo.common.words", "from zoo import models"),
    ],
)
def test_an_injected_trespass_is_found(name: str, line: str) -> None:
    assert trespasses(graph({**MODULES, name: f"import torch\n{line}\n"}), name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("zoo.models.vgg", "import lightning"),
        ("zoo.tasks.classification", "from zoo.models._base import Classifier"),
        ("zoo.data.digits", "def f():\n    from zoo.tasks.base import Task"),
        ("zoo.common.crops", "from zoo.run.compose import composed"),
    ],
)
def test_an_injected_trespass_through_a_third_module_is_found(name: str, line: str) -> None:
    room = name.rpartition(".")[0]
    modules = {
        **MODULES,
        f"{room}.second": f"from {room}.third import something\n",
        f"{room}.third": f"{line}\n",
        name: f"{MODULES[name]}\nfrom {room} import second\n",
    }
    assert trespasses(graph(modules), name)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("zoo.run.")])
def test_only_runs_know_hydra(name: str) -> None:
    assert not [each for each in imported(MODULES[name]) if each.split(".")[0] in HYDRA]


def test_no_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    assert not circles(ARROWS)
    assert not circles(between_rooms(ARROWS))


def test_the_house_is_small() -> None:
    """The files and folders of `zoo/`, and the imports between them."""
    rooms = between_rooms({name: others for name, others in ARROWS.items() if name != "zoo"})
    assert len(rooms) + 1 <= 20
    assert sum(map(len, rooms.values())) <= 60


HEAVY = ("torch", "torchvision", "lightning", "timm", "matplotlib", "numpy", "PIL", "av", "cv2")
LIGHT = ("train", "evaluate", "predict", "prepare", "publish", "verify", "study", "benchmark")
"""Verbs whose help and mistakes are shown before these are imported, which takes seconds."""


def at_once(source: str) -> str:
    """What a module executes when it is imported: no function's body, and nothing that only type checkers read."""
    body = [
        node
        for node in ast.parse(source).body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    return ast.unparse(ast.Module(body, []))


@pytest.mark.parametrize("name", LIGHT)
def test_a_verb_begins_without_what_takes_seconds_to_import(name: str) -> None:
    modules = {each: at_once(source) for each, source in MODULES.items()}
    arrows = graph(modules)
    arrows |= {each: others | ({each.rpartition(".")[0]} & arrows.keys()) for each, others in arrows.items()}
    verb = f"zoo.{name}.__main__" if f"zoo.{name}.__main__" in modules else f"zoo.{name}"
    found = reached(arrows, verb)
    assert not {f"{each} by {by}" for each, by in found.items() if each.split(".")[0] in HEAVY}


def test_no_file_is_long() -> None:
    assert not {name: lines for name, source in MODULES.items() if (lines := source.count("\n")) > 400}


def files(group: str) -> dict[str, dict[str, object]]:
    """The files of a group; of those that set more than their group's keys these alone."""
    found = {path.stem: written(group, path.stem) for path in sorted((CONF / group).glob("*.yaml"))}
    return {name: content.get("data", content) if group == "data" else content for name, content in found.items()}


def test_registry_and_configuration_hold_the_same_names() -> None:
    assert set(zoo.list_models()) == set(files("model"))
    for name, content in files("model").items():
        assert content["model"]["name"] == name  # type: ignore[index]


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_models_yaml_lists_the_builders_arguments(name: str) -> None:
    listed = set(files("model")[name]["model"])  # type: ignore[call-overload]
    builder = set(inspect.signature(get_builder(name)).parameters)
    assert listed == builder | {"_target_", "name", "pretrained"}


@pytest.mark.parametrize("group", ["data", "task"])
def test_a_yaml_lists_its_classes_arguments(group: str) -> None:
    for name, content in files(group).items():
        module, _, kind = str(content.pop("_target_")).rpartition(".")
        cls = getattr(__import__(module, fromlist=[kind]), kind)
        own = set(inspect.signature(cls).parameters) - {"net"}
        assert set(content) == own, name


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_builder_explains_itself(name: str) -> None:
    builder = get_builder(name)
    assert builder.__doc__
    assert builder.__name__ == name
    module = inspect.getmodule(builder)
    assert module is not None
    assert module.__doc__
    assert re.search(r"\b(19|20)\d\d\b", module.__doc__), "a model's file names its source with the year"


def test_no_public_function_shares_a_name_with_a_module() -> None:
    assert not {path.stem for path in SOURCE.iterdir()} & set(zoo.__all__)


def script(name: str, folder: str = "tools") -> Any:
    """A script of tools/ or benchmarks/, which are no packages."""
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_readmes_table_has_every_model() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \|", (CHECKOUT / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(zoo.list_models())


@pytest.mark.slow
def test_the_readmes_table_and_plot_are_fresh() -> None:
    """`python tools/readme.py` writes them. It counts what every network costs at its paper's size."""
    readme = script("readme")
    text = (CHECKOUT / "README.md").read_text()
    assert readme.renewed(text) == text
    with Image.open(readme.PLOT) as picture:
        assert picture.info["Points"] == readme.digest()


@pytest.mark.slow
def test_the_page_of_the_lectures_tables_is_fresh() -> None:
    """`python tools/lecture_tables.py` writes it."""
    tables = script("lecture_tables")
    assert tables.page() == tables.PAGE.read_text()


@pytest.mark.parametrize("name", ["dense", "default_runs"])
def test_a_table_of_figures_is_that_of_its_measurements(name: str) -> None:
    """What is committed as JSON, written by the script as it is now."""
    benchmarks = str(CHECKOUT / "benchmarks")
    sys.path.insert(0, benchmarks)
    try:
        measured = script(name, "benchmarks")
    finally:
        sys.path.remove(benchmarks)
    kept = json.loads((measured.RESULTS / f"{name}.json").read_text())
    table = measured.table(kept["runs"], kept["pca"]) if name == "dense" else measured.table(kept)
    assert table == (measured.RESULTS / f"{name}.md").read_text()


def test_the_page_and_table_of_the_benchmark_are_fresh() -> None:
    """Written from the committed figures by the code and the template as they are now."""
    folder = CHECKOUT / "benchmarks" / "results" / "benchmark"
    rows = read_rows(folder)
    assert len(rows) > 10
    assert (folder / "benchmark.html").read_text() == charts.page(rows)
    assert (folder / "benchmark.md").read_text() == charts.table(rows)


@pytest.mark.slow
def test_the_counters_of_flops_were_compared_with_what_is_counted_now() -> None:
    """`python benchmarks/flops_peers.py` writes the comparison; our column is checked here, and its formulas."""
    peers = script("flops_peers", "benchmarks")
    text = peers.RESULT.read_text()
    assert len(peers.CASES) == 15
    for name, case in peers.CASES.items():
        value = peers.counted(peers.by_zoo, case)
        assert abs(value / case.reference - 1) <= case.slack, name
        assert f"| {name} | {' x '.join(map(str, case.shape))} | {peers.judged(value, case)} |" in text


def test_each_promise_of_security_has_its_tests() -> None:
    """Every one is followed by names of tests, and each of these is there."""
    text = (CHECKOUT / "SECURITY.md").read_text()
    sources = [path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}
    promises = re.findall(r"^- (.*(?:\n  .*)*)", text, re.M)
    assert len(promises) > 10
    for promise in promises:
        named = set(re.findall(r"`(test_\w+)`", promise))
        assert named, promise
        assert named <= there, promise


def test_what_compares_rounded_numbers_is_marked() -> None:
    """So that .ci/run repeats it with other instructions."""
    compare = {"assert_close", "allclose", "assert_same", "same", "gap"}
    unmarked = []
    for path in (CHECKOUT / "tests").rglob("test_*.py"):
        for test in ast.parse(path.read_text()).body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                called = {ast.unparse(node.func).split(".")[-1] for node in ast.walk(test) if isinstance(node, ast.Call)}
                if called & compare and "pytest.mark.numerical" not in map(ast.unparse, test.decorator_list):
                    unmarked.append(f"{path.name}: {test.name}")
    assert not unmarked


# What is installed

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
NOT_INSTALLED = {"torchcodec": "torchcodec"}
"""What is imported of distributions that may not be here, where nobody can be asked which it belongs to."""
UNUSED = {
    "tensorboard": "Lightning's logger of that name, which the configuration chooses, writes by it",
}
"""What is declared and imported nowhere in the package, with the reason."""


def declared(*extras: str) -> set[str]:
    """The distributions that the package asks for, by themselves or by an extra."""
    asked = [*PROJECT["dependencies"], *(each for name in extras for each in PROJECT["optional-dependencies"][name])]
    return {_distribution(re.split(r"[^\w.-]", each)[0]) for each in asked}


def _distribution(name: str) -> str:
    """Its name, however a release spells it: `lazy_loader` is `lazy-loader`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> dict[str, set[str]]:
    """Of each package that is imported anywhere in the source, the distributions that bring it."""
    known = importlib.metadata.packages_distributions()
    names = {name.partition(".")[0] for path in SOURCE.rglob("*.py") for name in imported(path.read_text())}
    foreign = names - sys.stdlib_module_names - {"zoo", ""}
    return {name: {*map(_distribution, known.get(name, [NOT_INSTALLED.get(name, name)]))} for name in foreign}


def test_what_is_imported_is_declared() -> None:
    undeclared = {name for name, owners in distributions().items() if not owners & declared("shards", "torchcodec")}
    assert not undeclared


def test_what_is_declared_is_imported() -> None:
    used = set().union(*distributions().values())
    assert declared("shards", "torchcodec") - used == UNUSED.keys()


def test_each_bound_has_its_reason() -> None:
    text = (CHECKOUT / "pyproject.toml").read_text()
    bounds = re.findall(r'^  "[^"]*>=[^"]*",.*$', text, re.MULTILINE)
    assert len(bounds) > 20
    tools = ("pytest>=", "mypy>=", "ruff>=")  # whose bounds are the releases they were last seen with
    assert not [line for line in bounds if "#" not in line and not line.strip().startswith(tuple(f'"{each}' for each in tools))]


def test_the_distribution_says_what_it_is() -> None:
    """Its name is its own on the package index, and the version is stated once."""
    assert PROJECT["name"] == "lightning-vision-zoo"
    assert PROJECT["dynamic"] == ["version"]
    assert PROJECT["scripts"] == {"zoo": "zoo.__main__:main"}
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(PROJECT["classifiers"])
    assert PROJECT["keywords"]
    assert PROJECT["urls"]["Homepage"].endswith(f"/{PROJECT['name']}/")
    assert "lightning_vision_zoo-*.whl" in (CHECKOUT / ".ci" / "run").read_text()
    told = [path for path in CHECKOUT.rglob("*.py") if re.search(r"^__version__ = ", path.read_text(), re.MULTILINE)]
    assert told == [CHECKOUT / "zoo" / "__init__.py"]


def test_nobody_is_told_to_install_another_project() -> None:
    """`zoo` on the package index is not this one."""
    pages = [path for kind in ("*.md", "*.py", "*.toml", "*.yaml") for path in CHECKOUT.rglob(kind)]
    wrong = r"pip install (?:-\S+ )*['\"]?zoo\b"
    assert not [path for path in [*pages, CHECKOUT / ".ci" / "run"] if re.search(wrong, path.read_text())]


SPEAKING = {
    *("cli", "signals", "report", "result", "sweep"),  # what verbs share
    *("compare", "measure"),  # what the verbs study and benchmark do
    *("resume", "places"),  # the last words of a run that is stopped, and of one whose figures cannot be written
    *("timing", "progress"),  # a process's answer to the one that asks, and the handler of the logger
}
"""Modules that print beside the verbs."""


def test_what_is_no_verb_prints_nothing() -> None:
    """It goes to the logger `zoo`, which verbs show on standard output; and warnings name the user's line."""
    prints, warns = set(), set()
    for path in SOURCE.rglob("*.py"):
        called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        prints |= {path.stem for name in called if name == "print" and path.stem != "__main__"}
        warns |= {path.stem for name in called if name == "warnings.warn"}
    assert prints - verbs().keys() == SPEAKING
    assert warns == {"words"}


def test_the_file_of_a_model_states_what_is_its_own() -> None:
    """Fifteen lines at most in the mean, what they are based on counted; and nothing that its base states too."""
    names = zoo.list_models()
    assert sum(len(path.read_text().splitlines()) for path in (CONF / "model").rglob("*.yaml")) <= 15 * len(names)
    for name in names:
        own, *bases = [yaml.safe_load(path.read_text()) for path in reversed(lineage(CONF / "model" / f"{name}.yaml"))]
        for key, value in own.get("model", {}).items():
            assert key not in (bases[0] if bases else {}).get("model", {}) or bases[0]["model"][key] != value, f"{name}: {key}"
