"""The printed coefficients, converted to the factor levels and the reference levels of a study."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.report import published

# The reference level of each factor in print, to which the coefficients of the other levels are relative.
_REFERENCES = {
    "dataset": "cifar-10",
    "model": "AlexNet",
    "weight_treatment": "finetune",
    "pruning_technique": "global_unstructured",
}
# The factors on which each slope of the formula depends, by the numeric part of the term ("" for the intercept).
_DEPENDS_ON: dict[str, list[tuple[str, ...]]] = {
    "": [
        ("dataset",),
        ("model",),
        ("weight_treatment",),
        ("pruning_technique",),
        ("weight_treatment", "pruning_technique"),
    ],
    "np.exp(sparsity)": [("dataset",), ("pruning_technique",)],
    "accuracy0": [("weight_treatment",), ("pruning_technique",)],
}
_DATASETS = {"MNIST": "mnist", "Fashion": "fashionmnist", "CIFAR-10": "cifar-10", "CIFAR-100": "cifar-100"}
_MODELS = {"lenet5": "LeNet", "alexnet": "AlexNet"}
_TECHNIQUES = {"mp": "global_unstructured"}  # two names of global magnitude pruning
_FACTOR = re.compile(r"(\w+)\[T\.(.*)\]")


def published_terms(terms: Sequence[str], references: Mapping[str, str]) -> pd.DataFrame:
    """Return the printed coefficient of each term, relative to a study's reference levels.

    A coefficient is relative to the reference level of each factor. If a study has other reference levels than the
    paper, the equivalent sums and differences of printed coefficients are returned. For example, the printed intercept,
    which is that of CIFAR-10, is converted to that of the study's first data set.

    Parameters
    ----------
    terms : sequence of str
        Terms as `regression.fit` names them, with the levels of a study.
    references : dict of factor -> level
        The study's reference level of each factor, or its only level.

    Returns
    -------
    DataFrame, a row for each term
        published (NaN if a coefficient that is needed is not printed or not legible); published_low, published_high and
        published_p (as printed; NaN if the value is a sum).
    """
    printed = published.figures("prune_responsibly_ols").set_index("term")
    start = {factor: printed_level(factor, level) for factor, level in references.items()}
    parts = [_parts(term, start) for term in terms]
    alone = [next(iter(own)) if list(own.values()) == [1] else None for own in parts]
    columns = {"published_low": "lower", "published_high": "upper", "published_p": "p"}
    return pd.DataFrame(
        {"published": [_value(own, printed["coefficient"]) for own in parts]}
        | {name: printed[column].reindex(alone).to_numpy() for name, column in columns.items()}
    )


def printed_level(factor: str, level: str) -> str:
    """Return the printed name of a level.

    Parameters
    ----------
    factor : str
        As in `regression.FACTORS`.
    level : str
        As logged.

    Returns
    -------
    str
        A level that is not in print has a name in the spelling of print.
    """
    match factor:
        case "dataset":
            return _DATASETS.get(published.original(level), level)
        case "model":
            return _MODELS.get(level, level)
        case "pruning_technique":
            return _TECHNIQUES.get(level, level.replace("-", "_").replace("linf_", "linfty_"))
    return level


def _parts(term: str, start: Mapping[str, str]) -> Counter[str]:
    """Return the printed coefficients whose weighted sum is a term's coefficient, with their weights."""
    parts = [(part, _FACTOR.fullmatch(part)) for part in ([] if term == "Intercept" else term.split(":"))]
    number = ":".join(part for part, factor in parts if not factor)
    levels = {factor[1]: printed_level(factor[1], factor[2]) for _, factor in parts if factor}
    added: Counter[str] = Counter()
    if levels.keys() - _REFERENCES:
        return Counter([term])
    for size in range(len(levels) + 1):
        for changed in combinations(levels, size):
            sign = (-1) ** (len(levels) - size)
            for name in _slope(number, {**start, **{factor: levels[factor] for factor in changed}}):
                added[name] += sign
    return Counter({name: times for name, times in added.items() if times})


def _slope(number: str, levels: Mapping[str, str]) -> Iterator[str]:
    """Yield the printed terms whose sum is the slope of a numeric predictor, or the intercept, at given levels."""
    yield number or "Intercept"
    for factors in _DEPENDS_ON.get(number, []):
        if all(levels.get(factor, _REFERENCES[factor]) != _REFERENCES[factor] for factor in factors):
            yield ":".join([*filter(None, [number]), *(f"{factor}[T.{levels[factor]}]" for factor in factors)])


def _value(parts: Counter[str], printed: pd.Series) -> float:
    """Return the weighted sum of printed coefficients; NaN if there are none, as for two levels of one printed name."""
    return float(sum(times * printed.get(name, np.nan) for name, times in parts.items())) if parts else np.nan
