"""A study as one file: it holds what its folder holds, and a file that is made to deceive ends in one line."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.__main__ import cli
from analysis.common import files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.runs import chain_searches, exports, study_archives
from analysis.runs.chain_searches import ChainTrials
from analysis.study.study import StudyData
from tests import deadline, made_up_levels, made_up_runs
from tests.damage import LONGEST_MESSAGE, read_damaged
from tests.memory_limit import memory_limit

LABEL = np.array([0, 0, 1, 1])
NAMES = ["artifacts/a/chains.json", "predictions_1.npz", "runs.parquet"]
CHAIN = {"chain": "not pruned", "pruner": "none", "number_format": "float32", "worst_class": "0", "number": 0.0}
CHAIN |= {"cost": 1.0} | dict.fromkeys(("accuracy_loss", "accuracy_loss_upper", "class_loss", "class_loss_upper"), 0.0)
SEARCH = ChainTrials("a search", "size", 0.03, 0.01, pd.DataFrame([CHAIN]))


@pytest.fixture(scope="module")
def study():
    """Return a study whose networks all predict the last label, and that has searches of chains."""
    searches = {"a": SEARCH, "b": SEARCH._replace(name="of birds", dataset="birds")}
    return StudyData._with_artifacts(
        made_up_runs.whole(made_up_levels.runs()),
        lambda run_ids: {run_id: {"label": LABEL, "predicted": np.ones(4, int)} for run_id in run_ids},
        {"chains.json": {name: chain_searches.described(search).encode() for name, search in searches.items()}},
    )


@pytest.fixture(scope="module")
def sound(study, tmp_path_factory):
    """Return the study's folder; `study.zip` beside it holds the same."""
    folder = tmp_path_factory.mktemp("exported") / "study"
    study.export(folder)
    study.export(folder.with_suffix(".zip"))
    return folder


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Return the folder in which temporary ones are made; at the end of a test it must be empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_an_archive_holds_the_files_of_the_folder_in_order_without_dates(study, sound, tmp_path):
    path = tmp_path / "new" / "study.zip"
    assert sorted(map(str, study.export(path))) == NAMES
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["study.zip"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == NAMES
        for entry in archive.infolist():
            assert archive.read(entry) == (sound / entry.filename).read_bytes()
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            is_packed = not entry.filename.endswith(".npz")
            assert entry.compress_type == (zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED)
            assert (entry.create_system, entry.external_attr >> 16) == (3, stat.S_IFREG | 0o644)
    assert path.read_bytes() == sound.with_suffix(".zip").read_bytes()


def test_an_archive_is_read_as_its_folder_is(sound):
    of_folder, of_archive = (StudyData.from_frames([path]) for path in (sound, sound.with_suffix(".zip")))
    for name in ("runs", "dense_runs", "corrupted", "characteristics", "validation"):
        pd.testing.assert_frame_equal(getattr(of_archive, name), getattr(of_folder, name), check_exact=True)
    # A search on another data set is not exported.
    for found in (of_archive, of_folder):
        assert [search.name for search in found.chain_searches] == ["a search"]
    run_id = of_folder.runs["run_id"].iloc[0]
    # The temporary folder is gone by now.
    assert of_archive.predictions([run_id])[run_id]["predicted"].tolist() == [1, 1, 1, 1]


def test_an_export_replaces_what_an_earlier_one_left_in_the_folder(study, tmp_path):
    runs = study.runs.query("seed == 0").reset_index(drop=True)
    bare = StudyData._with_artifacts(made_up_runs.whole(runs), lambda run_ids: {}, {})
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "mine.txt").touch()
    for exported in (study, bare):
        exported.export(tmp_path / "frames")
    bare.export(tmp_path / "new")
    left = {path.relative_to(tmp_path / "frames") for path in (tmp_path / "frames").rglob("[!.]*") if path.is_file()}
    assert left == {*files.written(tmp_path / "new"), Path("mine.txt")}
    assert StudyData.from_frames([tmp_path / "frames"]).chain_searches == []


def test_archives_stand_beside_folders_and_below_a_folder(sound, tmp_path):
    other = made_up_levels.runs("fashion-mnist")
    made_up_levels.export(tmp_path / "all" / "b" / "frames", other)
    shutil.copy(sound.with_suffix(".zip"), tmp_path / "all" / "a.zip")
    (tmp_path / "all" / "c.zip").mkdir()
    os.mkfifo(tmp_path / "all" / "d.zip")
    found = exports.below(tmp_path / "all")
    assert found == [tmp_path / "all" / "a.zip", tmp_path / "all" / "b" / "frames"]
    assert exports.below(found[0]) == [found[0]]
    runs = exports.read(found)[0].runs
    assert runs["dataset"].value_counts().to_dict() == {"mnist": len(other), "fashion-mnist": len(other)}


