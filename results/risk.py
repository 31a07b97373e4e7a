"""risk/: how well do dense networks predict which classes and images pruning costs most?"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import risk_judgement
import risk_scores
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    BELOW,
    NEUTRAL,
    Panel,
    characteristics,
    draw,
    handle,
    intervals,
    name_rows,
    side_by_side,
)
from published import Part, Study, fits

DATASETS = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10-jpeg": "CIFAR-10"}
_TRAININGS: dict[str, Part] = {
    "cosine": {"decay": "cosine", "fine_tune_decay": "cosine"},
    "constant": {"decay": "none", "fine_tune_average_epochs": [0, 1]},
}
_PLAIN = {"distill": 0, "class_offsets": "none"}
_CONTROL, _PRUNED = {"pruner": "none"}, {"pruner": "mp", "ratio": 20, "schedule": "cubic"}
_QUANTITIES = {
    risk_judgement.CLASSES: "rank_correlation",
    risk_judgement.SIZES: "explained",
    risk_judgement.LOST: "auc_of_lost",
    risk_judgement.LOST_BY_CONTROL: "auc_of_lost_by_control",
    risk_judgement.EXEMPLARS: "auc_of_pies",
}
# The share of images that someone could inspect.
_RISKIEST = 0.1


class Scored(NamedTuple):
    """Scores of the classes and images of one data set, and the networks on which the scores are tested.

    All networks have the same kind of learning rate, cosine or constant.

    Attributes
    ----------
    class_scores : mapping of str to (classes,)
    image_scores : mapping of str to (images,)
    label : (images,)
        Class of each image.
    judges : Networks
        The networks whose costs the scores should predict, those of decay-confirmation/.
    others : Networks
        Networks of other seeds, those of decay/, from which the score `ceiling` is computed.
    names : (classes,)
        Names of the classes.
    """

    class_scores: Mapping[str, np.ndarray]
    image_scores: Mapping[str, np.ndarray]
    label: np.ndarray
    judges: risk_judgement.Networks
    others: risk_judgement.Networks
    names: np.ndarray

    @property
    def costs(self) -> np.ndarray:
        """Cost of each class in each judge, (networks, classes)."""
        return risk_judgement.class_losses(self.label, len(self.names), self.judges)

    def class_risk(self, score: str) -> np.ndarray:
        """Return how high a score puts the risk of each class, (classes,)."""
        if score == risk_judgement.CEILING:
            return risk_judgement.class_losses(self.label, len(self.names), self.others).mean(0)
        return risk_scores.as_risk(score, self.class_scores[score])

    def image_risk(self, score: str) -> np.ndarray:
        """Return how high a score puts the risk that an image is lost, (images,)."""
        if score == risk_judgement.CEILING:
            return risk_judgement.known_of_losses(self.label, self.others.after)
        return risk_scores.as_risk(score, self.image_scores[score])


@cache
def scored(study: Study, dataset: str, training: str = "cosine") -> Scored:
    """Return the scores and networks of a data set and learning rate, cosine or constant.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    label, others = _networks(study, "decay", dataset, training)
    _, judges = _networks(study, "decay-confirmation", dataset, training)
    if training == "cosine":  # scores of other dense networks, stored in thousandths
        with np.load(study.folder / "scores.npz") as stored:
            own = {name: stored[f"{dataset} {name}"] / 1000 for name in risk_scores.SCORES if name != risk_scores.SHARE}
    else:
        own = risk_scores.image_scores(label, others.before, {})
    frames = study.frames("decay")
    runs, classes = frames.runs, frames.table(characteristics.TABLE)
    classes = classes[classes["run_id"].isin(runs.loc[fits(runs, {"dataset": dataset}), "dense_run_id"])]
    classes = classes.groupby("index").agg({"class": "first", "training_images": "mean"})
    shares = (classes["training_images"] / classes["training_images"].sum()).to_numpy()
    by_class = risk_scores.class_scores(own, label, len(classes), shares)
    return Scored(by_class, own, label, judges, others, classes["class"].to_numpy())


def _networks(study: Study, name: str, dataset: str, training: str) -> tuple[np.ndarray, risk_judgement.Networks]:
    """Return the labels, and the dense, pruned and control networks of another study, paired by seed."""
    runs, predictions, _ = study.frames(name)
    runs = runs[fits(runs, {"dataset": dataset, **_TRAININGS[training], **_PLAIN})]
    pruned, controls = (runs[fits(runs, kind)].set_index("seed").sort_index() for kind in (_PRUNED, _CONTROL))
    sides = [pruned["dense_run_id"], pruned["run_id"], controls["run_id"].reindex(pruned.index)]
    answers = predictions([run_id for side in sides for run_id in side])
    predicted = [np.array([answers[run_id]["predicted"] for run_id in side]) for side in sides]
    return answers[sides[0].iloc[0]]["label"], risk_judgement.Networks(*predicted)


@cache
def scores(study: Study) -> pd.DataFrame:
    """Return how well each score predicts each outcome, for every data set and for the mean over data sets.

    Returns
    -------
    DataFrame
        quantity (see `_QUANTITIES`), dataset, training, score, and the columns of `risk_judgement.judge`. At the
        constant rate, there are only mean rank correlations.
    """
    tables = [risk_judgement.judge(*scored(study, name)[:5]).assign(dataset=name) for name in DATASETS]
    means = [_mean_correlations(study, training).assign(training=training) for training in _TRAININGS]
    table = pd.concat([*tables, *means], ignore_index=True).dropna(subset="value")
    return table.assign(quantity=table["outcome"].map(_QUANTITIES), training=table["training"].fillna("cosine"))


