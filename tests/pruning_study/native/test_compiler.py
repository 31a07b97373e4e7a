import subprocess
import sys

import pytest

from pruning_study.native import compiler
from pruning_study.native.errors import NativeError

pytestmark = pytest.mark.compiler

NETWORK = "Network<Linear<4, 2, false>>"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_library_is_compiled_once(monkeypatch):
    path = compiler.library(NETWORK)
    monkeypatch.setattr(compiler, "_compile", None)
    assert compiler.library(NETWORK) == path


def test_another_network_other_flags_or_other_sources_are_another_library(monkeypatch, tmp_path):
    paths = {compiler.library(NETWORK), compiler.library("Network<Linear<4, 3, false>>")}
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-g"))
    paths.add(compiler.library(NETWORK))
    changed = tmp_path / "network.cpp"
    changed.write_text('#include "network.hpp"\nint changed;\n')
    paths.add(compiler.library(NETWORK, changed))
    assert len(paths) == 4


@pytest.mark.parametrize("made", ["Image<2, 4, 3>", "Image<2, 3, 4>"])
def test_a_second_convolution_that_leaves_columns_or_rows_does_not_compile(made):
    """The gradient of its input would be wrong there."""
    first = "Convolution<Image<1, 8, 8>, Image<2, 6, 6>, 3, 3, 1, true>"
    with pytest.raises(NativeError, match="static assertion failed"):
        compiler.library(f"Network<{first}, Convolution<Image<2, 6, 6>, {made}, 3, 3, 1, true>, Linear<24, 2, false>>")


@pytest.mark.parametrize("cxx", ["env g++ -O0", "env -u NOTHING g++ -g -O0", "g++ -O0"])
def test_flags_in_cxx_win_and_the_compiler_may_stand_behind_another_command(monkeypatch, tmp_path, cxx):
    source = tmp_path / "network.cpp"
    source.write_text('#ifdef __OPTIMIZE__\n#error "-O0 is not the last"\n#endif\n')
    monkeypatch.setenv("CXX", cxx)
    assert compiler.library(NETWORK, source).is_file()


def test_processes_that_ask_at_once_get_one_library(tmp_path):
    code = f"from pruning_study.native import compiler; print(compiler.library({NETWORK!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate()[0].strip() for process in processes}
    assert [str(path) for path in tmp_path.glob("pruning-study/*.so")] == list(paths)
    assert {path.suffix for path in tmp_path.glob("pruning-study/*")} <= {".so", ".lock"}
