"""What tests that compile share: a cache of their own, and the instruction sets to compile for."""

import os

import pytest


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Keep compiled libraries out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=["own", "avx2"])
def vectors(request, monkeypatch):
    """Compile for the machine's own vector unit, and for AVX2."""
    if request.param == "avx2":
        monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} -mno-avx512f")
