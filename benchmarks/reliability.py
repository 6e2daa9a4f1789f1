"""Run the proofs of survival and write what was tried, how often, and what was lost: `results/reliability.md`.

python benchmarks/reliability.py            # runs the proofs, about ten minutes
python benchmarks/reliability.py FOLDER     # makes the table of what such a run left there
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from _record import RESULTS
from default_runs import hardware

PROOFS = {
    "many processes": ["tests/run/test_processes.py", "tests/data/test_shards.py", "tests/data/test_base.py"],
    "interruptions": [
        "tests/run/test_resume.py",
        "tests/data/test_shards.py",
        "tests/data/test_motion_digits.py",
        "tests/data/test_stored.py",
        "tests/data/test_prepared.py",
        "tests/common/test_download.py",
    ],
    "broken and hostile input": [
        "tests/test_fuzz.py",
        "tests/test_hostile.py",
        "tests/test_hostile_checkpoints.py",
        "tests/test_odd_contents.py",
        "tests/data/test_video_sets.py",
        "tests/models/test_weights.py",
    ],
    "the same bits": ["tests/run/test_determinism.py", "tests/models/test_rcnn.py::test_the_same_bits_twice"],
}
"""What is shown -> the files of tests that show it. A test that counts its attempts says so by `record`."""
LEFT = "report.xml"


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, [":---" if at else "---" for at in range(len(head))], *rows])


def tests(folder: Path) -> tuple[dict[tuple[str, str], Counter[str]], list[str]]:
    """Of each test (file, name) how many of its cases came out how, and why the skipped ones were."""
    found: dict[tuple[str, str], Counter[str]] = {}
    skipped = []
    for case in ElementTree.parse(folder / LEFT).iter("testcase"):
        place = case.get("classname", "").replace(".", "/") + ".py"
        name = case.get("name", "").partition("[")[0]
        kinds = {child.tag: child for child in case}
        outcome = next((tag for tag in ("failure", "error", "skipped") if tag in kinds), "passed")
        found.setdefault((place, name), Counter())[outcome] += 1
        if outcome == "skipped":
            skipped.append(f"{name.replace('_', ' ')}: {kinds[outcome].get('message')}")
    return found, skipped


def main() -> None:
    from zoo.run.result import versions

    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        if len(sys.argv) == 1:
            files = dict.fromkeys(file for files in PROOFS.values() for file in files)
            command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", f"--junitxml={folder / LEFT}", *files]
            # A proof that fails belongs into the table.
            subprocess.run(command, check=False, cwd=RESULTS.parent.parent, env={**os.environ, "RELIABILITY": made})
        counted = records(folder)
        found, skipped = tests(folder)
    tried, lost = (sum(int(str(record[key])) for record in counted) for key in ("tried", "lost"))
    failed = sum(outcomes["failure"] + outcomes["error"] for outcomes in found.values())
    cases = sum(outcomes.total() for outcomes in found.values())
    parts = [
        f"# What was tried to break it, and what was lost\n\nCommand: `python benchmarks/reliability.py`, which runs the "
        f"proofs and makes this page of what they record.\n\n{hardware()}; {versions()}\n\n{tried:,} counted attempts; "
        f"lost: **{lost or 'nothing'}**. {cases:,} cases of {len(found)} tests; failed: **{failed or 'none'}**.\n\n"
        f"## Attempts that were counted\n\n",
        table(
            ["what", "tried", "lost", "", "test"],
            [
                [str(r["what"]), str(r["tried"]), str(r["lost"]), str(r["detail"]), f"`{str(r['test']).split('[')[0]}`"]
                for r in counted
            ],
        ),
    ]
    for part, files in PROOFS.items():
        rows = [
            [
                name.removeprefix("test_").replace("_", " "),
                str(outcomes["passed"]),
                str(outcomes["failure"] + outcomes["error"]),
                f"`{place}`",
            ]
            for (place, name), outcomes in found.items()
            if any(file.partition("::")[0] == place for file in files) and outcomes["skipped"] < outcomes.total()
        ]
        parts.append(f"\n## The tests: {part}\n\n{table(['what holds', 'cases', 'failed', 'file'], rows)}")
    if skipped:
        parts.append("\n## Not tried here\n\n" + "".join(f"- {line}\n" for line in sorted(set(skipped))))
    (RESULTS / "reliability.md").write_text("".join(parts))
    print("".join(parts))


if __name__ == "__main__":
    main()
