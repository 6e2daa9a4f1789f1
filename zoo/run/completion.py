"""Completion for a shell: verbs, their options, groups and their choices, keys.

`zoo --completion bash` (or zsh, fish) prints what the shell has to know; it asks `zoo --complete WORD ...` at each press. The
answer is read from the source and the files of the configuration, for to import or to compose them would take too long.
"""

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.common.places import CONF

HERE = Path(__file__).parent.parent

SCRIPTS = {
    "bash": r"""_zoo() {
    local line=${COMP_LINE:0:COMP_POINT} words each
    read -ra words <<< "$line"
    [[ $line == *" " ]] && words+=("")
    local word=${words[-1]}
    local done=${word%"$2"} # bash completes what stands behind an equals sign
    COMPREPLY=()
    while IFS= read -r each; do
        [[ -n $each ]] || continue
        [[ $each == *[=.] ]] || each+=" "
        COMPREPLY+=("${each#"$done"}")
    done < <("$1" --complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -o nospace -F _zoo zoo""",
    "zsh": r"""#compdef zoo
_zoo() {
    local -a found=("${(@f)$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then
        compadd -Q -S '' -- "${(@M)found:#*[=.]}"
        compadd -Q -- "${(@)found:#*[=.]}"
    else
        compset -P '*='
        _files
    fi
}
compdef _zoo zoo""",
    "fish": r"""complete -c zoo -a '(zoo --complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'""",
}
"""What each shell evaluates once, in its start-up file: `eval "$(zoo --completion bash)"`."""


def candidates(words: Sequence[str], verbs: Sequence[str]) -> list[str]:
    """What the last word of a command line may become; nothing where that is a file's name."""
    *before, word = words or [""]
    if not before:
        return _beginning(word, [*verbs, "--help", "--version"])
    verb, *settings = before
    if verb not in verbs:
        return []
    key, equals, value = word.partition("=")
    options = own_options(verb)
    if equals:
        *others, last = value.split(",")
        found = options.get(key) or values(key, settings)
        return [f"{key}={','.join([*others, each])}" for each in _beginning(last, found)]
    plain = {"prepare": "data", "benchmark": "model"}.get(verb)
    names = _choices(plain) if plain and not settings else []
    if verb != "train" and not word:
        return names  # or files
    return _beginning(word, [*names, *(f"{each}=" for each in options), *keys(word, settings)])


def _beginning(word: str, found: Sequence[str]) -> list[str]:
    return sorted(each for each in dict.fromkeys(found) if each.startswith(word))


# The options of a verb


@functools.cache
def own_options(verb: str) -> dict[str, list[str]]:
    """The names of a verb's own options with the words that they may be, as `grammar.parameters` would find them."""
    path = HERE / f"{verb}.py" if (HERE / f"{verb}.py").is_file() else HERE / verb / "__main__.py"
    named = _named(path, f"zoo.{verb}.")
    for call in ast.walk(named["main"]):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "cli.command":
            return dict(_options(named[ast.unparse(call.args[0])], named))
    return {}


def _named(path: Path, room: str) -> dict[str, Any]:
    """What a module defines at its top, by name; and what it imports of its own room."""
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(room):
            found |= _named(path.parent / f"{node.module.removeprefix(room)}.py", room)  # type: ignore[union-attr]
    return found


