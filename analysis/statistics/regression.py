"""Regress class accuracy on properties of the class and its network (Paganini 2020, Sections 3.1 and D)."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from analysis.common.errors import StudyError

if TYPE_CHECKING:
    from statsmodels.genmod.generalized_linear_model import GLMResults
    from statsmodels.regression.linear_model import RegressionResults

FACTORS = ("dataset", "model", "weight_treatment", "pruning_technique")
NUMBERS = ("sparsity", "accuracy0", "accuracy0_quartile", "imbalance", "class_entropy")
# Terms for training options, by column. The paper has none of them (Section 3.2). A term is in the formula if its
# column differs between rows.
CHOICES = {
    "optimizer": "optimizer",
    "batch_size": "np.log2(batch_size)",
    "learning_rate": "np.log10(learning_rate)",
}
_POSITIVE = ("batch_size", "learning_rate")
OUTCOME, NETWORK = "accuracy", "network"
ORDER = (NETWORK, "iteration", "class")
LINEAR = (*FACTORS, "np.exp(sparsity)", *NUMBERS)
CROSSED = (
    "weight_treatment:pruning_technique",
    "np.exp(sparsity):dataset",
    "np.exp(sparsity):pruning_technique",
    "np.exp(sparsity):accuracy0",
    "accuracy0:weight_treatment",
    "accuracy0:pruning_technique",
    "accuracy0:accuracy0_quartile",
)
LAGS = 3
CONFIDENCE = 0.95
# A column is left out if its residual on earlier columns is shorter than this share of its length.
_UNEXPLAINED = 1e-8
_AT_ONCE = 8192  # rows at a time, so that they fit into a core's cache
_ROUNDING = 1e-12  # a column with a smaller root mean square is a rounding error
_CALL = re.compile(r"np\.\w+\((.*)\)")
_NO_PART = 1e-6  # a column's contribution to another column counts as 0 if it is below this share of the other's length


@dataclass(frozen=True, eq=False)
class Estimate:
    """A fit, with the data for diagnostics and other standard errors.

    Attributes
    ----------
    coefficients : DataFrame
        As `fit` returns it.
    rows : DataFrame, (rows, ...)
        The rows of the frame that were used, sorted.
    result : RegressionResults
        The fit by statsmodels, with the standard errors of `coefficients`.
    implied : DataFrame, (terms, terms left out)
        A column for each term that was left out because it is a linear combination of kept terms, with the factor of
        each kept term. The fitted coefficient of a kept term includes the effect of the term left out: the factor times
        the coefficient that the left-out term would have.
    """

    coefficients: pd.DataFrame
    rows: pd.DataFrame
    result: "RegressionResults"
    implied: pd.DataFrame

    @property
    def design(self) -> np.ndarray:
        """A column for each term, (rows, terms)."""
        return np.asarray(self.result.model.exog)

    @property
    def predicted(self) -> np.ndarray:
        """Accuracy predicted by the fit, which may be outside 0 to 1, (rows,)."""
        return np.asarray(self.result.fittedvalues)


def fit(frame: pd.DataFrame, *, crossed: bool = True) -> pd.DataFrame:
    """Fit class accuracy by ordinary least squares, with the paper's formula and standard errors.

    The formula is `accuracy ~ dataset + model + weight_treatment*pruning_technique + np.exp(sparsity)*(dataset +
    pruning_technique + accuracy0) + sparsity + accuracy0*(weight_treatment + pruning_technique + accuracy0_quartile) +
    imbalance + class_entropy`. The terms of `CHOICES` are added for columns that differ between rows: the optimizer,
    the binary logarithm of the batch size and the decimal logarithm of the learning rate. Rows are sorted stably by
    network, iteration and class, as far as these columns exist. With n rows and k terms, standard errors allow for
    heteroscedasticity and for autocorrelation over 3 rows (HAC, Bartlett weights, with the small-sample correction n /
    (n - k)), and t has n - k degrees of freedom.

    Parameters
    ----------
    frame : DataFrame
        A row for each network, iteration and class:

        - accuracy: from 0 to 1.
        - dataset, model, weight_treatment, pruning_technique: factors, whose levels may have any name.
        - sparsity, accuracy0, accuracy0_quartile, imbalance, class_entropy: numbers.
        - network, iteration, class: optional, used to sort rows; `se_clustered` is clustered by network.
        - optimizer, batch_size, learning_rate: optional, for the terms of `CHOICES`.
    crossed : bool
        Whether the formula has interactions, the products of two terms. Without them the model is the simpler one of
        Section 3.1.

    Returns
    -------
    DataFrame, a row for each term
        - term: its name by patsy, with the levels as given: `dataset[T.mnist]`. The reference of a factor is its first
          level in alphabetical or categorical order.
        - coefficient, se, t.
        - p: two-sided.
        - ci_low, ci_high: 95 % interval.
        - se_clustered: standard error that allows for any dependence between rows of a network; NaN if networks are
          unknown or fewer than two.

        `attrs["notes"]` lists what was left out: rows that lack a value, factors with one level, columns without
        values, and terms implied by others. `attrs["rows"]` and `attrs["networks"]` are the numbers of rows and
        networks used.

    Raises
    ------
    StudyError
        If a column is missing, or if there are not more rows than terms.
    """
    return estimate(frame, crossed=crossed).coefficients


def estimate(frame: pd.DataFrame, *, crossed: bool = True) -> Estimate:
    """Fit as `fit` does, and also return the design and the predicted accuracies."""
    # With several BLAS threads, a million rows take four times as long if other programs run, because threads wait.
    with threadpool_limits(1, user_api="blas"):
        terms = [*LINEAR, *(CHOICES[name] for name in choices(frame)), *(CROSSED if crossed else ())]
        usable = _usable(frame, terms)
        return _estimate(usable.rows, usable.terms, _notes(usable, len(frame)))


def choices(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `CHOICES` that differ between the rows of a frame.

    Examples
    --------
    >>> choices(pd.DataFrame({"batch_size": [32, 128], "learning_rate": [0.01, 0.01]}))
    ['batch_size']
    """
    return [name for name in CHOICES if name in frame and frame[name].nunique() > 1]


