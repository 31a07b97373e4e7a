"""The driver of `tune` and `compress`: making the trials that are missing, and going on with searches made before."""

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from pruning_study.study import shared_search
from pruning_study.study.compression.chains import ChainSpace
from pruning_study.study.compression.judgement import Judgement
from pruning_study.study.compression.search import ChainSearch
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.study.tuning.search import Space, TuningSearch
from pruning_study.tracking import connect
from tests.stored_runs import empty_store

FORMER = Path(__file__).parent / "former_searches.optuna"
EPSILON = Space("accuracy", (10.0,), (1e-8, 1e2), 5e-4)
CHAINS = ChainSpace("size", (7, 15), half_ratio=1.97, most_filters=4.24)
BEFORE = np.array([[0.95, 0.85], [0.85, 0.75], [0.75, 0.65]])
RECALLS = PairedRecalls(BEFORE, BEFORE - 0.01, BEFORE * (BEFORE - 0.01), np.array([100, 100]))
JUDGEMENT = Judgement(100.0, 100, 100, 0.9, 0.0, 0.001, "bag", 0.0, 0.01, "run")


@pytest.fixture
def store(store_uri):
    return connect.connect()


def epsilons(search, total, **options):
    """Make trials that lose a point, and return their epsilons."""
    tried = []

    def attempt(trial):
        search.record(trial, RECALLS, stopped=False)
        tried.append(search.point(trial).epsilon)
        return f"epsilon {tried[-1]:g}"

    search.make_trials(total, attempt, **options)
    return tried


def chains(search, total, **options):
    """Make chains that lose nothing, and return them in words."""
    tried = []

    def attempt(trial):
        search.record(trial, JUDGEMENT)
        tried.append(str(search.chain(trial)))
        return tried[-1]

    search.make_trials(total, attempt, **options)
    return tried


def test_each_trial_that_is_missing_is_made_and_said_with_the_time_left(store, request, capsys):
    search = TuningSearch(store, request.node.name, EPSILON)
    assert epsilons(search, 2) == [5e-4, 1e8, 0.0], "anchors are made whatever the total"
    assert len(epsilons(search, 5)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line[:5] for line in lines] == ["[1/2]", "[2/2]", "[3/2]", "[4/5]", "[5/5]"]
    assert re.fullmatch(r"\[4/5\] epsilon [\d.e-]+; about .* left", lines[3])
    assert "left" not in lines[4]


def test_past_its_deadline_tune_makes_its_anchors_alone_and_compress_nothing(store, request):
    now = time.monotonic()
    assert epsilons(TuningSearch(store, f"{request.node.name} epsilon", EPSILON), 9, deadline=now) == [5e-4, 1e8, 0.0]
    assert chains(ChainSearch(store, f"{request.node.name} chains", CHAINS), 9, deadline=now) == []


def test_the_trials_of_other_processes_are_waited_for(store, request, monkeypatch):
    search, other = (TuningSearch(store, request.node.name, EPSILON) for _ in range(2))
    epsilons(search, 3)
    with search.trial(4, late=False) as trial:

        def end(_):
            search.record(trial, RECALLS, stopped=False)
            search.end(trial.number)

        monkeypatch.setattr(shared_search.time, "sleep", end)
        assert epsilons(other, 4) == []
    assert search.count() == 4


def test_a_store_made_before_goes_on_as_it_would_have(tmp_path, monkeypatch):
    """The journal has two searches of the version before they shared a driver, each with a trial that was cut off.

    That version would have made the trials that follow: the epsilon of the cut-off trial was lost, and its chain not.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    monkeypatch.chdir(tmp_path)
    store = connect.connect()
    shutil.copy(FORMER, store.journal)
    search = TuningSearch(store, "epsilon", EPSILON)
    assert epsilons(search, 7) == [0.026201057251461917, 0.0007485744203738418]
    trials = search.trials()
    assert trials["number"].tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert trials["anchor"].tolist() == ["lambda", "MP", "GP", *4 * [""]]
    assert trials["complete"].tolist() == [*4 * [True], False, True, True]
    assert trials["accuracy"].tolist() == pytest.approx([*4 * [0.79], 0.71, 0.79, 0.79])
    made = ChainSearch(store, "chains", CHAINS)
    assert chains(made, 8) == [
        "filters pruned by l1-filter at ratio 2.06, 7 epochs, dynamic-int8",
        "filters pruned by chip at ratio 1.76, 15 epochs, float16",
        "filters pruned by l1-filter at ratio 4.13, 7 epochs, float32",
    ]
    assert [*made.refused().values()] == ["diverged"]
    assert made.trials()["number"].tolist() == [0, 1, 2, 3, 6, 7, 8]