def test_an_archive_of_something_else_below_a_folder_is_left_out_and_a_damaged_one_is_not(sound, tmp_path):
    shutil.copy(sound.with_suffix(".zip"), tmp_path / "a.zip")
    write(tmp_path / "images.zip", (), [("images/1.png", b"")])
    assert exports.below(tmp_path) == [tmp_path / "a.zip"]
    (tmp_path / "damaged.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    assert exports.below(tmp_path) == [tmp_path / "a.zip", tmp_path / "damaged.zip"]


def test_an_exported_archive_is_replaced_and_a_folder_is_not(study, sound, tmp_path):
    path = tmp_path / "study.zip"
    replace(study, artifacts={}).export(path)
    study.export(path)
    assert path.read_bytes() == sound.with_suffix(".zip").read_bytes()
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(StudyError, match=r"folder\.zip is a folder: name a file"):
        study.export(tmp_path / "folder.zip")


def test_an_archive_that_ordinary_programs_made_of_the_folder_is_read(sound, tmp_path):
    shutil.make_archive(str(tmp_path / "deflated"), "zip", sound)
    with zipfile.ZipFile(tmp_path / "deflated.zip") as archive:
        assert archive.getinfo("runs.parquet").compress_type == zipfile.ZIP_DEFLATED
    runs = exports.read([tmp_path / "deflated.zip"])[0].runs
    pd.testing.assert_frame_equal(runs, exports.read([sound])[0].runs)


def write(path, sources=(), members=()):
    """Write an archive of files, and of members, which are (name or entry, content)."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        for source in sources:
            if source.is_file():
                archive.write(source, source.name)
        for name, content in members:
            archive.writestr(name, content)
    return path


def refusal(path):
    """Return the line in which an archive is refused; nothing beside it may change."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(StudyError) as caught:
        StudyData.from_frames([path])
    assert sorted(path.parent.rglob("*")) == before
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < LONGEST_MESSAGE
    assert line.startswith(str(path))
    return line.removeprefix(str(path))


def entry(name, *, mode=stat.S_IFREG | 0o644, method=zipfile.ZIP_STORED):
    made = zipfile.ZipInfo("placeholder")
    made.filename, made.external_attr, made.compress_type = name, mode << 16, method
    return made


@pytest.mark.attack
@pytest.mark.parametrize(
    "name",
    [
        *("../outside", "tuning/../../outside", "/outside", "//outside", "..", "./a", "a//b", ".x", "a\nb"),
        *("..\\outside", "C:\\outside", "C:/outside", "x" * 300, "a/" * 9 + "b", "\u202eoutside"),
    ],
)
def test_a_member_with_a_name_that_leads_elsewhere__is_refused(sound, tmp_path, name):
    path = write(tmp_path / "study.zip", sorted(sound.iterdir()), [(entry(name), b"planted")])
    assert "is not the name of an exported file" in refusal(path)


@pytest.mark.attack
def test_a_member_with_an_absolute_name__writes_nothing_there(sound, tmp_path):
    path = write(tmp_path / "study.zip", sorted(sound.iterdir()), [(entry(f"{tmp_path}/outside"), b"planted")])
    assert "is not the name of an exported file" in refusal(path)
    assert not (tmp_path / "outside").exists()


@pytest.mark.attack
@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_member_that_is_a_link_or_a_device__is_refused(sound, tmp_path, mode):
    others = [path for path in sound.iterdir() if path.name != "runs.parquet"]
    path = write(tmp_path / "study.zip", others, [(entry("runs.parquet", mode=mode | 0o777), b"../outside")])
    assert "runs.parquet is not an ordinary file" in refusal(path)


@pytest.mark.attack
def test_two_members_of_one_name__are_refused(sound, tmp_path):
    path = write(tmp_path / "study.zip", sorted(sound.iterdir()), [("runs.parquet", b"{}")])
    assert "it has two files named runs.parquet" in refusal(path)


@pytest.mark.attack
def test_an_archive_that_unpacks_to_more_than_the_limit__is_refused_before_anything_is_written(
    sound, tmp_path, monkeypatch
):
    content = bytes(2**20)
    path = write(tmp_path / "study.zip", (), [(entry("runs.parquet", method=zipfile.ZIP_DEFLATED), content)])
    assert path.stat().st_size < 2000
    monkeypatch.setattr(study_archives, "LARGEST", SizeLimit(2**-11))
    monkeypatch.setattr(shutil, "copyfileobj", None)
    assert "0.000977 GiB of memory are needed, but the limit is 0.000488281 GiB" in refusal(path)


@pytest.mark.attack
def test_a_member_that_unpacks_to_more_than_it_says__is_cut_off_and_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "study.zip", (), [(entry("runs.parquet", method=zipfile.ZIP_DEFLATED), bytes(2**20))])
    content = bytearray(path.read_bytes())
    content[(start := content.rindex(b"PK\1\2")) + 24 : start + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    written = []

    def copy(source, output, copying=shutil.copyfileobj):
        try:
            copying(source, output)
        finally:
            written.append(output.tell())

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert "Bad CRC-32" in refusal(path)
    assert written[0] <= 1000


@pytest.mark.attack
def test_more_members_than_any_study_has__are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(study_archives, "MOST_FILES", 20)
    path = write(tmp_path / "study.zip", (), [(f"a{number}", b"") for number in range(21)])
    assert "it has 21 files, but at most 20 are read" in refusal(path)


@pytest.mark.attack
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_all_at_once__is_refused(tmp_path, method):
    path = write(tmp_path / "study.zip", (), [(entry("runs.parquet", method=method), b"{}")])
    assert "runs.parquet is compressed by a method that is not read" in refusal(path)


@pytest.mark.attack
def test_an_encrypted_member__is_refused(tmp_path, sound):
    path = write(tmp_path / "study.zip", [sound / "runs.parquet"])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\3\4") + 6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "is encrypted" in refusal(path)


@pytest.mark.attack
@pytest.mark.parametrize("end", [0, 1, 100, 1000, -1, -30, -200])
def test_an_archive_that_is_cut_short__is_refused(tmp_path, sound, end):
    content = sound.with_suffix(".zip").read_bytes()
    (tmp_path / "study.zip").write_bytes(content[:end])
    assert re.search(r"\((BadZipFile|ValueError: its beginning or its end is missing)", refusal(tmp_path / "study.zip"))


@pytest.mark.attack
def test_something_else_in_place_of_an_archive__is_refused(tmp_path, sound):
    path = tmp_path / "study.zip"
    path.write_text("no archive")
    assert "not what pruning-analysis export writes (BadZipFile: File is not a zip file); export again" in refusal(path)
    write(path, [sound / "predictions_1.npz"])
    assert refusal(path).startswith(": no runs.parquet in it; pruning-analysis export makes")
    path.unlink()
    os.mkfifo(path)
    assert refusal(path) == ": a pipe or a device; give an ordinary file"


@pytest.mark.attack
def test_an_error_in_the_files_of_an_archive__names_the_archive(tmp_path, sound):
    damaged = write(tmp_path / "b.zip", [sound / "predictions_1.npz"], [("runs.parquet", b"other")])
    assert refusal(damaged).startswith("/runs.parquet: not what pruning-analysis export writes")


@pytest.mark.slow
@pytest.mark.attack
def test_300_archives_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path, sound):
    content = sound.with_suffix(".zip").read_bytes()
    with memory_limit(500):
        read = read_damaged(lambda path: exports.read([path]), tmp_path / "a.zip", [content], [b"PK\1\2", b"../"], 300)
    assert read < 100


