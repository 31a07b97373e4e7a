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


def test_searches_are_read_as_they_were_written_and_of_a_name_the_last_counts():
    wider, other = SEARCH._replace(max_class_loss=0.05), SEARCH._replace(name="coats")
    searches = {"a": SEARCH, "b": other, "c": wider}
    contents = {name: chain_searches.described(search).encode() for name, search in searches.items()}
    found = chain_searches.of_artifacts({"chains.json": contents})
    assert [(search.name, search.max_class_loss) for search in found] == [("hats", 0.05), ("coats", 0.03)]
    pd.testing.assert_frame_equal(found[0].trials, SEARCH.trials, check_like=True, check_dtype=False)


def test_the_data_set_is_written_and_of_an_earlier_release_unknown():
    search = SEARCH._replace(dataset="mnist")
    content = json.loads(chain_searches.described(search))
    assert chain_searches.parsed(json.dumps(content).encode(), "chains.json").dataset == "mnist"
    del content["dataset"]
    assert chain_searches.parsed(json.dumps(content).encode(), "chains.json").dataset == ""


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
