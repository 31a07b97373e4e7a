"""Text is written and read as UTF-8, whatever the locale says."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PATHS = [*ROOT.glob("pruning_study/**/*.py"), *ROOT.glob("analysis/**/*.py"), *ROOT.glob("results/*.py")]


def without_encoding(source: str) -> list[int]:
    """Return the lines of a module that read or write text without an encoding; ruff sees only those of `Path(...)`."""
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "formatter":  # click's help
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        has_encoding = any(keyword.arg in ("encoding", None) for keyword in call.keywords)
        modes = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant)]
        opens_text = name == "open" and any(mode in ("r", "w", "a", "x", "r+", "w+", "a+") for mode in modes)
        lines += [call.lineno] if (name in ("read_text", "write_text") or opens_text) and not has_encoding else []
    return lines


def test_finds_calls_that_ruff_does_not():
    found = without_encoding(
        'path.write_text(a)\nread(path.read_text(encoding="utf-8"))\npath.open("w")\npath.open("rb")'
    )
    assert found == [1, 3]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_depends_on_the_locale(path):
    assert without_encoding(path.read_text(encoding="utf-8")) == []


def run(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **NO_UTF8, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", **variables}
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=folder, env=environment, capture_output=True, check=False
    )


def test_a_character_that_the_terminal_lacks_is_printed_as_an_escape(tmp_path):
    """The classes are a cat and a tea, and Latin-1 has the tea alone."""
    for name, wrong in (("before", 5), ("after", 40)):
        rows = [
            "label,predicted",
            *("猫,thé" if place < wrong else "猫,猫" for place in range(100)),
            *["thé,thé"] * 100,
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    files = ("--before", "before.csv", "--after", "after.csv")
    done = run(tmp_path, "analysis", "audit", *files, PYTHONIOENCODING="iso8859-1")
    assert done.returncode == 0, done.stderr
    assert rb"\u732b" in done.stdout
    assert "thé".encode("iso8859-1") in done.stdout
    assert "猫" in (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.onnx
@pytest.mark.structured
def test_compress_ends_without_an_error_in_a_locale_that_is_not_utf8(tmp_path, tiny):
    names = np.array(["café", "猫", *map(str, range(8))])
    np.savez(tmp_path / "tiny.npz", **{**tiny, "class_names": names})
    data = ("--dataset", "tiny.npz", "--validation-fraction", 0.4)
    training = ("--epochs", 8, "--fine-tune-epochs", 1, "--batch-size", 16, "--n-trials", 4)
    limits = ("--max-class-loss", 99, "--max-accuracy-loss", 90)
    done = run(tmp_path, "pruning_study", "compress", *data, *training, *limits)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    cards = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("model_card.md")]
    assert cards
    assert all("café" in card and "猫" in card for card in cards)
