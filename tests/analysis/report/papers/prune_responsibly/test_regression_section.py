import numpy as np
import pandas as pd
import pytest

from analysis.rendering import page
from analysis.rendering.page import Items, Picture
from analysis.report.papers.prune_responsibly.regression_figures import coefficients, short
from analysis.report.papers.prune_responsibly.regression_section import one_tailed_tests, section
from analysis.study.study import StudyData
from tests import made_up_levels, made_up_runs

RUNS = made_up_levels.runs(levels=6, seeds=4)


@pytest.fixture(scope="module")
def noisy():
    """A study in which one point more of the training images makes a class half a point more accurate."""
    return section(noisy_study())


def noisy_study():
    rng = np.random.default_rng(0)
    runs = made_up_runs.study(RUNS, made_up_levels.runs("fashion-mnist", levels=6, seeds=4))
    known = made_up_levels.characteristics(runs)
    is_fashion = known["run_id"].str.startswith("fashion")
    known["imbalance"] = known["imbalance"].where(~is_fashion, -known["imbalance"])
    for name, share in zip("0123", [0.15, 0.05, -0.05, -0.15], strict=True):
        effect = 0.5 * share * np.where(runs["dataset"] == "mnist", 1, -1)
        runs[f"recall_after/{name}"] = (runs[f"recall_after/{name}"] + effect + rng.normal(size=len(runs)) / 100).clip(
            0, 1
        )
    return StudyData(runs, characteristics=known)


def sentences(made):
    return made.blocks[0].sentences


def test_the_section_leads_with_what_survives_clustering(noisy):
    assert isinstance(noisy.blocks[0], Items)
    assert "significant in print and can be estimated here survive: they have" in sentences(noisy)[0]
    assert "significant with standard errors by network" in sentences(noisy)[0]


def test_it_says_what_the_sizes_mean(noisy):
    (share,) = [text for text in sentences(noisy) if "share of the training images larger by one point" in text]
    value = float(share.split("one point is ")[1].split(" points more accurate")[0])
    assert value == pytest.approx(0.5, abs=0.1)
    assert share.endswith("In print it is 1.24 points more accurate.")
    (entropy,) = [text for text in sentences(noisy) if "one bit more" in text]
    assert entropy.endswith("In print it is 2.37 points less accurate.")
    assert "-0.00" not in entropy


def test_the_table_has_the_columns_that_were_promised_and_the_pictures_are_there(noisy):
    (table,) = noisy.tables.values()
    leading = ["term", "coefficient", "se", "t", "p", "ci_low", "ci_high", "se_clustered", "published"]
    assert list(table)[:9] == leading
    pictures = [block.name for block in noisy.blocks if isinstance(block, Picture)]
    assert pictures == ["regression", "regression_diagnostics"]
    assert set(noisy.tables) == {"regression.csv"}


def test_few_classes_and_one_level_factors_are_said(noisy):
    assert "(dense networks: 8, classes: 8)" in sentences(noisy)[-1]
    assert "regression: model has fewer than two levels (lenet5), and is left out" in noisy.notes


def test_classes_of_the_same_size_tell_nothing_of_size(noisy):
    """Two data sets of four classes; then those of one have as many training images each."""
    assert sum("Only 8 classes are informative about this effect" in text for text in sentences(noisy)) == 2
    made = noisy_study()
    of_fashion = made.characteristics["run_id"].str.startswith("fashion")
    balanced = made.characteristics.assign(imbalance=made.characteristics["imbalance"].mask(of_fashion, 0.0))
    size, entropy = [
        text for text in sentences(section(StudyData(made.runs, characteristics=balanced))) if "informative" in text
    ]
    assert size.startswith("Only 4 classes are informative about this effect")
    assert entropy.startswith("Only 8 classes are informative about this effect")


