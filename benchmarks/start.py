"""How soon a large study starts whose runs are there already, against asking for them through MLflow's API.

    python benchmarks/start.py [--runs 100000] [--api-runs 5000]

fills a sqlite store with the runs of a study, LeNet5 on the embedded sample, each with 25 params, 25 tags, 40 metrics
and a folder of its artifacts, empty ones (700,000 files: a $TMPDIR in memory takes them soonest), and prints seconds
and ms a run of

- MLflow's API: all finished runs by `search_runs`, and `list_artifacts` of each, in a store of `--api-runs` runs
  (paging makes it no faster in a larger one);
- ours: `Store.finished`, in a store of `--runs` runs;
- the command: `pruning-study study FILE --dry-run` in that store, from its start to its end: imports, the grid with a
  hash for each of its runs, and the table included.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import mlflow
import numpy as np
from mlflow import MlflowClient
from pull import RUNS_AT_ONCE, write

from analysis.runs import schema
from pruning_study.config import StudyConfig
from pruning_study.study import plan
from pruning_study.study.plan import Plan
from pruning_study.tracking import connect
from pruning_study.tracking import store as tracking

FILE = "pruners: [mp, gp, up, rp]\nratios: [2, 4, 10, 20, 50]\nseeds: 0-{last}\n"
RUNS_A_SEED = 1 + 4 * 5


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="Of the study, by the project's own way.")
@click.option("--api-runs", default=5_000, show_default=True, help="Of the study that MLflow's API is asked for.")
def main(runs: int, api_runs: int) -> None:
    """Fill two stores, ask each for what is there, print one table."""
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"{'':16}{'runs':>9}{'seconds':>10}{'ms a run':>10}")
    theirs = measure("MLflow's API", api_runs, by_api)
    ours = measure("ours", runs, by_ours)
    measure("the command", runs, by_command)
    print(f"{'ratio':35}{theirs / ours:9.0f}x")


def measure(name: str, count: int, found: Callable[[tracking.Store, Plan, Path], int]) -> float:
    """Milliseconds a run until a study knows that all its runs are there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "study.yaml"
        file.write_text(FILE.format(last=max(count // RUNS_A_SEED, 1) - 1))
        planned = plan.plan(plan.read(file, StudyConfig()), download=False)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        mlflow.set_tracking_uri(None)
        store = connect.connect()
        fill(store, planned, folder)
        start = time.perf_counter()
        assert found(store, planned, file) == len(planned.steps)
        seconds = time.perf_counter() - start
    a_run = 1000 * seconds / len(planned.steps)
    print(f"{name:16}{len(planned.steps):9,}{seconds:10.1f}{a_run:10.3f}", flush=True)
    return a_run


def fill(store: tracking.Store, planned: Plan, folder: Path) -> None:
    """Write a finished run for each step, straight into the store's tables, and its artifacts."""
    rng = np.random.default_rng(0)
    params = {f"setting_{number}": "0.0005" for number in range(25)}
    runs = []
    for step in planned.steps:
        tags = {schema.KIND: step.kind, schema.CONFIG_HASH: step.config_hash}
        tags |= {f"note_{number}": "as MLflow's own" for number in range(25 - len(tags))}
        runs.append((step.config_hash[:32], params, tags))
        artifacts = folder / "artifacts" / step.config_hash[:32]
        artifacts.mkdir(parents=True)
        for name in plan.ARTIFACTS[step.kind]:
            (artifacts / name).touch()
    with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for start in range(0, len(runs), RUNS_AT_ONCE):
            write(database, int(store.experiment_id), runs[start : start + RUNS_AT_ONCE], rng)
        database.execute("UPDATE runs SET artifact_uri = ? || run_uuid", [f"{folder}/artifacts/"])
    database.close()


def by_api(store: tracking.Store, planned: Plan, file: Path) -> int:
    """As MLflow's client is made for."""
    client, token, found = MlflowClient(store.uri), None, {}
    while True:
        page = client.search_runs([store.experiment_id], "attributes.status = 'FINISHED'", page_token=token)
        found |= {run.data.tags[schema.CONFIG_HASH]: run.info.run_id for run in page}
        token = page.token
        if not token:
            break
    return sum(
        {item.path for item in client.list_artifacts(found[step.config_hash])}.issuperset(plan.ARTIFACTS[step.kind])
        for step in planned.steps
    )


def by_ours(store: tracking.Store, planned: Plan, file: Path) -> int:
    return len(plan.found(store, planned.steps))


def by_command(store: tracking.Store, planned: Plan, file: Path) -> int:
    """The number of runs that it says are found."""
    command = [sys.executable, "-m", "pruning_study", "study", str(file), "--dry-run"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    row = next(line for line in printed.splitlines() if "together" in line)
    return int(row.split()[2].replace(",", ""))


if __name__ == "__main__":
    main()
