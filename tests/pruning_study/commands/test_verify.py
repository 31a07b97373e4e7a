"""Reference trainings and a small study, which come out the same however the engine was compiled and work is shared."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from pruning_study.commands import verify
from tests.pruning_study.commands.many_options import OPTIONS
from tests.stored_runs import artifact, runs

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", verify.TRAININGS)
def test_a_reference_training_has_the_published_digests(name):
    assert verify.train(name) == verify.PUBLISHED[name]


@pytest.mark.skipif(not shutil.which("clang++"), reason="clang is not installed")
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("name", "command", "threads"),
    [
        ("lenet5 up", "clang++ -O2", 2),
        ("lenet5 gradual", "g++ -O2 -mno-avx512f", 1),
        ("resnet20 4 bits", "clang++ -O2 -mno-avx512f", 2),
    ],
)
def test_it_has_them_with_another_compiler_and_vector_unit_and_more_threads(monkeypatch, name, command, threads):
    monkeypatch.setenv("CXX", command)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert verify.train(name) == verify.PUBLISHED[name]
    finally:
        torch.set_num_threads(before)


def test_the_number_of_workers_changes_no_byte(run_command, store_uri, tiny_npz, tmp_path, monkeypatch):
    file = tmp_path / "study.yaml"
    file.write_text(
        f"dataset: [{tiny_npz}]\npruner: [up]\nratio: [4]\nseed: [0, 1]\n"
        "epochs: 3\nfine_tune_epochs: 2\nbatch_size: 64\n"
    )
    made = []
    for workers in (1, 2):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"workers {workers}")
        result = run_command("study", file, "--workers", workers, "--engine", "native")
        assert result.exit_code == 0, result.output
        made.append({(run.data.tags["config_hash"]): _digests(run) for run in (*runs("dense"), *runs("pruned"))})
    assert len(made[0]) == 4
    assert made[0] == made[1]


# Let PyTorch, NumPy and its BLAS, and the C library compute as on a processor of 2003.
PLAIN_LIBRARIES = {
    "ATEN_CPU_CAPABILITY": "default",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
    "OPENBLAS_CORETYPE": "Prescott",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
}


def test_the_vector_unit_that_libraries_use_changes_no_byte(tmp_path):
    own, plain = (
        subprocess.run(
            [sys.executable, "-m", "tests.pruning_study.commands.many_options", tmp_path],
            env={**os.environ, **variables},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for variables in ({}, PLAIN_LIBRARIES)
    )
    assert len(own) == len(OPTIONS)
    assert own == plain


def _digests(run):
    files = (
        "checkpoint.safetensors",
        "gradient.safetensors" if run.data.tags["kind"] == "dense" else "mask.safetensors",
    )
    with np.load(artifact(run, "predictions.npz")) as arrays:
        predictions = [arrays[name].tobytes() for name in sorted(arrays)]
    contents = [artifact(run, name).read_bytes() for name in files] + predictions
    return [hashlib.sha256(content).hexdigest() for content in contents]
