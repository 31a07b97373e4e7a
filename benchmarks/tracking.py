"""How many runs can be logged to a tracking store in a second, if each logs as much as LeNet5 on Fashion-MNIST.

    python benchmarks/tracking.py [--tracking-uri sqlite:///mlflow.db] [--clients 1,2,4] [--runs 30]

Several processes log runs at once to the experiment `benchmark`, through the project's own `Store`. The time to start
and end the processes is not counted. The table also gives the time to log a run as a share of the time of the shortest
real runs: LeNet5 on the embedded sample, trained and pruned with the default options.
"""

import os
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

import click
import mlflow
import numpy as np
from mlflow.entities import Dataset

from analysis.runs import schema
from pruning_study.options.config import PruneConfig
from pruning_study.steps import dense as dense_step
from pruning_study.steps import pruned as steps
from pruning_study.steps.context import JobContext
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import plan_pruning
from pruning_study.tracking import connect
from pruning_study.tracking.store import Store

CLASSES = range(10)
EPOCHS = 30
SAMPLE_RUNS = 5
# Sizes in bytes of the files that a run of LeNet5 writes. The files have random bytes here, because real files are
# compressed.
ARTIFACTS = {
    schema.CHECKPOINT: 241_000,
    schema.GRADIENT: 241_000,
    schema.PREDICTIONS: 66_000,
    schema.VAL_PREDICTIONS: 41_000,
    schema.PER_CLASS: 800,
    schema.CONFUSION: 500,
    schema.CONFUSION_PICTURE: 60_000,
}
PARAMS = {f"setting_{number}": "0.0005" for number in range(22)}
FINAL = {f"{prefix}{name}": 0.9 for prefix in (schema.RECALL, schema.SUPPORT, schema.BOTH_RIGHT) for name in CLASSES}


@click.command()
@click.option("--tracking-uri", default="sqlite:///mlflow.db", show_default=True)
@click.option("--clients", default="1,2,4", show_default=True, help="Numbers of processes that log at once.")
@click.option("--runs", default=30, show_default=True, help="Number of runs that each process logs.")
def main(tracking_uri: str, clients: str, runs: int) -> None:
    """Log runs, and print how long a process takes to log one, and how many runs are logged in a second."""
    mlflow.set_tracking_uri(tracking_uri)
    connect.connect("benchmark")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    trained, pruned = sample_runs()
    print(f"a run on the sample, tracked: trained in {1000 * trained:.0f} ms, pruned in {1000 * pruned:.0f} ms")
    print(f"{'clients':>8}{'ms a run':>10}{'runs/s':>8}{'of trained':>12}{'of pruned':>11}")
    for count in map(int, clients.split(",")):
        each = measure(tracking_uri, count, runs) / runs
        shares = f"{each / trained:12.1%}{each / pruned:11.1%}"
        print(f"{count:8}{1000 * each:10.0f}{count / each:8.1f}{shares}", flush=True)


def sample_runs() -> tuple[float, float]:
    """Return the median seconds of a dense and of a pruned run of LeNet5 on the embedded sample, tracking included."""
    store = connect.connect("benchmark")
    times, data = [], None
    for seed in range(SAMPLE_RUNS + 1):
        options = PruneConfig(seed=seed, force=True)
        context = JobContext(load_context(options, data), store, "0")
        plan, data = plan_pruning(options, context), context.data
        start = time.perf_counter()
        dense = dense_step.train(plan.dense, context)
        middle = time.perf_counter()
        steps.prune(plan.at(options.ratio[0]), context, dense)
        times.append((middle - start, time.perf_counter() - middle))
    trained, pruned = np.median(times[1:], axis=0)  # the first runs also import modules
    return float(trained), float(pruned)


def measure(tracking_uri: str, count: int, runs: int) -> float:
    """Return the seconds until all processes have logged their runs."""
    context = get_context("spawn")
    barrier = context.Barrier(count + 1)
    processes = [context.Process(target=log, args=(tracking_uri, runs, barrier)) for _ in range(count)]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    return seconds


def log(tracking_uri: str, runs: int, barrier: Barrier) -> None:
    mlflow.set_tracking_uri(tracking_uri)
    store = connect.connect("benchmark")
    noise = np.random.default_rng(0).bytes(max(ARTIFACTS.values()))
    log_run(store, noise)  # the first run also imports modules and connects
    barrier.wait()
    for _ in range(runs):
        log_run(store, noise)
    barrier.wait()


def log_run(store: Store, noise: bytes) -> None:
    with store.run(
        "benchmark",
        note="a run",
        tags={schema.KIND: "benchmark"},
        params=PARAMS,
        dataset=Dataset("benchmark", "0", "local", "{}"),
        job_run_id="0",
        child=False,
    ) as run:
        for epoch in range(EPOCHS):
            run.epoch(epoch, {schema.TRAIN_LOSS: 0.3, schema.VAL_LOSS: 0.4, schema.VAL_ACCURACY: 0.9})
        run.metrics(FINAL)
        for name, size in ARTIFACTS.items():
            (run.folder / name).write_bytes(noise[:size])


if __name__ == "__main__":
    main()
