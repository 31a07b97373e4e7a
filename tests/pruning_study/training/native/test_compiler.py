import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_study.training.native import compiler
from pruning_study.training.native.layers import NativeError
from tests import another_user
from tests.deadline import wait_until
from tests.pruning_study.training.native import made_up_compiler

NETWORK = "Network<Linear<4, 2, false>>"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.compiler
def test_a_library_is_compiled_once(monkeypatch):
    path = compiler.library(NETWORK)
    monkeypatch.setattr(compiler, "compile_library", None)
    assert compiler.library(NETWORK) == path


@pytest.mark.compiler
def test_another_network_other_flags_or_other_sources_are_another_library(monkeypatch, tmp_path):
    paths = {compiler.library(NETWORK), compiler.library("Network<Linear<4, 3, false>>")}
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-g"))
    paths.add(compiler.library(NETWORK))
    changed = tmp_path / "network.cpp"
    changed.write_text('#include "network.hpp"\nint changed;\n')
    paths.add(compiler.library(NETWORK, changed))
    assert len(paths) == 4


@pytest.mark.compiler
@pytest.mark.parametrize("made", ["Image<2, 4, 3>", "Image<2, 3, 4>"])
def test_a_second_convolution_that_leaves_columns_or_rows_does_not_compile(made):
    """The gradient of its input would be wrong there."""
    first = "Convolution<Image<1, 8, 8>, Image<2, 6, 6>, 3, 3, 1, true>"
    with pytest.raises(NativeError, match="static assertion failed"):
        compiler.library(f"Network<{first}, Convolution<Image<2, 6, 6>, {made}, 3, 3, 1, true>, Linear<24, 2, false>>")


@pytest.mark.compiler
@pytest.mark.parametrize("cxx", ["env g++ -O0", "env -u NOTHING g++ -g -O0", "g++ -O0"])
def test_flags_in_cxx_win_and_the_compiler_may_stand_behind_another_command(monkeypatch, tmp_path, cxx):
    source = tmp_path / "network.cpp"
    source.write_text('#ifdef __OPTIMIZE__\n#error "-O0 is not the last"\n#endif\n')
    monkeypatch.setenv("CXX", cxx)
    assert compiler.library(NETWORK, source).is_file()


@pytest.mark.compiler
def test_processes_that_ask_at_once_get_one_library(tmp_path):
    code = f"from pruning_study.training.native import compiler; print(compiler.library({NETWORK!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate()[0].strip() for process in processes}
    assert [str(path) for path in tmp_path.glob("pruning-study/*.so")] == list(paths)
    assert {path.suffix for path in tmp_path.glob("pruning-study/*")} <= {".so", ".lock"}


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Make a made-up compiler the one that is used; return the file that gets a line for each library it makes."""
    command, log = made_up_compiler.write(tmp_path)
    monkeypatch.setenv("CXX", command)
    return log


def count(log):
    return len(log.read_text().splitlines())


@pytest.mark.attack
def test_a_library_in_the_cache_that_another_user_planted__is_compiled_anew(compiled):
    path = compiler.library(NETWORK)
    whole = path.read_bytes()
    path.unlink()
    another_user.file(path, whole)
    assert compiler.library(NETWORK) == path
    assert not path.is_symlink()
    assert path.stat().st_uid == os.geteuid()
    assert count(compiled) == 2


@pytest.mark.attack
def test_a_symbolic_link_in_place_of_a_library_in_the_cache__is_replaced_and_not_followed(compiled, tmp_path):
    path = compiler.library(NETWORK)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not compiler.library(NETWORK).is_symlink()
    assert count(compiled) == 2


@pytest.mark.attack
def test_a_library_in_the_cache_that_others_can_write__is_compiled_anew_for_this_user_alone(compiled):
    path = compiler.library(NETWORK)
    for bits in (0o620, 0o602):
        path.chmod(bits)
        before = count(compiled)
        assert stat.S_IMODE(compiler.library(NETWORK).stat().st_mode) == 0o600
        assert count(compiled) == before + 1


@pytest.mark.attack
def test_a_cache_of_another_user__is_not_used(compiled, tmp_path):
    another_user.folder(tmp_path / "pruning-study")
    with pytest.raises(NativeError, match=r"other users can write to its cache .*: set XDG_CACHE_HOME"):
        compiler.library(NETWORK)
    assert count(compiled) == 0


@pytest.mark.attack
@pytest.mark.parametrize("place", ["pruning-study", ""])
def test_a_cache_that_everybody_can_write_or_replace__is_not_used(compiled, tmp_path, place):
    (tmp_path / "pruning-study").mkdir(mode=0o700)
    (tmp_path / place).chmod(0o777)
    with pytest.raises(NativeError, match="other users can write to its cache"):
        compiler.library(NETWORK)
    assert count(compiled) == 0


ASKS = (
    "import sys; from pruning_study.training.native import compiler; print(compiler.library(sys.argv[1]).read_bytes())"
)


@pytest.mark.attack
def test_a_compilation_that_is_killed_halfway__leaves_nothing_that_is_taken_for_a_library(monkeypatch, tmp_path):
    command, log = made_up_compiler.write(tmp_path, 'printf li > "$2"; sleep 600; printf brary >> "$2"')
    environment = {**os.environ, "CXX": command}
    process = subprocess.Popen([sys.executable, "-c", ASKS, NETWORK], env=environment, start_new_session=True)
    wait_until(lambda: list(tmp_path.glob("pruning-study/*.part")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("pruning-study/*.so"))
    made_up_compiler.write(tmp_path)
    monkeypatch.setenv("CXX", command)
    assert compiler.library(NETWORK).read_bytes().startswith(b"library")
    assert not list(tmp_path.glob("pruning-study/*.part"))
    assert count(log) == 1


@pytest.mark.attack
@pytest.mark.parametrize("room", [0, 3])
def test_a_disk_that_is_full_before_the_library_is_whole__is_one_line_and_leaves_no_library(tmp_path, room):
    """`room` is the number of bytes that fit. The library takes 7."""
    command, _ = made_up_compiler.write(tmp_path, 'printf library > "$2" || exit 1')
    code = """
import sys
from pruning_study.training.native import compiler
from pruning_study.training.native.layers import NativeError
try:
    compiler.library(sys.argv[1])
except NativeError as error:
    print(error)
"""
    (tmp_path / "compiled").unlink()
    (tmp_path / "compiled").symlink_to("/dev/null")
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, NETWORK],
        env={**os.environ, "CXX": command},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines() or [done.stderr]
    assert "fails: " in line or ("its library cannot be written to" in line and "File too large" in line)
    assert {path.suffix for path in Path(tmp_path / "pruning-study").iterdir()} <= {".lock"}
