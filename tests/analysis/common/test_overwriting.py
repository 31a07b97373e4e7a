"""No output takes the place of an input, by whatever name."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from analysis.__main__ import cli
from analysis.common.errors import StudyError
from analysis.common.files import check_file, check_inputs
from tests.error_lines import refused


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file `read/in/data.npz`, a second name of it, and links to it and to its folders."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "read" / "in").mkdir(parents=True)
    (folder / "read" / "in" / "data.npz").write_bytes(b"read")
    (folder / "file link").symlink_to("read/in/data.npz")
    (folder / "folder link").symlink_to(folder / "read")
    (folder / "link to link").symlink_to("file link")
    (folder / "second name").hardlink_to(folder / "read" / "in" / "data.npz")
    return folder


DETOURS = st.lists(st.sampled_from([".", "read/..", "read/in/../..", "folder link/in/../.."]), max_size=4)
NAMES_OF_FILE = ("read/in/data.npz", "folder link/in/data.npz", "file link", "link to link", "second name")


@given(DETOURS, st.sampled_from(NAMES_OF_FILE), DETOURS, st.sampled_from(NAMES_OF_FILE), st.booleans())
def test_an_input_is_refused_as_an_output_by_whatever_name(place, detour, output, other_detour, given_as, is_relative):
    start = Path(os.path.relpath(place)) if is_relative else place
    with refused("output", "images are read from"):
        check_file(start.joinpath(*detour, output), [None, place.joinpath(*other_detour, given_as)], "images")


@given(
    DETOURS, st.sampled_from(["read", "folder link"]), st.sampled_from(["", "new", "in/new/deep.csv", "in/data.npz"])
)
def test_what_lies_in_a_folder_that_is_read_is_refused(place, detour, folder, below):
    with pytest.raises(StudyError, match="runs are read from"):
        check_inputs(place.joinpath(*detour, folder, below), [place / "read"], "runs")


@given(DETOURS, st.sampled_from(["new.npz", "reading", "read/other.npz", "second name/..", "."]))
def test_other_outputs_are_allowed(place, detour, output):
    check_inputs(place.joinpath(*detour, output), [place / "read" / "in" / "data.npz", Path("gone"), None], "images")


def test_an_input_that_has_the_name_of_a_file_in_the_output_folder_is_refused(place):
    check_inputs(place / "read" / "in", [place / "file link"], "images", names=["other.npz"])
    with pytest.raises(StudyError, match=r"images are read from .*in/data\.npz"):
        check_inputs(place / "read" / "in", [place / "file link"], "images", names=["data.npz"])


@pytest.mark.attack
@given(detour=DETOURS, output=st.sampled_from(NAMES_OF_FILE))
def test_an_output_over_an_input_of_a_command__leaves_its_bytes(place, detour, output):
    command = ["offsets", "--before", place / "read/in/data.npz", "--after", "gone.npz"]
    result = CliRunner().invoke(cli, [*map(str, command), "--output", str(place.joinpath(*detour, output))])
    assert result.exit_code == 2
    assert "logits are read from" in result.output
    assert (place / "read/in/data.npz").read_bytes() == b"read"
