"""Every reader x every odd content, as one table: what came of them.

python benchmarks/odd_contents.py            # tries them all, about half an hour, and prints the table
python benchmarks/odd_contents.py FOLDER     # makes the table of what such a run left there
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

OUTCOMES = ("read", "left out", "refused", "crashed", "hung", "silent")
CHECKOUT = Path(__file__).parent.parent


def table(folder: Path) -> str:
    """Markdown: a row for each kind of file, with how many readers were asked, how often, and what came of it."""
    readers: dict[str, set[str]] = {}
    counts: dict[str, Counter[str]] = {}
    for path in folder.glob("odd-contents-*.json"):
        content = json.loads(path.read_text())
        found = re.fullmatch(r"odd contents of (.+?) (in|predicted by) (.+)", content["what"])
        assert found is not None
        kind = f"{found[1]}, predicted" if found[2] != "in" else found[1]
        readers.setdefault(kind, set()).add(found[3])
        counts.setdefault(kind, Counter()).update(json.loads(content["detail"]))
    rows = [["kind of file", "readers", "tried", *OUTCOMES]]
    for kind in sorted(counts):
        its = counts[kind]
        rows.append([kind, str(len(readers[kind])), f"{its.total():,}", *(f"{its[each]:,}" for each in OUTCOMES)])
    total = sum(counts.values(), Counter())
    everybody = str(len(set().union(*readers.values())))
    rows.append(["**all**", everybody, f"{total.total():,}", *(f"{total[each]:,}" for each in OUTCOMES)])
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    if len(sys.argv) > 1:
        print(table(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", "tests/test_odd_contents.py"]
        status = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "RELIABILITY": folder}, check=False).returncode
        print(table(Path(folder)))
    sys.exit(status)


if __name__ == "__main__":
    main()
