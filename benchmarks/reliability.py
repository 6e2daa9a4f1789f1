"""Run the long proofs of survival and write what was tried, how often, and what was lost: `results/reliability.md`.

python benchmarks/reliability.py            # runs the proofs, some minutes
python benchmarks/reliability.py FOLDER     # makes the table of records that a run of the tests left ($RELIABILITY)
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _record import RESULTS
from default_runs import hardware

PROOFS = [f"tests/test_{name}.py" for name in ("resume", "processes", "fuzz", "hostile", "shards", "deterministic")]


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def table(found: list[dict[str, object]]) -> str:
    rows = [["what", "tried", "lost", "", "test"], ["---", "---:", "---:", "---", "---"]]
    rows += [
        [str(r["what"]), str(r["tried"]), str(r["lost"]), str(r["detail"]), f"`{str(r['test']).split('[')[0]}`"] for r in found
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    from zoo.report import versions

    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        if len(sys.argv) == 1:
            command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", *PROOFS]
            subprocess.run(command, check=True, cwd=RESULTS.parent.parent, env={**os.environ, "RELIABILITY": made})
        found = records(folder)
    lost = sum(int(str(record["lost"])) for record in found)
    tried = sum(int(str(record["tried"])) for record in found)
    text = (
        f"# What was tried to break it, and what was lost\n\nCommand: `python benchmarks/reliability.py`, which runs the long "
        f"proofs and makes this table of what they record.\n\n{hardware()}; {versions()}\n\n{tried:,} attempts; lost: "
        f"**{lost or 'nothing'}**.\n\n{table(found)}"
    )
    (RESULTS / "reliability.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
