"""The report of a study: its sections, in their order."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from analysis.common.errors import StudyError
from analysis.common.files import check_inputs
from analysis.rendering.formats import markdown_line
from analysis.rendering.page import Items, Report, Section
from analysis.report.compression import section as compression
from analysis.report.first_screen import section as first_screen
from analysis.report.methods import same_accuracy_section as same_accuracy
from analysis.report.methods import section as compared_methods
from analysis.report.mitigation import section as mitigations
from analysis.report.papers.compressed_networks import robustness_section as robustness
from analysis.report.papers.compressed_networks import section as compressed_networks
from analysis.report.papers.prune_responsibly import section as prune_responsibly
from analysis.report.papers.recall_distortion import section as recall_distortion
from analysis.report.tuning import section as tuning
from analysis.report.verdict import reading, to_know, verdict
from analysis.runs import schema
from analysis.study.groups import GivenGroups, named_files
from analysis.study.study import ReportOptions, StudyData, notes

if TYPE_CHECKING:
    from mlflow import MlflowClient

SectionFunction: TypeAlias = Callable[[StudyData], Section | None]

# In the order of the page. The sections on searches follow, then those on the papers, then what was left out.
SECTIONS: tuple[SectionFunction, ...] = (
    compared_methods.settings,
    first_screen.costs,
    first_screen.class_losses,
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


class PaperSection(NamedTuple):
    """A section that is only in reports with `--paper true`.

    Attributes
    ----------
    section : callable
    ratios_alone : bool
        Whether the section has only the networks of `StudyData.with_ratios`, because what it repeats from the paper has
        neither number formats nor iterative pruning.
    pictures_alone : bool
        Whether the section consists of pictures alone.
    """

    section: SectionFunction
    ratios_alone: bool = False
    pictures_alone: bool = False

    def __call__(self, study: StudyData) -> Section | None:
        if not self.ratios_alone:
            return self.section(study)
        return self.section(study.with_ratios) if len(study.with_ratios.runs) else None


PAPER_SECTIONS = (
    PaperSection(recall_distortion.tradeoff, ratios_alone=True, pictures_alone=True),
    PaperSection(recall_distortion.metrics, ratios_alone=True),
    PaperSection(recall_distortion.boxplots, ratios_alone=True, pictures_alone=True),
    PaperSection(recall_distortion.intervals, ratios_alone=True, pictures_alone=True),
    PaperSection(recall_distortion.scatter, ratios_alone=True, pictures_alone=True),
    PaperSection(recall_distortion.paper_tables, ratios_alone=True),
    PaperSection(recall_distortion.paper_claims),
    PaperSection(recall_distortion.mean_ratios, ratios_alone=True),
    PaperSection(recall_distortion.published_values, ratios_alone=True),
    PaperSection(recall_distortion.lottery_tickets),
    PaperSection(recall_distortion.removed_channels),
    PaperSection(compressed_networks.normalised_recall, pictures_alone=True),
    PaperSection(compressed_networks.accuracies, pictures_alone=True),
    PaperSection(compressed_networks.paper_claims),
    PaperSection(compressed_networks.beside_print),
    PaperSection(robustness.published_values),
    *map(PaperSection, prune_responsibly.PAPER_SECTIONS),
)


def with_python_texts(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with Python strings: from Arrow strings, small frames are created more slowly."""
    texts = [name for name, dtype in runs.dtypes.items() if dtype == "str"]
    with pd.option_context("mode.string_storage", "python"):
        with_texts = runs.astype(dict.fromkeys(texts, "str"))
    return with_texts.copy()  # `astype` fragments the blocks of numbers, and `copy` consolidates them


@pd.option_context("mode.string_storage", "python")
# Several threads per matrix product save a seventh of the time on an idle machine. If other programs run, the threads
# wait for each other, and the report takes six times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def report(study: StudyData, options: ReportOptions) -> Report:
    """Analyse a study and return its report.

    Raises
    ------
    StudyError
        If a table of groups cannot be read.
    """
    study = replace(study, runs=with_python_texts(study.runs), options=options)
    _ = study.image_groups  # so that a fault in a table of groups is raised before any analysis
    searches: list[SectionFunction] = [
        *(partial(tuning.section, number=1 + index) for index in range(len(study.tunings))),
        *(partial(compression.section, number=1 + index) for index in range(len(study.chain_searches))),
    ]
    of_paper = [section for section in PAPER_SECTIONS if options.paper_pictures or not section.pictures_alone]
    to_make = [*SECTIONS, *searches, *(of_paper if options.paper else ())]
    results = (section(study) for section in tqdm(to_make, desc="report", unit=" sections", leave=False, disable=None))
    sections = [section for section in results if section]
    return Report(
        title=f"What pruning cost each class: {', '.join(study.datasets)}",
        verdict=verdict(study),
        to_know=[*filter(None, [" ".join(reading(study))]), *to_know(study.runs)],
        sections=[*sections, _left_out(study, sections)],
    )


def _left_out(study: StudyData, sections: Sequence[Section]) -> Section:
    sentences = [
        *notes(study.runs, study.alphas, study.cells),
        *(note for section in sections for note in section.notes),
    ]
    return Section("What was left out, and what to know", [Items(list(dict.fromkeys(sentences)))] if sentences else [])


def check_output(output: Path, groups: GivenGroups) -> None:
    """Raise a usage error if a report would overwrite a table of groups that it reads."""
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
    study: str | None = None,
) -> str:
    """Send a report's files to the tracking store as a run of kind `report`.

    Under `mlflow run`, the run that MLflow has made is used; otherwise a new run is made.

    Parameters
    ----------
    written : sequence of Path
        As `page.write` returns them.
    output : Path
        The folder of the report.
    experiment, tracking_uri : str, optional
        As in `pull.pull_runs`.
    verdict : sequence of str
        The report's first sentences. They become the note of the run, and of the study's run.
    study : str, optional
        Name of the study, or its file, of which only the name is used. By default the newest study of the experiment.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        If the store does not accept the files.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    from analysis.runs import pull, retries
    from analysis.runs.store_errors import STORE_ERRORS, reason

    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the URL contains the password of the tracking URI
    client = retries.client(tracking_uri)
    try:
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            experiment_id = pull.experiment_id(experiment, tracking_uri=tracking_uri)
            run_id = client.create_run(experiment_id, run_name="report").info.run_id
        client.set_tag(run_id, schema.KIND, schema.REPORT)
        for noted in [run_id, *_run_of_study(client, study, experiment, tracking_uri)] if verdict else ():
            client.set_tag(noted, MLFLOW_RUN_NOTE, "\n".join(f"- {markdown_line(line)}" for line in verdict))
        for path in written:
            client.log_artifact(run_id, str(output / path), str(path.parent) if path.parent.name else None)
        client.set_terminated(run_id)
    except STORE_ERRORS as error:
        raise StudyError(
            f"the report is in {output}, but could not be sent to the tracking store ({reason(error)})"
        ) from error
    return run_id


def _run_of_study(
    client: "MlflowClient", study: str | None, experiment: str | None, tracking_uri: str | None
) -> list[str]:
    """Return, in a list, the id of the newest run that made the named study, or any study; empty if there is none."""
    from analysis.runs import pull, studies

    if study is not None:
        return studies.run_ids(study, experiment, tracking_uri=tracking_uri)[-1:]
    experiment_id = pull.experiment_id(experiment, tracking_uri=tracking_uri)
    query = f"tags.{schema.KIND} = '{schema.STUDY}'"
    runs = client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    return [run.info.run_id for run in runs]
