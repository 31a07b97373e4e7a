"""Files of predictions that are damaged, made to deceive, or too large. What sound files say is in test_audit.py."""

import io
import os
import warnings

import click.testing
import numpy as np
import pytest

from analysis.__main__ import cli
from analysis.audit import prediction_files
from analysis.audit.prediction_columns import ColumnNames
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from tests.damage import LONGEST_MESSAGE, read_damaged
from tests.error_lines import error_line
from tests.memory_limit import memory_limit

LIMIT = SizeLimit(0.1)


def refusal(path, limit=LIMIT):
    with warnings.catch_warnings(), pytest.raises(StudyError) as caught:
        warnings.simplefilter("error")
        prediction_files.read([path], limit)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return str(caught.value)


@pytest.fixture
def csv(tmp_path):
    """Return a function that writes bytes, or text, to `a.csv` and returns the path."""

    def of(content):
        (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "a.csv"

    return of


@pytest.mark.attack
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,label,predicted\na,b,b\n", "two columns have the name label"),
        ("label,predicted\na,a\nlabel,predicted\nb,b\n", "line 3: repeats the first line"),
        ("label,predicted\na,a\nb,\0b\n", "a class has a NUL character in its name"),
        ('label,predicted\na,\'"\nb,"b\n', "cannot be read as CSV"),
        ("label,predicted\n" + "x" * 300 + ",a\n", "a class has 300 characters, but at most 250 are allowed"),
        ("label,predicted\n" + "x" * 200_000 + ",a\n", "field larger than field limit"),
        (b"PK\3\4\xff", "it begins as a zip archive or a spreadsheet does"),
        (b"\x1f\x8b\x08\0\0\0", "cannot be read as CSV"),
        (b"label,predicted\n\xff,\xff\n", "cannot be read as CSV"),
        ("\x1b[2J\n", r"is '\x1b[2J'"),
        ("", "no column label and no column predicted"),
        ("\r\r\r", "no column label"),
    ],
)
def test_a_table_of_predictions_that_is_ambiguous_damaged_or_of_another_kind__is_refused(csv, content, message):
    assert message in refusal(csv(content))


@pytest.mark.attack
def test_a_table_with_a_class_of_twenty_million_characters__is_refused_within_the_limit(csv):
    path = csv("label,predicted\n" + "x" * 2 * 10**7 + ",a\n")
    assert "0.0186 GiB of memory are needed, but the limit is 0.01 GiB" in refusal(path, SizeLimit(0.01))
    assert "field larger than field limit" in refusal(path)


@pytest.mark.attack
def test_one_long_name_among_many_short_ones__takes_no_memory_for_all_of_them(csv):
    path = csv("label,predicted\n" + "a,b\n" * 200_000 + "x" * 131_000 + ",b\n")
    with memory_limit(300):  # as one array of text it would take 105 GB
        assert "a class has 131,000 characters" in refusal(path)


def test_line_ends_of_every_system_and_a_byte_order_mark(csv):
    for end in ("\n", "\r\n", "\r"):
        label, predicted, *_ = prediction_files.read([csv("\ufefflabel,predicted" + end + "b,a" + end + "a,a")], LIMIT)
        assert (label.tolist(), predicted.tolist()) == (["b", "a"], [["a", "a"]])


@pytest.mark.attack
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1 + 0j, 2]), "label has type complex128"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), "label has type datetime64[D]"),
        (np.array([b"\xff", b"a"]), "label is not text in UTF-8"),
        (np.array([2**64, 1], np.longdouble), "label contains 1.8446744073709552e+19"),
        (np.array([np.nan, 1], np.float16), "label contains nan"),
        (np.array(["a\0b", "a"]), "NUL character"),
        (np.array(["a" * 300, "a"]), "a class has 300 characters"),
        (np.array(3), "label has shape ()"),
        (np.array([(1, 2), (3, 4)], "i4,i4"), "has type"),
        (np.array(["", "a"]), "image 1 has no label"),
    ],
)
def test_arrays_of_predictions_that_are_no_classes__are_refused(tmp_path, array, message):
    np.savez(tmp_path / "a.npz", label=array, predicted=array)
    assert message in refusal(tmp_path / "a.npz")


@pytest.mark.attack
def test_a_file_that_is_given_twice_under_two_names__is_no_second_seed(tmp_path):
    (tmp_path / "a.csv").write_text("label,predicted\na,a\n")
    (tmp_path / "b.csv").symlink_to("a.csv")
    for other in ("b.csv", "./a.csv", "../" + tmp_path.name + "/a.csv"):
        with pytest.raises(StudyError, match=r"is given twice.* each file must be of a different seed"):
            prediction_files.find([str(tmp_path / "a.csv"), f"{tmp_path}/{other}"], "before")


