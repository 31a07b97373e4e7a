import ast
import functools
import hashlib
from pathlib import Path

import pytest

from analysis.common import imports
from analysis.common.errors import StudyError
from tests.error_lines import refused


def decorator(function):
    @functools.wraps(function)
    def wrapper():
        return function()

    return wrapper


def test_the_digest_is_that_of_the_file_that_defines_the_callable():
    digest = hashlib.sha256(Path(imports.__file__).read_bytes()).hexdigest()[:32]
    inside = imports.import_callable("analysis.common.imports:source_digest", option="model")
    assert inside is imports.source_digest
    for imported in (inside, functools.partial(functools.partial(inside, None)), decorator(inside)):
        assert imports.source_digest(imported) == digest


def test_what_is_compiled_has_no_source():
    assert imports.source_digest(len) == "unknown"


@pytest.mark.parametrize("option", ["model", "pruner"])
def test_an_error_names_the_option(option):
    with refused(option, r"'os:nothing' cannot be imported \(AttributeError"):
        imports.import_callable("os:nothing", option=option)


@pytest.mark.attack
@pytest.mark.parametrize("line", ["import sys; sys.exit(0)", "raise SystemExit", "1 / 0", "import no_such_module", "("])
def test_a_module_of_the_user_that_ends_or_fails_at_its_import__is_one_line(tmp_path, monkeypatch, line):
    (tmp_path / "ending.py").write_text(line)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *imports.sys.path])
    with pytest.raises(StudyError, match=r"'ending:net' cannot be imported \(\w+: "):
        imports.import_callable("ending:net", option="model")


PACKAGES = [Path(imports.__file__).parents[2] / name for name in ("analysis", "pruning_study")]
UNPICKLING = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "runpy", "code"}
RUNNING = {"eval", "exec", "compile", "__import__", "torch.load", "joblib.load", "yaml.unsafe_load", "yaml.full_load"}


@pytest.mark.slow
@pytest.mark.attack
def test_text_or_pickles_that_a_file_holds__are_run_nowhere_in_the_source():
    """Only `imports` imports a name of the user's, and the grid reads yaml with the safe loader."""
    found = set()
    for path in (path for package in PACKAGES for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {(path.name, item.name) for item in node.names if item.name.partition(".")[0] in UNPICKLING}
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNPICKLING:
                found.add((path.name, node.module))
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called == "torch.load" and "weights_only=True" in map(ast.unparse, node.keywords):
                    continue
                if called in RUNNING | {"importlib.import_module", "import_module", "yaml.load"}:
                    found.add((path.parent.name + "/" + path.name, called))
                found |= {(path.name, "pickle") for word in node.keywords if ast.unparse(word) == "allow_pickle=True"}
    assert found == {
        ("analysis/__init__.py", "import_module"),
        ("pruning_study/__init__.py", "import_module"),
        ("common/imports.py", "importlib.import_module"),
        ("models/libraries.py", "importlib.import_module"),
        ("study/grid.py", "yaml.load"),
    }
