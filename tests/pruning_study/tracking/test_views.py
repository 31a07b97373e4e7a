"""Views of an experiment: what their tags hold, that a user's stay, and how MLflow's page opens on them."""

import base64
import json
import re
import shutil
import sqlite3
import subprocess
import time
import zlib

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from pruning_study.tracking import connect, views
from tests.mlflow_server import losing
from tests.stored_runs import runs

MOST_CHARACTERS = 5000  # of the value of an experiment's tag, in MLflow


def tags(store):
    return store.client.get_experiment(store.experiment_id).tags


def state(value):
    """The state that MLflow's page reads from a tag's value."""
    packed = json.loads(value)["state"]
    assert packed.startswith("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))


def test_the_tag_of_a_view_holds_its_name_and_what_the_page_shows():
    key, value = views.BY_PRUNER_AND_RATIO.tag(1764000000000)
    assert key == "mlflow.sharedViewState.networks"
    assert json.loads(value)["name"] == "Networks by pruner and ratio"
    assert json.loads(value)["createdAt"] == 1764000000000
    page = state(value)
    assert page["selectedColumns"][:11] == [
        "params.`pruner`",
        "params.`ratio`",
        "metrics.`test_accuracy`",
        "tags.`worst_class`",
        "metrics.`worst_class_loss`",
        "metrics.`worst_class_loss_upper`",
        "metrics.`accuracy_loss_upper`",
        "tags.`outcome`",
        "tags.`network`",
        "metrics.`alpha`",
        "metrics.`raw_slope`",
    ]
    assert [key["groupByData"] for key in page["groupBy"]["groupByKeys"][:4]] == ["dataset", "model", "pruner", "ratio"]
    for view in (views.BY_PRUNER_AND_RATIO, views.ACCURACY_AND_LOSSES):
        grouped = {key["groupByData"] for key in state(view.tag(0)[1])["groupBy"]["groupByKeys"]}
        assert {"dataset", "model"} < grouped
    charts = state(views.ACCURACY_AND_LOSSES.tag(0)[1])["compareRunCharts"]
    assert charts[0]["type"] == "SCATTER"
    assert (charts[0]["xaxis"]["key"], charts[0]["yaxis"]["key"]) == ("test_accuracy", "worst_class_loss")
    bars = {chart["metricKey"] for chart in charts if chart["type"] == "BAR"}
    assert bars >= {"test_accuracy", "worst_class_loss_upper", "accuracy_loss_upper", "alpha"}
    assert "params.`epsilon`" in state(views.SEARCHES.tag(0)[1])["selectedColumns"]


def test_searches_leave_out_all_runs_but_trials_and_their_results():
    query = state(views.SEARCHES.tag(0)[1])["searchFilter"]
    left_out = set(re.findall("tags.kind != '([a-z]+)'", query))
    assert left_out == {"job", "study", "report", "dense", "pruned", "quantized", "compressed"}


@pytest.mark.parametrize("view", views.VIEWS)
def test_a_view_fits_into_a_tag_of_mlflow(view):
    assert len(view.tag(int(1000 * time.time()))[1]) <= MOST_CHARACTERS


def test_views_and_a_description_are_written_once__and_what_a_user_changed_stays(store_uri):
    store = connect.connect()
    views.write(store, views.SEARCHES)
    first = tags(store)
    assert {f"mlflow.sharedViewState.{view.key}" for view in views.VIEWS} < first.keys()
    charts = "workflowType=machine_learning&viewStateShareKey=accuracy-and-losses&compareRunsMode=CHART"
    assert f"(#/experiments/{store.experiment_id}/runs?{charts})" in first["mlflow.note.content"]
    assert store.how_to_look(indent=0).endswith("&viewStateShareKey=searches")
    mine = {"mlflow.sharedViewState.networks": "my own", "mlflow.note.content": "my words"}
    for key, value in mine.items():
        store.client.set_experiment_tag(store.experiment_id, key, value)
    views.write(store, views.SEARCHES)
    assert tags(store) == first | mine


def test_a_store_that_refuses_tags_costs_a_line_and_no_run(store_uri, run_command, tiny_npz, caplog):
    """A trigger takes away the right to tag an experiment, as a database's administrator may do."""
    mlflow.set_experiment(experiment_id=connect.connect().experiment_id)
    path = store_uri.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TRIGGER refused BEFORE INSERT ON experiment_tags BEGIN SELECT RAISE(ABORT, 'no right'); END"
        )
    try:
        quick = ("--epochs", 1, "--fine-tune-epochs", 0, "--batch-size", 32)
        result = run_command("prune", "--dataset", tiny_npz, *quick)
    finally:
        with sqlite3.connect(path) as database:
            database.execute("DROP TRIGGER refused")
    assert result.exit_code == 0, result.output
    assert len(runs("pruned")) == 1
    (line,) = [record.getMessage() for record in caplog.records if "view" in record.getMessage()]
    assert "not all views were written" in line
    assert "no right" in line
    assert "\n" not in line
    assert "viewStateShareKey" not in result.output


