"""The command `exemplars`: read a cell, draw its PIEs, and write the labelling sheet."""

from pathlib import Path

from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.printable import printable
from analysis.statistics import votes
from pruning_study.commands.exemplars import cell, gallery, sheet
from pruning_study.commands.exemplars.cell import PopulationPair
from pruning_study.options.config import ExemplarsConfig

GALLERY, SHEET, KEY = "gallery.png", "labelling_sheet.csv", "labelling_key.csv"


def write(config: ExemplarsConfig) -> str:
    """Write the gallery, the labelling sheet and its key, and return the lines to print.

    Raises
    ------
    StudyError
        If the options do not select one cell, if no image is a PIE, if the data set is not that of the runs, or if the
        folder cannot be written to.
    """
    files.check_inputs(config.output, [config.frames], "runs")
    files.check_inputs(config.output, [Path(config.dataset)] if config.dataset else [], "images")
    read = cell.read(config)
    table = gallery.pies(read)
    if table.empty:
        raise StudyError(
            f"{read.name}: no image is a PIE: dense and compressed networks have the same most frequent predictions"
        )
    data = cell.load_data(read, config)
    counted = _counts(read, len(table))
    labelling, key = sheet.sheet(read, data.classes, config.images, config.seed)
    picture = gallery.gallery(data.test_images, table, data.classes, read.name, counted)
    with files.aside(config.output) as scratch:
        for name, frame in ((SHEET, labelling), (KEY, key)):
            csv_text.write(frame, scratch / name)
            _check_not_used(scratch / name, config.output / name)
        picture.savefig(scratch / GALLERY)
    fewer = [f"there are too few images for a sheet of {config.images:,}"] if len(key) < config.images else []
    return "\n".join(
        [
            printable(read.name),
            counted,
            _placebo(read),
            *(f"Note: {printable(note)}" for note in [*read.notes, *fewer]),
            "",
            f"In {config.output.absolute()}:",
            f"  {GALLERY}: the {min(len(table), gallery.MOST_IMAGES)} most surprising PIEs",
            f"  {SHEET}, for annotators: {len(key) // 2:,} PIEs and as many other images",
            f"  {KEY}: tells which of these are PIEs. Show annotators neither this file nor the gallery.",
        ]
    )


def _check_not_used(new: Path, there: Path) -> None:
    """Raise a StudyError if the folder has another sheet or one with answers: annotators may be filling it in."""
    if there.exists() and there.read_bytes() != new.read_bytes():
        raise StudyError(f"{there} belongs to another sheet, or has answers: name another folder", option="output")


def _counts(read: PopulationPair, pies: int) -> str:
    modal_labels = read.modal_labels
    sides = (modal_labels.dense, modal_labels.compressed)
    right = [int((side.label == read.label)[modal_labels.identified].sum()) for side in sides]
    return (
        f"{pies:,} of {len(read.label):,} test images are PIEs: {len(read.dense)} dense and {len(read.compressed)} "
        "compressed networks differ in their most frequent prediction.\n"
        f"This prediction is right on {right[0]:,} PIEs for dense and on {right[1]:,} for compressed networks. "
        f"{modal_labels.untied:,} PIEs are untied: neither prediction is a tie."
    )


def _placebo(read: PopulationPair) -> str:
    if len(read.dense) < votes.FEWEST_HALVED:
        return (
            "Chance gives PIEs too. To count the PIEs of chance, networks are split into two halves of at least "
            f"{votes.FEWEST}, which takes {votes.FEWEST_HALVED} dense and {votes.FEWEST_HALVED} compressed networks, "
            f"but there are only {len(read.dense)} of each kind."
        )
    if votes.are_copies(read.dense):
        return (
            "Chance gives PIEs too, but how many is unknown, because the dense networks are copies of one network. To "
            "count the PIEs of chance, train dense networks of several seeds."
        )
    half, placebo = (votes.exemplars_of_halves(read.dense, side) for side in (read.compressed, read.dense))
    return (
        f"Chance gives PIEs too. With half as many networks, comparing two halves of the dense networks gives "
        f"{placebo.pies:,.0f} PIEs ({placebo.untied:,.0f} untied), and comparing dense with compressed networks gives "
        f"{half.pies:,.0f} ({half.untied:,.0f} untied)."
    )