@pytest.mark.attack
def test_a_full_disk_while_an_archive_is_unpacked__is_one_line(sound, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StudyError, match=r"study\.zip: No space left on device; make room"):
        exports.read([sound.with_suffix(".zip")])


def test_where_there_is_no_temporary_folder_a_line_names_the_archive_and_what_to_set(sound, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/dev/null/none")
        with pytest.raises(StudyError, match=r"study\.zip: no place to unpack it: .*Not a directory; set TMPDIR$"):
            exports.read([sound.with_suffix(".zip")])


STOPPED = """
import shutil, sys, time
from analysis.__main__ import main

def copy(*_):
    print("unpacking", flush=True)
    time.sleep(600)

shutil.copyfileobj = copy
sys.argv[1:] = ["report", "--frames", sys.argv[1], "--output", "report"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_stopped_while_it_unpacks_leaves_no_folder(sound, scratch, number):
    command = [sys.executable, "-c", STOPPED, str(sound.with_suffix(".zip"))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}, cwd=scratch, **pipes) as process:
        assert process.stdout.readline() == "unpacking\n"
        assert [path.name for path in next(scratch.iterdir()).iterdir()] == ["artifacts"]
        process.send_signal(number)
        assert process.communicate(timeout=deadline.SECONDS)[0].split() == ["Aborted!"]
    assert process.returncode == 1


@pytest.mark.attack
def test_commands_print_one_line_of_an_archive_that_deceives(tmp_path, sound, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "study.zip", sorted(sound.iterdir()), [(entry("../outside"), b"planted")])
    result = CliRunner().invoke(cli, ["report", "--frames", "study.zip", "--output", "report"])
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: study\.zip: not what .* is not the name of an exported file\); export again\n", result.output
    )
    assert files.written(tmp_path) == [(tmp_path / "study.zip").relative_to(tmp_path)]


def test_where_a_folder_is_missing_the_archive_of_its_name_is_named(sound, tmp_path):
    shutil.copy(sound.with_name("study.zip"), tmp_path / "frames.zip")
    for read in (lambda path: exports.read([path]), exports.below):
        with pytest.raises(StudyError, match=r"give \S*frames\.zip instead$"):
            read(tmp_path / "frames")
        with pytest.raises(StudyError, match=r"does not exist$|archives$"):
            read(tmp_path / "other")