def test_options_name_the_arrays_of_npz_files_and_those_of_runs_keep_their_names(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], predicted=[0, 1], predicted_int8=[0, 0], kind=[1, 0])
    own = prediction_files.read([tmp_path / "a.npz"], LIMIT, ColumnNames("kind", "predicted_int8"))
    assert (own.label.tolist(), own.predicted.tolist()) == ([1, 0], [[0, 0]])
    usual = prediction_files.read([tmp_path / "a.npz"], LIMIT)
    assert (usual.label.tolist(), usual.predicted.tolist()) == ([0, 1], [[0, 1]])
    (tmp_path / "per_class.csv").write_text("class,index\n")
    np.savez(tmp_path / "predictions.npz", label=[0, 1], predicted=[1, 1])
    paths = [tmp_path / "predictions.npz", tmp_path / "a.npz"]
    beside_a_run = prediction_files.read(paths, LIMIT, ColumnNames(predicted="predicted_int8"))
    assert beside_a_run.predicted.tolist() == [[1, 1], [0, 0]]


def test_an_option_that_names_no_array_of_an_npz_file_is_refused_with_its_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], predicted=[0, 1])
    with pytest.raises(StudyError, match=r"a.npz: no array 'int8'; the arrays are 'label,predicted'") as caught:
        prediction_files.read([tmp_path / "a.npz"], LIMIT, ColumnNames(predicted="int8"))
    assert caught.value.option == "predicted_column"


def test_a_run_with_numbers_has_the_class_names_of_its_table_beside_a_file_with_names(tmp_path):
    (tmp_path / "per_class.csv").write_text("class,index\nbag,1\nAnkle boot,0\n")
    np.savez(tmp_path / "predictions.npz", label=[0, 1, 1], predicted=[0, 1, 0])
    (tmp_path / "own.csv").write_text("label,predicted\nAnkle boot,bag\nbag,bag\nbag,bag\n")
    run, own = tmp_path / "predictions.npz", tmp_path / "own.csv"
    expected = {run: ["Ankle boot", "bag", "Ankle boot"], own: ["bag", "bag", "bag"]}
    for paths in ([run, own], [own, run]):
        read = prediction_files.read(paths, LIMIT)
        assert read.label.tolist() == ["Ankle boot", "bag", "bag"]
        assert read.predicted.tolist() == [expected[path] for path in paths]


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ([2, 0, 1], ["bag", "hat", "shoe"], ["shoe", "bag", "hat"]),
        ([7.0, 3.0, 5.0], [3, 5, 7], [7, 3, 5]),
        (["shoe", "bag", "hat"], ["bag", "hat", "shoe"], ["shoe", "bag", "hat"]),
    ],
)
def test_class_names_of_logits_name_labels_that_are_column_numbers(tmp_path, label, names, expected):
    logits = np.eye(3)[[2, 0, 0]]
    np.savez(tmp_path / "a.npz", label=np.array(label), logits=logits, class_names=np.array(names))
    read = prediction_files.read([tmp_path / "a.npz"], LIMIT)
    assert (read.label.tolist(), read.predicted.tolist()) == (expected, [[expected[0], expected[1], expected[1]]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,top1,top2,p1,p2\n0,0,2,0.7,0.2\n2,2,1,0.6,0.1\n", "label '0' has no column among 'p1,p2': give a"),
        ("label,prob_cat,prob_dog\ncat,0.9,0.1\nhot dog,0.2,0.8\n", "label 'hot dog' has no column among 'prob_cat,"),
        ("label,p1,p2\n1,0.7,0.2\n2,0.6,0.1\n", "'p1,p2' seem to be sorted by size"),
    ],
)
def test_probabilities_that_belong_to_no_class_are_refused_with_what_to_name(csv, text, message):
    told = refusal(csv(text))
    assert message in told
    assert "name the predicted classes with --predicted-column" in told


