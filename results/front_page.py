"""The tables of README.md, from the frames and the tables of the studies beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, claims, files, frames, methods, published, report, schema
from analysis.errors import StudyError
from analysis.intensification import alpha, mean_interval
from analysis.tables import NOT_AVAILABLE, as_up, p_value, recall_variance, three_decimals

PAGE = "README.md"
_TEXT, _RELEASED, _RELEASED_WEIGHTS = "lenet5", "lenet5-released", "lenet5-released-weights"
_RESNET, _AS_PRUNED = "resnet20-short", "resnet20-short-as-pruned"
# Its places: between these lines stands the table of the name.
_START, _END = "<!-- {} -->\n", "<!-- end of {} -->"
_DIFFERENCE = ("difference", "difference_low", "difference_high")
# By the ratio that the released code's MP and GP are asked for, that at which its UP is left about as many weights.
_UP_ASKED = {2.2: 4.0, 5.5: 10.0, 12.0: 20.0, 40.0: 50.0}


def write(results: Path) -> None:
    """Put the tables into the page of a folder of results, where its marks are.

    Raises
    ------
    StudyError
        Where a study, or the page, lacks what the other has.
    """
    page = filled((results / PAGE).read_text(encoding="utf-8"), tables(results))
    with files.aside(results) as folder:
        (folder / PAGE).write_text(page, encoding="utf-8")


def filled(page: str, made: Mapping[str, pd.DataFrame]) -> str:
    """The page with the tables between their marks.

    Raises
    ------
    StudyError
        Where the page has no place for a table.
    """
    for name, table in made.items():
        start, end = _START.format(name), _END.format(name)
        before, opened, rest = page.partition(start)
        inside, closed, after = rest.partition(end)
        if not opened or not closed or "<!--" in inside:
            raise StudyError(f"{PAGE}: no place for a table: write {start.strip()} and {end} there, a line each")
        page = f"{before}{start}\n{report.markdown_table(table)}\n\n{end}{after}"
    return page


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """By name of their place: answers, what is beside print, the sentences of the paper, and experiments on why.

    Raises
    ------
    StudyError
        Where a table of a study is missing, or a question has no answer.
    """
    lenet5, predictions = _runs_of(results, _TEXT)
    released_lenet5, resnet, as_pruned = (_runs_of(results, name)[0] for name in (_RELEASED, _RESNET, _AS_PRUNED))
    answers = pd.DataFrame(_answers(results, lenet5, predictions))
    if unanswered := sorted(set("12345") - set(answers["question"])):
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of {PAGE}; rebuild all of them")
    compared = _compared(results)
    said, of_resnet, released = (_read(results / name / "claims.csv") for name in (_TEXT, _RESNET, _RELEASED))
    said = pd.concat([said, of_resnet], ignore_index=True)
    released["place"] += ", released"
    return {
        "answers": answers,
        "up": _up_minus_others(pd.concat([said, released], ignore_index=True)),
        "classes": _classes(pd.concat([lenet5, resnet], ignore_index=True)),
        "released": _beside_released(results),
        "equal weights": _at_equal_weights(results),
        **{f"table {number}": _beside_print(compared[compared["table"] == str(number)]) for number in (3, 10)},
        "table 7": _table_7(results / _TEXT),
        "table 11": _table_11(lenet5, released_lenet5),
        "claims": claims.shown(said),
        "random": _random_pruning({"fine-tuned": resnet, "as pruned": as_pruned}),
        "origin": _origin(lenet5),
    }


def _read(path: Path, **how: Any) -> pd.DataFrame:
    if not path.is_file():
        raise StudyError(f"{path}: missing; python results/rebuild.py {path.parent} makes it of the study's frames")
    return pd.read_csv(path, **{"keep_default_na": False, "na_values": [NOT_AVAILABLE], **how})


def _answers(results: Path, runs: pd.DataFrame, predictions: cells.Predictions) -> Iterator[dict[str, str]]:
    lenet5, epsilons, gradual = (_read(results / name / "methods.csv") for name in (_TEXT, "lenet5-up", "gradual"))
    planned = lenet5[lenet5["primary"]]
    yield from _differences("1", planned[planned["baseline"] == "mp"])
    yield from _differences("2", planned[planned["baseline"] == "none"])
    yield from _of_test_sets(runs, predictions)
    yield from _differences("4", epsilons[epsilons["primary"]])
    against_mp = gradual["baseline"].eq("mp") & gradual["outcome"].eq(methods.ALPHA_NEW)
    yield from _differences("5", gradual[against_mp & gradual["ratio"].eq(20) & gradual["dataset"].eq("fashion-mnist")])


def _differences(question: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in rows.to_dict("records"):
        scale = methods.scale(row["outcome"])
        what = f"{methods.TITLES[row['outcome']]}: {row['method']} minus {row['baseline']}, ratio {row['ratio']:g}"
        values = [scale * row[name] for name in _DIFFERENCE]
        detectable = scale * row["detectable_difference"]
        yield _answer(question, row["dataset"], what, values, row["n"], row["p_holm"], detectable)


def _of_test_sets(runs: pd.DataFrame, predictions: cells.Predictions) -> Iterator[dict[str, str]]:
    """Of MP at ratio 2, alone, so that its intervals are at 95 %."""
    lightest = runs[runs["pruner"].eq("mp") & runs["ratio"].eq(2)].reset_index(drop=True)
    of_cells = cells.cells(lightest, predictions).to_dict("records")
    for question, shown in _OF_TEST_SETS:
        for cell in of_cells:
            for what, columns in shown.items():
                yield _answer(question, cell["dataset"], what, [cell[name] for name in columns], cell["n"])


# Question, and columns of cells.csv: an estimate, and its interval where it has one.
_OF_TEST_SETS = (
    ("2", {"alpha_shared: mp, ratio 2": ("alpha_shared", "alpha_shared_low", "alpha_shared_high")}),
    (
        "3",
        {
            "alpha: mp, ratio 2": ("alpha_mean", "ci_low", "ci_high"),
            "alpha_new: mp, ratio 2": ("alpha_new", "alpha_new_low", "alpha_new_high"),
        },
    ),
    ("3", {"reliability of the balances": ("reliability",)}),
)


def _answer(
    question: str,
    dataset: str,
    what: str,
    values: list[float],
    n: int,
    p: float = np.nan,
    detectable: float = np.nan,
) -> dict[str, str]:
    estimate, *interval = map(three_decimals, values)
    return {
        "question": question,
        "data set": dataset,
        "what": what,
        "estimate": estimate,
        "95 % interval": " to ".join(interval) if np.isfinite(values).all() else "",
        "n": str(n),
        "Holm p": "" if np.isnan(p) else p_value(p),
        "detectable": "" if np.isnan(detectable) else three_decimals(detectable),
    }


def _up_minus_others(said: pd.DataFrame) -> pd.DataFrame:
    """Alpha of UP minus that of MP and of GP by place and ratio, as the claims have it, and n where it is less."""
    compared = said[said["looked_at"].isin(_UP_MINUS) & said["where"].ne("")]
    compared[["pair", "ratio"]] = compared["where"].str.split(", ", expand=True)
    most = compared.groupby("place")["n"].transform("max")
    text = [
        methods.with_interval(row.estimate, row.low, row.high, digits=2) + (f", n {row.n}" if row.n < n else "")
        if np.isfinite(row.estimate)
        else row.holds
        for row, n in zip(compared.itertuples(), most, strict=True)
    ]
    wide = compared.assign(text=text).pivot(index=["place", "pair"], columns="ratio", values="text")
    wide = wide.reindex(columns=sorted(wide.columns, key=lambda ratio: int(ratio[2:])))
    return wide.fillna("").rename_axis(columns=None).reset_index().rename(columns={"pair": "alpha of"})


_UP_MINUS = ("alpha of UP minus that of MP", "alpha of UP minus that of GP")


def _classes(runs: pd.DataFrame) -> pd.DataFrame:
    """What pruners cost beyond the same fine-tuning without pruning, in points, by place, pruner and ratio."""
    told = {}
    for place, of_place in runs.groupby([schema.DATASET, schema.MODEL]):
        networks = pd.MultiIndex.from_frame(of_place[[schema.PRUNER, schema.RATIO, schema.SEED]])
        names, _, recalls = cells.recalls(of_place)
        accuracy = pd.Series(100 * of_place["accuracy_after"].to_numpy(), networks)
        recall = pd.DataFrame(100 * recalls, networks, names).dropna(axis=1, how="all")
        for pruner, ratio in networks.droplevel(schema.SEED).unique():
            if pruner in ("mp", "gp", "up") and ratio in (10, 20):
                lost, classes = (of.loc[pruner, ratio] - of.loc[cells.CONTROL, 1.0] for of in (accuracy, recall))
                told[*place, pruner, f"t={ratio:g}"] = f"{lost.mean():+.1f}; {_most_lost(classes)}"
    wide = pd.Series(told).unstack().fillna("").rename_axis(["data set", "model", "pruner"])
    return wide.reset_index()


def _most_lost(changes: pd.DataFrame) -> str:
    """The three classes whose recall fell most."""
    worst = changes.mean().nsmallest(3)
    return ", ".join(
        f"{name} {methods.with_interval(mean, *mean_interval(changes[name]), digits=1)}" for name, mean in worst.items()
    )


def _runs_of(results: Path, *studies: str) -> tuple[pd.DataFrame, cells.Predictions]:
    folders = [folder for name in studies for folder in frames.below(results / name / "frames")]
    read, predictions = frames.read(folders)
    return read.runs, predictions


def _beside_released(results: Path) -> pd.DataFrame:
    """Every cell that both protocols have, `by the paper's text / by its released code`."""
    text, released = (_means(results / name) for name in (_TEXT, _RELEASED))
    wide = (text + " / " + released).dropna().unstack(schema.RATIO).fillna("")
    wide = wide.rename(columns="t={:g}".format).rename_axis(columns=None)
    return wide.reset_index().rename(columns={schema.DATASET: "data set"})


def _means(study: Path) -> pd.Series:
    """What the networks of a cell are on average, as text, by data set, pruner, ratio and name of the mean."""
    networks = _read(study / "alpha.csv").merge(_read(study / "cells.csv")[[*cells.CELL, schema.REALIZED_RATIO]])
    networks = as_up(networks[networks[schema.PRUNER] != cells.CONTROL])
    cell = [schema.DATASET, schema.PRUNER, schema.RATIO]
    told = {
        key: {
            "accuracy": f"{of_cell['accuracy_after'].mean():.3f}",
            "alpha": _alpha(of_cell),
            "one weight in": f"{of_cell[schema.REALIZED_RATIO].mean():.1f}",
        }
        for key, of_cell in networks.groupby(cell)
    }
    return pd.DataFrame(told).T.rename_axis(cell).rename_axis(columns="mean").stack()


def _alpha(networks: pd.DataFrame) -> str:
    """The mean of those above chance, unless most guess, and how many do."""
    at_chance = networks["at_chance"]
    told = [f"{networks.loc[~at_chance, 'alpha'].mean():.2f}"] if at_chance.mean() <= 0.5 else []
    return ", ".join([*told, *_guessing(networks)])


def _guessing(networks: pd.DataFrame) -> list[str]:
    count = networks["at_chance"].sum()
    return [f"{count} guess"] if count else []


def _at_equal_weights(results: Path) -> pd.DataFrame:
    """UP of the released code, by the ratio asked for, against its MP and GP that are left about as many weights."""
    read, predictions = _runs_of(results, _RELEASED, _RELEASED_WEIGHTS)
    up = read[read[schema.PRUNER].eq("up-signed") & read[schema.RATIO].isin(_UP_ASKED.values())]
    asked = read.assign(**{schema.RATIO: read[schema.RATIO].map(_UP_ASKED)}).dropna(subset=schema.RATIO)
    of_others = ((name, asked[asked[schema.PRUNER].eq(name)]) for name in ("mp", "gp"))
    shown = pd.concat([_up_against(up, other, predictions).assign(minus=name) for name, other in of_others])
    columns = [schema.DATASET, "minus", schema.RATIO, "one weight in", "n", *methods.TITLES.values()]
    return shown[columns].rename(columns={schema.DATASET: "data set", schema.RATIO: "UP asked for"})


def _up_against(up: pd.DataFrame, other: pd.DataFrame, predictions: cells.Predictions) -> pd.DataFrame:
    # Pruners are compared with the one that goes by the name of MP.
    runs = pd.concat([up, other.assign(**{schema.PRUNER: "mp"})], ignore_index=True)
    cell = [schema.DATASET, schema.RATIO]
    left = runs.groupby([*cell, schema.PRUNER])[schema.REALIZED_RATIO].mean().map("{:.1f}".format).unstack()
    left = (left["up-signed"] + " / " + left["mp"]).rename(index="{:g}".format, level=schema.RATIO)
    return methods.shown(methods.compare(runs, predictions)).join(left.rename("one weight in"), on=cell)


def _compared(results: Path) -> pd.DataFrame:
    text, released = (_read(results / name / "comparison.csv", dtype=str) for name in (_TEXT, _RELEASED))
    return text.merge(released, on=["table", "row", "column"], how="left", suffixes=("", "_released"))


def _beside_print(compared: pd.DataFrame) -> pd.DataFrame:
    """A table in the layout of print, its cells `printed / by the paper's text / by its released code`."""
    told = compared["published"] + " / " + compared["ours"] + " / " + compared["ours_released"].fillna(NOT_AVAILABLE)
    wide = compared.assign(told=told).pivot(index="row", columns="column", values="told")
    wide = wide.reindex(index=compared["row"].unique(), columns=compared["column"].unique())
    return wide.fillna("").rename_axis(index="printed / text / released", columns=None).reset_index()


def _table_7(study: Path) -> pd.DataFrame:
    ours = _read(study / "table_07.csv", dtype=str, na_values=[]).set_index("Datasets")
    ours = ours.rename(index=lambda row: row.replace("cifar10-jpeg", published.original("cifar10-jpeg")))
    printed = published.table(7).set_index("Datasets").reindex(ours.index)
    shared = [column for column in ours if column in printed]
    return (
        (printed[shared] + " / " + ours[shared])
        .rename_axis(index="printed / ours (CIFAR-10: cifar10-jpeg)")
        .reset_index()
    )


def _table_11(text: pd.DataFrame, released: pd.DataFrame) -> pd.DataFrame:
    """In the layout of print, of recall and of normalised balance."""
    printed = published.table(11).set_index("Model")
    parts = []
    for what, of_balances in (("recall", False), ("balance", True)):
        ours, as_released = (
            recall_variance(runs, of_balances=of_balances).set_index("Model") for runs in (text, released)
        )
        shared = {
            "index": printed.index.intersection(ours.index),
            "columns": printed.columns.intersection(ours.columns),
        }
        as_released = as_released.reindex(**shared, fill_value=NOT_AVAILABLE)
        told = printed.reindex(**shared) + " / " + ours.reindex(**shared) + " / " + as_released
        parts.append(told.rename(f"{{}}, {what}".format))
    return pd.concat(parts).rename_axis("printed / text / released").reset_index()


def _random_pruning(studies: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """RP of ResNet-20 beside MP, ratio by ratio, and the variances of print's Table 11."""
    printed = published.table(11).set_index("Model").drop(columns="Before")
    told = {
        ("resnet56, printed", pruner, "variance"): printed.loc[f"CIFAR-10 @ ResNet-56 -> {published.label(pruner)}"]
        for pruner in _RANDOM
    }
    for name, runs in studies.items():
        for pruner, of_pruner in runs[runs[schema.PRUNER].isin(_RANDOM)].groupby(schema.PRUNER):
            place = f"resnet20, {name}", pruner
            told |= {(*place, what): texts for what, texts in _by_ratio(of_pruner.reset_index(drop=True)).items()}
            recall, balance = (
                recall_variance(of_pruner, of_balances=of).iloc[0].drop(["Model", "Before"]) for of in (False, True)
            )
            told[*place, "variance of recall / balance"] = recall + " / " + balance
    wide = pd.DataFrame(told).T.reindex(columns=printed.columns)
    wide = wide.rename(columns=lambda column: column.replace("Ratio ", "t="))
    return wide.fillna("").rename_axis(["network", "pruner", "what"]).reset_index()


_RANDOM = ("mp", "rp")


def _by_ratio(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Accuracy, and alpha of all networks, those that guess included."""
    of_ratios = cells.alphas(runs).groupby(schema.RATIO)
    told = {
        "accuracy": of_ratios["accuracy_after"].mean().map("{:.3f}".format),
        "alpha": of_ratios.apply(_alpha_of_all),
    }
    return {what: texts.rename("Ratio {:g}".format) for what, texts in told.items()}


def _alpha_of_all(networks: pd.DataFrame) -> str:
    return ", ".join([_mean(networks["alpha"]), *_guessing(networks)])


def _mean(slopes: pd.Series) -> str:
    return methods.with_interval(slopes.mean(), *mean_interval(slopes), digits=2)


def _origin(runs: pd.DataFrame) -> pd.DataFrame:
    """Slope of the half of all points nearest to the origin minus that of the others, under MP and its control.

    And, of the control, the slope of the classes' means over networks, and of what a network has beside them.
    """
    rows = []
    for dataset, of_dataset in runs[runs[schema.PRUNER].isin(["mp", cells.CONTROL])].groupby(schema.DATASET):
        networks = claims.measured(of_dataset.reset_index(drop=True)).set_index(schema.SEED)
        bends = {
            "none" if ratio == 1 else f"t={ratio:g}": of_cell["near"] - of_cell["far"]
            for ratio, of_cell in networks.groupby(schema.RATIO)
            if of_cell["at_chance"].mean() <= 0.5
        }
        beyond = {name: bend - bends["none"] for name, bend in bends.items() if name != "none"}
        of_means, of_rest = _of_means_and_rest(of_dataset[of_dataset[schema.PRUNER].eq(cells.CONTROL)])
        slopes = {"none, class means": f"{of_means:.2f}", "none, the rest": f"{of_rest:.2f}"}
        rows += [
            {"data set": dataset, "": what} | {name: _mean(of.dropna()) for name, of in told.items()} | more
            for what, told, more in (("near minus far", bends, slopes), ("the same beyond none", beyond, {}))
        ]
    return pd.DataFrame(rows).fillna("")


def _of_means_and_rest(runs: pd.DataFrame) -> tuple[float, float]:
    study = cells.read(runs.reset_index(drop=True))
    before, after = study.balances(np.arange(len(runs)), ~np.isnan(study.before[0]))
    of_means = alpha(before.mean(0), after.mean(0))
    of_rest = alpha((before - before.mean(0)).ravel(), (after - after.mean(0)).ravel())
    return float(of_means), float(of_rest)
