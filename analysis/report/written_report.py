"""A report that was written to a folder, and its display in a notebook."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from analysis.common import arguments
from analysis.common.printable import printable
from analysis.rendering import page
from analysis.report import report
from analysis.study.groups import GivenGroups
from analysis.study.study import ReportOptions, StudyData


class WrittenReport(NamedTuple):
    """A report in a folder.

    Attributes
    ----------
    folder : Path
    files : list of Path
        Relative to `folder`; the page is `report.html`.
    verdict : list of str
        The report's first sentences.
    run_id : str, optional
        Id of the MLflow run to which the files were sent.
    """

    folder: Path
    files: list[Path]
    verdict: list[str]
    run_id: str | None = None

    def _repr_html_(self) -> str:
        """Return the verdict and a link to the page, for a notebook."""
        sentences = "".join(f"<p>{html.escape(printable(sentence))}</p>" for sentence in self.verdict)
        target = html.escape(str(self.folder / "report.html"))
        return f'{sentences}<p><a href="{target}">{target}</a></p>'


def write_report(
    experiment: str | None = None,
    output: str | Path = "report",
    *,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    confidence: float = 0.95,
    variance: Literal["welch", "pooled"] = "welch",
    paper: bool = False,
    log: bool = False,
    groups: GivenGroups | None = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> WrittenReport:
    """Write the report of an experiment: a page, tables and figures.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As for `pull_runs`.
    output : str or Path
        Folder that the report is written to.
    confidence : float, above 0 and below 1
        Confidence of the intervals in `cells.csv` (except `worst_class_cost`), which hold jointly for all ratios of
        one data set, model and pruner.
    variance : {"welch", "pooled"}
        Variance in t-tests that compare two models or two data sets: one for each (Welch), or one for both (pooled).
    paper : bool
        Whether the report includes the papers' tables, figures, claims and printed values.
    log : bool
        Whether the files are also sent to MLflow, as a run of kind `report`.
    groups : str, Path, or mapping of str to path, optional
        File of groups of test images; with it, the report also shows the effects on these groups. A mapping gives one
        file per data set.
    min_accuracy, fairness_value : float, optional
        As for `recommend_ratio`.

    Returns
    -------
    WrittenReport
        `.verdict`, the report's first sentences; `.folder` and `.files`. A notebook shows the verdict and a link.

    Raises
    ------
    StudyError
        If the experiment cannot be read, or if the folder cannot be written to.

    Examples
    --------
    >>> from analysis import write_report
    >>> written = write_report("small", output="report")
    >>> (written.folder / "report.html").is_file()
    True
    """
    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    arguments.check(output=output, confidence=confidence, variance=variance, paper=paper, log=log, groups=groups)
    arguments.check(min_accuracy=min_accuracy, fairness_value=fairness_value)
    options = ReportOptions(
        confidence=confidence,
        variance=variance,
        paper=paper,
        groups=groups or (),
        min_accuracy=min_accuracy,
        fairness_value=fairness_value,
    )
    folder = Path(output)
    report.check_output(folder, options.groups)
    study = StudyData.from_store(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    content = report.report(study, options)
    written = page.write(content, folder)
    run_id = report.log(written, folder, experiment, tracking_uri, verdict=content.verdict) if log else None
    return WrittenReport(folder, written, list(content.verdict), run_id)