def _estimate(rows: pd.DataFrame, terms: Sequence[str], notes: list[str]) -> Estimate:
    design, implied = _design(rows, terms, notes)
    names = list(implied.index)
    if len(rows) <= len(names):
        raise StudyError(
            f"the regression has {len(rows):,} rows and {len(names):,} terms: it needs more rows than terms"
        )
    result = _least_squares(design, rows[OUTCOME].to_numpy(float))
    table, own = _table(names, result), rows.get(NETWORK)
    fitted = Estimate(table, rows, result, implied)
    table["se_clustered"] = np.nan if own is None else clustered_errors(fitted, own)
    table.attrs = {"notes": notes, "rows": len(rows), "networks": 0 if own is None else int(own.nunique())}
    return fitted


class _Usable(NamedTuple):
    """The usable part of a frame for a regression.

    Attributes
    ----------
    rows : DataFrame
        The rows that have all values, sorted.
    terms : list of str
        The terms whose columns have values and, for factors, at least two levels.
    empty : list of str
        Numeric columns without any value.
    incomplete : list of str
        Columns with missing values, because of which rows are left out.
    levels : dict of str
        For each factor with fewer than two levels: its only level, or a remark that it has none.
    """

    rows: pd.DataFrame
    terms: list[str]
    empty: list[str]
    incomplete: list[str]
    levels: dict[str, str]


def _notes(usable: _Usable, rows: int) -> list[str]:
    """Describe what a regression leaves out, given the number of rows of the frame."""
    notes = [f"regression: no row has a value of {name}, which is left out" for name in usable.empty]
    if usable.incomplete:
        left_out = f"{rows - len(usable.rows):,} of {rows:,} rows are left out"
        notes.append(f"regression: {left_out} because they lack a value of {', '.join(usable.incomplete)}")
    return [
        *notes,
        *(
            f"regression: {name} has fewer than two levels ({level}), and is left out"
            for name, level in usable.levels.items()
        ),
    ]


