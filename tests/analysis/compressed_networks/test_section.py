"""The report's section: which files a study has, and what its table says at the ratio of the verdict."""

from dataclasses import replace

from analysis.compressed_networks.section import section
from analysis.page import Caption
from analysis.study import AnalyzedStudy
from tests.analysis.compressed_networks.test_populations import FOUND, MADE, NETWORKS, PRUNED, read

OF_RECALLS = {"populations.csv", "class_significance.csv", "significant_classes.csv"}
STUDY = AnalyzedStudy(MADE, lambda run_ids: {run: FOUND[run] for run in run_ids})


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
    found = section(replace(STUDY, runs=with_recalls_of(FOUND)))
    assert found.tables.keys() == {*OF_RECALLS, "pie_summary.csv", "pie.csv"}
    text, picture, caption, table = found.blocks
    assert picture.name == "forgotten"
    assert "placebo" in text
    assert caption == Caption("toy, net.", "Ratio 10.")
    summary = found.tables["pie_summary.csv"].set_index("method")
    assert table["method"].tolist() == ["none", "mp"]
    assert table["PIEs"].tolist() == [f"{summary['n_pie'][method]:,}" for method in ("none", "mp")]
    assert table["networks"].tolist() == [str(NETWORKS)] * 2
    assert found.notes == ["2 of 2 cells have PIEs of fewer than 10 networks, whose modal labels are noisy"]


def test_without_predictions_there_are_class_tests_and_without_seeds_nothing():
    alone = section(AnalyzedStudy(PRUNED))
    assert (alone.tables.keys(), alone.blocks) == (OF_RECALLS, [])
    assert section(AnalyzedStudy(PRUNED.iloc[:1], read)) is None


def test_the_files_have_the_columns_that_others_read():
    found = section(replace(STUDY, runs=with_recalls_of(FOUND)))
    columns = {name: " ".join(table.columns) for name, table in found.tables.items()}
    pies = "dataset model method level n_dense n_compressed n_pie n_ties top1_pie top1_non_pie top1_all"
    pies += " top5_pie top5_non_pie top5_all"
    assert columns["pie_summary.csv"].startswith(pies)
    images = "dataset model method level index label dense_mode compressed_mode dense_share compressed_share"
    assert columns["pie.csv"] == images
    tests = "difference normalised_difference statistic dof p p_holm p_bh significant"
    assert columns["class_significance.csv"].startswith(
        f"dataset model method level class recall_dense recall_compressed {tests}"
    )
    assert not any("pruner" in names.split() for names in columns.values())
