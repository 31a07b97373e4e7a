"""Searches of chains as files: what was written is read, and what is no search is one line."""

import json
import math

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs import chain_searches
from analysis.runs.chain_searches import ChainTrials

ROW = {"chain": "not pruned, float32", "pruner": "none", "number_format": "float32", "worst_class": "hat"}
ROW |= {"number": 0.0, "cost": 1000.0, "accuracy_loss": 0.0, "accuracy_loss_upper": 0.001, "class_loss": 0.0}
SEARCH = ChainTrials("hats", "size", 0.03, 0.01, pd.DataFrame([ROW | {"class_loss_upper": 0.005}]))


def test_searches_are_read_as_they_were_written_and_of_a_name_the_last_counts(tmp_path):
    wider, other = SEARCH._replace(max_class_loss=0.05), SEARCH._replace(name="coats")
    chain_searches.write([SEARCH, other, wider], tmp_path)
    found = chain_searches.read([tmp_path])
    assert [(search.name, search.max_class_loss) for search in found] == [("hats", 0.05), ("coats", 0.03)]
    pd.testing.assert_frame_equal(found[0].trials, SEARCH.trials, check_like=True, check_dtype=False)


def test_the_data_set_is_written_and_of_an_earlier_release_unknown():
    search = SEARCH._replace(dataset="mnist")
    content = json.loads(chain_searches.described(search))
    assert chain_searches.parsed(json.dumps(content).encode(), "chains.json").dataset == "mnist"
    del content["dataset"]
    assert chain_searches.parsed(json.dumps(content).encode(), "chains.json").dataset == ""


def test_ten_searches_keep_their_order(tmp_path):
    names = [f"search {number}" for number in range(1, 12)]
    chain_searches.write([SEARCH._replace(name=name) for name in names], tmp_path)
    assert [search.name for search in chain_searches.read([tmp_path])] == names


def test_numbers_without_zeros_of_an_elder_export_are_read_in_order_and_before_those_of_a_newer_one(tmp_path):
    """As text, the tenth comes before the second; the newest search of a name counts."""
    for number, limit in ((2, 0.02), (10, 0.1)):
        content = chain_searches.described(SEARCH._replace(max_class_loss=limit))
        (tmp_path / f"chains_{number}.json").write_text(content)
    assert [search.max_class_loss for search in chain_searches.read([tmp_path])] == [0.1]
    chain_searches.write([SEARCH], tmp_path)
    assert [search.max_class_loss for search in chain_searches.read([tmp_path])] == [0.03]


def test_searches_of_one_name_in_two_stores_are_both_there(tmp_path):
    """Both stores gave the search its default name; the limits tell the searches apart."""
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder, limit in zip(folders, (0.03, 0.05, 0.03), strict=True):
        folder.mkdir()
        chain_searches.write([SEARCH._replace(max_class_loss=limit), SEARCH._replace(name="coats")], folder)
    found = chain_searches.read(folders)
    assert [(search.name, search.max_class_loss) for search in found] == [
        ("hats", 0.03),
        ("coats", 0.03),  # the same in all three
        ("hats (2)", 0.05),
    ]
    (tmp_path / "joined").mkdir()
    chain_searches.write(found, tmp_path / "joined")
    again = chain_searches.read([tmp_path / "joined"])
    assert [search.name for search in again] == ["hats", "coats", "hats (2)"]


def test_a_folder_without_searches_has_none(tmp_path):
    assert chain_searches.read([tmp_path]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"minimize": "bytes"},
        {"trials": []},
        {"trials": [{"chain": "x"}]},
        {"trials": 3},
        {"max_class_loss": "wide"},
        {"max_accuracy_loss": math.nan},
        {"trials": [{**SEARCH.trials.iloc[0].to_dict(), "class_loss_upper": None}]},
        {"trials": [{**SEARCH.trials.iloc[0].to_dict(), "pruner": "mine"}]},
    ],
)
def test_what_is_no_search_is_one_line(change):
    content = json.dumps(json.loads(chain_searches.described(SEARCH)) | change).encode()
    with pytest.raises(StudyError, match=r"chains\.json: not what pruning-study compress writes") as raised:
        chain_searches.parsed(content, "chains.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"\xff{", b"", b"[" * 100_000, b"7", b'{"trials": ' + b"[" * 5000 + b"]" * 5000 + b"}"]
)
def test_bytes_of_any_kind_are_one_line(content):
    with pytest.raises(StudyError, match="not what pruning-study compress writes") as raised:
        chain_searches.parsed(content, "chains.json")
    assert "\n" not in str(raised.value)
