"""torchvision's import: a pair that works is left alone, and one that does not fit is named in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
FITTING = f"=={torch.__version__.partition('+')[0]}"
PROGRAM = """
from analysis.common.errors import StudyError
try:
    from pruning_study.data import torchvision_import
    print("defined" if hasattr(torchvision_import, "_library") else "left alone")
except StudyError as error:
    print(error)
"""


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a torchvision of our own making in a new process, and gives what is printed."""

    def run(source, needed):
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(source)
        (tmp_path / "torchvision-0.21.0.dist-info").mkdir()
        # Wheels of torchvision write what they need in parentheses.
        metadata = f"Metadata-Version: 2.1\nName: torchvision\nVersion: 0.21.0\nRequires-Dist: torch ({needed})\n"
        (tmp_path / "torchvision-0.21.0.dist-info" / "METADATA").write_text(metadata)
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True).stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("needed", ["==2.5.1", ">=99.0"])
def test_a_pair_that_does_not_fit_is_named_in_one_line(imported, needed):
    (line,) = imported(BROKEN, needed).splitlines()
    assert f"torchvision 0.21.0 needs torch{needed}, and torch {torch.__version__} is installed" in line
    assert f"pip install 'torch{needed}'" in line


@pytest.mark.slow
@pytest.mark.parametrize("needed", ["==2.5.1", FITTING])
def test_a_torchvision_that_works_is_left_alone(imported, needed):
    assert imported("", needed) == "left alone\n"


@pytest.mark.slow
@pytest.mark.parametrize("needed", [FITTING, ">=2.6.0"])
def test_the_operators_of_a_fitting_torchvision_without_them_are_defined(imported, needed):
    missing = f"import torch\nif not hasattr(torch.ops.torchvision, 'nms'): {BROKEN}\n"
    assert imported(missing, needed) == "defined\n"
