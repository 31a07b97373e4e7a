"""The public functions of both packages: their examples run, imports stay fast, and errors are StudyErrors."""

import doctest
import subprocess
import sys

import numpy as np
import pytest

import analysis
import pruning_study
from analysis.runs.errors import StudyError

# In this order the later ones find the runs of the earlier ones.
EXAMPLES = [
    *(pruning_study.train, pruning_study.prune, pruning_study.load_model, pruning_study.run_study),
    *(analysis.pull_runs, analysis.recommend_ratio, analysis.write_report, analysis.audit_predictions),
]


def test_the_examples_of_all_public_functions_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    failures = []
    runner = doctest.DocTestRunner()
    for function in EXAMPLES:
        (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
        assert example.examples, function.__name__
        runner.run(example, out=failures.append)
    assert runner.failures == 0, "".join(failures)
    notebook = pruning_study.prune(pruner="up", ratio=np.float64(2), seed=0, epochs=1, fine_tune_epochs=1)
    assert notebook._repr_html_().count("data:image/png;base64,") == 1
    assert notebook.summary["ratio"].tolist() == [2]


def test_both_packages_import_nothing_heavy():
    code = "import analysis, pruning_study, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"numpy", "pandas", "torch", "mlflow", "matplotlib", "scipy", "click"}


def test_no_public_function_has_the_name_of_a_module():
    import pkgutil

    for package in (analysis, pruning_study):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not modules & {function.__name__ for function in EXAMPLES}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pruning_study.prune(rato=10), r"no option 'rato', did you mean ratio\?"),
        (lambda: pruning_study.prune(ratio=[10, 0.5]), "0.5 should be at least 1"),
        (lambda: pruning_study.train(seed=-1), "-1 is below 0"),
        (lambda: pruning_study.run_study("gone.yaml"), "gone.yaml"),
        (lambda: pruning_study.run_study("gone.yaml", dry_run=True), "use the command line"),
        (lambda: analysis.pull_runs(tracking_uri="sqlite:///gone.db"), "gone.db: no such file"),
        (lambda: analysis.write_report(tracking_uri="sqlite:///gone.db"), "gone.db: no such file"),
        (lambda: analysis.recommend_ratio(max_alpha=0), "0 should be a number above 0"),
        (lambda: analysis.audit_predictions([0, 1], [0], [0, 1]), "before has shape"),
    ],
)
def test_what_is_wrong_is_a_study_error(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(StudyError, match=message):
        call()
