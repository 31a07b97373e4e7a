"""The report's section: which files a study has, and what its table says at the ratio of the verdict."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.page import Caption
from analysis.report.papers.compressed_networks.section import section
from analysis.runs import frames
from analysis.statistics.votes import exemplars, halves
from analysis.study.study import ReportOptions, StudyData
from tests.analysis.report.papers.compressed_networks.test_populations import FOUND, MADE, NETWORKS, PRUNED, read

OF_RECALLS = {"populations.csv", "class_significance.csv", "significant_classes.csv"}
PAPER = ReportOptions(paper=True)
STUDY = StudyData(MADE, lambda run_ids: {run: FOUND[run] for run in run_ids})


def with_recalls_of(found):
    """The runs, with the recalls and accuracies that their predictions have."""
    made = MADE.copy()
    for side, column in (("before", "dense_run_id"), ("after", "run_id")):
        right = [found[run]["predicted"] == found[run]["label"] for run in made[column]]
        made[f"accuracy_{side}"] = [answers.mean() for answers in right]
        for index, name in enumerate("abc"):
            of_class = found[made[column].iloc[0]]["label"] == index
            made[f"recall_{side}/{name}"] = [answers[of_class].mean() for answers in right]
    return made.drop(columns=[name for name in made if name.startswith(("support/", "both_right/"))])


def test_the_table_has_the_methods_and_the_control_and_the_files_are_written():
    made = replace(STUDY, runs=with_recalls_of(FOUND))
    found = section(made)
    assert found.tables.keys() == {"pie_summary.csv", "pie.csv"}
    text, picture, caption, table = found.blocks
    assert picture.name == "forgotten"
    assert "placebo" in text
    assert caption == Caption("toy, net.", "Ratio 10.")
    summary = found.tables["pie_summary.csv"].set_index("method")
    assert table["method"].tolist() == ["none", "mp"]
    for column, name in (("PIEs of the same networks", "n_pie"), ("PIEs of halves", "n_pie_halves")):
        counts = [(summary[name][method], summary[f"{name}_untied"][method]) for method in ("none", "mp")]
        assert table[f"{column} (untied)"].tolist() == [f"{count:,.0f} ({untied:,.0f})" for count, untied in counts]
    assert not any("significant" in name for name in table)
    assert table["networks"].tolist() == [str(NETWORKS)] * 2
    assert found.notes == []
    of_paper = section(replace(made, options=PAPER))
    assert of_paper.tables.keys() == {*OF_RECALLS, "pie_summary.csv", "pie.csv"}
    assert {"significant classes", "by Holm", "significant as in print"} <= {*of_paper.blocks[-1]}


def test_iterations_of_almost_one_ratio_are_shown_with_the_control_of_their_iteration():
    """The second pruner keeps a few weights more in the same iteration."""
    made = with_recalls_of(FOUND)
    other = made[made["pruner"] == "mp"].assign(pruner="up", ratio=9.99)
    other["run_id"] = [f"{run_id}/up" for run_id in other["run_id"]]
    levels = [
        rows.assign(ratio=rows["ratio"].where(rows["pruner"].eq("none"), rows["ratio"] - missing)).assign(
            **{frames.column("iteration"): level, "run_id": rows["run_id"] + "/" + level}
        )
        for rows in (made, other)
        for level, missing in (("9", 2), ("10", 0))
    ]
    of_chain = {frames.column("keep"): "0.8", frames.column("weight_treatment"): "rewind"}
    chain = pd.concat(levels, ignore_index=True).assign(**of_chain)
    found = section(StudyData(chain, lambda run_ids: {run: FOUND[run.split("/")[0]] for run in run_ids}))
    (table,) = [block for block in found.blocks if isinstance(block, pd.DataFrame)]
    assert sorted(table["method"]) == ["mp rewind", "none rewind", "up rewind"]


def test_too_few_networks_for_halves_are_told_once():
    few = with_recalls_of(FOUND).groupby("pruner").head(9)
    found = section(replace(STUDY, runs=few))
    (note,) = found.notes
    assert note.startswith("there are too few networks for PIEs of halves in 2 of 2 cells: each half needs 5")
    *_, table = found.blocks
    assert table["PIEs of halves (untied)"].tolist() == table["placebo (untied)"].tolist() == ["n/a", "n/a"]


def test_copies_of_one_dense_network_are_told():
    copies = FOUND | dict.fromkeys(MADE["dense_run_id"], FOUND[MADE["dense_run_id"][0]])
    found = section(StudyData(with_recalls_of(copies), lambda run_ids: {run: copies[run] for run in run_ids}))
    (note,) = found.notes
    assert note.startswith("there is no placebo in 2 of 2 cells, because the dense networks are copies of one network")


def test_without_predictions_there_are_class_tests_and_without_seeds_nothing():
    alone = section(StudyData(PRUNED, options=PAPER))
    assert (alone.tables.keys(), alone.blocks) == (OF_RECALLS, [])
    assert section(StudyData(PRUNED.iloc[:1], read)) is None


def test_missing_predictions_are_not_called_those_of_other_images():
    made = with_recalls_of(FOUND)
    assert section(StudyData(made, lambda run_ids: {})).notes == [
        "no PIEs are counted, because no run has usable predictions (predictions.npz)"
    ]
    # `cells.cells` names the runs of the other data set, whose predictions are missing.
    ids = {name: made[name] + " other" for name in ("dense_run_id", "run_id")}
    both = pd.concat([made.assign(dataset="another", **ids), made], ignore_index=True)
    found = section(StudyData(both, lambda run_ids: {run: FOUND[run] for run in run_ids if run in FOUND}))
    assert found.notes == []


def test_the_files_have_the_columns_that_others_read():
    found = section(replace(STUDY, runs=with_recalls_of(FOUND), options=PAPER))
    columns = {name: " ".join(table.columns) for name, table in found.tables.items()}
    pies = "dataset model method level n_dense n_compressed n_pie n_pie_untied n_ties top1_pie top1_non_pie top1_all"
    pies += " top5_pie top5_non_pie top5_all"
    assert columns["pie_summary.csv"].startswith(pies)
    images = "dataset model method level index label dense_mode compressed_mode dense_share compressed_share"
    assert columns["pie.csv"] == images
    tests = "difference normalised_difference statistic dof p p_holm p_bh significant"
    assert columns["class_significance.csv"].startswith(
        f"dataset model method level class recall_dense recall_compressed {tests}"
    )
    assert not any("pruner" in names.split() for names in columns.values())


def test_groups_of_images_have_their_index_beside_that_of_the_placebo(tmp_path):
    """Expected: counts of PIEs of single splits, by group."""
    label = next(iter(FOUND.values()))["label"]
    light = np.where(np.arange(len(label)) % 3, "day", "night")
    file = tmp_path / "light.csv"
    pd.DataFrame({"light": light}).to_csv(file, index=False)
    found = section(replace(STUDY, runs=with_recalls_of(FOUND), options=ReportOptions(groups={"toy": file})))
    table = found.tables["pie_groups.csv"].set_index(["method", "group"])
    runs = MADE[MADE["pruner"] == "mp"]
    dense, pruned = (np.array([FOUND[run]["predicted"] for run in runs[name]]) for name in ("dense_run_id", "run_id"))
    for name, second in (("", pruned), ("_placebo", dense)):
        splits = [exemplars(dense[one], second[other]).identified for one, other in zip(*halves(NETWORKS), strict=True)]
        counts = [np.mean([split[light == group].sum() for split in splits]) for group in ("day", "night")]
        assert table.loc["mp", f"pies{name}"].tolist() == pytest.approx(counts)
        shares = [(light == group).mean() for group in ("day", "night")]
        indices = np.array(counts) / sum(counts) / shares
        assert table.loc["mp", f"index{name}"].tolist() == pytest.approx(indices.tolist())
    (shown,) = [block for block in found.blocks if isinstance(block, pd.DataFrame) and "group (light)" in block]
    assert shown["group (light)"].tolist() == ["day", "night"]
    assert {"none", "mp"} <= {*shown}
