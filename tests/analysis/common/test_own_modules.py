"""Which modules of the user's own count in the digest of a model or a pruner."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.common import imports


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, which holds a package `own`; Python has imported nothing of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = {"__init__": "", "layers": "width = 3\n", "unused": "width = 4\n", "parts/deep": "width = 5\n"}
    for name, source in files.items():
        write(tmp_path / "own" / f"{name}.py", source)
    yield tmp_path
    forget()


def write(path, source):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own", "beside")]:
        del sys.modules[name]
    sys.path_importer_cache.clear()


def digest(path="own.models:net"):
    """Return the digest of a factory as another process would: nothing of the package has been imported before."""
    forget()
    return imports.source_digest(imports.import_callable(path, option="model"), path)


def of_bytes(source):
    return hashlib.sha256(source.encode()).hexdigest()[:32]


NET = "def net():\n    pass\n"
FORMS = {
    "relative name": "from . import layers",
    "relative module": "from .layers import width",
    "everything": "from .layers import *",
    "absolute module": "import own.layers",
    "absolute module with another name": "import own.layers as other",
    "absolute name": "from own import layers",
    "from absolute module": "from own.layers import width",
    "inside a function": "def later():\n    from . import layers",
    "where it is allowed to be missing": "try:\n    import own.layers\nexcept ImportError:\n    pass",
}


@pytest.mark.parametrize("statement", FORMS.values(), ids=FORMS.keys())
def test_an_edit_of_an_imported_module_changes_the_digest_and_its_undoing_brings_it_back(folder, statement):
    write(folder / "own/models.py", f"{statement}\n{NET}")
    first = digest()
    write(folder / "own/layers.py", "width = 33\n")
    assert digest() != first
    write(folder / "own/layers.py", "width = 3\n")
    assert digest() == first


def test_a_module_that_is_imported_by_way_of_others_counts(folder):
    write(folder / "own/models.py", f"from .blocks import x\n{NET}")
    write(folder / "own/blocks.py", "from .parts import deep\nx = deep.width\n")
    write(folder / "own/parts/__init__.py", "from .. import layers\n")
    first = digest()
    for name in ("blocks", "parts/__init__", "parts/deep", "layers"):
        path = folder / f"own/{name}.py"
        before = path.read_text()
        path.write_text(before + "# changed\n")
        assert digest() != first, name
        path.write_text(before)
    assert digest() == first


@pytest.mark.parametrize("statement", ["from own.parts.deep import width", "from .parts.deep import width"])
def test_the_packages_on_the_way_to_a_module_count(folder, statement):
    write(folder / "own" / "models.py", f"{statement}\ndef net(): return width\n")
    write(folder / "own" / "parts" / "__init__.py", "")
    before = digest()
    write(folder / "own" / "parts" / "__init__.py", "from . import deep\ndeep.width = 6\n")
    assert digest() != before


def test_the_package_of_the_factory_counts(folder):
    write(folder / "own" / "models.py", "def net(): return 1\n")
    before = digest()
    write(folder / "own" / "__init__.py", "import own.models\nown.models.net = lambda: 2\n")
    assert digest() != before


def test_a_star_stands_for_all_modules_of_a_package(folder):
    write(folder / "own" / "models.py", "from .star import *\ndef net(): return layers.width\n")
    write(folder / "own" / "star" / "__init__.py", "__all__ = ['layers']\n")
    write(folder / "own" / "star" / "layers.py", "width = 3\n")
    before = digest()
    write(folder / "own" / "star" / "layers.py", "width = 4\n")
    assert digest() != before


def test_two_modules_that_swap_their_contents_are_others(folder):
    write(folder / "own" / "models.py", "from . import layers, unused\ndef net(): return layers.width - unused.width\n")
    before = digest()
    write(folder / "own" / "layers.py", "width = 4\n")
    write(folder / "own" / "unused.py", "width = 3\n")
    assert digest() != before


def test_modules_that_import_each_other_end(folder):
    write(folder / "own/models.py", f"from . import layers\n{NET}")
    write(folder / "own/layers.py", "def later():\n    from . import models\n")
    assert digest() == digest() != of_bytes((folder / "own/models.py").read_text())


def test_a_module_that_is_not_imported_does_not_count(folder):
    write(folder / "own/models.py", f"from .layers import width\n{NET}")
    first = digest()
    for name in ("unused", "parts/deep"):
        write(folder / f"own/{name}.py", "width = 6\n")
    assert digest() == first


@pytest.mark.parametrize(
    "before", ["", "import json, os.path, numpy\nfrom analysis.common import imports\nimport analysis\n"]
)
def test_a_module_that_imports_nothing_of_the_users_keeps_the_digest_of_its_file(folder, before):
    """The hashes of runs that earlier versions made follow from it."""
    write(folder / "own/models.py", before + NET)
    write(folder / "beside.py", before + NET)
    assert digest() == digest("beside:net") == of_bytes(before + NET)


def test_a_module_beside_counts_in_the_current_folder_and_not_where_packages_are_installed(folder):
    write(folder / "own/models.py", f"import beside\n{NET}")
    write(folder / "beside.py", "width = 1\n")
    assert digest() != of_bytes((folder / "own/models.py").read_text())
    (folder / "beside.py").unlink()
    write(folder / "venv/site-packages/beside.py", "width = 1\n")
    sys.path.append(str(folder / "venv/site-packages"))
    assert digest() == of_bytes((folder / "own/models.py").read_text())


def test_the_modules_of_an_installed_package_count_if_the_factory_is_its_own(folder):
    installed = folder / "venv/site-packages"
    installed.mkdir(parents=True)
    (folder / "own").rename(installed / "own")
    sys.path.append(str(installed))
    write(installed / "own/models.py", f"from .layers import width\n{NET}")
    first = digest()
    write(installed / "own/layers.py", "width = 33\n")
    assert digest() != first


def test_the_function_inside_and_the_module_that_is_named_both_count(folder):
    write(folder / "own/models.py", "import functools\nfrom .layers import make\nnet = functools.partial(make, 3)\n")
    write(folder / "own/layers.py", "def make(width):\n    pass\n")
    first = digest()
    write(folder / "own/models.py", (folder / "own/models.py").read_text().replace("3", "4"))
    assert digest() != first


def test_a_source_that_does_not_parse_imports_nothing(folder):
    write(folder / "own/models.py", f"{NET}def later():\n    from . import layers\n")
    write(folder / "own/layers.py", "def (\n")
    first = digest()
    write(folder / "own/layers.py", "def (((\n")
    assert digest() != first


@pytest.mark.parametrize("imported_before", ["json", "own.layers", "own.unused, own.parts.deep"])
def test_the_digest_is_the_same_in_a_process_that_has_imported_other_modules(folder, imported_before):
    write(folder / "own/models.py", f"import own.parts.deep\n{NET}def later():\n    from . import layers\n")
    program = (
        f"import sys; sys.path.append('.'); import {imported_before}; from analysis.common import imports; "
        "path = 'own.models:net'; "
        "print(imports.source_digest(imports.import_callable(path, option='--model'), path))"
    )
    root = str(Path(imports.__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == digest()
