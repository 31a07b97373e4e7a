"""The setting of a run that the user names by its id."""

from collections.abc import Collection

from mlflow.entities import Run

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import TrainConfig
from pruning_study.steps.settings import TrainSetting, check_finished, following
from pruning_study.tracking.store import Store


class Follower:
    """Makes the settings of runs, and keeps the data set that it read last, which the next run often needs too."""

    def __init__(self, store: Store, config: TrainConfig) -> None:
        self._store, self._config = store, config
        self._data: tuple[object, Dataset] | None = None

    def setting(self, run: Run) -> TrainSetting:
        """Return the setting of a run: the data, the model and the training of the dense run at its root.

        Raises
        ------
        StudyError
            If the run names no dense run, or if the data or the model of that run cannot be had.
        """
        root = run
        if run.data.tags.get(schema.KIND) != schema.DENSE:
            if schema.DENSE_RUN_ID not in run.data.tags:
                raise StudyError(f"run {run.info.run_id} names no dense run")
            root = self._store.get(run.data.tags[schema.DENSE_RUN_ID])
        config = following(self._config, root, option=None)
        source = config.dataset, config.image_size, config.test_fraction
        setting = TrainSetting(config, self._data[1] if self._data and self._data[0] == source else None)
        self._data = source, setting.data
        return setting


def finished_run(store: Store, run_id: str, kinds: Collection[str]) -> Run:
    """Return a run that the user names.

    Raises
    ------
    StudyError
        If it is not a finished run of one of the kinds.
    """
    run = store.get(run_id)
    check_finished(run, kinds)
    return run
