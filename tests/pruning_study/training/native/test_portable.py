"""The native step on small inputs, by programs for other processors that emulators run."""

import shutil
import subprocess
from pathlib import Path

import pytest
from torch import nn

from pruning_study.training.native import compiler, stack
from tests.pruning_study.training.native import made_up_stacks
from tests.pruning_study.training.native.test_engine import STACKS
from tests.pruning_study.training.native.test_residual_network import SHAPE, Small

SOURCE = Path(__file__).with_name("portable.cpp")
NETWORKS = {name: (make, shape) for name, (make, shape, _) in STACKS.items()} | {"residual": (Small, SHAPE)}
SMALL = [name for name in NETWORKS if "lenet5" not in name or "odd" in name]
OWN = ("g++", "-O2", "-march=native")
ARM = ("aarch64-linux-gnu-g++", "-O2", "-static")


def digests(name, folder, command, emulator=()):
    """Return what `portable.cpp` prints of a network."""
    make, shape = NETWORKS[name]
    return digests_of(make(), shape, folder, command, emulator)


def digests_of(model, shape, folder, command, emulator=()):
    statistics = sum(2 * layer.num_features for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    network, program = stack.read(model, shape).network, folder / command[0]
    flags = [flag for flag in compiler.FLAGS if flag.startswith(("-std", "-f")) and flag != "-fPIC"]
    named = [f"-DNETWORK={network}", f"-DSTATISTICS={statistics}", f"-I{compiler.FOLDER}"]
    subprocess.run([*command, *flags, *named, "-o", program, SOURCE], check=True)
    return subprocess.run([*emulator, program], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.arm
@pytest.mark.parametrize("name", SMALL)
def test_a_64_bit_arm_gives_the_same_bits(name, tmp_path):
    expected = digests(name, tmp_path, OWN)
    assert len(expected) == 13
    assert digests(name, tmp_path, ARM, ("qemu-aarch64-static",)) == expected


@pytest.mark.compiler
@pytest.mark.skipif(not shutil.which("clang++"), reason="clang is not installed")
@pytest.mark.parametrize("name", SMALL)
def test_clang_gives_the_same_bits_as_gcc(name, tmp_path):
    assert digests(name, tmp_path, ("clang++", *OWN[1:])) == digests(name, tmp_path, OWN)


@pytest.mark.compiler
@pytest.mark.skipif(not shutil.which("clang++"), reason="clang is not installed")
@pytest.mark.parametrize(
    ("kind", "seed", "command"),
    [
        ("plain", 1, ("clang++", "-O1", "-march=native")),
        ("plain", 2, ("g++", "-O3", "-march=native")),
        ("plain", 3, ("g++", "-O2", "-march=native", "-DNATIVE_WIDTH=16")),
        ("residual", 1, ("clang++", "-O1", "-march=native", "-DNATIVE_WIDTH=4")),
    ],
)
def test_networks_of_random_layers_give_the_same_bits(kind, seed, command, tmp_path):
    model, shape = getattr(made_up_stacks, kind)(seed)
    expected = digests_of(model, shape, tmp_path, ("g++", "-O1", "-march=native"))
    assert digests_of(model, shape, tmp_path, command) == expected
