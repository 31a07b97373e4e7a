"""SECURITY.md names the tests that hold what it promises."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
MARKER = "pytest.mark.attack"


def has_attack(path):
    code = path.read_text()
    if MARKER not in code:  # most files, whose parsing would take long
        return False
    tests = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef))
    return any(MARKER in map(ast.unparse, test.decorator_list) for test in tests)


def test_its_table_has_every_file_of_tests_with_the_marker_and_no_other():
    page = (TESTS.parent / "SECURITY.md").read_text()
    linked = set(re.findall(r"\]\((tests/[\w/]+\.py)\)", page))
    marked = {path.relative_to(TESTS.parent).as_posix() for path in TESTS.rglob("test_*.py") if has_attack(path)}
    assert linked == marked
    assert len(marked) > 60