def _usable(frame: pd.DataFrame, terms: Sequence[str]) -> _Usable:
    own_choices = choices(frame)
    positive = [name for name in _POSITIVE if name in own_choices]
    all_factors = [*FACTORS, *(name for name in own_choices if name not in positive)]
    required_columns = [OUTCOME, *all_factors, *NUMBERS, *positive]
    if missing := [name for name in required_columns if name not in frame]:
        raise StudyError(f"the regression needs a column {missing[0]}, but the frame has none")
    order = [name for name in ORDER if name in frame]
    rows = frame[list(dict.fromkeys([*order, *required_columns, *frame.columns]))]
    rows = rows.sort_values(order, kind="stable", ignore_index=True) if order else rows.reset_index(drop=True)
    numbers = rows[[OUTCOME, *NUMBERS, *positive]].apply(pd.to_numeric, errors="coerce").astype(float)
    numbers[positive] = numbers[positive].where(numbers[positive] > 0)
    rows = rows.assign(**numbers.where(np.isfinite(numbers)))
    empty = [name for name in NUMBERS if rows[name].isna().all()]
    own = [NETWORK] if NETWORK in rows else []
    has_value = rows[[*own, *(name for name in required_columns if name not in empty)]].notna()
    incomplete = list(has_value.columns[~has_value.all()])
    if incomplete:
        rows = rows[has_value.all(axis=1)].reset_index(drop=True)
    factors = {name: rows[name].astype("category").cat.remove_unused_categories() for name in all_factors}
    single = {
        name: next(iter(values.cat.categories), "no level at all")
        for name, values in factors.items()
        if values.nunique() < 2
    }
    left_out = {*single, *empty}
    usable_terms = [term for term in terms if left_out.isdisjoint(_columns(term))]
    return _Usable(rows.assign(**factors), usable_terms, empty, incomplete, single)


def _columns(term: str) -> list[str]:
    return [_CALL.sub(r"\1", part) for part in term.split(":")]


