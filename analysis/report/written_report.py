"""A report that was written to a folder, as a notebook shows it."""

import html
from pathlib import Path
from typing import Any, NamedTuple

from analysis.common.printable import printable
from analysis.rendering import page
from analysis.report import report


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
        The run that its files were sent to.
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
    experiment: str | None, output: Path, *, tracking_uri: str | None, log: bool, **options: Any
) -> WrittenReport:
    """Return what `analysis.write_report` does."""
    report.check_output(output, options["groups"])
    made = report.report(experiment, tracking_uri=tracking_uri, **options)
    written = page.write(made, output)
    run_id = report.log(written, output, experiment, tracking_uri, verdict=made.verdict) if log else None
    return WrittenReport(output, written, list(made.verdict), run_id)
