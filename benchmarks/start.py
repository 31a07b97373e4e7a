"""How soon a large study knows that all its runs exist, compared with MLflow's API.

    python benchmarks/start.py [--runs 100000] [--api-runs 5000]

The benchmark fills a sqlite store with the runs of a study of LeNet5 on the embedded sample. Each run has 25 params, 25
tags, 42 metrics and a folder of empty artifacts (700,000 files in all, which are written fastest if $TMPDIR is in
memory). The benchmark prints the total seconds, and the milliseconds per run, of

- MLflow's API: `search_runs` for all finished runs, and `list_artifacts` for each, in a store of `--api-runs` runs
  (a larger store takes no less time per run);
- ours: `Store.finished`, in a store of `--runs` runs;
- the command: `pruning-study study FILE --dry-run` in such a store, from its start to its end. This includes imports,
  the grid with a hash for each run, and the table.
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
from pruning_study.options.config import StudyConfig
from pruning_study.steps.identity import ARTIFACTS
from pruning_study.study import plan
from pruning_study.study.plan import StudyPlan
from pruning_study.tracking import connect
from pruning_study.tracking.store import Store

FILE = "pruner: [mp, gp, up, rp]\nratio: [2, 4, 10, 20, 50]\nseed: 0-{last}\n"
RUNS_A_SEED = 1 + 4 * 5


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="Number of runs that the project reads.")
@click.option("--api-runs", default=5_000, show_default=True, help="Number of runs that MLflow's API reads.")
def main(runs: int, api_runs: int) -> None:
    """Fill stores with runs, look for the runs in each, and print one table."""
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"{'':16}{'runs':>9}{'seconds':>10}{'ms a run':>10}")
    theirs = measure("MLflow's API", api_runs, by_api)
    ours = measure("ours", runs, by_ours)
    measure("the command", runs, by_command)
    print(f"{'ratio':35}{theirs / ours:9.0f}x")


def measure(name: str, count: int, found: Callable[[Store, StudyPlan, Path], int]) -> float:
    """Return the milliseconds per run until a study knows that all its runs exist."""
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


def fill(store: Store, planned: StudyPlan, folder: Path) -> None:
    """Write a finished run for each step directly to the store's tables, and its artifacts."""
    rng = np.random.default_rng(0)
    params = {f"setting_{number}": "0.0005" for number in range(25)}
    runs = []
    for step in planned.steps:
        tags = {schema.KIND: step.kind, schema.CONFIG_HASH: step.config_hash}
        tags |= {f"note_{number}": "as MLflow's own" for number in range(25 - len(tags))}
        runs.append((step.config_hash[:32], params, tags))
        artifacts = folder / "artifacts" / step.config_hash[:32]
        artifacts.mkdir(parents=True)
        for name in ARTIFACTS[step.kind]:
            (artifacts / name).touch()
    with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for start in range(0, len(runs), RUNS_AT_ONCE):
            write(database, int(store.experiment_id), runs[start : start + RUNS_AT_ONCE], rng)
        database.execute("UPDATE runs SET artifact_uri = ? || run_uuid", [f"{folder}/artifacts/"])
    database.close()


def by_api(store: Store, planned: StudyPlan, file: Path) -> int:
    """Return the number of complete runs, through MLflow's client."""
    client, token, found = MlflowClient(store.uri), None, {}
    while True:
        page = client.search_runs([store.experiment_id], "attributes.status = 'FINISHED'", page_token=token)
        found |= {run.data.tags[schema.CONFIG_HASH]: run.info.run_id for run in page}
        token = page.token
        if not token:
            break
    return sum(
        {item.path for item in client.list_artifacts(found[step.config_hash])}.issuperset(ARTIFACTS[step.kind])
        for step in planned.steps
    )


def by_ours(store: Store, planned: StudyPlan, file: Path) -> int:
    """Return the number of complete runs, through `Store.finished`."""
    return len(plan.find_runs(store, planned.steps))


def by_command(store: Store, planned: StudyPlan, file: Path) -> int:
    """Return the number of found runs that the command prints."""
    command = [sys.executable, "-m", "pruning_study", "study", str(file), "--dry-run"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    row = next(line for line in printed.splitlines() if "together" in line)
    return int(row.split()[2].replace(",", ""))


if __name__ == "__main__":
    main()
