"""Reference trainings, whose digests every machine gives. `.ci/run` also compiles them for other vector units."""

import pytest

from pruning_study.commands import verify

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", verify.TRAININGS)
def test_a_reference_training_has_the_published_digests(name):
    assert verify.train(name) == verify.PUBLISHED[name]