def _mean_correlations(study: Study, training: str) -> pd.DataFrame:
    """Return, for each score, its rank correlation with the costs of classes, averaged over the data sets.

    The share of training images is left out, because classes differ in it on only one data set.
    """
    each = [scored(study, name, training) for name in DATASETS]
    rows = []
    for score in [*(name for name in each[0].class_scores if name != risk_scores.SHARE), risk_judgement.CEILING]:
        pairs = [(own.class_risk(score), own.costs) for own in each]
        p = risk_judgement.permutation_p([(risk, costs.mean(0)) for risk, costs in pairs])
        row = risk_judgement.foresight_of_classes(pairs)._asdict()
        rows.append({"outcome": risk_judgement.CLASSES, "dataset": "mean", "score": score, **row, "p": p})
    return pd.DataFrame(rows)


def networks(study: Study) -> pd.DataFrame:
    """Return how well the margin and the ceiling predict the images that each network loses by pruning.

    Returns
    -------
    DataFrame
        dataset, score, seed (index of the network); auc_of_lost; and riskiest_tenth: the share, in per cent, of the
        lost images that are in the tenth with the highest scores among those that the dense network recognises.
    """
    tables = []
    for dataset in DATASETS:
        own = scored(study, dataset)
        for score in (risk_scores.MARGIN, risk_judgement.CEILING):
            risk = own.image_risk(score)
            auc = risk_judgement.foresight_of_losses(risk, own.label, own.judges.before, own.judges.after)
            table = pd.DataFrame({"dataset": dataset, "score": score, "seed": range(len(auc)), "auc_of_lost": auc})
            tables.append(table.assign(riskiest_tenth=100 * _captured(own, risk)))
    return pd.concat(tables, ignore_index=True)


def _captured(own: Scored, risk: np.ndarray) -> np.ndarray:
    """Return, for each judge, the share of its lost images that are among the riskiest images."""
    shares = []
    for before, after in zip(own.judges.before, own.judges.after, strict=True):
        right = before == own.label
        riskiest = np.argsort(-risk[right], kind="stable")[: int(_RISKIEST * right.sum())]
        is_lost = after[right] != own.label[right]
        shares.append(is_lost[riskiest].sum() / max(is_lost.sum(), 1))
    return np.array(shares)


def costs(study: Study) -> pd.DataFrame:
    """Return dataset, class, its recall in dense networks, and its cost with an interval, in points."""
    rows = []
    for dataset in DATASETS:
        own = scored(study, dataset)
        for name, recall, values in zip(own.names, own.class_scores["recall"], 100 * own.costs.T, strict=True):
            cost = risk_judgement.mean_estimate(values)._asdict()
            rows.append({"dataset": dataset, "class": name, "recall": 100 * recall, **cost})
    return pd.DataFrame(rows)


def first_two(study: Study) -> pd.DataFrame:
    """Return the share of networks whose costliest class is one of the two with most errors in their dense network.

    Returns
    -------
    DataFrame
        training, value (in per cent, over all data sets), n (networks).
    """
    rows = []
    for training in _TRAININGS:
        is_found: list[bool] = []
        for dataset in DATASETS:
            own = scored(study, dataset, training)
            for answers, cost in zip(own.judges.before == own.label, own.costs, strict=True):
                recall = risk_scores.class_means(answers, own.label, len(cost))
                is_found.append(cost.argmax() in np.argsort(recall)[:2])
        rows.append({"training": training, "value": 100 * np.mean(is_found), "n": len(is_found)})
    return pd.DataFrame(rows)


def figure(study: Study) -> Figure:
    """Draw each class's cost against its recall and, below, how well each score predicts lost images and PIEs."""
    of_classes, of_scores = costs(study), scores(study)
    recall, cost = "recall of the dense networks, %", "cost of the class, points"
    by_dataset = [(title, of_classes.query("dataset == @name")) for name, title in DATASETS.items()]
    colors = {"images lost by pruning": BELOW, "images lost by the control": NEUTRAL, "PIEs": ABOVE}
    return draw(
        [
            *(Panel(_draw_classes, rows, title, recall, cost) for title, rows in by_dataset),
            *(Panel(_draw_images, of_scores[of_scores["dataset"].eq(name)], "", "AUC") for name in DATASETS),
        ],
        len(DATASETS),
        size=(3.6, 3.1),
        title="How well dense networks predict which classes and images pruning costs most",
        note="Above: a dot is a class, with its cost (the loss beyond the control minus the loss of accuracy) and the "
        "95 % interval over 20 networks. Below: AUC of each score, 0.5 is chance. Blue: images lost by pruning. Grey: "
        "images lost by the control. Orange: PIEs. Ceiling: scores from pruned networks of other seeds.",
        legend=[handle(name, color=color, marker="o") for name, color in colors.items()],
    )


def _draw_classes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw classes, and name the two that pay most."""
    intervals(axes, rows.assign(place=rows["recall"]), upright=True)
    for _, row in rows.nlargest(2, "value").iterrows():
        side = -1 if row["recall"] > rows["recall"].mean() else 1
        axes.annotate(
            row["class"],
            (row["recall"], row["value"]),
            xytext=(4 * side, 3),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            fontsize=7,
            parse_math=False,
        )


def _draw_images(axes: Axes, rows: pd.DataFrame) -> None:
    names = [*dict.fromkeys(rows.loc[rows["quantity"].eq("auc_of_lost"), "score"])]
    colors = {"auc_of_lost": BELOW, "auc_of_lost_by_control": NEUTRAL, "auc_of_pies": ABOVE}
    rows = rows[rows["score"].isin(names)]
    rows = rows.assign(place=rows["score"].map(names.index))
    intervals(axes, side_by_side(rows, "quantity", colors, apart=0.2), no_effect=None)
    name_rows(axes, names, size=8)
