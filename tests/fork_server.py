"""What the fork server imports in tests: the processes forked from it draw no picture and need no import."""

import git  # noqa: F401
import mlflow.server.fastapi_app  # noqa: F401
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import pytest

import pruning_study.commands.train_and_prune  # noqa: F401
from tests.stored_runs import leave_pictures_blank

leave_pictures_blank(pytest.MonkeyPatch())
