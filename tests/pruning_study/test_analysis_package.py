"""Another `analysis` of the user's, beside a script, a notebook or where a command is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SERVER = """
from pruning_study.study import processes

if __name__ == "__main__":
    processes.start_server()
    code = "import sys; print('pruning_study.study.lineage' in sys.modules)"
    process = processes.CONTEXT.Process(target=exec, args=(code,))
    process.start()
    process.join()
"""


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("file", "named"), [("analysis.py", "analysis.py"), ("analysis/__init__.py", "analysis")])
def test_another_analysis_is_named_in_one_line(tmp_path, file, named):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('the user\\'s own code is not run')", encoding="utf-8")
    result = python(tmp_path, "-c", "import pruning_study")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: {tmp_path / named} hides the package analysis, which pruning_study needs: rename it, and start "
        "Python again"
    )


def test_a_folder_of_results_called_analysis_hides_nothing(tmp_path):
    (tmp_path / "analysis").mkdir()
    result = python(tmp_path, "-c", "import pruning_study")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_workers_of_a_command_take_no_analysis_from_the_current_folder(tmp_path):
    command, current = tmp_path / "bin" / "command", tmp_path / "current"
    for folder in (command.parent, current):
        folder.mkdir()
    command.write_text(SERVER, encoding="utf-8")
    (current / "analysis.py").touch()
    result = python(current, command)
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr
