"""The report of a study: which sections it has, and in which order."""

import os
from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from analysis.common.errors import StudyError
from analysis.common.overwriting import check_inputs
from analysis.rendering.markdown_text import markdown_line
from analysis.rendering.page import Items, Report, Section
from analysis.report.first_screen import section as first_screen
from analysis.report.methods import same_accuracy_section as same_accuracy
from analysis.report.methods import section as compared_methods
from analysis.report.mitigation import section as mitigations
from analysis.report.papers.compressed_networks import robustness_section as robustness
from analysis.report.papers.compressed_networks import section as compressed_networks
from analysis.report.papers.prune_responsibly import section as prune_responsibly
from analysis.report.papers.recall_distortion import section as recall_distortion
from analysis.report.tuning import exports as tuning_exports
from analysis.report.tuning import section as tuning
from analysis.report.tuning.results import Tuning
from analysis.report.verdict import reading, to_know, verdict
from analysis.runs import characteristics as class_characteristics
from analysis.runs import primaries as planned
from analysis.runs import robustness as counts
from analysis.runs import schema, validation_counts
from analysis.runs.frames import PREDICTED_ARRAYS, ReadPredictions
from analysis.runs.primaries import Primary
from analysis.statistics.hypothesis_tests import Variance
from analysis.study.groups import GivenGroups, files_of_datasets, named_files
from analysis.study.operating_points import preference
from analysis.study.study import AnalyzedStudy, notes

if TYPE_CHECKING:
    from mlflow import MlflowClient

SectionFunction: TypeAlias = Callable[[AnalyzedStudy], Section | None]

# In the order of the page. Sections on the searches of epsilon follow, then the paper's, then what was left out.
SECTIONS: tuple[SectionFunction, ...] = (
    compared_methods.settings,
    first_screen.costs,
    first_screen.class_losses,
    first_screen.sizes,
    first_screen.slopes,
    first_screen.number_formats,
    compared_methods.section,
    same_accuracy.section,
    mitigations.section,
    compressed_networks.section,
    robustness.section,
    *prune_responsibly.SECTIONS,
    first_screen.files,
)


@cache
def _on_ratios(section: SectionFunction) -> SectionFunction:
    """Return a section that leaves out number formats and iterative pruning, which its paper has none of."""

    @wraps(section)
    def on_ratios(study: AnalyzedStudy) -> Section | None:
        return section(study.with_ratios) if len(study.with_ratios.runs) else None

    return on_ratios


# Only where a report is asked for the paper.
PAPER_SECTIONS: tuple[SectionFunction, ...] = (
    *map(
        _on_ratios,
        (
            recall_distortion.tradeoff,
            recall_distortion.metrics,
            recall_distortion.boxplots,
            recall_distortion.intervals,
            recall_distortion.scatter,
            recall_distortion.paper_tables,
        ),
    ),
    recall_distortion.paper_claims,
    *map(_on_ratios, (recall_distortion.mean_ratios, recall_distortion.published_values)),
    recall_distortion.lottery_tickets,
    recall_distortion.removed_channels,
    compressed_networks.normalised_recall,
    compressed_networks.accuracies,
    compressed_networks.paper_claims,
    compressed_networks.beside_print,
    robustness.published_values,
    *prune_responsibly.PAPER_SECTIONS,
)
# Those of them that have pictures and nothing else.
PAPER_PICTURES = frozenset(
    [
        *map(
            _on_ratios,
            (
                recall_distortion.tradeoff,
                recall_distortion.boxplots,
                recall_distortion.intervals,
                recall_distortion.scatter,
            ),
        ),
        compressed_networks.normalised_recall,
        compressed_networks.accuracies,
    ]
)