def test_sorted_probabilities_of_an_npz_file_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 3], probabilities=[[0.7, 0.2], [0.6, 0.1]])
    assert "label '3' has no column among the 2 columns of probabilities, which are numb" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "text",
    [
        "label,p0,p1,p2\n0,0.7,0.2,0.1\n1,0.1,0.8,0.1\n",  # class 2 has no image
        "label,p0,p1\n0.0,0.7,0.3\n1.0,0.1,0.9\n",
        "label,p0,p1\n0,0.9,0.8\n1,0.1,0.2\n",  # one sigmoid for each class
        "label,p0,p1\n0,2.5,-1\n1,-3,0.5\n",  # logits
    ],
)
def test_probabilities_of_every_label_are_read_although_they_may_not_sum_to_1(csv, text):
    assert prediction_files.read([csv(text)], LIMIT).predicted.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,predicted\n39.65,39\n12,12\n", "a label or a predicted class is '39.65': give whole numbers"),
        ("label,predicted\n0,0\n1,inf\n", "a label or a predicted class is 'inf'"),
        ("label,p0,p1\n0,inf,0\n1,0.1,0.9\n", "image 1 has the probability inf of class '0'"),
        ("label,p0,p1\n0,0.9,0.1\n1,-0.2,0.8\n", "image 2 has the probability -0.2 of class '0'"),
        ("label,p0,p1\n0,0.9,0.1\n1,-0.2,1.2\n", "image 2 has the probability -0.2 of class '0'"),
    ],
)
def test_numbers_that_are_no_classes_or_no_probabilities_are_refused(csv, text, message):
    assert message in refusal(csv(text))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"probabilities": np.eye(10) - 0.1}, "image 1 has the probability -0.1 of class '1'"),
        ({"logits": np.where(np.eye(10), np.inf, 0)}, "image 1 has the probability inf of class '0'"),
        ({"probabilities": np.eye(10, 11)}, "11 columns of probabilities, but labels up to 9: name the columns"),
        ({"logits": np.eye(10, 11), "class_names": list("abcdefghij")}, "10 class_names for 11 columns: name every"),
    ],
)
def test_scores_of_an_npz_file_that_fit_no_classes_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", label=np.arange(10), **arrays)
    assert message in refusal(tmp_path / "a.npz")


def test_columns_without_images_are_read_if_they_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", label=np.arange(10), probabilities=np.eye(10, 11), class_names=np.arange(11))
    assert prediction_files.read([tmp_path / "a.npz"], LIMIT).predicted.tolist() == [list(range(10))]


def test_a_collapsed_network_is_read_although_its_logits_are_in_descending_order(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], logits=[[2.0, 0.5], [2.0, 0.5]])
    assert prediction_files.read([tmp_path / "a.npz"], LIMIT).predicted.tolist() == [[0, 0]]


@pytest.mark.attack
def test_a_pipe_or_a_device_beside_predictions__stops_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], predicted=[0, 1])
    os.mkfifo(tmp_path / "per_class.csv")
    assert prediction_files.read([tmp_path / "a.npz"], LIMIT)[0].tolist() == [0, 1]
    os.mkfifo(tmp_path / "pipe.csv")
    assert "a pipe or a device" in refusal(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    assert "a pipe or a device" in refusal(tmp_path / "zero.csv")


@pytest.mark.attack
def test_predictions_above_the_limit_of_memory__are_refused_and_the_option_named(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", label=np.zeros(10**6, np.int8), predicted=np.zeros(10**6, np.int8))
    arguments = ["audit", "--before", str(tmp_path / "a.npz"), "--after", str(tmp_path / "a.npz")]
    for limit in ("0.001", "nan"):
        result = click.testing.CliRunner().invoke(cli, [*arguments, "--max-data-gib", limit])
        assert result.exit_code == 2
        assert "error: --max-data-gib: " in result.output
        assert "0.00186 GiB of memory are needed" in error_line(result.output)
    label, predicted, *_ = prediction_files.read([tmp_path / "a.npz"], SizeLimit(0.01))
    assert (label.shape, predicted.shape) == ((10**6,), (1, 10**6))


@pytest.mark.slow
@pytest.mark.attack
def test_4000_files_of_predictions_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path):
    table = 'image,label,predicted\n1,a,"b, c"\n2,"b, c",a\n3,10,1.0\n'
    archive = io.BytesIO()
    np.savez(archive, label=np.array([b"a", b"b"]), predicted=np.array(["a", "b"]))
    parts = [b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\x1b[2J", b"label", b"9" * 30, b"<f2", b"|S1"]
    parts += [b"\xf0\x9f\x90\x88", b"\xe2\x80\xae", b"''", b'"' * 3, b"x" * 400]

    def read(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prediction_files.read([path], SizeLimit(0.01))

    with memory_limit(300):
        texts = [table.encode(), table.encode("utf-8-sig"), table.replace("\n", "\r\n").encode()]
        assert 300 < read_damaged(read, tmp_path / "a.csv", texts, parts, 3000) < 2500
        assert 0 < read_damaged(read, tmp_path / "a.npz", [archive.getvalue()], parts, 1000) < 500
