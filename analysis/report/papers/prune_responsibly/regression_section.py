"""The report's section on the regression of class accuracy (Paganini 2020, Section 3.1 and Appendix D)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, interval, number, p_value
from analysis.rendering.page import Block, Items, Picture, Section
from analysis.report import published
from analysis.report.papers.prune_responsibly import regression_figures as figures
from analysis.report.papers.prune_responsibly.coefficients import (
    EXPECTED_SIGNS,
    FEW,
    LEVEL,
    Regression,
    fitted,
    has_few_networks,
    standard_errors,
    survival,
)
from analysis.report.papers.prune_responsibly.levels import CLASS, ENTROPY, IMBALANCE
from analysis.runs import schema
from analysis.statistics import regression
from analysis.statistics.regression import one_tailed
from analysis.study.study import StudyData

_READING = (
    "The regression of Paganini explains the accuracy of each class after pruning by properties of the class (its "
    "accuracy before, its share of the training images, the entropy of its images) and of the network (its sparsity, "
    "data set, model, pruning technique and weight treatment). Every row is a class of a pruned network. Rows of one "
    "network are not independent, so a second standard error, by network, allows for their dependence. regression.csv "
    "has all terms."
)
_TABLE = (
    "A colon means a product. The first p uses the paper's standard errors. The other p allow for dependence between "
    "rows of one network, of all networks from one dense network, or of one class. A printed value without a p is a "
    "sum of printed values. The sum is needed if the reference data set or technique here (the first) is not the "
    "paper's, or if the term here includes the effect of a term that was left out. The effect of a level, such as "
    "rewind, also depends on the products that contain it. In every network some of these products differ from 0, so "
    "the level's own coefficient is never the whole effect."
)
_CHOICES = (
    "The paper leaves the batch size, the learning rate and the optimizer to later work, which could narrow down the "
    "effect of imbalance further. The table gives the coefficient of imbalance with and without these terms."
)
_TESTS = (
    "The one-tailed tests are of the hypotheses that a larger share of the training images helps a class, and that "
    "more entropy hurts it."
)
_SUMMARY = (
    "The last table compares the fit as a whole with the fit in print. Durbin-Watson is 2 if neighbouring rows have "
    "independent errors."
)
_MEANINGS = {
    IMBALANCE: ("A class with a share of the training images larger by one point is", 1.0),
    ENTROPY: ("A class whose images have one bit more of entropy is", 100.0),
}
_CHOICE_MEANINGS = {
    "np.log2(batch_size)": "Networks that are trained on batches of twice as many images are",
    "np.log10(learning_rate)": "Networks that are trained at ten times the learning rate are",
}
_SIGN_WORDS = {1: "above 0", -1: "below 0"}


def section(study: StudyData) -> Section | None:
    """Return the section on the regression; None for a study without levels of iterative pruning."""
    results = fitted(study)
    if results.fitted is None:
        return Section("What a class's accuracy depends on", [], notes=results.notes) if results.notes else None
    rows = results.fitted.rows
    networks = int(rows[regression.NETWORK].nunique())
    choices = regression.choices(rows)
    is_in_print = results.table["published"].notna().any()
    coefficients = figures.coefficients(results.table, networks) if is_in_print else None
    blocks: list[Block] = [
        Items(list(_sentences(results))),
        _READING,
        *([Picture("regression", coefficients)] if coefficients else []),
        *([_TESTS, tests] if len(tests := one_tailed_tests(results.table)) else []),
        *([_CHOICES, with_and_without(results, rows, choices)] if choices and has_imbalance(results.table) else []),
        _TABLE,
        _shown(results.table),
        Picture("regression_diagnostics", figures.diagnostics(results.fitted)),
        _SUMMARY,
        _summary(results),
    ]
    return Section("What a class's accuracy depends on", blocks, {"regression.csv": results.table}, results.notes)


def _sentences(results: Regression) -> Iterator[str]:
    """Yield sentences on the regression, first on how many printed coefficients are confirmed."""
    assert results.fitted is not None
    rows, table = results.fitted.rows, results.table
    yield from _on_survival(survivors(survival(table)), results.fitted)
    groups = {
        "networks": int(rows[regression.NETWORK].nunique()),
        "dense networks": int(rows[schema.DENSE_RUN_ID].nunique()),
        "classes": rows.groupby([schema.DATASET, CLASS], observed=True).ngroups,
    }
    by_term = table.set_index("term")
    for term, sign in EXPECTED_SIGNS.items():
        if term in by_term.index:
            yield from _on_term(term, sign, by_term.loc[term], groups["networks"], _telling_classes(rows, term))
        else:
            yield f"The effect of {_words(term)} cannot be estimated here: see the notes at the end for the reason."
    yield from _on_choices(by_term, groups["networks"])
    few = [f"{name}: {count}" for name, count in groups.items() if count < FEW]
    if few:
        yield (
            f"These numbers are based on few units ({', '.join(few)}): do not generalise the result to other data sets "
            "or models."
        )


def _on_choices(by_term: pd.DataFrame, networks: int) -> Iterator[str]:
    """Yield a sentence on the effect of each training choice."""
    for term, row in by_term[by_term.index.map(_is_choice)].iterrows():
        level = figures.short(str(term))
        meaning = _CHOICE_MEANINGS.get(
            str(term), f"Networks that are trained with {level} are, at the same learning rate,"
        )
        yield f"{meaning} {_more_accurate(100 * row['coefficient'])}, all else equal{_bounds(row, 100, networks)}."


def _is_choice(term: str) -> bool:
    return term.partition("[")[0] in regression.CHOICES.values()


def _bounds(row: pd.Series, points: float, networks: int) -> str:
    """Format a coefficient's interval by network, in points and in brackets; empty if there is none."""
    half = float(regression.clustered_half_width(row["se_network"], networks))
    low, high = (_to_hundredths(points * (row["coefficient"] + side * half)) for side in (-1, 1))
    return f" (95 % interval by network: {interval(low, high, decimals(2))})" if np.isfinite(half) else ""