def _design(rows: pd.DataFrame, terms: Sequence[str], notes: list[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Make the design, (rows, terms), without columns implied by earlier ones, and a table of the implied ones."""
    from patsy import dmatrix

    if rows.empty:
        return np.ones((0, 1)), pd.DataFrame(index=["Intercept"])
    matrix = dmatrix(" + ".join(terms) or "1", rows, return_type="matrix")
    names, design = list(matrix.design_info.column_names), np.asarray(matrix)
    independent = _independent(design)
    if len(independent) == len(names):
        return design, pd.DataFrame(index=names)
    left_out = [column for column in range(len(names)) if column not in independent]
    implied = pd.DataFrame(
        _implied(design, independent, left_out), [names[i] for i in independent], [names[i] for i in left_out]
    )
    notes.append(f"regression: terms left out because other terms imply them: {', '.join(implied.columns)}")
    return design[:, independent], implied


def _implied(design: np.ndarray, independent: Sequence[int], left_out: Sequence[int]) -> np.ndarray:
    """Express the columns that are left out as linear combinations of the independent ones, (independent, left out)."""
    triangle = _triangle(design)
    lengths = np.linalg.norm(triangle, axis=0)
    long = lengths > _ROUNDING * np.sqrt(len(design))
    unit_columns = np.divide(triangle, lengths, out=np.zeros_like(triangle), where=long)
    parts = np.linalg.lstsq(unit_columns[:, independent], unit_columns[:, left_out])[0]
    parts = np.where(np.abs(parts) > _NO_PART, parts, 0.0)
    return np.asarray(parts * lengths[left_out] / lengths[independent, np.newaxis])


def _independent(design: np.ndarray) -> list[int]:
    """Return the indices of the columns that are not linear combinations of earlier ones."""
    triangle = _triangle(design)
    lengths = np.linalg.norm(triangle, axis=0)
    independent: list[int] = []
    basis = np.empty((len(triangle), 0))
    for index in np.flatnonzero(lengths > _ROUNDING * np.sqrt(len(design))).tolist():
        column = triangle[:, index] / lengths[index]
        for _ in range(2):  # the second pass removes rounding errors of the first
            column = column - basis @ (basis.T @ column)
        if (residual_length := np.linalg.norm(column)) > _UNEXPLAINED:
            basis = np.column_stack([basis, column / residual_length])
            independent.append(index)
    return independent


def _triangle(design: np.ndarray) -> np.ndarray:
    """Compute the factor R of the QR decomposition of a design, at most (terms, terms)."""
    parts = np.split(design, range(_AT_ONCE, len(design), _AT_ONCE))
    return np.asarray(np.linalg.qr(np.concatenate([np.linalg.qr(part, mode="r") for part in parts]), mode="r"))


def _least_squares(design: np.ndarray, values: np.ndarray) -> "RegressionResults":
    """Fit by least squares; return statsmodels' result with standard errors by Newey and West (1987).

    A million rows of 50 terms take half a second by the normal equations, and 20 s with the solver of statsmodels. A
    second step restores the digits lost in the matrix product.
    """
    from statsmodels.regression.linear_model import OLS, OLSResults  # commands without a regression do not wait for it

    model = OLS(values, design)
    model.rank = design.shape[1]
    gram = design.T @ design
    coefficients = np.linalg.solve(gram, design.T @ values)
    coefficients += np.linalg.solve(gram, design.T @ (values - design @ coefficients))
    result = OLSResults(model, coefficients, normalized_cov_params=np.linalg.inv(gram))
    return result.get_robustcov_results("HAC", maxlags=LAGS, use_correction=True, use_t=True)


def _table(names: Sequence[str], result: "RegressionResults | GLMResults") -> pd.DataFrame:
    low, high = result.conf_int(1 - CONFIDENCE).T
    values = (names, result.params, result.bse, result.tvalues, result.pvalues, low, high)
    columns = ("term", "coefficient", "se", "t", "p", "ci_low", "ci_high")
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def clustered_errors(estimate: Estimate, groups: pd.Series) -> np.ndarray:
    """Compute standard errors, (terms,), allowing for any dependence between rows of a group.

    Parameters
    ----------
    estimate : Estimate
    groups : (rows,)
        The group of each row of `estimate.rows`. With one group, errors are NaN.
    """
    codes = groups.factorize()[0]
    if codes.max() < 1:
        return np.full(len(estimate.coefficients), np.nan)
    covariance = estimate.result.get_robustcov_results("cluster", groups=codes).cov_params()
    return np.asarray(np.sqrt(np.diag(covariance).clip(min=0)))  # if a fit is exact, rounding can make it negative


def jackknife_errors(estimate: Estimate, groups: pd.Series) -> np.ndarray:
    """Compute standard errors, (terms,), from fits that each omit one group.

    Use these for few groups, because `clustered_errors` are far too small if there are fewer groups than terms (CV3 of
    MacKinnon, Nielsen and Webb 2023).

    Parameters
    ----------
    estimate : Estimate
    groups : (rows,)
        The group of each row of `estimate.rows`.

    Returns
    -------
    (terms,) ; NaN for fewer than two groups, or if a term cannot be estimated without one of the groups.
    """
    codes, names = groups.factorize()
    augmented = np.column_stack([estimate.design, estimate.rows[OUTCOME].to_numpy(float)])
    triangles = [_triangle(augmented[codes == code]) for code in range(len(names))]
    coefficients = estimate.coefficients["coefficient"].to_numpy()
    square_sum = np.full(len(coefficients), np.nan if len(names) < 2 else 0.0)
    for index in range(len(names) if len(names) > 1 else 0):
        other_triangles = np.concatenate(triangles[:index] + triangles[index + 1 :])
        if len(_independent(other_triangles[:, :-1])) < len(coefficients):
            return np.full(len(coefficients), np.nan)
        square_sum += np.square(np.linalg.lstsq(other_triangles[:, :-1], other_triangles[:, -1])[0] - coefficients)
    return np.asarray(np.sqrt(square_sum * (len(names) - 1) / len(names)))


def clustered_p(coefficients: pd.Series, errors: pd.Series, groups: int) -> np.ndarray:
    """Compute two-sided p-values from clustered errors, by t with groups - 1 degrees of freedom."""
    return np.asarray(2 * stats.t.sf(np.abs(coefficients / errors), groups - 1))


def clustered_half_width(errors: pd.Series, groups: int) -> np.ndarray:
    """Compute half-widths of 95 % intervals from clustered errors, by the same t distribution as `clustered_p`."""
    return np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, max(groups - 1, 1)) * errors)


def one_tailed(p: float, coefficient: float, sign: int) -> float:
    """Convert a two-sided p to the one-sided p of the alternative that the coefficient has a given sign (1 or -1).

    Examples
    --------
    >>> one_tailed(0.04, 1.2, 1), one_tailed(0.04, 1.2, -1)
    (0.02, 0.98)
    """
    return p / 2 if coefficient * sign > 0 else 1 - p / 2


def fractional_logit(frame: pd.DataFrame) -> pd.DataFrame:
    """Fit class accuracy by a model that predicts only values between 0 and 1 (Papke and Wooldridge 1996).

    This is a generalised linear model (binomial family, logit link) with the terms and rows of `fit`.

    Parameters
    ----------
    frame : DataFrame
        As for `fit`.

    Returns
    -------
    DataFrame, a row for each term
        - term.
        - coefficient: on the logit scale.
        - se: standard error, clustered by network if at least two networks are known, else robust to
          heteroscedasticity.
        - t, p.
        - effect: effect of one unit of the term on the accuracy, averaged over the rows. For a term without
          interactions, it can be compared with the coefficient of `fit`.

        `attrs["notes"]` is as in `fit`, with another note if the iteration did not converge or the fit is exact.

    Raises
    ------
    StudyError
        As in `fit`.
    """
    return logit_of(estimate(frame))


def logit_of(linear: Estimate) -> pd.DataFrame:
    """Fit the fractional logit to the rows of an estimate."""
    from statsmodels.genmod.families import Binomial  # commands without a regression do not wait for it
    from statsmodels.genmod.generalized_linear_model import GLM

    accuracy, own = linear.rows[OUTCOME].to_numpy(float), linear.rows.get(NETWORK)
    has_networks = own is not None and own.nunique() > 1
    kind, of = ("cluster", {"groups": own.factorize()[0]}) if has_networks else ("HC0", {})
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore")  # notes say the same
        model = GLM(accuracy, linear.design, Binomial())
        # Newton's method takes a fifth of the time of the default, iterated least squares.
        how = {"method": "newton", "max_start_irls": 0, "tol": 1e-10, "disp": False}
        result = model.fit(**how, cov_type=kind, cov_kwds=of, use_t=True)
        table = _table(linear.coefficients["term"].tolist(), result).iloc[:, :5]
    predicted = result.fittedvalues
    table["effect"] = result.params * np.mean(predicted * (1 - predicted))
    notes = [] if result.mle_retvals["converged"] else ["regression: the fractional logit did not converge"]
    if np.allclose(predicted, accuracy, rtol=0):
        notes.append(
            "regression: the fractional logit fits the accuracies exactly, so its standard errors are meaningless"
        )
    table.attrs = {"notes": [*linear.coefficients.attrs["notes"], *notes]}
    return table


def summary(estimate: Estimate) -> dict[str, float]:
    """Compute the summary statistics of a fit, by their names in the paper.

    Returns
    -------
    dict
        - observations: number of rows.
        - residual degrees of freedom, model degrees of freedom, adjusted R2.
        - Durbin-Watson: 2 if neighbouring residuals are independent, 0 if they are equal.
        - Omnibus, Jarque-Bera: statistics of tests for normal residuals.
        - skew, kurtosis: of the residuals; kurtosis is 3 for normal residuals.
        - condition number: of the design; the square root of the ratio of the largest to the smallest eigenvalue of its
          Gram matrix.
    """
    from statsmodels.stats.stattools import durbin_watson, jarque_bera, omni_normtest

    result = estimate.result
    bera, _, skew, kurtosis = jarque_bera(result.resid)
    eigenvalues = np.linalg.eigvalsh(estimate.design.T @ estimate.design)
    return {
        "observations": int(result.nobs),
        "residual degrees of freedom": int(result.df_resid),
        "model degrees of freedom": int(result.df_model),
        "adjusted R2": float(result.rsquared_adj),
        "Durbin-Watson": float(durbin_watson(result.resid)),
        "Omnibus": float(omni_normtest(result.resid)[0]) if result.nobs >= 8 else np.nan,
        "Jarque-Bera": float(bera),
        "skew": float(skew),
        "kurtosis": float(kurtosis),
        "condition number": float(np.sqrt(eigenvalues[-1] / eigenvalues[0])),
    }
