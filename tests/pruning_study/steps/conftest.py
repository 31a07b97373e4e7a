"""An experiment that the tests of a file share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pruning_study.tracking.connect import connect
from pruning_study.tracking.store import Store
from tests.stored_runs import leave_pictures_blank


@pytest.fixture(scope="module")
def shared_store(
    session_store: str,
    tiny: dict[str, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Store, Path]]:
    """Yield a store, and a file of data, with which the tests of a file find the runs that others have made."""
    folder = tmp_path_factory.mktemp("shared")
    np.savez(folder / "tiny.npz", **tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", session_store)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
        patch.chdir(folder)
        leave_pictures_blank(patch)
        yield connect(), folder / "tiny.npz"
