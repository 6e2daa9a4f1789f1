"""The oldest releases that pyproject.toml admits, one a line, as constraints for pip.

python tools/oldest.py > oldest.txt && pip install -c oldest.txt '.[test]'
"""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("shards", "launchers", "test")
"""Those that the tests need."""


def oldest(project: dict[str, object]) -> list[str]:
    """Each `name>=version` as `name==version`. Raises ValueError where a dependency states no oldest release."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    dependencies: list[str] = project["dependencies"]  # type: ignore[assignment]
    found = []
    for requirement in [*dependencies, *(each for extra in EXTRAS for each in extras[extra])]:
        name = re.split(r"[\[<>=!~; ]", requirement)[0]
        if name == project["name"]:
            continue
        bound = re.search(r">=\s*([\w.]+)", requirement)
        if bound is None:
            raise ValueError(f"{requirement} states no oldest release. Add one, as >=1.0.")
        found.append(f"{name}=={bound[1]}")
    return found


if __name__ == "__main__":
    print("\n".join(oldest(tomllib.loads(PYPROJECT.read_text())["project"])))
