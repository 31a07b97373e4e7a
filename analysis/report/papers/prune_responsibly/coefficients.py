"""The regression of class accuracy, fitted to a study's networks, beside the printed coefficients."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError, first_line
from analysis.report.papers.prune_responsibly.levels import (
    CLASS,
    ENTROPY,
    IMBALANCE,
    ITERATION,
    TECHNIQUE,
    class_levels,
    iterated,
)
from analysis.report.papers.prune_responsibly.printed_terms import printed_level, published_terms
from analysis.runs import frames, schema
from analysis.statistics import regression
from analysis.study.settings import CONTROL
from analysis.study.study import StudyData

LEVEL = 0.05  # level of significance
# With fewer groups than this, or than terms, standard errors clustered by groups are too small.
FEW = 30
# The signs that the paper's one-tailed tests expect (Section 3.1).
EXPECTED_SIGNS = {IMBALANCE: 1, ENTROPY: -1}


class Regression(NamedTuple):
    """The regression of a study; `table` is empty without levels of iterative pruning, or with too few rows.

    Attributes
    ----------
    table : DataFrame, a row for each term
        The columns of `regression.fit`, those of `published_terms`, and:

        - p_clustered: p by se_clustered;
        - se_network, p_network: as se_clustered and p_clustered, but by the jackknife if networks are few;
        - se_dense, p_dense: by the jackknife, clustered by dense network;
        - se_class, p_class: by the jackknife, clustered by class of a data set;
        - linear, linear_se, linear_p, linear_p_network: from the model without products;
        - logit, logit_p, logit_effect: from the fractional logit.
    fitted : Estimate or None
    linear : Estimate or None
        The model without products (Section 3.1).
    notes : list of str
        Sentences on what was left out.
    """

    table: pd.DataFrame
    fitted: regression.Estimate | None
    linear: regression.Estimate | None
    notes: list[str]


@lru_cache(2)
def fitted(study: StudyData) -> Regression:
    """Fit the regression of class accuracy to a study's levels of iterative pruning."""
    rows = fitted_rows(study.runs, study.characteristics)
    notes = _note_on_guessing(study)
    if rows.empty:
        return Regression(pd.DataFrame(), None, None, notes)
    try:
        regressed = fit_rows(rows)
    except StudyError as error:
        return Regression(pd.DataFrame(), None, None, [*notes, first_line(error)])
    return regressed._replace(notes=[*notes, *regressed.notes])


def fit_rows(rows: pd.DataFrame) -> Regression:
    """Fit the regression of class accuracy, and put the printed coefficients beside it.

    Parameters
    ----------
    rows : DataFrame
        As `fitted_rows` returns them.

    Raises
    ------
    StudyError
        If the number of rows is not larger than the number of terms.
    """
    fit = regression.estimate(rows)
    linear = regression.estimate(rows, crossed=False)
    logit = regression.logit_of(fit).set_index("term")
    table = fit.coefficients.copy()
    table = table.join(published_of(fit))
    errors = standard_errors(fit)
    table["se_network"] = errors["network"]
    for name in ("clustered", "network"):
        table[f"p_{name}"] = _clustered_p(table, f"se_{name}", fit.rows[regression.NETWORK])
    for name, groups in _groups(fit).items():
        table[f"se_{name}"] = errors[name]
        table[f"p_{name}"] = _clustered_p(table, f"se_{name}", groups)
    table = table.join(_linear(linear).set_index("term"), on="term")
    for name, column in {"logit": "coefficient", "logit_p": "p", "logit_effect": "effect"}.items():
        table[name] = logit[column].to_numpy()
    table.attrs = {}
    return Regression(table, fit, linear, list(logit.attrs["notes"]))


def _note_on_guessing(study: StudyData) -> list[str]:
    guessing = study.alphas.loc[study.alphas["at_chance"], frames.RUN_ID]
    levels = iterated(study.runs)
    guesses = levels.loc[levels[TECHNIQUE] != CONTROL, frames.RUN_ID].isin(guessing)
    if not guesses.any():
        return []
    return [f"regression: {guesses.sum():,} of {len(guesses):,} pruned networks are at chance, and are included"]


