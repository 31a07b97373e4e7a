"""What tests that compile share: a cache of their own, and the instruction sets to compile for."""

import os
from pathlib import Path

import pytest

_CPU = Path("/proc/cpuinfo")
_HAS_AVX512 = _CPU.exists() and "avx512f" in _CPU.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Keep compiled libraries out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=["own", "avx2"] if _HAS_AVX512 else ["own"])
def vectors(request, monkeypatch):
    """Compile for the machine's own vector unit, and for AVX2 where this is another one."""
    if request.param == "avx2":
        monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} -mno-avx512f")
