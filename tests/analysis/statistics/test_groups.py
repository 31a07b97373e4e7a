"""Files of groups: what is read, and every fault in one line."""

import numpy as np
import pytest

from analysis.runs.errors import StudyError
from analysis.statistics import groups


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "groups.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_groups_by_the_index_of_the_image(tmp_path):
    path = written(tmp_path, '\ufeffindex, light ,who\n3,day,"b, c"\n\n0, night,\n1,day,a\n')
    found = groups.read(path, 5)
    assert {name: group.tolist() for name, group in found.items()} == {
        "light": ["night", "day", "", "day", ""],
        "who": ["", "a", "", "b, c", ""],
    }
    names, images, place = groups.members(found["light"])
    assert (names.tolist(), images.tolist(), place.tolist()) == (["day", "night"], [0, 1, 3], [1, 0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first column is missing and should be index"),
        ("image,light\n0,day\n", "first column is 'image' and should be index"),
        ("index\n0\n", "give each grouping a column"),
        ("index,a,a\n0,x,y\n", "a name of its own"),
        ("index,a,\n0,x,y\n", "a name of its own"),
        ("index,light\n", "no image in it"),
        ("index,light\n0,day,x\n", "line 2: 3 values for 2 columns"),
        ("index,light\n0,day\none,day\n", "line 3: index 'one' is no whole number"),
        ("index,light\n-1,day\n", "line 2: index '-1' is no whole number"),
        ("index,light\n1.0,day\n", "line 2: index '1.0' is no whole number"),
        ("index,light\n4,day\n", "line 2: index 4 is beyond the last test image, 3"),
        ("index,light\n1,day\n01,day\n", "line 3: index 1 is there twice"),
        ("index,light\n1,\n", "column light names no group"),
        (f"index,light\n1,{'x' * 2000}\n", "line 2: a group has 2,000 characters"),
        ('index,light\n1,"day\n', "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(StudyError, match=message) as caught:
        groups.read(path, 4)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_none_or_in_another_encoding_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"gone\.csv"):
        groups.read(tmp_path / "gone.csv", 4)
    with pytest.raises(StudyError, match=r"groups\.csv: cannot be read as CSV"):
        groups.read(written(tmp_path, "index,licht\n0,trüb\n", "latin-1"), 4)


@pytest.mark.attack
def test_500_files_of_groups_of_random_lines__are_read_or_refused_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    pieces = [
        "index",
        "0",
        "1",
        "-1",
        "99999999999999999999",
        "1e3",
        "nan",
        ",",
        ",",
        "\n",
        "\n",
        '"',
        "=x",
        "猫",
        "\0",
        "\r",
        " ",
    ]
    for number in range(500):
        path = tmp_path / "fuzzed.csv"
        start = "index,a\n" if number % 2 else ""
        path.write_text(start + "".join(rng.choice(pieces, 12)), encoding="utf-8", newline="")
        assert outcome(path) in ("read", "refused in one line")


def outcome(path):
    try:
        found = groups.read(path, 3)
    except StudyError as error:
        return "refused in one line" if "\n" not in str(error) else "refused"
    return "read" if all(group.shape == (3,) for group in found.values()) else "misread"
