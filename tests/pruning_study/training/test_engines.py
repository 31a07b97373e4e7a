import hashlib
import logging

import pytest
import torch
from torch import nn

from pruning_study import models
from pruning_study.native import compiler, stack
from pruning_study.steps import engine
from pruning_study.training import engines
from tests.pruning_study.native import made_up_compiler

SHAPE = (1, 28, 28)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine._say_once.cache_clear()


@pytest.fixture
def lenet5():
    return models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))


def choose(model, name=None, device="cpu"):
    return engine.choose(name, model, SHAPE, device=device)


def test_torch_is_used_where_it_is_asked_for(lenet5, caplog):
    assert choose(lenet5, "torch") is engines.TORCH
    assert not caplog.records


@pytest.mark.parametrize("name", [None, "native"])
def test_where_native_cannot_be_used_torch_is_and_one_line_says_why(lenet5, caplog, name):
    assert choose(lenet5, name, device="cuda") is choose(lenet5, name, device="cuda") is engines.TORCH
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not on cuda" in caplog.messages[0]


def test_a_model_that_is_no_stack_gets_torch(caplog):
    assert choose(models.build("resnet20", num_classes=10, in_channels=1, image_size=(28, 28))) is engines.TORCH
    assert "ResNet is no nn.Sequential" in caplog.text


@pytest.mark.attack
@pytest.mark.parametrize(
    ("cxx", "reason"),
    [
        ("g++ '", "$CXX is no command: No closing quotation"),
        ("no-such-compiler", "there is no compiler no-such-compiler"),
        ("false", "the compiler false fails: it says nothing"),
        ("cat /proc/self/comm", "the compiler cat fails"),
        ("true", "does not load"),
    ],
)
def test_a_compiler_that_is_missing_or_broken__gives_one_line_and_torch_trains(
    lenet5, caplog, monkeypatch, tmp_path, cxx, reason
):
    monkeypatch.setenv("CXX", cxx)
    if cxx == "true":  # says that it compiled, and wrote nothing
        reason = f"{tmp_path / 'pruning-study'} cannot hold its library: No such file or directory"
    assert choose(lenet5) is engines.TORCH
    assert reason in caplog.text
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]


