"""Fixtures that the tests share: a tracking store, a small data set of real images, and the command line."""

import gc
import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import click.testing
import numpy as np
import pytest
from hypothesis import settings

from tests.samples import first_images

collect_ignore = ["fork_server.py"]  # whose import leaves pictures blank

gc.disable()  # nothing that is imported is garbage

# Hypothesis would end an example after 200 ms, which a busy machine exceeds.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")

# Workers of studies, and other processes of tests, are forked from a server that imports these. It looks for them where
# this variable says, since a test may have changed the folder before it starts.
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.getenv("PYTHONPATH")])])
# What tests expect was worked out on a processor. A GPU, if there is one, would be taken by default.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# The tests of the analysis do without it.
HAS_TORCH = find_spec("torch") is not None


@pytest.fixture(autouse=True)
def log_level() -> None:
    """Begin each test at the root logger's own level: a library that another test imports may have lowered it."""
    logging.getLogger().setLevel(logging.WARNING)


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests, not one that hands them to others and so need not import torch."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    from analysis.common.interrupts import SIGNALS

    # A program that starts the tests, such as `nohup`, may have these signals ignored. A terminal does not.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if not HAS_TORCH:
        return
    import torch

    from pruning_study.study.processes import CONTEXT

    # The tests run in as many processes as the machine has cores.
    torch.set_num_threads(1)
    CONTEXT.set_forkserver_preload(["pruning_study.study.lineage", "tests.fork_server"])


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no examples in the docstrings of tests: there are none, and looking takes a second."""
    collectors = yield
    return [collector for collector in collectors if type(collector) is pytest.Module]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests of whole programs, the longest: at the end the other processes would wait for them.

    Next come the tests that start processes. One process runs most of them and so has a server to fork them from.
    """
    modules = {item.path: item.module for item in items if isinstance(item, pytest.Function)}
    whole_programs = {path for path in modules if path.parent == Path(__file__).parent}
    starting = {path for path, module in modules.items() if starts_processes(module)}
    items.sort(key=lambda item: (item.path not in whole_programs, item.path not in starting))


def starts_processes(module: ModuleType) -> bool:
    """Return whether tests of a file start processes or an MLflow server."""
    sources = {getattr(value, "__module__", None) for value in vars(module).values()}
    return bool(sources & {"tests.warm_processes", "tests.mlflow_server", "pruning_study.study.processes"})


def pytest_collection_finish() -> None:
    """Keep garbage collection from looking through all modules and tests again and again, a second each time."""
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()


@pytest.fixture(scope="session")
def tiny() -> dict[str, np.ndarray]:
    """Return the first 40 training and 20 test images of each class of the embedded sample."""
    return first_images(train=40)


@pytest.fixture
def tiny_npz(tiny: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """Write the `tiny` data set to a file and return its path."""
    path = tmp_path / "tiny.npz"
    np.savez(path, **tiny)
    return path


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of the SQLite store that the tests of one process share."""
    from tests.stored_runs import empty_store

    return empty_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def store_uri(
    session_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """Make an experiment and a folder of the test's own current, and return the URI of the store."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PRUNING_STUDY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", session_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    if HAS_TORCH and "drawn_pictures" not in request.fixturenames:
        from tests.stored_runs import leave_pictures_blank

        leave_pictures_blank(monkeypatch)
    return session_store


@pytest.fixture
def drawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the pictures of runs, small and without a layout for their labels; `store_uri` leaves them blank."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("pruning_study.steps.pictures.Figure", lambda size, dpi, layout: Figure(size, dpi=dpi / 10))


@pytest.fixture(scope="session")
def server_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run an MLflow server that the tests of one process share, and yield its port."""
    from tests.mlflow_server import free_port, server

    with server(tmp_path_factory.mktemp("server"), port := free_port()):
        yield port


@pytest.fixture(scope="session")
def run_command() -> Callable[..., click.testing.Result]:
    """Return a function that runs `pruning-study` with the given arguments in this process."""
    from pruning_study.__main__ import cli

    def run(*arguments: object) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return run