def test_the_section_is_written_as_a_page(noisy, tmp_path):
    page.write(page.Report("made up", [], [], [noisy]), tmp_path)
    assert {"regression.csv", "report.html", "report.md", "figures"} == {path.name for path in tmp_path.iterdir()}


def test_what_cannot_be_estimated_is_said():
    made = section(StudyData(RUNS))
    assert any("effect of imbalance cannot be estimated" in text for text in sentences(made))
    assert "regression: no row has a value of imbalance, which is left out" in made.notes


def test_there_is_no_section_without_levels_and_a_note_with_too_few():
    assert section(StudyData(made_up_runs.runs("toy", "net", "mp", 10, [1.0]))) is None
    few = made_up_levels.runs(pruners=["l1-structured"], treatments=["rewind"], seeds=1, levels=1)
    made = section(StudyData(few, characteristics=made_up_levels.characteristics(few)))
    assert not made.blocks
    assert "it needs more rows than terms" in made.notes[0]


def made_of(runs):
    return section(StudyData(runs, characteristics=made_up_levels.characteristics(runs)))


@pytest.mark.parametrize(
    "runs",
    [
        made_up_levels.runs(levels=6, seeds=1),  # one dense network
        made_up_runs.study(  # two, and a data set that rests on one of them
            made_up_levels.runs(levels=6, seeds=1), made_up_levels.runs("fashion-mnist", levels=6, seeds=1)
        ),
    ],
    ids=["one", "one for a term"],
)
def test_dense_networks_that_a_term_needs_count_nothing(runs):
    assert not any("from one dense network may depend" in text for text in sentences(made_of(runs)))


def test_with_few_networks_survivors_are_counted_by_the_jackknife_and_the_section_says_so():
    runs = made_up_levels.runs(treatments=["finetune"], levels=6, seeds=2)
    rng = np.random.default_rng(3)
    network = runs.groupby(["pruner", "seed"]).ngroup()
    for name in made_up_levels.CLASSES:
        before = rng.normal(size=3)[runs["seed"]] / 50
        after = before + rng.normal(size=4)[network] / 50 + rng.normal(size=len(runs)) / 100
        for column, noise in {f"recall_before/{name}": before, f"recall_after/{name}": after}.items():
            runs[column] = (runs[column] + noise).clip(0, 1)
    made = made_of(runs)
    table = made.tables["regression.csv"]
    printed = table[(table["published_p"] < 0.05) & (np.sign(table["coefficient"]) == np.sign(table["published"]))]
    survivors = [int((printed[f"p_{kind}"] < 0.05).sum()) for kind in ("network", "clustered")]
    assert survivors == [1, 2]
    assert sentences(made)[0].startswith("1 of ")
    assert sentences(made)[1].startswith(f"4 networks are few for {len(table)} terms.")
    assert "a jackknife" in sentences(made)[1]


def test_one_network_cannot_be_tested():
    runs = made_up_levels.runs(pruners=["l1-structured"], treatments=["rewind"], levels=6, seeds=1)
    said = sentences(made_of(runs))
    assert said[0].startswith("It cannot be tested by network whether the ")
    assert not any(
        "not significant" in text or "n/a" in text or " survive: they have the same" in text for text in said
    )
    assert any("accurate, all else equal. In print it is 2.37 points less accurate." in text for text in said)


def test_a_one_tailed_p_goes_by_the_sign_of_its_own_models_coefficient():
    values = {"term": "imbalance", "coefficient": 0.1, "linear": 0.2, "logit": -3.0}
    p = dict.fromkeys(["p", "p_network", "p_dense", "p_class", "linear_p", "linear_p_network"], 0.04)
    (row,) = one_tailed_tests(pd.DataFrame([{**values, **p, "logit_p": 0.02}])).to_dict("records")
    assert (row["alternative"], row["the paper's"], row["fractional logit"]) == ("imbalance above 0", "0.020", "0.990")
    assert row["without products, by network"] == "0.020"


