"""Write the table of docs/attacks.md from the names of the tests that carry the marker `attack`.

Such a name is `test_<attack>__<what happens>`. Run `python -m tests.attacks` after a test is added or renamed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "attacks.md"
MARKER = "pytest.mark.attack"
TABLE = "| attack or fault | what happens | test |\n| --- | --- | --- |\n"


def page(text: str) -> str:
    """Return a page with its table made anew from the tests."""
    return text[: text.index(TABLE) + len(TABLE)] + "".join(f"| {' | '.join(row)} |\n" for row in rows())


def rows() -> Iterator[tuple[str, str, str]]:
    """Yield attack, outcome and place of each test that carries the marker, in the order of the files."""
    for path in sorted(TESTS.rglob("test_*.py")):
        place = path.relative_to(TESTS.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and MARKER in map(ast.unparse, node.decorator_list):
                attack, _, outcome = node.name.removeprefix("test_").partition("__")
                yield _words(attack), _words(outcome), f"[{path.stem}](../{place})"


def _words(name: str) -> str:
    return name.replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
