"""The report's sections on the recall distortion paper, each a function of a study."""

from collections.abc import Callable, Iterator

import pandas as pd
from matplotlib.figure import Figure

from analysis.rendering.formats import rounded, short_ratio, values_with_intervals
from analysis.rendering.page import Block, Caption, Picture, Section, numbered, pictures
from analysis.report.papers.claims import UNTRIED, shown
from analysis.report.papers.recall_distortion import channel_pruning, claims, comparisons, figures, lottery, tables
from analysis.runs import schema
from analysis.study import cells
from analysis.study.study import StudyData, notes

_TRADEOFF = (
    "The picture shows the mean accuracy and the mean alpha of the pruned networks at each ratio, with standard "
    "errors. The recall balance of a class is its recall minus the accuracy, divided by the accuracy. Alpha is the "
    "slope of the balances after pruning on those before. Above 1, differences between classes have grown relative to "
    "the accuracy."
)
_BOXES = "Each box is one cell, and each point one network. The mark at a ratio describes the interval of the mean."
_SCATTER = "Each point is one class of one network. The line has the slope of all points of networks above chance."
_RATIOS = (
    "The intensification ratio of a class is its balance after pruning divided by its balance before. The mean of "
    "these ratios depends strongly on classes whose balance before was close to 0. Alpha does not, because it weights "
    "each ratio by the square of the balance before."
)
_CLAIMS = (
    "A sentence has several comparisons, usually one for each ratio. A comparison agrees with the sentence if a test "
    "at .05 shows that the true value is in the range that the sentence claims, and disagrees if a test shows that "
    "the true value is outside this range. The tests are one-sided if the sentence has a direction. A sentence about "
    "all cases holds if all comparisons agree, and one comparison that disagrees refutes it. The p-values of these "
    "comparisons are corrected together (Holm). A sentence about most cases or a tendency holds if more than half of "
    "the comparisons agree, and is refuted if more than half disagree. The table has the number of comparisons that "
    "agree, the lowest and the highest estimate, and in brackets the range of the two-sided intervals. Networks at "
    "chance are left out. claims.csv has every comparison."
)
_COMPARED = "The table has the values that both the paper and the study have. The difference is ours minus published."
_METRICS = (
    "The table has alpha, and the same slope for precision and F1, each centred on its own mean over the classes. The "
    "paper found that pruning affects recall more than precision and F1. If so, the slope of recall is further from 1 "
    "than the other two slopes."
)
_NO_METRICS = "n/a: the slopes of precision and F1 need predictions.npz of every run of a cell."


def tradeoff(study: StudyData) -> Section:
    """Return the section on accuracy against distortion (Figure 13)."""
    drawn = numbered("figure_13", [figures.tradeoff(study.alphas, study.shown)])
    return Section("Accuracy against distortion", [_TRADEOFF, *drawn])


def metrics(study: StudyData) -> Section:
    """Return the section that compares the slope of recall with those of precision and F1."""
    title = "Recall, precision and F1"
    cells = study.cells[study.cells["alpha_precision"].notna()]
    if cells.empty:
        return Section(title, [_NO_METRICS])
    shown = _named(cells, study)
    shown["recall"] = values_with_intervals(cells, "alpha_mean", "ci")
    for name in ("precision", "f1"):
        shown[name] = values_with_intervals(cells, f"alpha_{name}", f"alpha_{name}")
    return Section(title, [_METRICS, shown])


def boxplots(study: StudyData) -> Section:
    """Return the section with the box plots of alpha (Figures 1-4)."""
    drawn = _numbered(1, lambda by: figures.boxplots(study.alphas, study.cells, by, study.shown))
    return Section("Alpha by pruning ratio", [_BOXES, *drawn])


def intervals(study: StudyData) -> Section:
    """Return the section with the confidence intervals of alpha (Figures 9-12)."""
    drawn = _numbered(9, lambda by: figures.intervals(study.cells, by, study.shown))
    return Section("Confidence intervals of alpha", drawn)


def scatter(study: StudyData) -> Section:
    """Return the section with the classes' recall balance before and after pruning (Figures 5-8)."""
    drawn = _numbered(5, lambda by: figures.scatter_matrix(study.runs, by, study.shown))
    return Section("Recall balance before and after", [_SCATTER, *drawn])


def paper_tables(study: StudyData) -> Section:
    """Return the section with the paper's tables, filled with the study's values."""
    tests = comparisons.paper_tests(study.alphas, variance=study.options.variance)
    ours = {
        index: tables.paper_table(index, runs=study.runs, alphas=study.alphas, tests=tests) for index in tables.NUMBERS
    }
    written = {f"table_{index:02}.csv": table for index, table in ours.items()}
    blocks = list(_titled(ours))
    return Section(
        "The paper's tables for this study",
        [_about_tests(tests), *blocks] if blocks else [],
        tables={"tests.csv": tests, **written},
        notes=notes(tests),
    )


def paper_claims(study: StudyData) -> Section | None:
    """Return the section that tests the paper's claims on the study.

    Return None if the study can test no claim and no network has a pruning ratio that the user chose.
    """
    judgements = claims.claims(study.runs, study.predicted)
    tried = (judgements["verdict"] != UNTRIED).any()
    if not tried and study.with_ratios.runs.empty:
        return None
    return Section(
        "The paper's sentences, tested on this study",
        [_CLAIMS, shown(judgements)] if tried else [],
        tables={"claims.csv": judgements},
    )


def lottery_tickets(study: StudyData) -> Section | None:
    """Return the section on networks that are pruned level by level and rewound (Table 12)."""
    return lottery.section(study)


def removed_channels(study: StudyData) -> Section | None:
    """Return the section on networks from which whole channels are removed (Table 13)."""
    return channel_pruning.section(study)


def mean_ratios(study: StudyData) -> Section | None:
    """Return the section that compares alpha with the mean of the intensification ratios."""
    summaries = cells.ratio_summaries(study.arrays)
    if summaries.empty:
        return None
    numbers = rounded(summaries.drop(columns=study.cell_key))
    return Section("Why alpha, and not the mean of the ratios", [_RATIOS, _named(summaries, study).join(numbers)])


def published_values(study: StudyData) -> Section:
    """Return the section that compares the study with the published values."""
    compared = tables.compare(study.runs, study.alphas, variance=study.options.variance)
    return Section(
        "Beside the published values",
        [_COMPARED, rounded(compared)] if len(compared) else [],
        tables={"comparison.csv": compared},
        notes=notes(compared),
    )


def _numbered(first: int, draw: Callable[[figures.By], Figure | None]) -> list[Picture]:
    """Draw a figure for each grouping of the paper, numbered as in print."""
    return pictures({f"figure_{index:02}": draw(by) for index, by in enumerate(figures.GROUPINGS, start=first)})


def _about_tests(tests: pd.DataFrame) -> str:
    return (
        "p-values are Bonferroni-corrected over the paper's families of tests. tests.csv has the differences with "
        "their intervals, effect sizes, Holm's correction, permutation and equivalence tests. The independent "
        f"tests use the {tests.attrs.get('variance', 'welch')} variance."
    )


def _titled(ours: dict[int, pd.DataFrame]) -> Iterator[Block]:
    for index, table in ours.items():
        if len(table):
            yield Caption(f"Table {index}.", table.attrs["title"])
            yield table


def _named(frame: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """Return the data set, model and method of each cell."""
    labels = [f"{study.method(cell)}, ratio {short_ratio(cell[schema.RATIO])}" for _, cell in frame.iterrows()]
    return frame[[schema.DATASET, schema.MODEL]].assign(method=labels).reset_index(drop=True)