def _options(function: ast.FunctionDef, named: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "functools.wraps":
            yield from _options(named[ast.unparse(each.args[0])], named)
            return
    taken = function.args.args
    for parameter, default in zip(taken[len(taken) - len(function.args.defaults) :], function.args.defaults, strict=True):
        kind = named.get(default.func.id) if isinstance(default, ast.Call) and isinstance(default.func, ast.Name) else None
        if isinstance(kind, ast.ClassDef):
            for node in kind.body:
                if isinstance(node, ast.AnnAssign):
                    yield from _option(ast.unparse(node.target), node.annotation, named)
        else:
            yield from _option(parameter.arg, parameter.annotation, named)


def _option(name: str, annotation: ast.expr | None, named: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    said = ast.unparse(annotation) if annotation else ""
    if name == "overrides" or "Plain()" in said:
        return
    own = re.search(r"Named\('([^']+)'\)", said)
    yield own[1] if own else name, list(_words(annotation, named)) if annotation else []


def _words(annotation: ast.expr, named: dict[str, Any]) -> Iterator[str]:
    """Those of a `Literal`, also where a name stands for it."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and isinstance(named.get(node.id), ast.Subscript):
            yield from _words(named[node.id], named)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            yield from (str(each.value) for each in ast.walk(node.slice) if isinstance(each, ast.Constant))


# Settings


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def values(key: str, settings: Sequence[str]) -> list[str]:
    """What a key may be set to, where there are words for it."""
    if (CONF / key).is_dir():
        return _choices(key)
    node: Any = tree(settings)
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return ["false", "true"] if isinstance(node, bool) else ["paper", "small"] if key == "size" else []


def keys(word: str, settings: Sequence[str]) -> list[str]:
    """The keys and groups, as far as the word has come: `model=`, `model.`, `model.depth=`."""
    place, dot, _ = word.rpartition(".")
    node: Any = tree(settings)
    for part in place.split(".") if dot else ():
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return []
    found = [f"{place}{dot}{name}{'.' if isinstance(value, dict) else '='}" for name, value in node.items()]
    return found if dot else [*found, *(f"{group.name}=" for group in CONF.iterdir() if group.is_dir())]


def tree(settings: Sequence[str]) -> dict[str, Any]:
    """The settings of a run as the files write them, without what Hydra makes of them."""
    usual = _chosen(CONF / "train.yaml")
    said = {key: value for key, _, value in (each.partition("=") for each in settings) if key in usual}
    asked = _chosen(CONF / "experiment" / f"{said.get('experiment')}.yaml") | said
    model = (usual | asked)["model"]
    found = _run_keys()
    chosen = usual | _chosen(CONF / "model" / f"{model}.yaml") | asked
    for group, names in [*chosen.items()]:
        chosen |= {
            key: each for name in _listed(names) for key, each in _chosen(CONF / group / f"{name}.yaml").items() if "@" in key
        }
    for place, names in chosen.items():
        folder, _, package = place.partition("@")
        for name in _listed(names) if (CONF / folder).is_dir() else ():
            _merge(found, _of_group(package or folder, CONF / folder / f"{name}.yaml"))
    return {name: value for name, value in found.items() if name not in ("defaults", "hydra", "experiment", "facts")}


def _listed(names: str) -> list[str]:
    """`[ema,early_stopping]` names several files of a group."""
    return re.findall(r"\w+", names)


def _bases(path: Path) -> list[Path]:
    """The files of its group that a file is based on."""
    listed = _loaded(path).get("defaults", []) if path.parent != CONF else []
    return [path.parent / f"{each}.yaml" for each in listed if isinstance(each, str) and each != "_self_"]


def _chosen(path: Path) -> dict[str, str]:
    """The files of other groups that a file chooses."""
    pairs = [pair for each in _loaded(path).get("defaults", []) if isinstance(each, dict) for pair in each.items()]
    own = {group.removeprefix("override").strip(" /"): str(name) for group, name in pairs}
    return {key: value for base in _bases(path) for key, value in _chosen(base).items()} | own


def _of_group(group: str, path: Path) -> dict[str, Any]:
    """A file with those that it is based on, under the name of the group."""
    content, found = _loaded(path), dict[str, Any]()
    for base in _bases(path):
        _merge(found, _of_group(group, base))
    whole = path.is_file() and path.read_text(encoding="utf-8").startswith("# @package _global_")
    own = {key: value for key, value in content.items() if key != "defaults"}
    _merge(found, _public(own if whole else {group: own}))
    return found


def _public(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _public(value) if isinstance(value, dict) else value for key, value in content.items() if not key.startswith("_")
    }


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _run_keys() -> dict[str, Any]:
    """Those of `compose.Run`; false for what is true or false."""
    text = (HERE / "run" / "compose.py").read_text(encoding="utf-8")
    (body,) = re.findall(r"^class Run:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    fields = re.findall(r"^    (\w+): (.*?)(?: =|$)", body, re.MULTILINE)
    return {name: False if kind == "bool" else None for name, kind in fields}


def _loaded(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return (yaml.load(path.read_bytes(), loader) or {}) if path.is_file() else {}
