import io
import os
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from analysis.common import archives
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from tests.damage import LONGEST_MESSAGE, read_damaged
from tests.memory_limit import memory_limit


def test_named_arrays_are_read_and_others_left(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], predicted=[1, 1], more=[2])
    arrays = archives.read(tmp_path / "a.npz", ["label"], ["predicted", "confidence"])
    assert {name: array.tolist() for name, array in arrays.items()} == {"label": [0, 1], "predicted": [1, 1]}


def test_an_array_that_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1])
    with pytest.raises(StudyError, match=r"a\.npz.*predicted"):
        archives.read(tmp_path / "a.npz", ["label", "predicted"])


@pytest.mark.attack
def test_an_array_of_pickled_objects__is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", label=np.array([{}]))
    with pytest.raises(StudyError, match=r"a\.npz.*pickle"):
        archives.read(tmp_path / "a.npz", ["label"])


@pytest.mark.attack
@pytest.mark.parametrize("size", [0, 1, 30, 100, 200, -30])
def test_an_archive_that_is_cut_short__is_refused(tmp_path, size):
    path = tmp_path / "a.npz"
    np.savez(path, label=np.arange(100))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StudyError, match=r"a\.npz.*not a complete"):
        archives.read(path, ["label"])


@pytest.mark.parametrize("content", [b"no archive at all", b"\x80\x04]."])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(StudyError, match=r"a\.npz.*not a complete"):
        archives.read(tmp_path / "a.npz", ["label"])


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"none\.npz"):
        archives.read(tmp_path / "none.npz", ["label"])


def npy(header, values=bytes(80), version=(1, 0)):
    """Return an array of the file format .npy with a header of one's own."""
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + header + values


