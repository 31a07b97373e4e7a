import functools
import hashlib
from pathlib import Path

import pytest

from analysis.runs.errors import StudyError
from pruning_study import imports


def decorator(function):
    @functools.wraps(function)
    def wrapper():
        return function()

    return wrapper


def test_the_digest_is_that_of_the_file_that_defines_the_callable():
    digest = hashlib.sha256(Path(imports.__file__).read_bytes()).hexdigest()[:32]
    inside = imports.import_callable("pruning_study.imports:source_digest", option="--model")
    assert inside is imports.source_digest
    for imported in (inside, functools.partial(functools.partial(inside, None)), decorator(inside)):
        assert imports.source_digest(imported) == digest


def test_what_is_compiled_has_no_source():
    assert imports.source_digest(len) == "unknown"


@pytest.mark.parametrize("option", ["--model", "--pruner"])
def test_an_error_names_the_option(option):
    with pytest.raises(StudyError, match=r"'os:nothing' cannot be imported \(AttributeError") as error:
        imports.import_callable("os:nothing", option=option)
    assert error.value.option == option
