"""One study and what all sections of its report share: every frame is worked out once, when a section first asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.checked_predictions import CheckedPredictions
from analysis.runs.frames import ReadPredictions
from analysis.runs.primaries import Primary
from analysis.runs.validation_counts import Recalls
from analysis.statistics.groups import ImageGroups
from analysis.statistics.hypothesis_tests import Variance
from analysis.study import cells, classes, groups
from analysis.study.labels import (
    Letters,
    has_several_teachers,
    in_words,
    method_label,
    need_all_digits,
    setting_label,
    setting_letters,
)
from analysis.study.operating_points import Preference
from analysis.study.predictions import Predictions
from analysis.study.settings import CELL, in_number_format, is_iterated, share_dense_networks, shown_settings

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AnalyzedStudy:
    """The runs of a study, how to analyse them, and the frames that follow.

    Frames that belong to one paper are worked out by that paper's functions, `once` for all its sections.

    Parameters
    ----------
    runs : DataFrame
        As `pull.runs` returns it.
    predictions : callable, optional
        As `cells.cells` takes it. Predictions that contradict their runs are not used.
    tunings : sequence of tuning.results.Tuning
        Searches of epsilon.
    confidence : float
        Joint confidence of the intervals of one data set, model and pruner over its ratios.
    variance : {"welch", "pooled"}
        Variance of the tests between independent groups of networks.
    primaries : sequence of Primary
        The comparisons that the study was made for.
    corrupted : DataFrame, optional
        What the networks have right on corrupted images, as `robustness.pulled` returns it.
    characteristics : DataFrame, optional
        What is known of each class before training, as `characteristics.pulled` returns it.
    validation : DataFrame, optional
        How many validation images of each class networks have right, as `validation_counts.pulled` returns it.
    preference : Preference, optional
        What a choice among the networks takes into account, as `operating_points.preference` returns it.
    group_files : mapping of str to Path
        Tables of groups of a data set's test images, as `groups.files_of_datasets` returns them.
    """

    runs: pd.DataFrame
    predictions: ReadPredictions | None = None
    tunings: Sequence[Any] = ()
    _: KW_ONLY
    confidence: float = 0.95
    variance: Variance = "welch"
    primaries: Sequence[Primary] = ()
    corrupted: pd.DataFrame | None = None
    characteristics: pd.DataFrame | None = None
    validation: pd.DataFrame | None = None
    preference: Preference | None = None
    group_files: Mapping[str, Path] = field(default_factory=dict)
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def with_ratios(self) -> "AnalyzedStudy":
        """The study without networks that have no pruning ratio of their own choice.

        These are networks that keep all weights in another number format, and levels of iterative pruning, whose ratios
        follow from the iteration.
        """
        others = in_number_format(self.runs) | is_iterated(self.runs)
        return replace(self, runs=frames.rows(self.runs, ~others)) if others.any() else self

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in the order of the runs."""
        return list(dict.fromkeys(self.runs[schema.DATASET]))

    @cached_property
    def shown(self) -> list[str]:
        """The columns of the settings that tables and labels show, as `settings.shown_settings` returns them."""
        return shown_settings(self.runs)

    @cached_property
    def letters(self) -> Letters:
        """The letters of settings with a long label, as `labels.setting_letters` returns them."""
        return setting_letters(self.runs)

    @cached_property
    def has_several_teachers(self) -> bool:
        """Whether labels name the weight of a teacher."""
        return has_several_teachers(self.runs)

    def method(self, params: Mapping[str, Any]) -> str:
        """Return what tables and pictures call a method: its pruner, and its setting or the letter of it."""
        return in_words(method_label(params, self.shown, self.letters), with_weight=self.has_several_teachers)

    def setting(self, params: Mapping[str, Any]) -> str:
        """Return what tables and pictures call a method's setting; the empty text if it is the papers'."""
        return in_words(setting_label(params, self.shown, self.letters), with_weight=self.has_several_teachers)

    def share_dense_networks(self, rows: pd.DataFrame) -> bool:
        """Return whether any two of some cells have a dense network in common, as `settings` says."""
        columns = [*CELL, *self.shown]
        return share_dense_networks(self.runs.merge(rows[columns], on=columns), columns)

    @cached_property
    def names(self) -> dict[str, str]:
        """What tables and pictures call each method, by its label without letters."""
        rows = self.runs[[schema.PRUNER, *self.shown]].drop_duplicates().to_dict("records")
        exact = need_all_digits(self.runs)
        return {method_label(row, self.shown, exact=exact): self.method(row) for row in rows}

    @cached_property
    def _checked(self) -> CheckedPredictions | None:
        return CheckedPredictions(self.runs, self.predictions) if self.predictions else None

    @cached_property
    def predicted(self) -> Predictions | None:
        """What the networks predicted, without what contradicts their runs."""
        return Predictions.shared(self._checked)

    @cached_property
    def alphas(self) -> pd.DataFrame:
        """One row per run, as `cells.alphas` returns it."""
        return cells.alphas(self.runs)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell, as `cells.cells` returns it."""
        frame = cells.cells(self.runs, self.predicted, confidence=self.confidence)
        frame.attrs["notes"] += self._checked.notes if self._checked else []
        return frame

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per cell and class, as `classes.classes` returns it."""
        return classes.classes(self.runs, self.predicted)

    @cached_property
    def on_validation(self) -> Recalls:
        """What the networks have right on validation images."""
        return Recalls(self.validation)

    @cached_property
    def image_groups(self) -> dict[str, ImageGroups]:
        """The groups of test images, by data set."""
        return groups.read_groups(self.group_files, self.runs, self.predicted)

    @cached_property
    def groups(self) -> groups.Grouped:
        """What pruning did to groups of test images, as `groups.groups` returns it."""
        return groups.groups(self.runs, self.predicted, self.image_groups)

    def once(self, make: Callable[["AnalyzedStudy"], T]) -> T:
        """Return what a function makes of this study; it is called the first time."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def notes(*frames: pd.DataFrame) -> list[str]:
    """Return the sentences that frames carry on what they lack, in the order of the frames."""
    return [note for frame in frames for kind in ("left_out", "notes") for note in frame.attrs.get(kind, [])]
