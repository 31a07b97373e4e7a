"""Output that nobody reads to its end, as with `| head`: the command ends without an error message."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("analysis", "audit", "--before", "a.csv", "--after", "a.csv"),
        ("pruning_study", "study", "--help"),
    ],
    ids=["analysis", "pruning_study"],
)
def test_closed_output_is_no_error(command, store_uri, tmp_path):
    (tmp_path / "a.csv").write_text("label,predicted\n0,0\n1,1\n1,0\n")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1
