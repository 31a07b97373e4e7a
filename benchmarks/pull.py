"""Time and memory of `analysis.pull_runs` against `mlflow.search_runs` on one sqlite store.

    python benchmarks/pull.py [--runs 120906]

MLflow creates the store, and the benchmark fills it with runs of 25 params, 25 tags and 42 metrics each. Each of the
two functions reads the store in a separate process. The table has seconds and CPU seconds of the call, the peak memory
of the process, and the ratios.
"""

import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import numpy as np

from analysis.runs import schema

EXPERIMENT = "scale"
CLASSES = [f"class {index}" for index in range(10)]
PRUNERS = ["mp", "gp", "up", "rp", "up-signed"]
RATIOS = [2, 4, 8, 10, 16, 32, 50, 64]
CELLS = [(pruner, ratio) for pruner in PRUNERS for ratio in RATIOS]
RUNS_AT_ONCE = 5_000


@click.command()
@click.option(
    "--runs",
    default=120_906,
    show_default=True,
    help="Number of runs in the store; by default that of the largest study in results/.",
)
def main(runs: int) -> None:
    """Fill a store, read it in both ways, and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        fill(uri, runs)
        results = {reader: measure(reader, uri) for reader in READERS}
    print(f"{'':20}{'rows':>10}{'seconds':>10}{'CPU s':>10}{'peak MiB':>10}")
    for reader, (rows, seconds, processor, peak) in results.items():
        print(f"{reader:20}{rows:10,.0f}{seconds:10.1f}{processor:10.1f}{peak:10,.0f}")
    ours, theirs = results.values()
    print(f"{'ratio':20}{'':10}{theirs[1] / ours[1]:9.1f}x{theirs[2] / ours[2]:9.1f}x")


def fill(uri: str, count: int) -> None:
    """Write `count` finished runs, one dense run for every 40 pruned ones, directly to the store's tables.

    The history of the metrics (table `metrics`) stays empty: neither reader opens it.
    """
    from mlflow import MlflowClient

    experiment_id = int(MlflowClient(uri).create_experiment(EXPERIMENT))
    rng = np.random.default_rng(0)
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as store:
        store.execute("PRAGMA synchronous = OFF")
        store.execute("PRAGMA cache_size = -2000000")
        runs = made_up_runs(count)
        for _ in range(0, count, RUNS_AT_ONCE):
            write(store, experiment_id, list(islice(runs, RUNS_AT_ONCE)), rng)


def made_up_runs(count: int) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """Yield run id, params and tags."""
    rng = np.random.default_rng(1)
    dense_run_id = ""
    for index in range(count):
        seed, place = divmod(index, 1 + len(CELLS))
        run_id = uuid.UUID(bytes=rng.bytes(16), version=4).hex
        params = {
            schema.DATASET: "cifar10",
            schema.MODEL: f"resnet{20 + 12 * (seed % 4)}",
            schema.SEED: str(seed),
        }
        tags = {
            schema.KIND: schema.DENSE,
            schema.CONFIG_HASH: run_id,
            schema.SCHEMA: schema.SCHEMA_VERSION,
            schema.ENGINE: "torch",
            schema.DEVICE: "cuda",
        }
        if place == 0:
            dense_run_id = run_id
        else:
            pruner, ratio = CELLS[place - 1]
            params |= {schema.PRUNER: pruner, schema.RATIO: repr(float(ratio))}
            tags |= {schema.KIND: schema.PRUNED, schema.DENSE_RUN_ID: dense_run_id}
        params |= {f"setting_{number}": "0.0005" for number in range(25 - len(params))}
        tags[schema.CELL] = schema.cell(params)
        tags |= {f"note_{number}": "as MLflow's own" for number in range(25 - len(tags))}
        yield run_id, params, tags


def write(store: sqlite3.Connection, experiment_id: int, runs: list, rng: np.random.Generator) -> None:
    """Insert runs as MLflow does."""
    names = [
        schema.TEST_ACCURACY,
        *(prefix + name for prefix in PREFIXES for name in CLASSES),
        *OTHER_METRICS,
    ]
    # All recalls are above .5, so that half of a class's images can be correct in both networks of a pair.
    values = rng.uniform(0.5, 0.75, (len(runs), len(names)))
    recalls, supports, both_right = np.split(np.arange(1, 1 + 3 * len(CLASSES)), 3)
    values[:, supports] = 1000
    values[:, both_right] = 0.5
    values[:, 0] = values[:, recalls].mean(axis=1)
    values[:, names.index(schema.REALIZED_RATIO)] = [params.get(schema.RATIO, "1") for _, params, _ in runs]
    store.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, user_id, status, start_time, end_time,"
        " lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, 'run', 'LOCAL', '', '', 'FINISHED', 0, 1, 'active', '', ?)",
        [(run_id, experiment_id) for run_id, _, _ in runs],
    )
    store.executemany(
        "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
        [(run_id, *item) for run_id, params, _ in runs for item in params.items()],
    )
    store.executemany(
        "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)",
        [(run_id, *item) for run_id, _, tags in runs for item in tags.items()],
    )
    store.executemany(
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, 1, 0, 0)",
        [
            (run_id, *item)
            for (run_id, _, _), row in zip(runs, values.tolist(), strict=True)
            for item in zip(names, row, strict=True)
        ],
    )


PREFIXES = [schema.RECALL, schema.SUPPORT, schema.BOTH_RIGHT]
OTHER_METRICS = [
    schema.TEST_LOSS,
    schema.TRAIN_LOSS,
    schema.VAL_LOSS,
    schema.VAL_ACCURACY,
    schema.REALIZED_RATIO,
    schema.ALPHA,
    schema.VAL_ALPHA,
    schema.RAW_SLOPE,
    schema.VAL_RAW_SLOPE,
    schema.BEST_EPOCH,
    schema.DURATION,
]

READERS = {
    "analysis.pull_runs": "from analysis.runs import pull\n"
    "read = lambda uri: pull.pull_runs({experiment!r}, tracking_uri=uri)",
    "mlflow.search_runs": "import mlflow\n"
    "def read(uri):\n"
    "    mlflow.set_tracking_uri(uri)\n"
    "    return mlflow.search_runs(experiment_names=[{experiment!r}], max_results=10**9)",
}


def measure(reader: str, uri: str) -> tuple[float, float, float, float]:
    """Read the store in a separate process; return rows, seconds, CPU seconds, and peak memory in MiB."""
    program = "\n".join(
        [
            READERS[reader].format(experiment=EXPERIMENT),
            "import os, re, time",
            "start, processor = time.perf_counter(), sum(os.times()[:4])",
            f"rows = len(read({uri!r}))",
            "seconds, processor = time.perf_counter() - start, sum(os.times()[:4]) - processor",
            # Not getrusage: its peak is inherited from the process that filled the store.
            "peak = int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]) / 1024",
            "print(rows, seconds, processor, peak)",
        ]
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    rows, seconds, processor, peak = map(float, done.stdout.split()[-4:])
    return rows, seconds, processor, peak


if __name__ == "__main__":
    main()
