"""The regression over a study's networks, beside the coefficients in print."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.prune_responsibly.levels import CLASS, ENTROPY, IMBALANCE, ITERATION, TECHNIQUE, class_levels
from analysis.prune_responsibly.printed_terms import published_terms
from analysis.runs import schema
from analysis.runs.errors import StudyError, first_line
from analysis.settings import CONTROL
from analysis.statistics import regression
from analysis.study import AnalyzedStudy

LEVEL = 0.05  # of significance
# The signs that the paper's one-tailed tests are for (Section 3.1).
EXPECTED_SIGNS = {IMBALANCE: 1, ENTROPY: -1}


class Regression(NamedTuple):
    """The fit of a study; without levels of iterative pruning, or with too few rows, `table` is empty.

    Attributes
    ----------
    table : DataFrame, a row for each term
        The columns of `regression.fit`, and those of `published_terms`; p_clustered; se_dense and p_dense (of the
        jackknife: rows of networks that were pruned from one dense network may depend on each other); se_class and
        p_class (rows of one class of one data set may); linear (coefficient of the model without products); logit,
        logit_p and logit_effect (of the fractional logit).
    fitted : Estimate or None
    notes : list of str
        What was left out.
    """

    table: pd.DataFrame
    fitted: regression.Estimate | None
    notes: list[str]


def fitted(study: AnalyzedStudy) -> Regression:
    """Fit the accuracies of a study's classes after each level of iterative pruning."""
    rows = fitted_rows(study.runs, study.characteristics)
    if rows.empty:
        return Regression(pd.DataFrame(), None, [])
    try:
        fit = regression.estimate(rows)
    except StudyError as error:
        return Regression(pd.DataFrame(), None, [first_line(error)])
    linear = regression.fit(rows, crossed=False).set_index("term")["coefficient"]
    logit = regression.fractional_logit(rows).set_index("term")
    table = fit.coefficients.copy()
    table = table.join(published_terms(table["term"].tolist(), _references(fit.rows)))
    table["p_clustered"] = _clustered_p(table, "se_clustered", fit.rows[regression.NETWORK])
    for name, columns in {"dense": [schema.DENSE_RUN_ID], "class": [schema.DATASET, CLASS]}.items():
        groups = fit.rows.groupby(columns, observed=True).ngroup()
        table[f"se_{name}"] = regression.jackknife_errors(fit, groups)
        table[f"p_{name}"] = _clustered_p(table, f"se_{name}", groups)
    table["linear"] = table["term"].map(linear)
    for name, column in {"logit": "coefficient", "logit_p": "p", "logit_effect": "effect"}.items():
        table[name] = logit[column].to_numpy()
    table.attrs = {}
    return Regression(table, fit, logit.attrs["notes"])


def fitted_rows(runs: pd.DataFrame, characteristics: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows of `class_levels` that the regression is over: those of pruned networks.

    The paper fits pruned networks (Sections 3 and 3.1). The dense network is on the other side of the formula, as
    accuracy0: its own rows would say that accuracy0 is accuracy0. The control, which is retrained and not pruned, has
    no counterpart in the paper.
    """
    rows = class_levels(runs, characteristics)
    return rows[(rows[ITERATION] > 0) & (rows[TECHNIQUE] != CONTROL)].reset_index(drop=True)


def _references(rows: pd.DataFrame) -> dict[str, str]:
    return {factor: str(rows[factor].cat.categories[0]) for factor in regression.FACTORS}


def _clustered_p(table: pd.DataFrame, errors: str, groups: pd.Series) -> np.ndarray:
    return regression.clustered_p(table["coefficient"], table[errors], int(groups.nunique()))


def survival(table: pd.DataFrame) -> pd.DataFrame:
    """Return the terms that are significant in print and estimated here, and whether they hold.

    Terms whose printed value is a sum are not among them, because print does not say how sure the sum is.

    Returns
    -------
    DataFrame, a row for each term
        The columns of `table`; same_sign (as in print); hac, clustered, dense, class (bool: the same sign, and p below
        5 % with the standard errors of that name).
    """
    rows = table[table["published_p"] < LEVEL].reset_index(drop=True)
    same = np.sign(rows["coefficient"]) == np.sign(rows["published"])
    by = {"hac": "p", "clustered": "p_clustered", "dense": "p_dense", "class": "p_class"}
    return rows.assign(same_sign=same, **{name: same & (rows[column] < LEVEL) for name, column in by.items()})
