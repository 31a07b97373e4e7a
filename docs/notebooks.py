"""Make the notebooks of the tutorials: `python docs/notebooks.py` writes them beside their pages.

Blocks of Python and of commands become cells to run. All else stays text, also the output that a page quotes, so that
a notebook needs no stored outputs.
"""

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = sorted(Path(__file__).with_name("tutorials").glob("*.md"))
CELL = re.compile(r"^```(python|console)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
START = "# Work in the folder of the repository, which is two above that of this notebook.\n%cd {_dh[0]}/../.."
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(page: str) -> str:
    """Make the notebook of a page in Markdown, in the form in which Jupyter writes it."""
    introduction, rest = page.split("\n## ", 1)
    cells = [_text(introduction), _code(START)]
    words, *blocks = CELL.split(f"## {rest}")
    cells.append(_text(words))
    for language, block, words in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        cells.append(_code(block if language == "python" else re.sub("^", "!", block.strip(), flags=re.MULTILINE)))
        if words.strip():
            cells.append(_text(words))
    named = [{**cell, "id": f"cell-{place}"} for place, cell in enumerate(cells)]
    content = {"cells": named, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _text(words: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": words.strip().splitlines(keepends=True)}


def _code(lines: str) -> dict[str, Any]:
    source = lines.strip().splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


if __name__ == "__main__":
    for path in TUTORIALS:
        path.with_suffix(".ipynb").write_text(notebook(path.read_text(encoding="utf-8")), encoding="utf-8")
