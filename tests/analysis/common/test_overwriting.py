"""What an output may take the place of."""

import gzip
import itertools
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rebuild
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from analysis.__main__ import cli
from analysis.common import files
from analysis.common.errors import StudyError
from analysis.common.overwriting import MAKER, check_file, check_inputs, check_own
from analysis.runs.study_archives import packed
from tests import made_up_levels
from tests.error_lines import refused

RESULTS = Path(__file__).parents[3] / "results"
STUDIES = ("chip", "lenet5-up-confirmation", "resnet20-short-gradual")


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


@given(detour=DETOURS, output=st.sampled_from(NAMES_OF_FILE))
def test_a_command_leaves_the_bytes_of_its_input(place, detour, output):
    command = ["offsets", "--before", place / "read/in/data.npz", "--after", "gone.npz"]
    result = CliRunner().invoke(cli, [*map(str, command), "--output", str(place.joinpath(*detour, output))])
    assert result.exit_code == 2
    assert "logits are read from" in result.output
    assert (place / "read/in/data.npz").read_bytes() == b"read"


PAGE = f"# A report\n\n{'A sentence that stands in every report, whatever it is about. ' * 2}\n"
NUMBERS = "dataset,model,ratio,loss\nmnist,lenet5,2,.1\n"
COMPRESSED = gzip.compress(b"run_id,label,count\n1,a,2\n")


def picture(path, **how):
    Figure((1, 1)).savefig(path, **how)


def foreign(path):
    """Write what another program may have made."""
    match path.suffix:
        case ".png":
            Image.new("L", (2, 2)).save(path)
        case ".npz":
            np.savez(path, mine=[1])
        case ".json":
            path.write_text('{"mine": 1}')
        case ".csv":
            path.write_text("my own,columns\n1,2\n")
        case ".gz":
            path.write_bytes(gzip.compress(b"my own,columns\n1,2\n"))
        case _:
            path.write_bytes(b"<svg/>\nmine\xff\0")


def write_all(folder):
    """Write a file of each kind, as a report does."""
    with files.aside(folder) as scratch:
        (scratch / "report.md").write_text(PAGE)
        (scratch / "report.html").write_text(f"<html>{PAGE}</html>")
        (scratch / "cells.csv").write_text(NUMBERS)
        (scratch / "counts.csv.gz").write_bytes(COMPRESSED)
        (scratch / "study.json").write_text(json.dumps({"format": 2, "frames": {}}))
        np.savez(scratch / "predictions.npz", label=[1], predicted=[2])
        picture(scratch / "a.png")
        picture(scratch / "a.svg")
        return files.written(scratch)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


KINDS = ("report.md", "report.html", "cells.csv", "counts.csv.gz", "study.json", "predictions.npz", "a.png", "a.svg")


@pytest.mark.attack
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_another_program_made__stays_and_so_does_all_beside_it(tmp_path, name, beside):
    if beside:
        write_all(tmp_path)
    foreign(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(StudyError, match=f"{name} is not a file that this command made: name another --output, or"):
        write_all(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.attack
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("gone"), Path.touch])
def test_a_pipe_a_dangling_link_and_an_empty_file__are_not_replaced(tmp_path, make):
    make(tmp_path / "report.md")
    kind = (tmp_path / "report.md").lstat().st_mode
    with pytest.raises(StudyError, match=r"report\.md is not a file that this command made"):
        write_all(tmp_path)
    assert (tmp_path / "report.md").lstat().st_mode == kind


@pytest.mark.attack
@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_a_picture_of_the_users_own_program__is_not_replaced(tmp_path, name):
    picture(tmp_path / name, dpi=50)  # no page of this project stands beside it
    with pytest.raises(StudyError, match=name):
        write_all(tmp_path)


@pytest.mark.attack
def test_a_picture_beside_a_study_in_one_file_is_replaced_unless_it_was_drawn_otherwise(tmp_path):
    def draw():
        with files.aside(tmp_path) as scratch:
            picture(scratch / "a.png")

    picture(tmp_path / "a.png", dpi=50)
    for content, version in (([], 20), (["study.json", "runs.csv.gz"], 20), (["study.json"], 255)):
        with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
            for name in content:
                entry = zipfile.ZipInfo(name)
                entry.extract_version = version
                archive.writestr(entry, b"")
        with pytest.raises(StudyError, match=r"a\.png is not a file that this command made"):
            draw()
    with packed(tmp_path / "study.zip") as folder:
        made_up_levels.export(folder, made_up_levels.runs())
    draw()
    assert Image.open(tmp_path / "a.png").size == (100, 100)
    foreign(tmp_path / "a.png")
    with pytest.raises(StudyError, match=r"a\.png is not a file that this command made"):
        draw()


def test_what_the_project_wrote_is_replaced(tmp_path):
    names = write_all(tmp_path)
    assert sorted(map(str, names)) == sorted(KINDS)
    (tmp_path / "report.md").write_text(PAGE.replace("# A report", "# Of another study"))
    (tmp_path / "cells.csv").write_text("dataset,model,params.augmentation,ratio\n")
    assert write_all(tmp_path) == names
    assert (tmp_path / "report.md").read_text() == PAGE
    assert (tmp_path / "cells.csv").read_text() == NUMBERS


@pytest.mark.slow
def test_a_published_report_could_take_the_place_of_any_other(tmp_path):
    for name in STUDIES:
        rebuild.rebuild(RESULTS / name, tmp_path / name)
    for older, newer in itertools.pairwise([*STUDIES, STUDIES[0]]):
        made = tmp_path / newer
        files_made = [made / "report.md", *made.glob("*.csv"), *made.glob("figures/*")]
        check_own(tmp_path / older, made, [path.relative_to(made) for path in files_made])


def write_one(path, text):
    with files.one_aside(path) as scratch:
        scratch.write_text(text)


def test_a_table_that_the_user_named_is_replaced_if_it_has_the_same_columns(tmp_path):
    file = tmp_path / "new" / "classes.csv"
    write_one(file, "class,offset\na,1\n")
    write_one(file, "class,offset\nb,2\n")
    assert file.read_text() == "class,offset\nb,2\n"
    for others in ("class,offset,my own\nb,2,3\n", "class\nb\n", "", "class;offset\n"):
        file.write_text(others)
        with pytest.raises(StudyError, match=r"classes\.csv is not a file that this command made"):
            write_one(file, "class,offset\nc,3\n")
        assert file.read_text() == others


def test_a_picture_that_the_user_named_is_replaced_if_it_names_the_project(tmp_path):
    def draw(**metadata):
        with files.one_aside(tmp_path / "a.png") as scratch:
            picture(scratch, metadata=metadata, dpi=50)

    draw(Software=MAKER)
    draw(Software=MAKER, Title="newer")
    assert Image.open(tmp_path / "a.png").text["Title"] == "newer"
    picture(tmp_path / "a.png")
    with pytest.raises(StudyError, match=r"a\.png is not"):
        draw(Software=MAKER)