@pytest.mark.attack
@pytest.mark.parametrize(("ends", "runs"), [("exit 1", 1), ("exit 0", 2)])
def test_a_broken_compiler_and_many_runs__is_started_for_the_first_run_only(
    lenet5, caplog, monkeypatch, tmp_path, ends, runs
):
    script, log = tmp_path / "compiler", tmp_path / "log"
    script.write_text(f"#!/bin/sh\necho run >> {log}\n{ends}\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert choose(lenet5) is choose(lenet5) is engines.TORCH
    assert log.read_text().split() == ["run"] * runs
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert choose(lenet5) is engines.TORCH
    assert len(caplog.messages) == 2


@pytest.mark.attack
def test_a_machine_without_a_compiler__gives_one_line_and_torch_trains(lenet5, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert choose(lenet5, "native") is engines.TORCH
    assert len(caplog.messages) == 1
    assert "no C++ compiler (Debian: g++)" in caplog.text


@pytest.mark.attack
def test_a_cache_that_cannot_be_written__gives_one_line_and_torch_trains(lenet5, caplog, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", "echo")
    assert choose(lenet5) is engines.TORCH
    assert f"{tmp_path / 'file'} is no folder: set XDG_CACHE_HOME" in caplog.text
    assert len(caplog.messages) == 1


def test_another_cpu_has_another_library_and_one_without_avx2_has_none(lenet5, caplog, monkeypatch, tmp_path):
    paths = []
    monkeypatch.setattr(compiler, "_compile", lambda command, source, path: paths.append(path))
    monkeypatch.setenv("CXX", "echo")
    for name, flags in (("one", "avx2 fma"), ("other", "avx2 fma"), ("other", "avx2 fma avx512f")):
        (tmp_path / "cpuinfo").write_text(f"model name : {name}\nflags : {flags}\n")
        monkeypatch.setattr(compiler, "CPU", tmp_path / "cpuinfo")
        paths.append(compiler.library("Network<>"))
    assert paths[0::2] == paths[1::2]
    assert len(set(paths)) == 3
    (tmp_path / "cpuinfo").write_text("model name : old\nflags : sse2 avx\n")
    assert choose(lenet5) is engines.TORCH
    assert "it needs a CPU with AVX-512 or AVX2" in caplog.text


@pytest.mark.attack
def test_a_compiler_whose_library_does_not_load__is_tried_twice_and_then_torch_trains_with_one_warning(
    lenet5, caplog, monkeypatch, tmp_path
):
    command, log = made_up_compiler.write(tmp_path)
    monkeypatch.setenv("CXX", command)
    assert choose(lenet5) is choose(lenet5) is engines.TORCH
    assert "does not load, even compiled anew" in caplog.text
    assert len(caplog.messages) == 1
    assert len(log.read_text().splitlines()) == 2


@pytest.fixture
def linear():
    """A model whose library is compiled quickly."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 2))


def sealed(content):
    """Return the bytes of a library as they stand in the cache."""
    return content + hashlib.sha256(content).digest()


@pytest.mark.compiler
@pytest.mark.attack
@pytest.mark.parametrize("fault", ["half", "machine", "function"])
def test_a_library_in_the_cache_that_is_cut_off_or_for_another_processor_or_lacks_a_function__is_compiled_anew(
    linear, caplog, tmp_path, fault
):
    path = compiler.library(stack.read(linear, SHAPE).network)
    whole = path.read_bytes()
    if fault == "half":  # mapped as far as it goes, and read beyond
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == "machine":
        plain = whole[: -compiler.DIGEST_BYTES]
        path.write_bytes(sealed(plain[:18] + b"\xf3\0" + plain[20:]))  # RISC-V
    else:
        (tmp_path / "other.cpp").write_text('extern "C" int other() { return 1; }')
        compiler.library("Network<>", tmp_path / "other.cpp").replace(path)
    assert choose(linear).name == "native"
    assert not caplog.messages
    content = path.read_bytes()
    assert content == sealed(content[: -compiler.DIGEST_BYTES])
    assert len(content) == len(whole)


@pytest.mark.compiler
@pytest.mark.attack
def test_code_that_another_user_planted_in_a_cache_open_to_all__is_not_run(linear, caplog, tmp_path):
    (tmp_path / "planted.cpp").write_text(f"""
#include <fstream>
__attribute__((constructor)) static void run() {{ std::ofstream("{tmp_path}/run") << "it runs"; }}
""")
    path = compiler.library(stack.read(linear, SHAPE).network)
    planted = compiler.library("Network<>", tmp_path / "planted.cpp")
    planted.replace(path)
    path.parent.chmod(0o777)
    assert choose(linear) is engines.TORCH
    assert "can be written by other users: run `chmod go-w" in caplog.text
    assert not (tmp_path / "run").exists()


@pytest.mark.compiler
def test_native_is_the_default(lenet5, caplog):
    assert choose(lenet5).name == choose(lenet5, "native").name == "native"
    assert not caplog.records


@pytest.mark.compiler
def test_a_library_is_asked_for_once(lenet5, monkeypatch):
    assert choose(lenet5).name == "native"
    monkeypatch.setattr(compiler, "library", None)
    assert choose(lenet5).name == "native"


def test_the_torch_engines_identity_has_its_threads(monkeypatch):
    identities = set()
    for threads in (1, 2, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        identities.add(engines.TORCH.identity)
    assert len(identities) == 2


@pytest.mark.compiler
def test_the_native_engines_identity_is_its_librarys(lenet5, monkeypatch):
    one = choose(lenet5).identity
    assert one == choose(lenet5).identity
    monkeypatch.setenv("CXX", "g++ -O1")
    assert one != choose(lenet5).identity


@pytest.mark.compiler
@pytest.mark.attack
def test_a_model_whose_stack_of_layers_is_not_what_it_computes__is_trained_by_torch(caplog):
    class Liar(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(784, 10)

        def forward(self, images):
            return 2 * self.fc(images.flatten(1))

        def stack(self):
            return nn.Sequential(nn.Flatten(), self.fc)

    assert choose(Liar()) is engines.TORCH
    assert "its logits are not those of Liar" in caplog.text
