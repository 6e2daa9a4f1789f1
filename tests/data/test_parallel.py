"""Processes of a script that does not guard what it does: they do not run it again, or it is said what to write."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.data.loading.parallel import GUARD

ABS = """from zoo.data.loading.parallel import mapped
print('runs')
print(sorted(mapped(abs, [-1, -2, -3], 'abs', processes=2)))
"""
OWN = """
from zoo.data.loading.parallel import mapped


def double(x):
    return 2 * x


"""
MAPPED = "print(sorted(mapped(double, [1, 2, 3], 'double', processes=2)))\n"
GUARDED = f'{OWN}if __name__ == "__main__":\n    {MAPPED}'


def run(folder: Path, code: str, *, piped: bool = False) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(code)
    words = [sys.executable, "-" if piped else "script.py"]
    return subprocess.run(words, cwd=folder, input=code if piped else None, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("piped", [False, True], ids=["a file", "standard input"])
def test_a_script_runs_once(piped: bool, tmp_path: Path) -> None:
    done = run(tmp_path, ABS, piped=piped)
    assert (done.returncode, done.stdout, done.stderr) == (0, "runs\n[1, 2, 3]\n", "")


def test_work_that_is_defined_in_the_script_is_found_there(tmp_path: Path) -> None:
    done = run(tmp_path, GUARDED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 4, 6]\n", "")


def test_where_the_script_would_run_again_it_is_said_what_to_write(tmp_path: Path) -> None:
    done = run(tmp_path, OWN + MAPPED)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("ValueError")]
    assert any(line.endswith(GUARD) for line in errors)  # two processes may write into one line
    assert "bootstrapping" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        "from zoo.data.digit_scenes import DigitScenes as Data",
        "from zoo.data.motion_digits import MotionDigits as Data",
    ],
)
def test_an_embedded_set_is_rendered_from_a_plain_script(make: str, tmp_path: Path) -> None:
    code = f"""
import os
os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
{make}
from zoo.data.rendered import motion, scenes
motion.CLIPS.update(dict.fromkeys(motion.CLIPS, 6))
scenes.SCENES.update(dict.fromkeys(scenes.SCENES, scenes._A_FILE))
Data(shape=(3, 16, 32, 32) if Data.layout == 4 else (3, 64, 64)).prepare_data()
print("done")
"""
    done = run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
