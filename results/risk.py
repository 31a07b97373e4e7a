"""Tables and picture of risk/: how well dense networks predict which classes and images pruning costs most."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import decay
import folders
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common import archives
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import intervals, name_rows, side_by_side
from analysis.runs import frames, schema
from analysis.runs.characteristics import TABLE
from analysis.runs.frames import ReadPredictions
from analysis.statistics import risk_judgement, risk_scores
from analysis.statistics.hypothesis_tests import corrected, paired
from analysis.statistics.risk_judgement import CEILING, Networks
from analysis.statistics.risk_scores import MARGIN, RECALL, SHARE
from analysis.study.settings import CONTROL

STUDY, SCORES = "risk", "scores.npz"
DATASETS = decay.DATASETS
# The study whose pruned networks give the score `ceiling`, and that of the judges, whose costs are to be predicted.
OTHERS, JUDGES = decay.STUDIES
# Scores are stored in thousandths.
_STEPS = 1000
# Number of classes that the picture names, those that pay most.
_NAMED = 2
# The share of images that someone could inspect.
_RISKIEST = 0.1


class RiskStudy(NamedTuple):
    """Scores of the classes and images of one data set, and the networks on which the scores are tested.

    All networks have the same kind of learning rate, cosine or constant.

    Attributes
    ----------
    class_scores : mapping of str to (classes,)
    image_scores : mapping of str to (images,)
    label : (images,)
        Class of each image.
    names : (classes,)
        Names of the classes.
    judges : Networks
        The networks whose costs the scores should predict.
    others : Networks
        Networks of other seeds, from which the score `ceiling` is computed.
    """

    class_scores: Mapping[str, np.ndarray]
    image_scores: Mapping[str, np.ndarray]
    label: np.ndarray
    names: np.ndarray
    judges: Networks
    others: Networks

    @property
    def losses(self) -> np.ndarray:
        """Cost of each class in each judge, (networks, classes)."""
        return risk_judgement.class_losses(self.label, len(self.names), self.judges)

    @property
    def ceiling(self) -> np.ndarray:
        """Mean cost of each class in the other networks, (classes,)."""
        return risk_judgement.class_losses(self.label, len(self.names), self.others).mean(0)


def write(results: Path) -> None:
    """Write the tables and the picture, if there are scores.

    Raises
    ------
    StudyError
        If the scores, or the frames of a study, cannot be read.
    """
    folder = results / STUDY
    if not (folder / SCORES).is_file():
        return
    risk_studies = collected(results)
    cosine = {dataset: risk_studies[dataset, decay.COSINE] for dataset in DATASETS}
    folders.write(folder, {"scores": table(risk_studies), "tests": tests(cosine)}, {STUDY: figure(cosine)})


def collected(results: Path) -> dict[tuple[str, str], RiskStudy]:
    """Return the scores and networks of each data set and learning rate, cosine and constant."""
    scores = read(results / STUDY)
    risk_studies = {}
    for dataset in DATASETS:
        for training in (decay.COSINE, decay.CONSTANT):
            sides = [_networks(results, study, dataset, training) for study in (OTHERS, JUDGES)]
            (label, names, images, others), (_, _, _, judges) = sides
            own = scores[dataset] if training == decay.COSINE else risk_scores.image_scores(label, others.before, {})
            by_class = risk_scores.class_scores(own, label, len(names), images / images.sum())
            risk_studies[dataset, training] = RiskStudy(by_class, own, label, names, judges, others)
    return risk_studies


def _networks(
    results: Path, study: str, dataset: str, training: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Networks]:
    """Return the labels, each class's name and number of training images, and the networks of a study.

    Dense, pruned and control networks are paired by seed.
    """
    runs, predictions = folders.runs(results, study)
    runs = decay.primary_runs(runs)
    runs = runs[runs[schema.DATASET].eq(dataset) & (decay.trainings(runs) == training)]
    is_control = runs[schema.PRUNER].eq(CONTROL)
    pruned, controls = (runs[kind].set_index(schema.SEED).sort_index() for kind in (~is_control, is_control))
    ids = [pruned[schema.DENSE_RUN_ID], pruned[frames.RUN_ID], controls[frames.RUN_ID].reindex(pruned.index)]
    label, sides = _predicted(predictions, [list(each) for each in ids])
    characteristics = TABLE.read(folders.exported(results, study))
    own = characteristics[characteristics[frames.RUN_ID].isin(ids[0])]
    classes = own.groupby("index").agg({"class": "first", "training_images": "mean"})
    return label, classes["class"].to_numpy(), classes["training_images"].to_numpy(), Networks(*sides)


def _predicted(predictions: ReadPredictions, ids: list[list[str]]) -> tuple[np.ndarray, list[np.ndarray]]:
    answers = predictions([run_id for side in ids for run_id in side])
    label = answers[ids[0][0]][schema.LABEL]
    return label, [np.array([answers[run_id][schema.PREDICTED] for run_id in side]) for side in ids]


def table(risk_studies: Mapping[tuple[str, str], RiskStudy]) -> pd.DataFrame:
    """Return how well each score predicts each outcome, for every data set and for the mean over data sets.

    The columns are those of `risk_judgement.judge`, and `dataset` and `training` (cosine or constant rate).
    """
    tables = [
        risk_judgement.judge(*each[:3], each.judges, each.others).assign(dataset=dataset, training=training)
        for (dataset, training), each in risk_studies.items()
    ]
    for training in (decay.COSINE, decay.CONSTANT):
        tables.append(_pooled([risk_studies[dataset, training] for dataset in DATASETS]).assign(training=training))
    rows = pd.concat(tables, ignore_index=True)
    return rows[["dataset", "training", *rows.columns.drop(["dataset", "training"])]]


def _pooled(risk_studies: list[RiskStudy]) -> pd.DataFrame:
    """Return, for each score, its rank correlation with the costs of classes, averaged over the data sets.

    The share of training images is left out, because classes differ in it on only one data set.
    """
    rows = []
    for name in [*(name for name in risk_studies[0].class_scores if name != SHARE), CEILING]:
        pairs = [(_class_risk(each, name), each.losses) for each in risk_studies]
        row = risk_judgement.foresight_of_classes(pairs)._asdict()
        p = risk_judgement.permutation_p([(score, losses.mean(0)) for score, losses in pairs])
        rows.append({"dataset": "mean", "outcome": risk_judgement.CLASSES, "score": name, **row, "p": p})
    return pd.DataFrame(rows)


def _class_risk(risk_study: RiskStudy, name: str) -> np.ndarray:
    return risk_study.ceiling if name == CEILING else risk_scores.as_risk(name, risk_study.class_scores[name])


def tests(cosine: Mapping[str, RiskStudy]) -> pd.DataFrame:
    """Return the primary tests, with the means that they compare.

    Returns
    -------
    DataFrame
        - test and dataset;
        - the columns of `paired`. In the test of classes, difference is the rank correlation, with its interval and p;
        - p_holm, for images only: p corrected over the data sets;
        - of_first and of_second, for images only: the compared means.
    """
    pairs = [(_class_risk(each, RECALL), each.losses) for each in cosine.values()]
    foresight = risk_judgement.foresight_of_classes(pairs)
    p = risk_judgement.permutation_p([(score, losses.mean(0)) for score, losses in pairs])
    rows = [
        {"test": "classes by recall", "dataset": "mean", "difference": foresight.value, "p": p}
        | {"difference_low": foresight.low, "difference_high": foresight.high, "n": foresight.n}
    ]
    for test, compare in _COMPARED.items():
        of_test = []
        for dataset, risk_study in cosine.items():
            first, second = compare(risk_study)
            means = {"of_first": np.nanmean(first), "of_second": np.nanmean(second)}
            of_test.append({"test": test, "dataset": dataset, **means, **paired(first, second, family=len(cosine))})
        holm = corrected([row["p"] for row in of_test], len(of_test))[1]
        rows += [row | {"p_holm": each} for row, each in zip(of_test, holm, strict=True)]
    return pd.DataFrame(rows)


def _auc_of_losses(risk_study: RiskStudy, score: np.ndarray, after: np.ndarray | None = None) -> np.ndarray:
    """Return the AUC of a score for the images that each judge loses by pruning.

    With the predictions of the controls as `after`, it is the AUC for the images that each control loses.
    """
    after = risk_study.judges.after if after is None else after
    return risk_judgement.foresight_of_losses(score, risk_study.label, risk_study.judges.before, after)


def _margin(risk_study: RiskStudy) -> np.ndarray:
    return risk_scores.as_risk(MARGIN, risk_study.image_scores[MARGIN])


def _foresee_by_others(risk_study: RiskStudy) -> np.ndarray:
    return risk_judgement.known_of_losses(risk_study.label, risk_study.others.after)


def _captured(risk_study: RiskStudy, score: np.ndarray) -> np.ndarray:
    """Return, for each judge, the share of its lost images that are among the riskiest images.

    The riskiest images are the tenth with the highest scores among those that the dense network recognises.
    """
    shares = []
    for before, after in zip(risk_study.judges.before, risk_study.judges.after, strict=True):
        right = before == risk_study.label
        riskiest = np.argsort(-score[right], kind="stable")[: int(_RISKIEST * right.sum())]
        is_lost = after[right] != risk_study.label[right]
        shares.append(is_lost[riskiest].sum() / max(is_lost.sum(), 1))
    return np.array(shares)


# The pairs that are compared, network by network.
_COMPARED = {
    "lost images: margin minus ceiling": lambda each: (
        _auc_of_losses(each, _margin(each)),
        _auc_of_losses(each, _foresee_by_others(each)),
    ),
    "margin: lost by pruning minus lost by the control": lambda each: (
        _auc_of_losses(each, _margin(each)),
        _auc_of_losses(each, _margin(each), each.judges.control),
    ),
    "lost images in the riskiest tenth: margin minus ceiling": lambda each: (
        _captured(each, _margin(each)),
        _captured(each, _foresee_by_others(each)),
    ),
}


def figure(cosine: Mapping[str, RiskStudy]) -> Figure:
    """Draw each class's cost against its recall and, below, how well each score predicts lost images and PIEs."""
    recall, loss = "recall of the dense networks, %", "cost of the class, points"
    return draw(
        [
            *(Panel(_draw_classes, each, DATASETS[dataset], recall, loss) for dataset, each in cosine.items()),
            *(Panel(_draw_images, each, "", "AUC") for each in cosine.values()),
        ],
        len(cosine),
        size=(3.6, 3.1),
        title="How well dense networks predict which classes and images pruning costs most",
        note="Above: a dot is a class, with its cost (the loss beyond the control minus the loss of accuracy) and the "
        "95 % interval over 20 networks. Below: AUC of each score, 0.5 is chance. Blue: images lost by pruning. Grey: "
        "images lost by the control. Orange: PIEs. Ceiling: scores from pruned networks of other seeds.",
        legend=[handle(name, color=color, marker="o") for name, color in _LEGEND.items()],
    )