def fitted_rows(runs: pd.DataFrame, characteristics: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows of `class_levels` that the regression uses: those of pruned networks.

    The paper fits pruned networks (Sections 3 and 3.1). The dense network's accuracy is a predictor, accuracy0, so rows
    of the dense network would predict their own accuracy. The control, which is retrained without pruning, has no
    counterpart in the paper.

    Techniques are categories in the order of their printed names, so that `mp` is the reference wherever
    `global-unstructured` would be.
    """
    rows = class_levels(runs, characteristics)
    rows = rows[(rows[ITERATION] > 0) & (rows[TECHNIQUE] != CONTROL)].reset_index(drop=True)
    techniques = sorted(rows[TECHNIQUE].unique(), key=lambda name: (printed_level(TECHNIQUE, name), name))
    return rows.assign(**{TECHNIQUE: rows[TECHNIQUE].astype(pd.CategoricalDtype(techniques))})


def published_of(fit: regression.Estimate) -> pd.DataFrame:
    """Return the printed values of each term of a fit, in the columns of `published_terms`.

    If a term includes the effects of terms that were left out, its value is the sum of the printed values, without
    interval and p. For example, if a technique is used only with rewinding, the coefficient of the technique includes
    the coefficient of the product of technique and rewinding.
    """
    references = {factor: str(fit.rows[factor].cat.categories[0]) for factor in regression.FACTORS}
    printed = published_terms([*fit.implied.index, *fit.implied.columns], references)
    own, other = printed.iloc[: len(fit.implied)], printed["published"].to_numpy()[len(fit.implied) :]
    times = fit.implied.to_numpy(float)
    added = np.where(times == 0, 0.0, times * other).sum(axis=1)
    alone = (times == 0).all(axis=1)
    return own[alone].reindex(own.index).assign(published=own["published"] + added)


def standard_errors(fit: regression.Estimate) -> dict[str, np.ndarray]:
    """Return three sets of standard errors of the terms, (terms,): clustered by network, dense network or class."""
    jackknife = {name: regression.jackknife_errors(fit, groups) for name, groups in _groups(fit).items()}
    return {"network": _by_network(fit), **jackknife}


def _groups(fit: regression.Estimate) -> dict[str, pd.Series]:
    """Return the group of each row if rows are grouped by dense network, and if they are grouped by class."""
    columns = {"dense": [schema.DENSE_RUN_ID], "class": [schema.DATASET, CLASS]}
    return {name: fit.rows.groupby(own, observed=True).ngroup() for name, own in columns.items()}


def _by_network(fit: regression.Estimate) -> np.ndarray:
    networks = fit.rows[regression.NETWORK]
    errors = regression.jackknife_errors if has_few_networks(fit) else regression.clustered_errors
    return errors(fit, networks)


def has_few_networks(fit: regression.Estimate) -> bool:
    """Return whether a fit has too few networks for standard errors clustered by network."""
    return bool(fit.rows[regression.NETWORK].nunique() < max(FEW, len(fit.coefficients)))


def _linear(fit: regression.Estimate) -> pd.DataFrame:
    table = fit.coefficients
    errors = table.assign(se_network=_by_network(fit))
    return pd.DataFrame(
        {
            "term": table["term"],
            "linear": table["coefficient"],
            "linear_se": table["se"],
            "linear_p": table["p"],
            "linear_p_network": _clustered_p(errors, "se_network", fit.rows[regression.NETWORK]),
        }
    )


def _clustered_p(table: pd.DataFrame, errors: str, groups: pd.Series) -> np.ndarray:
    return regression.clustered_p(table["coefficient"], table[errors], int(groups.nunique()))


def survival(table: pd.DataFrame) -> pd.DataFrame:
    """Return the terms that are significant in print and estimated here, and whether they are confirmed.

    Terms whose printed value is a sum are left out, because the paper gives no standard error of the sum.

    Returns
    -------
    DataFrame, a row for each term
        The columns of `table`; same_sign (as in print); hac, network, dense, class (bool: whether the sign is the same
        and p is below 5 % with the standard errors of that name).
    """
    rows = table[table["published_p"] < LEVEL].reset_index(drop=True)
    same = np.sign(rows["coefficient"]) == np.sign(rows["published"])
    by = {"hac": "p", "network": "p_network", "dense": "p_dense", "class": "p_class"}
    return rows.assign(same_sign=same, **{name: same & (rows[column] < LEVEL) for name, column in by.items()})
