"""The public functions of both packages: their examples run, imports stay fast, and errors are StudyErrors."""

import doctest
import inspect
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
import pruning_study
from analysis.audit import audit
from analysis.common.errors import StudyError
from pruning_study.commands import notebook_results
from pruning_study.options.config import CompressConfig
from tests.stored_runs import empty_store, leave_pictures_blank

# In this order the later ones find the runs of the earlier ones.
EXAMPLES = [
    *(pruning_study.train, pruning_study.prune, pruning_study.load_model, pruning_study.run_study),
    pruning_study.iterate,
    *(analysis.pull_runs, analysis.recommend_ratio, analysis.write_report, analysis.audit_predictions),
    analysis.fit_class_offsets,
]


@pytest.mark.slow
def test_the_examples_of_all_public_functions_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    leave_pictures_blank(monkeypatch)
    failures = []
    runner = doctest.DocTestRunner()
    for function in EXAMPLES:
        (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
        assert example.examples, function.__name__
        runner.run(example, out=failures.append)
    assert runner.failures == 0, "".join(failures)
    quick = {"pruner": "up", "ratio": np.float64(10), "epochs": 1, "fine_tune_epochs": 1}
    one, *_ = each = [pruning_study.prune(seed=seed, **quick) for seed in (0, 1)]
    assert one._repr_html_().count("data:image/png;base64,") == 1
    assert one.verdict.removeprefix("ratio 10\n") in str(one)
    assert len(one.plot().axes) == 1
    axes = Figure().subplots()
    assert one.plot(10, axes) is axes.figure
    assert one.summary["ratio"].tolist() == [10]
    check_one_network(one)
    check_several_seeds(pruning_study.prune(seed=np.arange(2), **quick), each)
    trained = pruning_study.train(seed=[0, 1], epochs=1)
    assert trained.runs["run_id"].tolist() == [result.dense_run_id for result in each]
    assert trained.accuracy == pytest.approx(np.mean([result.summary["accuracy_before"] for result in each]))


def check_one_network(pruned):
    """The intervals of one network are those of the audit of its stored predictions."""
    (ends,) = pruned.table.loc[pruned.table["class"] == "Shirt", ["loss_low", "loss_high"]].to_numpy().tolist()
    found = audit.audit([pruned.dense_run_id], [pruned.run_ids[10]])
    expected = found.table[found.table["class"] == "Shirt"].iloc[0]
    assert ends == pytest.approx([expected["loss_low"], expected["loss_high"]])
    row = pruned.summary.iloc[0]
    slopes = found.slopes
    for name in ("alpha", "raw_slope"):
        assert row[name] == pytest.approx(getattr(slopes, name)) == pruned.runs[name].iloc[0]
    assert row[["alpha_new", "alpha_new_low", "alpha_new_high"]].tolist() == pytest.approx(slopes.new[:3])
    assert np.isnan(row["alpha_low"])


def check_several_seeds(pruned, each):
    """Recalls and slopes are means over the seeds, and alpha has the t-interval of two numbers."""
    tables = [result.table.set_index("class") for result in each]
    table = pruned.table.set_index("class")
    for column in ("recall_before", "recall_after", "loss"):
        expected = sum(single[column] for single in tables) / 2
        assert table[column].to_dict() == pytest.approx(expected.to_dict())
    assert pruned.runs["run_id"].tolist() == [result.run_ids[10] for result in each]
    alphas = [result.summary["alpha"].iloc[0] for result in each]
    row = pruned.summary.iloc[0]
    half_width = 12.7062047 * abs(alphas[0] - alphas[1]) / 2  # t of one degree of freedom, times sd / sqrt(2)
    assert row["alpha"] == pytest.approx(np.mean(alphas))
    assert row["alpha_high"] - row["alpha"] == pytest.approx(half_width)
    for name in ("run_ids", "dense_run_id"):
        with pytest.raises(StudyError, match="runs of 2 seeds"):
            getattr(pruned, name)


def test_iterations_of_several_seeds_are_not_called_a_mean():
    result = notebook_results.Iterating(pd.DataFrame({"seed": [0, 1], "accuracy_after": [0.5, 0.7]}))
    assert str(result).startswith("2 seeds\n")
    assert result._repr_html_().startswith("<p>2 seeds</p>")


@pytest.mark.parametrize(("seed", "logged"), [("0-2", "0-2"), ([0, 2], "0,2"), (3, "3"), (None, "0")])
def test_a_job_of_all_seeds_logs_them_as_typed(seed, logged):
    _, options = notebook_results._configs(CompressConfig, {"seed": seed})
    assert options["seed"] == logged


def test_both_packages_import_nothing_heavy():
    code = "import analysis, pruning_study, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"numpy", "pandas", "torch", "mlflow", "matplotlib", "scipy", "click"}


@pytest.mark.parametrize("package", [analysis, pruning_study])
def test_public_functions_are_listed_and_have_their_own_names(package):
    assert {*package.__all__} < {*dir(package)}
    assert [getattr(package, name).__name__ for name in package.__all__] == package.__all__
    assert not hasattr(package, "nothing")


def test_no_public_function_has_the_name_of_a_module():
    import pkgutil

    for package in (analysis, pruning_study):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not modules & {function.__name__ for function in EXAMPLES}


WRONG_KINDS = [3.5, b"x", [None], {"a": [1]}, object(), np.arange(3)]


@pytest.mark.parametrize("function", [analysis.pull_runs, analysis.write_report, analysis.recommend_ratio])
def test_an_argument_of_a_wrong_kind_is_named(function, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    for name in inspect.signature(function).parameters:
        wrong = "much" if name in NUMBERS else 3.5
        for value in (wrong, *WRONG_KINDS[1:]):
            with pytest.raises(StudyError) as caught:
                function(**{name: value})
            assert str(caught.value).startswith(f"{name} is ")
            assert "\n" not in str(caught.value)


NUMBERS = {
    *("confidence", "min_accuracy", "fairness_value"),
    *("max_accuracy_loss", "max_alpha", "max_class_loss"),
}


@pytest.mark.parametrize("value", [*WRONG_KINDS, "x", "", "a\0b", pytest.param(10**5000, id="huge")])
def test_no_argument_of_a_command_ends_in_another_error(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    calls = [pruning_study.run_study, pruning_study.load_model]
    calls += [
        partial(function, **{name: value})
        for function in (pruning_study.train, pruning_study.prune)
        for name in ("epochs", "force", "engine")
    ]
    for call in calls:
        with pytest.raises(StudyError):
            call() if isinstance(call, partial) else call(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pruning_study.prune(rato=10), r"no option 'rato', did you mean ratio\?"),
        (lambda: pruning_study.prune(ratio=[10, 0.5]), "0.5 must be at least 1"),
        (lambda: pruning_study.train(seed=-1), "-1 is"),
        (lambda: pruning_study.prune(seed="4-0"), "write the smaller seed first"),
        (lambda: pruning_study.prune(seed=[0, 0]), "0 is given twice"),
        (lambda: pruning_study.prune(seed=[0, 1], dense_run_id="x"), "a dense run has one seed"),
        (lambda: pruning_study.run_study("gone.yaml"), "gone.yaml"),
        (lambda: pruning_study.run_study("gone.yaml", dry_run=True), "use the command line"),
        (lambda: analysis.pull_runs(tracking_uri="sqlite:///gone.db"), "gone.db: no such file"),
        (lambda: analysis.write_report(tracking_uri="sqlite:///gone.db"), "gone.db: no such file"),
        (lambda: analysis.recommend_ratio(max_alpha=0), "0 must be a number above 0"),
        (lambda: analysis.audit_predictions([0, 1], [0], [0, 1]), "before has shape"),
    ],
)
def test_what_is_wrong_is_a_study_error(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(StudyError, match=message):
        call()