def test_a_server_that_does_not_take_a_tag_costs_a_line(store_uri, server_port, monkeypatch, caplog):
    with losing(server_port, {"set-experiment-tag": "forbidden"}) as (port, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        store = connect.connect()
        views.write(store, views.SEARCHES)
    assert asked["set-experiment-tag"] == 1
    (record,) = caplog.records
    assert "403" in record.getMessage()
    assert store.how_to_look(indent=0).endswith("workflowType=machine_learning")


def opened(address, folder, *, needs, width=2600):
    """The document of a page of MLflow in headless Chromium, when it shows what it needs."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Debian's package chromium"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    size = f"--window-size={width},1200"  # the table draws only those columns that the window shows
    for budget in (10_000, 30_000, 60_000):  # milliseconds of the page's own clock
        profile = f"--user-data-dir={folder / f'profile-{budget}'}"
        command = [browser, *flags, profile, size, f"--virtual-time-budget={budget}", "--dump-dom", address]
        document = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True).stdout
        if needs in document:
            return document
    raise AssertionError(f"the page does not show {needs}")


def networks(client, experiment_id):
    """Make runs of two pruners at two ratios and two seeds, a dense run, and a job that the view leaves out."""
    accuracies = {("mp", 2): 0.8, ("mp", 10): 0.6, ("up", 2): 0.75, ("up", 10): 0.5}
    for (pruner, ratio), accuracy in accuracies.items():
        for seed in (0, 1):
            tags = {"kind": "pruned", "network": "pruned", "worst_class": "owl", "outcome": "owl is worse (9 points)"}
            run = client.create_run(experiment_id, run_name=f"{ratio}x s{seed} {pruner}", tags=tags)
            params = {"dataset": "pets", "model": "lenet5", "pruner": pruner, "ratio": f"{ratio}.0"}
            params |= {"schedule": "one-shot", "class_offsets": "none"}
            values = {"test_accuracy": accuracy + 0.1 * seed, "alpha": 1.5, "raw_slope": 1.25}
            values |= {"worst_class_loss": 0.09, "worst_class_loss_upper": 0.2, "accuracy_loss_upper": 0.1}
            client.log_batch(
                run.info.run_id,
                metrics=[Metric(name, value, 0, 0) for name, value in {**values, "train_loss": 0.5}.items()],
                params=[Param(name, value) for name, value in {**params, "seed": str(seed)}.items()],
            )
            client.set_terminated(run.info.run_id)
    for kind, accuracy in (("dense", 0.9), ("job", 0.8)):
        run = client.create_run(experiment_id, run_name=f"{kind} s0", tags={"kind": kind, "network": kind})
        client.log_batch(run.info.run_id, metrics=[Metric("test_accuracy", accuracy, 0, 0)])


@pytest.mark.chromium
def test_the_address_opens_on_columns_groups_and_order(store_uri, server_port, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    store = connect.connect()
    networks(MlflowClient(), store.experiment_id)
    views.write(store, views.BY_PRUNER_AND_RATIO)
    address = store.how_to_look(indent=0).removeprefix("open ")
    document = opened(address, tmp_path, needs="param.pruner.up", width=1600)

    heads = re.findall(r'role="columnheader"[^>]*aria-colindex="(\d+)"[^>]*col-id="([^"]*)"[^>]*aria-sort', document)
    shown = [name for _, name in sorted(heads, key=lambda head: int(head[0])) if "." in name]
    assert shown[:7] == [
        "attributes.`Run Name`",
        "params.`pruner`",
        "params.`ratio`",
        "metrics.`test_accuracy`",
        "metrics.`worst_class_loss`",
        "metrics.`worst_class_loss_upper`",
        "metrics.`accuracy_loss_upper`",
    ]
    for tag in ("worst_class", "outcome"):
        assert f'col-id="tags.`{tag}`"' in document  # a tag cannot be sorted by
    assert "train_loss" not in document
    rows = dict(re.findall(r'role="row" row-index="(\d+)" row-id="([^"]*)"', document))
    # The row of a run in a group is named by the group and by the run's id.
    groups = [rows[key] for key in sorted(rows, key=int) if not re.search(r"\.[0-9a-f]{32}$", rows[key])]
    # Of the means over seeds the largest stands first: that of the dense network, which has no pruner.
    means = [
        "null,param.ratio.null",
        "mp,param.ratio.2.0",
        "up,param.ratio.2.0",
        "mp,param.ratio.10.0",
        "up,param.ratio.10.0",
    ]
    parts = [re.search(r"^param.dataset.*param.pruner.(\S+?),param.schedule", group)[1] for group in groups]
    assert parts == means
    assert "0.85" in document  # the mean of .8 and .9
    assert "dense s0" in document
    assert "job s0" not in document
    assert "Networks by pruner and ratio" in document


@pytest.mark.chromium
def test_accuracy_and_losses_opens_as_charts(store_uri, server_port, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    store = connect.connect()
    networks(MlflowClient(), store.experiment_id)
    views.write(store, views.ACCURACY_AND_LOSSES)
    address = store.how_to_look(indent=0).removeprefix("open ")
    document = opened(address, tmp_path, needs="test_accuracy vs. worst_class_loss")
    assert "Accuracy and losses" in document
