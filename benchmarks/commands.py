"""CPU seconds of commands that have little to do, beside those of MLflow and PyTorch alone.

    python benchmarks/commands.py [--rounds 5]

Each command runs in a separate process, once in every round, so that other programs disturb all commands alike. The
least and the median of the rounds are printed. `prune` finds all its runs, because it is run once before the rounds.
"""

import os
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

PRUNE = "-m pruning_study prune --epochs 1 --fine-tune-epochs 1"
ONE_RUN = (
    "from mlflow import MlflowClient; client = MlflowClient(); run_id = client.create_run('0').info.run_id;"
    "client.log_param(run_id, 'a', 1); client.set_terminated(run_id)"
)
COMMANDS = {
    "prune --help": "-m pruning_study prune --help",
    "a usage error": "-m pruning_study prune --ratio x",
    "prune that finds its runs": PRUNE,
    "MLflow logs one run": f'-c "{ONE_RUN}"',
    "import torch": '-c "import torch"',
    "audit of CSV files": "-m analysis audit --before before.csv --after after.csv",
    "imports of the audit": '-c "import pandas, scipy.stats, matplotlib.figure"',
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Number of times that each command runs.")
def main(rounds: int) -> None:
    """Run the commands in turns, and print a table of their CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        write_predictions(Path(folder))
        cpu_seconds(PRUNE, folder, environment)
        seconds = [[cpu_seconds(line, folder, environment) for line in COMMANDS.values()] for _ in range(rounds)]
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"{'':28}{'least':>8}{'median':>8}")
    for name, least, median in zip(COMMANDS, np.min(seconds, axis=0), np.median(seconds, axis=0), strict=True):
        print(f"{name:28}{least:8.2f}{median:8.2f}")


def write_predictions(folder: Path) -> None:
    """Write predictions for 2,000 images of ten classes: a tenth wrong before compression, an eighth after it."""
    rng = np.random.default_rng(0)
    label = np.arange(2000) % 10
    for name, wrong in (("before", 0.1), ("after", 0.125)):
        predicted = np.where(rng.random(len(label)) < wrong, (label + 1) % 10, label)
        rows = np.column_stack([label, predicted])
        np.savetxt(folder / f"{name}.csv", rows, "%d", delimiter=",", header="label,predicted", comments="")


def cpu_seconds(arguments: str, folder: str, environment: dict[str, str]) -> float:
    """Return the CPU seconds of a Python process and its children, whatever its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *shlex.split(arguments)]
    subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