def _draw_classes(axes: Axes, risk_study: RiskStudy) -> None:
    recall, losses = 100 * risk_study.class_scores[RECALL], 100 * risk_study.losses
    means = [risk_judgement.mean_estimate(each) for each in losses.T]
    rows = pd.DataFrame({"place": recall, **{end: [getattr(mean, end) for mean in means] for end in _ESTIMATE}})
    intervals(axes, rows, upright=True)
    for place in np.argsort(-rows["value"].to_numpy())[:_NAMED]:
        side = -1 if recall[place] > recall.mean() else 1
        axes.annotate(
            risk_study.names[place],
            (recall[place], rows["value"][place]),
            xytext=(4 * side, 3),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            fontsize=7,
            parse_math=False,
        )


_LEGEND = {"images lost by pruning": BELOW, "images lost by the control": NEUTRAL, "PIEs": ABOVE}
_ESTIMATE = ("value", "low", "high")
_COLORS = {risk_judgement.LOST: BELOW, risk_judgement.LOST_BY_CONTROL: NEUTRAL, risk_judgement.EXEMPLARS: ABOVE}


def _draw_images(axes: Axes, risk_study: RiskStudy) -> None:
    rows = risk_judgement.judge(*risk_study[:3], risk_study.judges, risk_study.others)
    names = [*dict.fromkeys(rows.loc[rows["outcome"].eq(risk_judgement.LOST), "score"])]
    rows = rows[rows["score"].isin(names)]
    rows = rows.assign(place=rows["score"].map(names.index))
    intervals(axes, side_by_side(rows, "outcome", _COLORS, apart=0.2), no_effect=None)
    name_rows(axes, names, size=8)


# Files.


def save(folder: Path, scores: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write the scores of images of each data set, rounded to three decimals."""
    arrays = {
        f"{dataset} {name}": np.rint(_STEPS * values).astype(np.uint16)
        for dataset, own in sorted(scores.items())
        for name, values in own.items()
    }
    np.savez_compressed(folder / SCORES, allow_pickle=False, **arrays)


def read(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the scores of images that `save` wrote.

    Raises
    ------
    StudyError
        If the file is missing or damaged.
    """
    names = [f"{dataset} {name}" for dataset in DATASETS for name in risk_scores.SCORES]
    arrays = archives.read(folder / SCORES, [], names)
    scores: dict[str, dict[str, np.ndarray]] = {}
    for dataset, name in _pairs(arrays):
        scores.setdefault(dataset, {})[name] = arrays[f"{dataset} {name}"] / _STEPS
    return scores


def _pairs(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for key in arrays:
        dataset, _, name = key.rpartition(" ")
        yield dataset, name