def header(descr="'<i8'", shape="(10,)", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()


def archive_of(path, content, *, method=zipfile.ZIP_STORED, claimed=None, name="label.npy"):
    """Write an archive of one array; its directory gives the size that is claimed."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
        archive.infolist()[0].file_size = len(content) if claimed is None else claimed
    return path


def in_the_directory(path, place, value):
    """Write a value into an archive's entry of its only array."""
    content = path.read_bytes()
    start = content.rindex(b"PK\x01\x02") + place
    path.write_bytes(content[:start] + value + content[start + len(value) :])
    return path


def refusal(path, **how):
    with pytest.raises(StudyError) as caught:
        archives.read(path, ["label"], **how)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return str(caught.value)


@pytest.mark.parametrize(
    ("size", "limit", "said"),
    [
        (2**30 + 1, 1, "1.000000001 GiB of memory are needed, but the limit is 1 GiB"),
        (1.2345 * 2**30, 1.234, "1.2345 GiB of memory are needed, but the limit is 1.234 GiB"),
        (2 * 2**30, 1, "2 GiB of memory are needed, but the limit is 1 GiB"),
    ],
)
def test_a_size_above_the_limit_is_printed_as_larger_than_it(size, limit, said):
    with pytest.raises(StudyError, match=re.escape(said)):
        SizeLimit(limit).check("a.npz", size)


@pytest.mark.attack
def test_an_archive_that_promises_64_tebibytes__is_refused_before_memory_is_taken(tmp_path):
    content = npy(header("'|u1'", f"({2**46},)"))
    size = len(content) - 80 + 2**46
    with memory_limit(20):
        assert "not a complete .npz file" in refusal(archive_of(tmp_path / "a.npz", content))
        said = refusal(archive_of(tmp_path / "b.npz", content, claimed=size))
        assert re.search(r"b\.npz: 6\.55e\+04 GiB of memory are needed, but the limit is 16 GiB", said)
        whole = SizeLimit(1e6, "max_data_gib")
        assert "not a complete .npz file" in refusal(tmp_path / "b.npz", limit=whole)


@pytest.mark.attack
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb__is_refused_before_it_is_unpacked_even_if_its_directory_lies(tmp_path, method):
    size = 2**25
    content = npy(header("'|u1'", f"({size},)"), bytes(size))
    bomb = archive_of(tmp_path / "a.npz", content, method=method)
    assert bomb.stat().st_size < size / 500
    with memory_limit(24):
        assert "0.0313 GiB of memory are needed" in refusal(bomb, limit=SizeLimit(0.02))
    lying = in_the_directory(bomb, 24, (208).to_bytes(4, "little"))
    with memory_limit(24):
        assert "not a complete .npz file" in refusal(lying)


@pytest.mark.attack
@pytest.mark.parametrize(
    "lie",
    [
        header(shape="(-1,)"),
        header(shape="(99999999999999999999999999,)"),
        header(shape="(4294967296, 4294967296)"),
        header(shape="(2.5,)"),
        header(shape="(True,)"),
        header(shape="10"),
        header(shape="(" + "1," * 200 + ")"),
        header("'|O'"),
        header("[('x', '<i4'), ('y', '<i4')]"),
        header("('<i8', (2,))"),
        header("'|V8'"),
        header("'<U0'"),
        header("'<U99999999999'"),
        header("'no type'"),
        header("__import__('os').system('ls')"),
        header(shape="(((((("),
        header(shape="(" * 3000 + ")" * 3000),
        header(shape="-" * 5000 + "1"),
        header(shape="(1_,)"),
        header("'''"),
        header("'\\N{no such letter}'"),
        b"\xff\xfe" * 40,
        b"\0" * 80,
        b"{'shape': (10,)}",
        b"[]",
        b"",
        b" " * 60_000,
    ],
)
def test_a_header_of_an_array_that_lies_or_is_no_python__is_refused_in_one_line(tmp_path, lie):
    with memory_limit(100), warnings.catch_warnings():
        warnings.simplefilter("error")
        for version in ((1, 0), (2, 0), (3, 0), (9, 9)):
            refusal(archive_of(tmp_path / "a.npz", npy(lie, version=version)))


@pytest.mark.attack
def test_an_array_that_an_archive_holds_twice__is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, value in (("label.npy", 0), ("label", 1)):
            content = io.BytesIO()
            np.save(content, np.full(3, value))
            archive.writestr(name, content.getvalue())
    assert "it contains label twice" in refusal(tmp_path / "a.npz")


@pytest.mark.attack
def test_an_archive_that_is_encrypted_or_packed_in_an_unknown_way__is_refused(tmp_path):
    path = archive_of(tmp_path / "a.npz", npy(header()))
    assert "encrypted" in refusal(in_the_directory(path, 8, b"\1\0"))
    path = archive_of(tmp_path / "a.npz", npy(header()))
    assert "compression method is not supported" in refusal(in_the_directory(path, 10, b"\x63\0"))


@pytest.mark.attack
def test_text_with_codes_that_are_no_characters__is_refused(tmp_path):
    for code in (0x7FFFFFFF, 0x110000, 0xD800):
        for order in "<>":
            text = np.array([code, 65], f"{order}u4").tobytes()
            said = refusal(archive_of(tmp_path / "a.npz", npy(header(f"'{order}U1'", "(2,)"), text)))
            assert "invalid character codes" in said


@pytest.mark.attack
def test_a_pipe_a_device_a_folder_or_a_loop_of_links_as_an_archive__is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in (
        (tmp_path / "pipe", "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
        (tmp_path, "Is a directory"),
        (tmp_path / "loop", "Too many levels"),
        (tmp_path / "x\0y", "embedded null"),
    ):
        assert reason in refusal(path)


def test_arrays_of_any_order_and_of_none(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i4"),
        "scalar": np.array(2.5),
        "dates": np.array(["2020-01-01"], "M8[D]"),
        "empty": np.zeros((0, 3), np.float32),
        "text": np.array(["Größe", ""]),
        "truth": np.array([True, False]),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    for name, array in archives.read(tmp_path / "a.npz", list(arrays)).items():
        assert (array.dtype, array.shape, array.tolist()) == (
            arrays[name].dtype, arrays[name].shape, arrays[name].tolist()
        )  # fmt: skip
        assert array.flags.writeable


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path):
    archive_of(tmp_path / "a.npz", npy(header(shape="(10L,)")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert archives.read(tmp_path / "a.npz", ["label"])["label"].tolist() == [0] * 10


@pytest.mark.slow
@pytest.mark.attack
def test_2500_archives_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path):
    arrays = {"label": np.arange(20), "predicted": np.array(list("abcdefghijklmnopqrst"))}
    sound = []
    for save in (np.savez, np.savez_compressed):
        content = io.BytesIO()
        save(content, **arrays)
        sound.append(content.getvalue())
    parts = [*b"()[]{}'-,\\#\0\xff", b"L", b"9" * 30, b"(" * 200, b"|O", b"<U99999999", b"PK\x01\x02", b"PK\x05\x06"]
    parts = [part if isinstance(part, bytes) else bytes([part]) for part in parts]

    def read(path):
        archives.read(path, ["label"], ["predicted"], limit=SizeLimit(0.01))

    def read_header(path):
        read(archive_of(tmp_path / "b.npz", path.read_bytes()))

    with memory_limit(200), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 < read_damaged(read, tmp_path / "a.npz", sound, parts, 2000) < 1000
        read_damaged(read_header, tmp_path / "a.npy", [npy(header("'<U3'"), bytes(120))], parts, 500)
