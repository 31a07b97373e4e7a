"""The tables of the recall distortion paper: with a study's values, or with these beside the published values."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.rendering.formats import NOT_AVAILABLE, p_value, short_ratio
from analysis.report.papers.recall_distortion.comparisons import DESIGNS, labels, paper_tests, unpaired_tests
from analysis.report.published import rank, standing_for_up, table
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import Variance
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import run_arrays
from analysis.study.settings import further_settings, main_setting, shown_settings

AT_CHANCE = "at chance"
NUMBERS = range(1, 12)
CELLS_IN_PRINT = (
    "the paper has cifar10 with resnet56, pruned by mp, gp, up and rp; cifar10 with another ResNet and cifar100 with "
    "resnet56, pruned by mp and up; mnist and fashion-mnist with lenet5, pruned by mp: prune one of these to compare. "
    "Tables 12 and 13 are in reports with --paper true"
)

_GROUP = [schema.DATASET, schema.MODEL, schema.PRUNER]


def paper_table(
    number: int, *, runs: pd.DataFrame, alphas: pd.DataFrame, tests: pd.DataFrame, as_printed: bool = False
) -> pd.DataFrame:
    """Format a table in the printed layout.

    Parameters
    ----------
    number : int
        1-9 p-values, Bonferroni-corrected; 10 accuracy before pruning; 11 mean over networks of the variance of recall
        over the classes (ddof 0). Table 12 is in `lottery`, Table 13 in `channel_pruning`.
    runs, alphas, tests : DataFrame
        As `pull.pull_runs`, `cells.alphas` and `comparisons.paper_tests` return them. Networks at chance are left out
        of Tables 1-9 only.
    as_printed : bool
        Whether `up-signed` is called UP if there is no `up`.

    Returns
    -------
    DataFrame
        Without rows if the study lacks the networks that the table needs. A value is `at chance` if too many of its
        networks are at chance, and `n/a` if it is missing for another reason. `attrs["title"]` is the title.
    """
    if number in DESIGNS:
        return _p_values(number, tests)
    if number == 11:
        return recall_variance(main_setting(runs, shown_settings(runs)), as_printed=as_printed)
    return _accuracy(main_setting(alphas, further_settings(alphas)), as_printed)


def compare(runs: pd.DataFrame, alphas: pd.DataFrame, *, variance: Variance = "welch") -> pd.DataFrame:
    """Return the published values of Tables 1-11 beside those of a study, for the cells that paper and study share.

    Parameters
    ----------
    runs, alphas : DataFrame
        As `pull.pull_runs` and `cells.alphas` return them.
    variance : {"welch", "pooled"}
        Variance in the independent tests.

    Returns
    -------
    DataFrame, one row per cell of a table
        - table, row, column, published;
        - ours: text, at the precision of print;
        - ours_unpaired: for Tables 8 and 9, our value by independent tests, because in the paper not all pruners shared
          their dense networks; empty for other tables;
        - difference: ours minus published, where `<0.001` is read as .001.

        `attrs["notes"]` has sentences on substitutions, and on published values without a counterpart because networks
        are at chance.
    """
    notes = []
    if standing_for_up(set(runs[schema.PRUNER])) == "up-signed":
        notes.append("up-signed, the formula of the paper's released code, is compared with the paper's UP")
    make = partial(paper_table, runs=runs, alphas=alphas, as_printed=True)
    ours = paper_tests(alphas, variance=variance, as_printed=True)
    unpaired = unpaired_tests(alphas, variance=variance, as_printed=True)
    frames = []
    tested = set(ours["table"])
    for number in (number for number in NUMBERS if number in tested or number not in DESIGNS):
        both = _long(number, table(number), "published").merge(_long(number, make(number, tests=ours), "ours"))
        if number in (8, 9):
            both = both.merge(_long(number, make(number, tests=unpaired), "ours_unpaired"), how="left")
        frames.append(both)
    columns = ["table", "row", "column", "published", "ours", "ours_unpaired"]
    frame = pd.concat(frames, ignore_index=True).reindex(columns=columns, fill_value="").fillna({"ours_unpaired": ""})
    frame["difference"] = _numbers(frame["ours"]) - _numbers(frame["published"])
    lacking = frame[(frame["ours"] == AT_CHANCE) & _numbers(frame["published"]).notna()]
    frame = frame[frame["difference"].notna()].reset_index(drop=True)
    if frame.empty:
        notes.append("no cell in common with the paper")
    frame.attrs = {"notes": [*notes, *ours.attrs["notes"], *_notes_on_lacking(lacking)]}
    return frame


def _notes_on_lacking(lacking: pd.DataFrame) -> Iterator[str]:
    """Yield a note on published values whose cells this study has, but with too many networks at chance."""
    if len(lacking):
        by_table = lacking.groupby("table")[["row", "column"]].apply(
            lambda cells: cells.agg(", ".join, axis=1).tolist()
        )
        cells = "; ".join(f"Table {table}: {' / '.join(names)}" for table, names in by_table.items())
        yield f"some published values have no counterpart, because too many networks here are at chance: {cells}"


def _p_values(number: int, tests: pd.DataFrame) -> pd.DataFrame:
    design = DESIGNS[number]
    header = tests.attrs["row_headers"].get(number, design.rows)
    rows = tests.copy(deep=False)
    rows.attrs = {}  # otherwise every frame and column below would copy them
    rows = rows[rows["table"] == number]
    if rows.empty:
        return pd.DataFrame(columns=[header])
    headers = [tests.attrs["headers"][row] for row in rows.index]
    named = pd.DataFrame(headers, index=rows.index, columns=["column", "fixed"])
    frame = (
        named.assign(row=rows["row"], p=rows["p_bonferroni"].map(p_value).mask(_hindered(rows), AT_CHANCE))
        .pivot(index="row", columns="column", values="p")
        .reindex(index=rows["row"].drop_duplicates(), columns=named["column"].drop_duplicates())
        .fillna(NOT_AVAILABLE)
        .rename(columns={header: f"{header} "})  # a model may have the name of the header
        .rename_axis(index=header, columns=None)
        .reset_index()
    )
    places = "; ".join([", ".join(rows["dataset"].drop_duplicates()), *named["fixed"].drop_duplicates()])
    sides = "two-sided" if design.alternative == "two-sided" else "one-sided"
    kind = "paired" if design.paired else f"independent ({tests.attrs.get('variance', 'welch')})"
    frame.attrs = {"title": f"{design.title}? {places}. p of {sides} {kind} t-tests, Bonferroni-corrected"}
    return frame


def _hindered(tests: pd.DataFrame) -> pd.Series:
    """Return, for each test, whether it is impossible because networks are at chance."""
    return tests["p"].isna() & (tests["n_at_chance"] > 0)


def _accuracy(alphas: pd.DataFrame, as_printed: bool) -> pd.DataFrame:
    names = labels(alphas, as_printed=as_printed)
    dense = alphas.drop_duplicates([*_GROUP, "dense_run_id"])
    means = dense.groupby(_GROUP)["accuracy_before"].mean()
    means = _in_order(means.reindex(pd.MultiIndex.from_frame(alphas[_GROUP].drop_duplicates())))
    columns = ["Model", "Dataset", "Pruning Algorithm", "Accuracy"]
    rows = [(names[m], names[d], names[p], f"{mean:.3f}") for (d, m, p), mean in means.items()]
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs = {"title": "Mean accuracy before pruning"}
    return frame


def recall_variance(runs: pd.DataFrame, *, balances: bool = False, as_printed: bool = False) -> pd.DataFrame:
    """Format Table 11: the mean over networks of the variance of recall over the classes (ddof 0).

    Parameters
    ----------
    runs : DataFrame
        As `main_setting` returns them, so that every data set, model, pruner and ratio has one setting.
    balances : bool
        Whether to compute the variance of normalised recall balance instead of recall. For Fashion-MNIST, the variance
        of the balance agrees with the printed values.
    as_printed : bool
        As for `paper_table`.

    Returns
    -------
    DataFrame
        Networks at chance are included.
    """
    study = run_arrays(runs)
    before, after = study.before, study.after
    if balances:
        before, after = Recalls(before, study.accuracy_before).balance, Recalls(after, study.accuracy_after).balance
    variances = study.runs[[*_GROUP, schema.RATIO, "dense_run_id"]].assign(
        before=np.nanvar(before, axis=1), after=np.nanvar(after, axis=1)
    )
    means = variances.groupby([*_GROUP, schema.RATIO])["after"].mean()
    texts = means.map("{:.4f}".format).unstack(fill_value=NOT_AVAILABLE)
    texts = texts.rename(columns=lambda ratio: f"Ratio {short_ratio(ratio)}").rename_axis(columns=None)
    dense = variances.drop_duplicates([*_GROUP, "dense_run_id"])
    before_pruning = dense.groupby(_GROUP)["before"].mean().reindex(texts.index)
    texts.insert(0, "Before", before_pruning.map("{:.4f}".format))
    texts = _in_order(texts)
    frame = texts.reset_index(drop=True)
    names = labels(runs, as_printed=as_printed)
    frame.insert(0, "Model", [f"{names[d]} @ {names[m]} -> {names[p]}" for d, m, p in texts.index])
    what = "normalised recall balance" if balances else "recall"
    frame.attrs = {"title": f"Mean over networks of the variance of {what} over the classes (ddof 0)"}
    return frame


def _in_order(means: Any) -> Any:
    """Sort by model, data set and pruner, as in print."""
    return means.loc[sorted(means.index, key=lambda key: [rank(key[part]) for part in (1, 0, 2)])]


def _long(number: int, frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a table in long form: one row per cell, with table, row, column and the value."""
    if number == 10:
        row = frame["Dataset"] + " @ " + frame["Model"] + " -> " + frame["Pruning Algorithm"]
        frame = pd.DataFrame({"row": row, "Accuracy": frame["Accuracy"]})
    long = frame.melt(id_vars=frame.columns[0], var_name="column", value_name=value)
    long = long.rename(columns={frame.columns[0]: "row"}).astype("str")
    long.insert(0, "table", number)
    return long


def _numbers(text: pd.Series) -> pd.Series:
    return pd.to_numeric(text.str.removeprefix("<"), errors="coerce")