def report(
    experiment: str | None = None,
    *,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    confidence: float = 0.95,
    variance: Variance = "welch",
    paper: bool = False,
    groups: GivenGroups = (),
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> Report:
    """Analyse an experiment.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As `pull.runs` takes them.
    confidence : float, above 0 and below 1
        Joint confidence of the intervals of one data set, model and pruner over its ratios.
    variance : {"welch", "pooled"}
        Variance of the tests between independent groups of networks.
    paper, groups, min_accuracy, fairness_value
        As for `from_runs`.

    Raises
    ------
    StudyError
        If `confidence` is out of range, or the experiment cannot be read, as `pull.runs` says.
    """
    from analysis.runs import pull  # a report from files needs no MLflow, which takes seconds to import

    if not 0 < confidence < 1:
        raise StudyError(f"{confidence} should be above 0 and below 1", option="--confidence")
    pulled = pull.study(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    return from_runs(
        pulled.runs,
        partial(pull.predictions, names=PREDICTED_ARRAYS, tracking_uri=tracking_uri),
        tuning_exports.pulled(experiment, tracking_uri=tracking_uri),
        primaries=planned.pulled(experiment, tracking_uri=tracking_uri),
        corrupted=counts.pulled(pulled.runs, experiment, tracking_uri=tracking_uri),
        characteristics=class_characteristics.pulled(pulled.runs, tracking_uri=tracking_uri),
        validation=validation_counts.pulled(pulled.runs, tracking_uri=tracking_uri),
        confidence=confidence,
        variance=variance,
        paper=paper,
        groups=groups,
        min_accuracy=min_accuracy,
        fairness_value=fairness_value,
    )


def with_python_texts(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs whose texts are stored as Python's, which small frames are made of sooner than of Arrow's."""
    texts = [name for name, dtype in runs.dtypes.items() if dtype == "str"]
    with pd.option_context("mode.string_storage", "python"):
        made = runs.astype(dict.fromkeys(texts, "str"))
    return made.copy()  # `astype` takes the blocks of numbers apart, and `copy` puts them together


@pd.option_context("mode.string_storage", "python")
# Several threads per matrix product gain a seventh on an idle machine. Beside other programs the threads wait for each
# other, and the report takes six times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def from_runs(
    runs: pd.DataFrame,
    predictions: ReadPredictions | None = None,
    tunings: Sequence[Tuning] = (),
    *,
    confidence: float = 0.95,
    variance: Variance = "welch",
    primaries: Sequence[Primary] = (),
    corrupted: pd.DataFrame | None = None,
    characteristics: pd.DataFrame | None = None,
    validation: pd.DataFrame | None = None,
    paper: bool = False,
    paper_pictures: bool = True,
    groups: GivenGroups = (),
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> Report:
    """Analyse runs.

    Parameters
    ----------
    runs, predictions, tunings, confidence, variance, primaries, corrupted, characteristics, validation
        As `AnalyzedStudy` takes them.
    paper : bool
        Whether the report has the sections on the recall distortion paper too: its tables, figures and sentences, and
        the slopes of precision and F1.
    paper_pictures : bool
        Whether those sections include `PAPER_PICTURES`.
    groups : path, sequence of str, or mapping of str to path
        Tables of groups of test images, as `groups.files_of_datasets` takes them.
    min_accuracy, fairness_value : float, optional
        What a choice among the networks takes into account, as `operating_points.preference` takes them.
    """
    study = AnalyzedStudy(
        with_python_texts(runs),
        predictions,
        tunings,
        confidence=confidence,
        variance=variance,
        primaries=primaries,
        corrupted=corrupted,
        characteristics=characteristics,
        validation=validation,
        preference=preference(min_accuracy, fairness_value),
        group_files=files_of_datasets(groups, list(dict.fromkeys(runs[schema.DATASET]))),
    )
    _ = study.image_groups  # a fault in a table of groups is found before anything else is worked out
    searches: list[SectionFunction] = [partial(tuning.section, number=1 + place) for place in range(len(tunings))]
    of_paper = [section for section in PAPER_SECTIONS if paper_pictures or section not in PAPER_PICTURES]
    to_make = [*SECTIONS, *searches, *(of_paper if paper else ())]
    made = (section(study) for section in tqdm(to_make, desc="report", unit=" sections", leave=False, disable=None))
    sections = [section for section in made if section]
    return Report(
        title=f"What pruning cost each class: {', '.join(study.datasets)}",
        verdict=verdict(study),
        to_know=[*filter(None, [" ".join(reading(study))]), *to_know(runs)],
        sections=[*sections, _left_out(study, sections)],
    )


def _left_out(study: AnalyzedStudy, sections: Sequence[Section]) -> Section:
    said = [*notes(study.runs, study.alphas, study.cells), *(note for section in sections for note in section.notes)]
    return Section("What was left out, and what to know", [Items(list(dict.fromkeys(said)))] if said else [])


def check_output(output: Path, groups: GivenGroups) -> None:
    """Raise a usage error if a report would take the place of a table of groups that it reads."""
    check_inputs(
        output, named_files(groups), "groups", names=["report.html", "report.md", "groups.csv", "groupings.csv"]
    )


def log(
    written: Sequence[Path],
    output: Path,
    experiment: str | None,
    tracking_uri: str | None = None,
    *,
    verdict: Sequence[str] = (),
) -> str:
    """Send a report's files to the tracking store as a run of kind `report`.

    Under `mlflow run` it is the run that MLflow has made, else a new one.

    Parameters
    ----------
    written : sequence of Path
        As `page.write` returns them.
    output : Path
        The folder of the report.
    experiment, tracking_uri : str, optional
        As `pull.runs` takes them.
    verdict : sequence of str
        The report's first sentences. They become the note of the run, and of the newest study in its experiment.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        If the store does not take the files.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    from analysis.runs import pull, retries
    from analysis.runs.store_errors import STORE_ERRORS, reason

    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the URL holds the password of the tracking URI
    client = retries.client(tracking_uri)
    try:
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            experiment_id = pull.experiment_id(experiment, tracking_uri=tracking_uri)
            run_id = client.create_run(experiment_id, run_name="report").info.run_id
        client.set_tag(run_id, schema.KIND, schema.REPORT)
        for noted in [run_id, *_newest_study(client, run_id)] if verdict else ():
            client.set_tag(noted, MLFLOW_RUN_NOTE, "\n".join(f"- {markdown_line(line)}" for line in verdict))
        for path in written:
            client.log_artifact(run_id, str(output / path), str(path.parent) if path.parent.name else None)
        client.set_terminated(run_id)
    except STORE_ERRORS as error:
        raise StudyError(
            f"the report is in {output}, but the tracking store did not take it ({reason(error)}); --no-log leaves "
            "it out"
        ) from error
    return run_id


def _newest_study(client: "MlflowClient", run_id: str) -> list[str]:
    """Return the id of the newest run of kind `study` in a run's experiment, in a list that may be empty."""
    experiment_id = client.get_run(run_id).info.experiment_id
    query = f"tags.{schema.KIND} = '{schema.STUDY}'"
    found = client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    return [run.info.run_id for run in found]
