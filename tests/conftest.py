"""A store, small real data and a command line that the tests share."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
import torch

from pruning_study.__main__ import cli
from pruning_study.data.datasets import EMBEDDED
from pruning_study.tracking.interrupts import SIGNALS

torch.set_num_threads(1)

# As a terminal gives them: what starts the tests, such as `nohup`, may have had them ignored.
for number in SIGNALS:
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def tiny() -> dict[str, np.ndarray]:
    """The first 40 training and 20 test images of each class of the embedded sample."""
    with np.load(EMBEDDED) as whole:
        arrays = {"class_names": whole["class_names"]}
        for part, count in (("train", 40), ("test", 20)):
            labels = whole[f"{part}_labels"]
            chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
            arrays |= {f"{part}_images": whole[f"{part}_images"][chosen], f"{part}_labels": labels[chosen]}
    return arrays


@pytest.fixture
def tiny_npz(tiny: dict[str, np.ndarray], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.npz"
    np.savez(path, **tiny)
    return path


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def store_uri(
    session_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """An experiment of the test's own, current, in a folder of its own."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PRUNING_STUDY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", session_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    return session_store


@pytest.fixture
def run_command() -> Callable[..., click.testing.Result]:
    """The command line, in this process."""

    def run(*arguments: object) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return run
