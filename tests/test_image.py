"""The container image: what stands behind its name, what it is built from, and that its script needs docker."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["--help"], ["pruning-study", "--help"]),
        (["prune", "--dataset", "my data"], ["pruning-study", "prune", "--dataset", "my data"]),
        (["pruning-study", "train"], ["pruning-study", "train"]),
        (["pruning-analysis", "report"], ["pruning-analysis", "report"]),
    ],
)
def test_an_image_runs_a_command_or_another_program(arguments, called, tmp_path):
    entry = json.loads(re.search("^ENTRYPOINT (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])
    for program in ("pruning-study", "pruning-analysis"):
        (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n')
        (tmp_path / program).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.check_output([*entry, *arguments], env={"PATH": path}, text=True)
    assert shown.splitlines() == called


def test_an_image_is_built_from_what_is_installed():
    """The studies are in the package by a link to a folder at the top."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    links = {path.readlink().name for name in packages for path in (ROOT / name).iterdir() if path.is_symlink()}
    files = {project["project"]["readme"], *project["project"]["license-files"]}
    assert kept == packages | links | files | {"pyproject.toml", "constraints.txt"}


def test_without_docker_the_script_says_so_in_a_line(tmp_path):
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(Path("/usr/bin") / program)
    done = subprocess.run(["/usr/bin/bash", ROOT / ".ci" / "image"], env={"PATH": str(tmp_path)}, capture_output=True)
    assert done.returncode == 1
    assert b"docker" in done.stderr
    assert done.stderr.count(b"\n") == 1
