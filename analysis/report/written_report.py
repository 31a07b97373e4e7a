"""A report that was written to a folder, and its display in a notebook."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.common.printable import printable
from analysis.rendering import page
from analysis.report import report
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
        The run to which its files were sent.
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


def write(
    experiment: str | None,
    output: Path,
    options: ReportOptions,
    *,
    tracking_uri: str | None,
    ignore_params: Sequence[str],
    log: bool,
) -> WrittenReport:
    """Write a report; see `analysis.write_report`."""
    report.check_output(output, options.groups)
    study = StudyData.from_store(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    content = report.report(study, options)
    written = page.write(content, output)
    run_id = report.log(written, output, experiment, tracking_uri, verdict=content.verdict) if log else None
    return WrittenReport(output, written, list(content.verdict), run_id)