def test_a_term_is_shown_by_its_levels():
    assert short("weight_treatment[T.rewind]:pruning_technique[T.l1-structured]") == "rewind : l1-structured"
    assert short("np.exp(sparsity):dataset[T.mnist]") == "exp(sparsity) : mnist"


def test_the_picture_has_a_row_for_each_term_in_print():
    values = {"coefficient": [0.1, 0.2], "se_network": [0.01, 0.01], "published": [0.1, np.nan]}
    ends = {"published_low": [0.0, np.nan], "published_high": [0.2, np.nan]}
    figure = coefficients(pd.DataFrame({"term": ["imbalance", "accuracy0"], **values, **ends}), networks=4)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["imbalance"]


@pytest.fixture(scope="module")
def chosen():
    """Sixteen dense networks, four of each seed, with two batch sizes and optimizers, whose effects are known.

    Twice the batch size takes .01 from every class after pruning, and Adam adds .03. Class 0 is rare in every second.
    """
    rng = np.random.default_rng(0)
    settings = [(size, name) for size in (32, 128) for name in ("sgd", "adam")]
    parts = []
    for size, name in settings:
        runs = made_up_levels.runs(pruners=["global-unstructured"], levels=6, seeds=4)
        effect = 0.03 * (name == "adam") - 0.01 * np.log2(size / 32)
        for label in made_up_levels.CLASSES:
            noise = rng.normal(size=(len(runs), 2)) / 500
            runs[f"recall_after/{label}"] += effect - 0.05 + noise[:, 0]
            runs[f"recall_before/{label}"] += noise[:, 1]
        params = {"params.batch_size": str(size), "params.optimizer": name, "params.learning_rate": "0.01"}
        runs = runs.assign(**params, dense_run_id=[f"{own} {size} {name}" for own in runs["dense_run_id"]])
        parts.append(runs.assign(run_id=[f"{own} {size} {name}" for own in runs["run_id"]]))
    runs = made_up_runs.study(*parts)
    known = made_up_levels.characteristics(runs)
    balanced = known["run_id"].str.contains("mnist lenet5 [02]")
    known["imbalance"] = known["imbalance"].mask(balanced, 0.0)
    return section(StudyData(runs, characteristics=known))


def test_what_training_choices_are_worth_is_said(chosen):
    (size,) = [text for text in sentences(chosen) if "twice as many images" in text]
    (adam,) = [text for text in sentences(chosen) if "trained with adam" in text]
    assert float(size.split("images are ")[1].split(" points less accurate")[0]) == pytest.approx(1, abs=0.1)
    assert float(adam.split("learning rate, ")[1].split(" points more accurate")[0]) == pytest.approx(3, abs=0.1)
    assert "95 % interval by network" in size
    assert not any("ten times the learning rate" in text for text in sentences(chosen))
    terms = chosen.tables["regression.csv"].set_index("term")
    assert terms.loc[["optimizer[T.adam]", "np.log2(batch_size)"], "published"].isna().all()


def test_imbalance_is_shown_with_training_choices_and_without(chosen):
    (table,) = [block for block in chosen.blocks if isinstance(block, pd.DataFrame) and "training choices" in block]
    assert table["training choices"].tolist() == ["optimizer, batch size", "none"]
    terms = chosen.tables["regression.csv"].set_index("term")
    assert float(table["imbalance"][0]) == pytest.approx(terms.at["imbalance", "coefficient"], abs=5e-5)
    assert float(table["error by network"][0]) < float(table["error by network"][1])
    for title, name in (("error by network", "se_network"), ("by dense network", "se_dense"), ("by class", "se_class")):
        assert float(table[title][0]) == pytest.approx(terms.at["imbalance", name], abs=5e-5)


def test_classes_tell_of_imbalance_where_it_differs_between_networks(chosen):
    """The first networks have the same share of every class."""
    assert any("Only 4 classes are informative about this effect" in text for text in sentences(chosen))
