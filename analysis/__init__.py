"""Measure what pruning did to each class, from runs in a tracking store or from predictions alone."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from analysis.audit.class_offsets import ClassOffsets
    from analysis.audit.movement import Movement
    from analysis.audit.result import Audit
    from analysis.recommend.result import Recommendations
    from analysis.report.written_report import WrittenReport


def audit_predictions(
    label: "ArrayLike",
    before: "ArrayLike",
    after: "ArrayLike",
    control: "ArrayLike | None" = None,
    groups: "ArrayLike | Mapping[str, ArrayLike] | None" = None,
    class_names: Sequence[str] | Mapping[Any, str] | None = None,
    *,
    keep_class_order: bool = False,
    unpaired: Collection[str] = (),
    confidences: "Mapping[str, ArrayLike] | None" = None,
) -> "Audit":
    """Find the classes that lost recall when a classifier was compressed.

    Parameters
    ----------
    label : (images,), text or integers
        True class of each image.
    before, after : (images,) or (networks, images)
        Predicted classes before and after compression. If there are equally many networks, rows are pairs.
    control : (images,) or (networks, images), optional
        Predictions of the control: the networks of `before`, retrained in the same way without compression. Losses are
        then those beyond the control. If compression involves no retraining, as in quantization, pass `before`. If the
        number of networks differs from that of `after`, they are taken for networks of other seeds, which a note says,
        and intervals are those of independent networks.
    groups : (images,) str, or mapping of str to (images,) str, optional
        The group of each image, or several groupings by name; None, NaN and an empty string mean no group. Groupings
        whose name begins with `measure:` are ignored. Groups are then audited in place of classes.
    class_names : sequence or mapping, optional
        Names of the labels, all different: a sequence for the labels 0, 1, ..., or a mapping of labels to names.
    keep_class_order : bool
        Whether to accept predictions that agree with the labels, or with the networks before, only if their classes are
        renumbered. By default they are refused.
    unpaired : collection of str
        `before`, `control` or both, if their networks have other seeds than those of `after`, so rows are not pairs.
    confidences : mapping of str to (images,) or (networks, images), optional
        The probability of the predicted class, by side (`before`, `after`, `control`), for the calibration error.

    Returns
    -------
    Audit
        `.table` has a row for each class, `.damaged` the names of the classes shown to have lost recall, `.verdict` a
        sentence, and `.metrics` the precision, false positive rate and calibration error of each class. A notebook
        shows the table and the picture that `.plot()` draws. With a single network before or after and no control, the
        cause of a loss remains unknown, because retraining alone changes recalls.

    Raises
    ------
    StudyError
        If the arrays do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import audit_predictions
    >>> label = np.repeat([0, 1, 2], 50)
    >>> quantized = np.where(np.arange(150) < 130, label, 0)  # twenty images of the last class are lost
    >>> names = ["bag", "hat", "shoe"]
    >>> result = audit_predictions(label, before=label, after=quantized, control=label, class_names=names)
    >>> result.damaged
    ['shoe']
    >>> result.table["recall_after"].tolist()
    [0.6, 1.0, 1.0]
    """
    from analysis.audit import audit

    return audit.audit_predictions(
        *(label, before, after, control, groups, class_names),
        keep_class_order=keep_class_order,
        unpaired=unpaired,
        confidences=confidences,
    )


def fit_class_offsets(
    label: "ArrayLike",
    before: "ArrayLike",
    after: "ArrayLike",
    test: "tuple[ArrayLike, ArrayLike, ArrayLike] | None" = None,
    *,
    class_names: Sequence[str] | None = None,
    shrinkage: float = 1.0,
) -> "ClassOffsets":
    """Fit one logit offset for each class, so that every class loses only as much recall as the accuracy.

    Parameters
    ----------
    label : (images,), integers
        Index of each image's class among the columns. The images should be new to both networks.
    before, after : (images, classes)
        Logits of the network before compression and after it.
    test : tuple of label, before and after, optional
        The same for other images, on which the effect is measured. By default it is measured on the same images by
        cross-fitting: the offsets for each image are fitted without it.
    class_names : sequence of str, optional
        A name for each class.
    shrinkage : float, >= 0
        Strength of shrinkage toward no offset. With 1, a class whose change is within chance gets almost no offset;
        with 0, every change is corrected in full.

    Returns
    -------
    ClassOffsets
        `.offsets`; `.table`, a row for each class; `.effect`, the chance movement, the weakest recall and the accuracy
        without and with offsets; `.verdict`, a sentence.

    Raises
    ------
    StudyError
        If the arrays do not fit each other, or if a class has too few images.

    Examples
    --------
    The network after finds class 0 too probable:

    >>> import numpy as np
    >>> from analysis import fit_class_offsets
    >>> label = np.repeat([0, 1], 500)
    >>> before = np.eye(2)[label] + np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = fit_class_offsets(label, before, before + [0.5, 0], class_names=["cat", "dog"])
    >>> found.offsets.round(1).tolist()
    [-0.2, 0.2]
    """
    from analysis.audit import class_offsets

    return class_offsets.fit(label, before, after, test, class_names=class_names, shrinkage=shrinkage)


def diagnose_movement(
    label: "ArrayLike", before: "ArrayLike", after: "ArrayLike", *, class_names: Sequence[str] | None = None
) -> "Movement":
    """Estimate the share of recall changes between two networks that a shift of each class's logit explains.

    The networks may be a dense network and its control, or two seeds. If the learning rate does not decay, training
    ends with a random shift of this kind.

    Parameters
    ----------
    label : (images,), integers
        Index of each image's class among the columns. The images should be new to both networks.
    before, after : (images, classes) or (networks, images, classes)
        Logits of the two networks, or of pairs of networks.
    class_names : sequence of str, optional
        A name for each class.

    Returns
    -------
    Movement
        `.share`, `.share_low` and `.share_high`, the share of the squared movement of recalls that the shift explains,
        with its interval over images; `.table`, a row for each class; `.verdict`, two sentences.

    Raises
    ------
    StudyError
        If the arrays do not fit each other, or if a class has too few images.

    Examples
    --------
    The network after finds class 0 more probable, for all images alike:

    >>> import numpy as np
    >>> from analysis import diagnose_movement
    >>> label = np.repeat([0, 1], 1000)
    >>> before = 1.5 * np.eye(2)[label] + np.random.default_rng(0).normal(size=(2000, 2))
    >>> found = diagnose_movement(label, before, before + [0.5, 0], class_names=["cat", "dog"])
    >>> round(found.share, 2), found.table["shift"].round(2).tolist()
    (1.0, [0.25, -0.25])
    """
    from analysis.audit import movement

    return movement.diagnose(label, before, after, class_names=class_names)


def pull_runs(
    experiment: str | None = None, *, tracking_uri: str | None = None, ignore_params: Sequence[str] = ()
) -> "pd.DataFrame":
    """Pull the pairs of a dense and a pruned run of an experiment.

    Parameters
    ----------
    experiment : str, optional
        Name of the experiment; by default MLflow's current one.
    tracking_uri : str, optional
        By default MLflow's current one.
    ignore_params : sequence of str
        Params that do not matter for the results, such as an output path.

    Returns
    -------
    DataFrame, one row per pair
        dataset, model, pruner, ratio, seed, every other param as `params.<name>`, accuracy_before, accuracy_after,
        recall_before/<class>, recall_after/<class>, support/<class>, both_right/<class>, dense_run_id, run_id.
        `attrs["left_out"]` holds sentences on the runs that were left out and the reasons.

    Raises
    ------
    StudyError
        If the store cannot be read, or if the experiment is unknown or has no pair.

    Examples
    --------
    >>> from analysis import pull_runs
    >>> runs = pull_runs("small")
    >>> runs.groupby("pruner")["accuracy_after"].count().to_dict()
    {'mp': 1, 'none': 1}
    """
    from analysis.common import arguments
    from analysis.runs import pull

    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    return pull.runs(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)


def write_report(
    experiment: str | None = None,
    output: str | Path = "report",
    *,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    confidence: float = 0.95,
    variance: Literal["welch", "pooled"] = "welch",
    paper: bool = False,
    log: bool = False,
    groups: "str | Path | Mapping[str, str | Path] | None" = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> "WrittenReport":
    """Write the report of an experiment: a page, tables and figures.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As for `pull_runs`.
    output : str or Path
        Folder that the report is written to.
    confidence : float, above 0 and below 1
        Joint confidence of the intervals of alpha of one model and pruner over its ratios.
    variance : {"welch", "pooled"}
        Variance in t-tests between different models or data sets.
    paper : bool
        Whether the report includes the papers' tables, figures, claims and printed values.
    log : bool
        Whether the files are also sent to MLflow, as a run of kind `report`.
    groups : str, Path, or mapping of str to path, optional
        File of groups of test images, for which the report also shows the effects; a mapping gives one per data set.
    min_accuracy, fairness_value : float, optional
        As for `recommend_ratio`.

    Returns
    -------
    WrittenReport
        `.verdict`, the report's first sentences; `.folder` and `.files`. A notebook shows the verdict and a link.

    Raises
    ------
    StudyError
        If the experiment cannot be read, or if the folder cannot be written to.

    Examples
    --------
    >>> from analysis import write_report
    >>> written = write_report("small", output="report")
    >>> (written.folder / "report.html").is_file()
    True
    """
    from analysis.common import arguments
    from analysis.report import written_report
    from analysis.study.study import ReportOptions

    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    arguments.check(output=output, confidence=confidence, variance=variance, paper=paper, log=log, groups=groups)
    arguments.check(min_accuracy=min_accuracy, fairness_value=fairness_value)
    options = ReportOptions(
        confidence=confidence,
        variance=variance,
        paper=paper,
        groups=groups or (),
        min_accuracy=min_accuracy,
        fairness_value=fairness_value,
    )
    return written_report.write(
        experiment, Path(output), options, tracking_uri=tracking_uri, ignore_params=ignore_params, log=log
    )


def recommend_ratio(
    experiment: str | None = None,
    *,
    max_accuracy_loss: float | None = 1.0,
    max_class_loss: float | None = 5.0,
    max_alpha: float | None = None,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    groups: "str | Path | Mapping[str, str | Path] | None" = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> "Recommendations":
    """Recommend the largest pruning ratio within limits, for each model on each data set of an experiment.

    A report decides in the same way, with the default limits of this function.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As for `pull_runs`.
    max_accuracy_loss, max_class_loss : float, in [0, 100], optional
        Largest acceptable loss of the accuracy, and of the recall of any class, in percentage points: .5 is half a
        point. A limit above 0 and below .05 is refused, because it may be meant as a share. None means no limit.
    max_alpha : float, > 0, optional
        Largest acceptable alpha on new images. (On a small test set, each changed prediction biases alpha downward.)
    groups : str, Path, or mapping of str to path, optional
        File of groups of test images, for which the effects of the choice are reported too; a mapping gives one per
        data set. Groups do not influence the choice.
    min_accuracy : float, in [0, 1], optional
        Lowest accuracy of the networks among which a trade-off of sparsity and fairness is chosen; by default 0.98, or
        one point below the dense networks' accuracy if that is lower than 0.98.
    fairness_value : float, >= 0, optional
        Value of a unit of fairness relative to a unit of sparsity. Unfairness is the highest minus the lowest recall of
        a class. By default 100 for iterative pruning; otherwise no such choice is made.

    Returns
    -------
    Recommendations
        A list, for each data set and model: `.verdict`, `.command` (which makes the recommended networks), `.tried` (a
        row for each method and ratio), `.notes`. A notebook shows verdicts and tables; `.write(folder)` writes the
        tables.

    Raises
    ------
    StudyError
        If a limit is out of range, or if the experiment cannot be read or has only the pruner `none`.

    Examples
    --------
    >>> from analysis import recommend_ratio
    >>> (recommendation,) = recommend_ratio("small", max_accuracy_loss=2)
    >>> recommendation.tried[["pruner", "ratio"]].to_numpy().tolist()
    [['mp', 10.0]]
    """
    from analysis.common import arguments
    from analysis.recommend import recommend

    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    arguments.check(max_accuracy_loss=max_accuracy_loss, max_class_loss=max_class_loss, max_alpha=max_alpha)
    arguments.check(groups=groups, min_accuracy=min_accuracy, fairness_value=fairness_value)
    return recommend.recommend(
        experiment,
        max_accuracy_loss=max_accuracy_loss,
        max_class_loss=max_class_loss,
        max_alpha=max_alpha,
        tracking_uri=tracking_uri,
        ignore_params=ignore_params,
        groups=groups or (),
        min_accuracy=min_accuracy,
        fairness_value=fairness_value,
    )
