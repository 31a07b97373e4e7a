"""The notebooks of the tutorials: they are made from the pages, and running them prints what the pages quote."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from docs import notebooks

ROOT = Path(__file__).parent.parent
FIRST_AUDIT, FIRST_STUDY = notebooks.TUTORIALS
# A page quotes a file, and lines on trainings, whose times differ.
NOT_PRINTED = ("label,predicted", "[69/70]")


@pytest.mark.parametrize("page", notebooks.TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_is_its_page(page):
    """If this fails, `python docs/notebooks.py` writes the notebooks anew."""
    made = notebooks.notebook(page.read_text(encoding="utf-8"))
    assert made == page.with_suffix(".ipynb").read_text(encoding="utf-8")


def test_blocks_of_python_and_of_commands_become_cells():
    page = "# A page\n\nIt says this.\n\n## A part\n\n```python\nx = 1\n```\n\nThen:\n\n```console\nls a\nls b\n```\n\n"
    page += "```text\nwhat is printed\n```\n"
    cells = json.loads(notebooks.notebook(page))["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == [
        ("markdown", "# A page\n\nIt says this."),
        ("code", notebooks.START),
        ("markdown", "## A part"),
        ("code", "x = 1"),
        ("markdown", "Then:"),
        ("code", "!ls a\n!ls b"),
        ("markdown", "```text\nwhat is printed\n```"),
    ]


@pytest.mark.notebook
@pytest.mark.parametrize(("page", "count"), [(FIRST_AUDIT, 3), (FIRST_STUDY, 2)], ids=["audit", "study"])
def test_a_notebook_prints_what_its_page_quotes(page, count, tmp_path, monkeypatch):
    """The first study trains for minutes, unless QUICK_STUDY names a store that has it: its networks are found then."""
    import nbformat
    from nbclient import NotebookClient

    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "PRUNING_STUDY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if page == FIRST_STUDY and (store := os.environ.get("QUICK_STUDY")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("results", "studies"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "docs" / "tutorials"
    folder.mkdir(parents=True)

    notebook = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = words("".join(output.get("text", "") for output in outputs))
    quotes = re.findall("```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    quotes = [quote for quote in quotes if not quote.startswith(NOT_PRINTED)]
    assert len(quotes) == count
    for part in (part for quote in quotes for part in quote.split("\n...\n")):
        assert words(part).removesuffix(" ...") in printed


def words(text):
    """Text without its line ends, which depend on the width of the terminal."""
    return " ".join(text.split())
