"""How well a study's progress bar predicts the time left, after a quarter and after half of the runs.

    python benchmarks/estimates.py [--file studies/quick.yaml] [--times 3] [--workers auto]

The study starts with an empty store each time. Each estimate is divided by the true time left. The load of the machine
is printed, because it should stay the same during a study.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

UNITS = {"h": 3600, "min": 60, "s": 1}


@click.command()
@click.option("--file", default="studies/quick.yaml", show_default=True, type=click.Path(exists=True, path_type=Path))
@click.option("--times", default=3, show_default=True, type=click.IntRange(min=1), help="Number of studies.")
@click.option("--workers", default="auto", show_default=True, help="Worker processes of each study.")
def main(file: Path, times: int, workers: str) -> None:
    """Run the study several times, and print its estimates divided by the true times."""
    print(f"{'load':>6}{'seconds':>9}{'at 1/4':>8}{'at 1/2':>8}")
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
            environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
            command = [sys.executable, "-m", "pruning_study", "study", str(file.resolve()), "--workers", workers]
            load = os.getloadavg()[0]
            took, left = study(command, Path(folder), environment)
        quarter, half = (left[len(left) * part // 4 - 1] for part in (1, 2))
        ratios = f"{quarter[1] / (took - quarter[0]):8.2f}{half[1] / (took - half[0]):8.2f}"
        print(f"{(load + os.getloadavg()[0]) / 2:6.1f}{took:9.1f}{ratios}", flush=True)


def study(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, list[tuple[float, float]]]:
    """Return the seconds of a study and, after each run, the seconds since the start and the estimated seconds left."""
    start, left = time.perf_counter(), []
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            if line.endswith(" left\n"):
                left.append((time.perf_counter() - start, seconds(line.rpartition("; ")[2])))
    if process.returncode:
        raise click.ClickException("the study failed")
    return time.perf_counter() - start, left


def seconds(text: str) -> float:
    """Return the seconds of the duration at the end of a text, such as `3 min 20 s`."""
    ending = re.search(r"((?:[\d,]+ (?:h|min|s)\b ?)+)(?:left)?\s*$", text)
    if not ending:
        raise click.ClickException(f"no duration: {text}")
    parts = re.findall(r"([\d,]+) (h|min|s)", ending[1])
    return sum(int(number.replace(",", "")) * UNITS[unit] for number, unit in parts)


if __name__ == "__main__":
    main()
