"""Pull the artifacts of an experiment from which a report is made beside the runs and their predictions."""

from collections.abc import Sequence

import pandas as pd

from analysis.runs import schema, tunings, validation_counts
from analysis.runs.frames import RUN_ID, Artifacts


def pulled(runs: pd.DataFrame, experiment: str | None = None, *, tracking_uri: str | None = None) -> Artifacts:
    """Read the artifacts of an experiment.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    experiment, tracking_uri : str, optional
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
        As in `pull.pull_runs`.
    """
    from analysis.runs import pull  # imported here, because reading exports needs no MLflow

    dense = list(dict.fromkeys(runs[schema.DENSE_RUN_ID]))
    own = [*dense, *runs[RUN_ID]]
    corrupted = pull.tagged_artifacts(
        schema.CORRUPTED, schema.CORRUPTIONS, experiment, elsewhere=dense, tracking_uri=tracking_uri
    )
    return {
        schema.CORRUPTIONS: {run_id: content for run_id, content in corrupted.items() if run_id in {*own}},
        schema.CLASS_CHARACTERISTICS: pull.artifacts_of(dense, schema.CLASS_CHARACTERISTICS, tracking_uri=tracking_uri),
        schema.VALIDATION_COUNTS: _validation_counts(own, tracking_uri) if validation_counts.wanted(runs) else {},
        schema.CHAINS: pull.tagged_artifacts(schema.MINIMIZE, schema.CHAINS, experiment, tracking_uri=tracking_uri),
        **_by_name(
            pull.artifacts(schema.STUDY, [schema.PRIMARY], experiment, finished=False, tracking_uri=tracking_uri)
        ),
        **_by_name(pull.artifacts(schema.TUNING, tunings.FILES, experiment, tracking_uri=tracking_uri)),
    }


def _validation_counts(run_ids: Sequence[str], tracking_uri: str | None) -> dict[str, bytes]:
    from analysis.runs import pull

    predictions = pull.predictions(run_ids, artifact=schema.VAL_PREDICTIONS, tracking_uri=tracking_uri)
    table = validation_counts.TABLE
    return {
        run_id: table.as_csv(validation_counts.counted(run[schema.LABEL], run[schema.PREDICTED]))
        for run_id, run in predictions.items()
    }


def _by_name(of_runs: Artifacts) -> dict[str, dict[str, bytes]]:
    """Turn contents by run id and name into contents by name and run id."""
    names = list(dict.fromkeys(name for contents in of_runs.values() for name in contents))
    return {name: {run_id: contents[name] for run_id, contents in of_runs.items()} for name in names}
