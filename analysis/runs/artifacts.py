"""Read the artifacts of an experiment from which a report is made beside the runs and their predictions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.runs import schema, tunings, validation_counts
from analysis.runs.frames import RUN_ID, Artifacts

if TYPE_CHECKING:  # reading exports needs no MLflow
    from analysis.runs.pull import Experiment


def pulled(source: "Experiment", runs: pd.DataFrame, *, tracking_uri: str | None = None) -> Artifacts:
    """Read the artifacts of an experiment.

    Parameters
    ----------
    source : Experiment
    runs : DataFrame
        As `pull.pull_runs` returns it.
    tracking_uri : str, optional
        As in `pull.pull_runs`.

    Returns
    -------
    mapping
        See `frames.Artifacts`. Of studies, whether finished or not, their primary comparisons; of finished searches,
        their trials and results; of the given runs and their dense runs, counts of images and characteristics of
        classes. Validation images are counted only if a report uses the counts.

    Raises
    ------
    StudyError
        If the store cannot be read.
    """
    dense = list(dict.fromkeys(runs[schema.DENSE_RUN_ID]))
    own = [*dense, *runs[RUN_ID]]
    measured = {*own}.intersection(source.having(schema.CORRUPTED))
    searches = source.having(schema.KIND, schema.TUNING)
    of_searches = {name: source.artifacts(name, searches) for name in tunings.FILES}
    complete = [run_id for run_id in searches if all(run_id in contents for contents in of_searches.values())]
    return {
        schema.CORRUPTIONS: source.artifacts(schema.CORRUPTIONS, filter(measured.__contains__, own)),
        schema.CLASS_CHARACTERISTICS: source.artifacts(schema.CLASS_CHARACTERISTICS, dense),
        schema.VALIDATION_COUNTS: _validation_counts(own, tracking_uri) if validation_counts.wanted(runs) else {},
        schema.CHAINS: source.artifacts(schema.CHAINS, source.having(schema.MINIMIZE)),
        schema.PRIMARY: source.artifacts(schema.PRIMARY, source.having(schema.KIND, schema.STUDY, finished=False)),
        **{name: {run_id: contents[run_id] for run_id in complete} for name, contents in of_searches.items()},
    }


def _validation_counts(run_ids: Sequence[str], tracking_uri: str | None) -> dict[str, bytes]:
    from analysis.runs import pull

    predictions = pull.predictions(run_ids, artifact=schema.VAL_PREDICTIONS, tracking_uri=tracking_uri)
    table = validation_counts.TABLE
    return {
        run_id: table.as_csv(validation_counts.counted(run[schema.LABEL], run[schema.PREDICTED]))
        for run_id, run in predictions.items()
    }