def has_imbalance(table: pd.DataFrame) -> bool:
    """Return whether a fit has a coefficient of imbalance."""
    return IMBALANCE in set(table["term"])


def with_and_without(results: Regression, rows: pd.DataFrame, choices: Sequence[str]) -> pd.DataFrame:
    """Return the coefficient of imbalance and its standard errors, with and without the terms of training choices.

    Parameters
    ----------
    results : Regression
        The fit with these terms.
    rows : DataFrame
        The fitted rows.
    choices : sequence of str
        The columns of the terms.
    """
    fit = regression.estimate(rows.drop(columns=list(choices)))
    plain = fit.coefficients.assign(**{f"se_{name}": errors for name, errors in standard_errors(fit).items()})
    return pd.DataFrame([_imbalance(results.table, ", ".join(map(_words, choices))), _imbalance(plain, "none")])


def _imbalance(table: pd.DataFrame, choices: str) -> dict[str, str]:
    row = table.set_index("term").loc[IMBALANCE]
    columns = {
        "imbalance": "coefficient",
        "error by network": "se_network",
        "by dense network": "se_dense",
        "by class": "se_class",
    }
    return {"training choices": choices, **{title: number(float(row[name])) for title, name in columns.items()}}


class Survivors(NamedTuple):
    """How many of the coefficients that are significant in print a study confirms.

    Attributes
    ----------
    terms, same_sign, hac : int
        Numbers of all these coefficients, of those with the printed sign, and of those confirmed with the paper's
        standard errors.
    counts : dict of int
        Numbers of coefficients confirmed if rows of one network (`network`), of one dense network (`dense`) or of one
        class (`class`) may depend on each other, as far as this can be tested.
    other_sign, insignificant : list of str
        The terms with another sign, and the terms with the printed sign that are not significant with standard errors
        by network.
    """

    terms: int
    same_sign: int
    hac: int
    counts: dict[str, int]
    other_sign: list[str]
    insignificant: list[str]


def survivors(terms: pd.DataFrame) -> Survivors:
    """Count the confirmed coefficients; `terms` as `survival` returns them."""
    counts = {
        kind: int(terms[kind].sum()) for kind in ("network", "dense", "class") if terms[f"p_{kind}"].notna().any()
    }
    is_insignificant = terms["same_sign"] & ~terms["network"] & ("network" in counts)
    return Survivors(
        len(terms),
        int(terms["same_sign"].sum()),
        int(terms["hac"].sum()),
        counts,
        list(terms.loc[~terms["same_sign"], "term"]),
        list(terms.loc[is_insignificant, "term"]),
    )


