"""Primary comparisons: labels and the cells that they stand for, and files that are kept."""

import json

import mlflow
import pytest

from analysis.common.errors import StudyError
from analysis.runs import artifacts, primaries, pull, schema
from analysis.runs.primaries import MethodSelector, Primary
from tests import made_up_runs

RUNS = made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.2, 1.3])
CELLS = [
    {"pruner": "mp", "schedule": "one-shot", "distill": "0.0"},
    {"pruner": "mp", "schedule": "cubic", "distill": "0.0"},
    {"pruner": "mp", "schedule": "cubic", "distill": "0.5"},
    {"pruner": "up", "epsilon": "0.0005"},
    {"pruner": "up", "epsilon": "0.07158707475562237"},
    {"pruner": "gp", "schedule": "cubic"},
    {"pruner": "rp", "precision": "float32"},
    {"pruner": "rp", "precision": "bf16"},
    {"pruner": "lamp", "performance_weighted": "0.5,1.0"},
]
ONE = Primary("mp cubic", "mp", 20.0, ("alpha_new", "accuracy"), ("mnist",))
TWO = Primary("up", "up epsilon 5e-4", 10.0, ("accuracy",), direction="greater")
OF_MP = (("pruner", "mp"), ("ratio", 20.0), ("schedule", "cubic"))
KNOWN = ONE._replace(methods=(OF_MP,), baselines=((*OF_MP[:2], ("schedule", "one-shot")),), runs_before=3)


def of(experiment, uri):
    """The comparisons of an experiment."""
    return primaries.of_artifacts(artifacts.pulled(pull.Experiment(experiment, tracking_uri=uri), RUNS))


@pytest.mark.parametrize(
    ("label", "places"),
    [
        ("mp", [0]),
        ("mp cubic", [1]),
        ("mp distill 0.5", [2]),
        ("mp cubic distill .50", [2]),
        ("up", [3, 4]),
        ("up epsilon 5e-4", [3]),
        ("up (epsilon 0.07159)", [4]),
        ("up epsilon 0.07158707475562237", [4]),
        ("up epsilon 0.0716", []),
        ("gp", [5]),  # the study has no other
        ("rp", [6]),
        ("rp bf16", [7]),
        ("rp precision bf16", [7]),
        ("lamp performance-weighted 0.5,1.0", [8]),
        ("lamp performance-weighted 0.5,1", [8]),
        ("lamp performance-weighted 0.5,2", []),
        ("chip", []),
    ],
)
def test_a_label_stands_for_cells(label, places):
    assert MethodSelector.from_label(label).among(CELLS) == places


@pytest.mark.parametrize("label", ["", " ( ) ", "up epsilon", "mp cubic cubic", "mp distill 0.5 distill 1"])
def test_a_label_that_says_nothing(label):
    with pytest.raises(ValueError, match=r"no method|no value|given twice"):
        MethodSelector.from_label(label)


def test_known_settings_name_cells_and_labels_do_not():
    cells = [
        {"pruner": "mp", "ratio": 20.0, "schedule": "one-shot", "decay": "none"},
        {"pruner": "mp", "ratio": 20.0, "schedule": "cubic", "decay": "none"},
        {"pruner": "mp", "ratio": 20.0, "schedule": "cubic", "decay": "cosine"},  # the settings do not mention it
        {"pruner": "mp", "ratio": 50.0, "schedule": "cubic", "decay": "none"},
        {"pruner": "mp", "ratio": 20.0, "schedule": "cubic", "begin": "0"},  # known only when the data are read
        {"pruner": "mp", "ratio": 20.0, "schedule": "cubic", "number_format": "float16"},
    ]
    assert KNOWN._replace(method="mp").among(cells) == ([1, 4], [0])
    assert ONE._replace(method="mp").among(cells) == ([0], [0])
    assert KNOWN.as_given == ONE


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("primary"),
        lambda told: told["primary"][0].pop("ratio"),
        lambda told: told["primary"][0].update(outcomes=["alphas"]),
        lambda told: told["primary"][0].update(outcomes="alpha"),
        lambda told: told["primary"][0].update(direction="down"),
        lambda told: told["primary"][0].update(method="up epsilon"),
        lambda told: told["primary"][0].update(method=3),
        lambda told: told["primary"][0].update(ratio="many"),
        lambda told: told["primary"][0].update(more=1),
        lambda told: told["primary"][0].update(methods=["mp"]),
        lambda told: told["primary"][0].update(runs_before="some"),
        lambda told: told.update(primary=3),
    ],
)
def test_a_file_that_nobody_wrote(change):
    told = json.loads(primaries.described([ONE]))
    change(told)
    with pytest.raises(StudyError, match="run a: no list of primary comparisons"):
        primaries.of_artifacts({schema.PRIMARY: {"a": json.dumps(told).encode()}})


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b"[" * 100_000])
def test_a_file_of_something_else(content):
    with pytest.raises(StudyError, match="no list of primary comparisons"):
        primaries.of_artifacts({schema.PRIMARY: {"a": content}})


def test_the_newest_run_of_each_study_counts_whatever_became_of_it(session_store, tmp_path):
    uri, client = session_store, mlflow.MlflowClient(session_store)
    experiment = client.create_experiment("of studies", artifact_location=(tmp_path / "artifacts").as_uri())
    assert of("of studies", uri) == []
    for minute, (name, kept, state) in enumerate(
        [("one", [TWO], "FINISHED"), ("other", [TWO], "FINISHED"), ("one", [ONE], "FAILED"), ("empty", [], "FINISHED")]
    ):
        run = client.create_run(experiment, start_time=60_000 * (1 + minute), tags={"kind": "study"}).info.run_id
        client.log_text(run, primaries.described(kept, name), schema.PRIMARY)
        client.set_terminated(run, state)
    assert of("of studies", uri) == [ONE, TWO]


def test_a_comparison_that_a_changed_file_gives_has_the_number_of_runs_that_finished_before(session_store, tmp_path):
    uri, client = session_store, mlflow.MlflowClient(session_store)
    experiment = client.create_experiment("changed", artifact_location=(tmp_path / "artifacts").as_uri())
    # The first file may find runs of other studies.
    files = [([ONE], 2), ([TWO], 7), ([KNOWN._replace(runs_before=0), TWO], 9)]
    for minute, (kept, finished) in enumerate(files):
        run = client.create_run(experiment, start_time=60_000 * (1 + minute), tags={"kind": "study"}).info.run_id
        client.log_text(run, primaries.described(kept, "one", finished=finished), schema.PRIMARY)
    found = of("changed", uri)
    assert found == [KNOWN._replace(runs_before=0), TWO._replace(runs_before=7)]
    # The same names stand for other settings in a changed grid.
    other = KNOWN._replace(methods=((("epochs", "20"), *OF_MP),), runs_before=12)
    run = client.create_run(experiment, start_time=600_000, tags={"kind": "study"}).info.run_id
    client.log_text(run, primaries.described([other._replace(runs_before=0)], "one", finished=12), schema.PRIMARY)
    assert of("changed", uri) == [other]
