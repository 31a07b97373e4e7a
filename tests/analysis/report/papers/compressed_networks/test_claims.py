"""The claims on studies whose populations are made so that they are true, false, or cannot be told."""

import numpy as np
import pandas as pd
import pytest

from analysis.report.papers.claims import FAILS, HOLDS, UNTRIED
from analysis.report.papers.compressed_networks.claims import CLAIMS, claims, measured
from analysis.report.papers.compressed_networks.exemplars import exemplars
from analysis.statistics import votes
from analysis.statistics.populations import class_significance
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import run_arrays
from tests import made_up_runs

NETWORKS, IMAGES = 12, 400
LABEL = np.repeat([0, 1], IMAGES // 2)
EASY = np.arange(IMAGES) % np.where(LABEL == 0, 3, 5) > 0  # every third image of one class is hard, fifth of the other


def networks(seed, harm=0.0, part=slice(None)):
    """What networks predict: wrong about 2 % of easy images and 45 % of hard ones, and about `harm` of a part too."""
    rng = np.random.default_rng(seed)
    wrong = np.where(EASY, 0.02, 0.45)
    wrong[part] = np.maximum(wrong[part], harm)
    return np.where(rng.random((NETWORKS, IMAGES)) < wrong, 1 - LABEL, LABEL)


DENSE = networks(0)


def study(**cells):
    """Runs of cells, each `<pruner>_<ratio>`, of the same dense networks, and their exemplars."""
    runs, read = made_up(**cells)
    return runs, exemplars(run_arrays(runs), read)


def made_up(**cells):
    """Runs of cells, and what reads their predictions."""
    made, known = [], {}
    for cell, predicted in cells.items():
        pruner, ratio = cell.rsplit("_", 1)
        format_name = {"number_format": pruner.replace("fixed_int8", "fixed-int8")} if "int8" in pruner else {}
        frame = made_up_runs.runs(
            "toy", "net", format_name.get("number_format", pruner), float(ratio), [1.0] * NETWORKS, **format_name
        )
        for when, column, side in (("before", "dense_run_id", DENSE), ("after", "run_id", predicted)):
            right = side == LABEL
            frame[f"accuracy_{when}"] = right.mean(1)
            for name, index in (("a", 0), ("b", 1)):
                frame[f"recall_{when}/{name}"] = right[:, index == LABEL].mean(1)
            known |= {run: {"label": LABEL, "predicted": row} for run, row in zip(frame[column], side, strict=True)}
        made.append(frame.assign(**{f"support/{name}": IMAGES / 2 for name in "ab"}))
    return pd.concat(made, ignore_index=True), lambda run_ids: {run: known[run] for run in run_ids}


def verdicts(**cells):
    runs, found = study(**cells)
    frame = claims(run_arrays(runs), found)
    return dict(zip(frame["slug"], frame["verdict"], strict=True))


HARMED = networks(2, harm=0.9, part=slice(0, 100))  # half of the first class
HARMED_LESS = networks(3, harm=0.9, part=slice(0, 30))


def test_harm_to_one_class_that_grows_with_pruning():
    found = verdicts(mp_2=HARMED_LESS, mp_10=HARMED, fixed_int8_1=networks(4))
    assert found["pies-grow"] == HOLDS
    assert found["pies-beyond-chance"] == HOLDS
    assert found["pies-harder"] == HOLDS
    # Half of the images that the compressed networks lose are easy: they are less hard than those of the placebo.
    assert found["pies-harder-than-chance"] == FAILS
    assert found["decrease-above-increase"] == UNTRIED  # no class rises


def test_pruning_that_harms_many_classes_and_a_number_format_that_harms_none():
    runs, found = study(mp_10=HARMED, fixed_int8_1=networks(4))
    frame = claims(run_arrays(runs), found)
    (row,) = frame[frame["slug"] == "pruning-above-quantization"].to_dict("records")
    assert row["where"] == "mp, t=10 minus fixed-int8, t=8"
    assert row["estimate"] == pytest.approx(2)
    assert frame[frame["slug"] == "pies-grow"]["verdict"].tolist() == [UNTRIED]  # one level


def test_no_harm_is_no_more_than_chance():
    found = verdicts(mp_2=networks(5), mp_10=networks(6))
    assert found["pies-harder"] == HOLDS
    assert HOLDS not in {found[slug] for slug in ("pies-grow", "pies-harder-than-chance", "pies-beyond-chance")}


def test_values_of_groups_have_the_mean_of_the_cell_and_leave_out_its_networks():
    runs, found = study(mp_10=HARMED)
    frame = measured(run_arrays(runs), found)
    assert len(frame) == votes.groups(NETWORKS)
    split = votes.Halves(DENSE, LABEL).against(HARMED)
    placebo = votes.Halves(DENSE, LABEL).placebo
    assert frame["pies_beyond_placebo"].mean() == pytest.approx(split.n_pie[0] - placebo.n_pie[0])
    assert frame["gap"].mean() == pytest.approx(split.gap[0])
    sides = [
        Recalls(runs[[f"recall_{when}/{name}" for name in "ab"]], runs[f"accuracy_{when}"])
        for when in ("before", "after")
    ]
    counts = []
    for left_out in range(-1, votes.groups(NETWORKS)):
        kept = votes.group_of(NETWORKS) != left_out
        counts.append(class_significance(*(side[kept] for side in sides)).significant.sum())
    assert frame["significant"].tolist() == pytest.approx(votes.jackknife_values(np.array(counts, float)))


def test_levels_at_which_most_networks_guess_count():
    predicted = HARMED.copy()
    predicted[:7] = 1  # most of the networks name one class
    runs, found = study(mp_2=HARMED_LESS, mp_10=predicted)
    frame = measured(run_arrays(runs), found)
    assert frame.groupby("ratio")["seed"].nunique().tolist() == [votes.groups(NETWORKS)] * 2
    summary = found.summary.set_index("level")
    assert summary["n_compressed"].tolist() == [NETWORKS] * 2
    assert summary["n_pie"][10] > summary["n_pie"][2]


def test_pies_of_fewer_networks_are_held_against_a_placebo_of_as_few():
    runs, read = made_up(mp_2=networks(5), mp_10=networks(6))
    fewer = runs[(runs["ratio"] == 2) | (runs["seed"] < 10)]
    found = exemplars(run_arrays(fewer), read)
    (row,) = claims(run_arrays(fewer), found)[lambda frame: frame["slug"].eq("pies-grow")].to_dict("records")
    summary = found.summary.set_index("level")
    assert summary["n_pie_placebo"][10] != summary["n_pie_placebo"][2]
    beyond = summary["n_pie_halves"] - summary["n_pie_placebo"]
    assert row["estimate"] == pytest.approx(beyond[10] - beyond[2])


def test_copies_of_one_dense_network_have_no_placebo(monkeypatch):
    monkeypatch.setattr(f"{__name__}.DENSE", np.tile(DENSE[0], (NETWORKS, 1)))
    runs, found = study(mp_10=HARMED)
    assert found.halves == []
    frame = claims(run_arrays(runs), found).set_index("slug")
    slugs = ["pies-beyond-chance", "pies-harder-than-chance", "significant-classes-beyond-chance"]
    assert frame.loc[slugs, "verdict"].tolist() == [UNTRIED] * 3


def test_a_study_without_predictions_has_the_claims_on_classes_alone():
    runs, _ = study(mp_2=HARMED_LESS, mp_10=HARMED)
    frame = claims(run_arrays(runs), exemplars(run_arrays(runs), None))
    tried = set(frame["slug"][frame["verdict"] != UNTRIED])
    assert tried == {"significant-classes-grow", "significant-classes-beyond-chance"}
    none = claims(run_arrays(runs.iloc[:4]), exemplars(run_arrays(runs.iloc[:4]), None))
    assert none["verdict"].tolist() == [UNTRIED] * len(CLAIMS)