def _on_survival(count: Survivors, fit: regression.Estimate) -> Iterator[str]:
    if not count.terms:
        yield "No coefficient that is significant in print can be estimated in this study."
        return
    if "network" in count.counts:
        yield (
            f"{count.counts['network']} of the {count.terms} coefficients that are significant in print and can be "
            "estimated here survive: they have the same sign, and are significant with standard errors by network."
        )
    else:
        yield (
            f"It cannot be tested by network whether the {count.terms} coefficients that are significant in print and "
            "can be estimated here survive: there is one network, or a term is estimated from one."
        )
    if "network" in count.counts and has_few_networks(fit):
        networks = fit.rows[regression.NETWORK].nunique()
        yield (
            f"{networks:,} networks are few for {len(fit.coefficients)} terms. Standard errors clustered by so few "
            "networks are too small, so standard errors by network come from a jackknife: from fits that leave out one "
            "network each."
        )
    yield (
        f"With the paper's own standard errors, {count.hac} coefficients would survive. {count.same_sign} coefficients "
        "have the printed sign."
    )
    for kind, who in (("dense", "all networks from one dense network"), ("class", "rows of one class")):
        if kind in count.counts:
            yield f"If {who} may depend on each other, {count.counts[kind]} coefficients survive."
    for words, names in (
        ("The sign differs from print for", count.other_sign),
        ("The sign agrees with print, but the coefficient is not significant by network, for", count.insignificant),
    ):
        if names:
            yield f"{words}: {', '.join(map(figures.short, names))}."


def _telling_classes(rows: pd.DataFrame, term: str) -> int:
    """Count the classes in data sets whose classes differ in a term; other data sets are uninformative about it."""
    by_dataset = rows.assign(**{term: rows[term].round(12)}).groupby(schema.DATASET, observed=True)[[term, CLASS]]
    numbers = by_dataset.nunique()
    return int(numbers.loc[numbers[term] > 1, CLASS].sum())


def _on_term(term: str, sign: int, row: pd.Series, networks: int, classes: int) -> Iterator[str]:
    meaning, points = _MEANINGS[term]
    bounds = _bounds(row, points, networks)
    sentence = f"{meaning} {_more_accurate(points * row['coefficient'])}, all else equal{bounds}."
    printed = points * row["published"]
    yield f"{sentence} In print it is {_more_accurate(printed)}." if np.isfinite(printed) else sentence
    p = one_tailed(row["p_class"], row["coefficient"], sign)
    if np.isfinite(p):
        yield (
            f"Only {classes} classes are informative about this effect. If rows of one class may depend on each other, "
            f"the effect {'holds' if p < LEVEL else 'is not shown'} (one-tailed p {p_value(p)})."
        )


def _more_accurate(points: float) -> str:
    points = _to_hundredths(points)
    return f"{abs(points):.2f} points {'less' if points < 0 else 'more'} accurate"


def _to_hundredths(points: float) -> float:
    return round(points, 2) + 0.0  # 0 has no sign


def one_tailed_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's one-tailed tests, with every kind of standard error and of model."""
    by_term = table.set_index("term")
    kinds = {
        "the paper's": ("p", "coefficient"),
        "by network": ("p_network", "coefficient"),
        "by dense network": ("p_dense", "coefficient"),
        "by class": ("p_class", "coefficient"),
        "without products": ("linear_p", "linear"),
        "without products, by network": ("linear_p_network", "linear"),
        "fractional logit": ("logit_p", "logit"),
    }
    return pd.DataFrame(
        {
            "alternative": f"{_words(term)} {_SIGN_WORDS[sign]}",
            **{
                name: p_value(one_tailed(by_term.at[term, p], by_term.at[term, coefficient], sign))
                for name, (p, coefficient) in kinds.items()
            },
        }
        for term, sign in EXPECTED_SIGNS.items()
        if term in by_term.index
    )


def _words(term: str) -> str:
    return term.replace("_", " ")


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Format the terms that are also in print, and those of training choices."""
    rows = table[table["published"].notna() | table["term"].map(_is_choice)]
    columns = {"p": "p", "by network": "p_network", "by dense network": "p_dense", "by class": "p_class"}
    return pd.DataFrame(
        {
            "term": [figures.short(term) for term in rows["term"]],
            "coefficient": rows["coefficient"].map(number),
            "in print": rows["published"].map(number),
            "p in print": rows["published_p"].map(p_value),
            **{name: rows[column].map(p_value) for name, column in columns.items()},
        }
    )


def _summary(results: Regression) -> pd.DataFrame:
    assert results.fitted is not None
    assert results.linear is not None
    printed = published.figures("prune_responsibly_summary").set_index("statistic")["value"]
    ours, simpler = regression.summary(results.fitted), regression.summary(results.linear)
    return pd.DataFrame(
        {
            "statistic": list(ours),
            "this study": [_whole(value) for value in ours.values()],
            "without products": [_whole(value) for value in simpler.values()],
            "in print": [_whole(printed[name]) for name in ours],
        }
    )


def _whole(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else number(float(value))
