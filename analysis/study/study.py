"""One study: its runs, data on them, and frames computed from them, each computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.common.errors import StudyError
from analysis.runs import (
    artifacts,
    chain_searches,
    characteristics,
    exports,
    frames,
    primaries,
    robustness,
    schema,
    study_archives,
    tunings,
    validation_counts,
)
from analysis.runs.chain_searches import ChainTrials
from analysis.runs.checked_predictions import CheckedPredictions
from analysis.runs.frames import Artifacts, ReadPredictions
from analysis.runs.primaries import Primary
from analysis.runs.tunings import Tuning
from analysis.runs.validation_counts import ValidationRecalls
from analysis.statistics.groups import ImageGroups
from analysis.statistics.hypothesis_tests import Variance
from analysis.study import cells, classes, groups, operating_points
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.groups import GivenGroups
from analysis.study.joins import join
from analysis.study.labels import (
    Letters,
    has_several_teachers,
    in_words,
    method_label,
    setting_label,
    setting_labels,
    setting_letters,
)
from analysis.study.operating_points import Preference
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import CELL, in_number_format, is_iterated, share_dense_networks, shown_settings


@dataclass(frozen=True)
class ReportOptions:
    """Options for the analysis of a study and the contents of its report.

    Parameters
    ----------
    confidence : float, above 0 and below 1
        Joint confidence of the intervals at all ratios of one data set, model, pruner and other settings.
    variance : {"welch", "pooled"}
        Variance in tests between independent groups of networks.
    paper : bool
        Whether the report includes the sections on the papers: their tables, figures and sentences.
    paper_pictures : bool
        Whether `paper` includes the sections that consist of pictures only.
    groups : path, sequence of str, or mapping of str to path
        Tables of groups of test images, as accepted by `groups.files_of_datasets`.
    min_accuracy, fairness_value : float, optional
        Criteria for a choice among the networks, as accepted by `operating_points.preference`.

    Raises
    ------
    StudyError
        If an option is out of range.
    """

    confidence: float = 0.95
    variance: Variance = "welch"
    paper: bool = False
    paper_pictures: bool = True
    groups: GivenGroups = ()
    min_accuracy: float | None = None
    fairness_value: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise StudyError(f"{self.confidence} must be above 0 and below 1", option="confidence")
        operating_points.preference(self.min_accuracy, self.fairness_value)

    @property
    def preference(self) -> Preference | None:
        """Criteria for a choice among the networks; None if no option gives them."""
        return operating_points.preference(self.min_accuracy, self.fairness_value)


@dataclass(frozen=True, eq=False)
class StudyData:
    """The runs of a study, data on them, and frames computed from them.

    The results of properties and functions marked `once` are cached.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    predictions : callable, optional
        As in `cells.cells`. Predictions that contradict their runs are not used.
    tunings : sequence of Tuning
        Searches of epsilon.
    chain_searches : sequence of ChainTrials
        Searches of chains by `compress`.
    primaries : sequence of Primary
        The comparisons declared as the purpose of the study.
    corrupted : DataFrame, optional
        Results of the networks on corrupted images: `robustness.TABLE` with run_id.
    characteristics : DataFrame, optional
        Characteristics of each class before training: `characteristics.TABLE` with run_id.
    validation : DataFrame, optional
        Counts of correctly classified validation images per class: `validation_counts.TABLE` with run_id.
    dense_runs, rows : DataFrame
        As in `frames.Study`, needed only for exports.
    artifacts : mapping
        See `frames.Artifacts`; needed only for exports.
    options : ReportOptions
    """

    runs: pd.DataFrame
    predictions: ReadPredictions | None = None
    _: KW_ONLY
    tunings: Sequence[Tuning] = ()
    chain_searches: Sequence[ChainTrials] = ()
    primaries: Sequence[Primary] = ()
    corrupted: pd.DataFrame | None = None
    characteristics: pd.DataFrame | None = None
    validation: pd.DataFrame | None = None
    dense_runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    artifacts: Artifacts = field(default_factory=dict)
    options: ReportOptions = field(default_factory=ReportOptions)

    @classmethod
    def from_store(
        cls,
        experiment: str | None = None,
        *,
        tracking_uri: str | None = None,
        ignore_params: Sequence[str] = (),
        dataset: str | None = None,
    ) -> "StudyData":
        """Pull an experiment from the tracking store.

        Parameters
        ----------
        experiment, tracking_uri, ignore_params
            As in `pull.pull_runs`.
        dataset : str, optional
            Use only the runs of this data set.

        Raises
        ------
        StudyError
            If `pull.pull_runs` cannot read the experiment, or if it has no run of the data set.
        """
        from analysis.runs import pull  # `from_frames` needs no MLflow, whose import takes seconds

        source = pull.Experiment(experiment, tracking_uri=tracking_uri)
        study = source.study(ignore_params)
        if dataset is not None:
            study = exports.select_dataset(study, dataset)
        predictions = partial(pull.predictions, names=frames.PREDICTED_ARRAYS, tracking_uri=tracking_uri)
        found = artifacts.pulled(source, study.runs, tracking_uri=tracking_uri)
        return cls._with_artifacts(study, predictions, found)

    @classmethod
    def from_frames(cls, folders: Sequence[Path]) -> "StudyData":
        """Read folders or archives written by `export`, as one experiment with all their runs.

        Raises
        ------
        StudyError
            If `exports.read` cannot read them.
        """
        with study_archives.unpacked(folders) as unpacked:
            study, predictions = exports.read(unpacked)
            found = exports.read_artifacts(unpacked)
        return cls._with_artifacts(study, predictions, found)

    @classmethod
    def _with_artifacts(cls, study: frames.Study, predictions: ReadPredictions, found: Artifacts) -> "StudyData":
        tables = (robustness.TABLE, characteristics.TABLE, validation_counts.TABLE)
        corrupted, of_classes, validation = (table.join(found.get(table.artifact, {})) for table in tables)
        return cls(
            study.runs,
            predictions,
            tunings=tunings.of_artifacts(found),
            chain_searches=chain_searches.of_artifacts(found),
            primaries=primaries.of_artifacts(found),
            corrupted=corrupted,
            characteristics=of_classes,
            validation=validation,
            dense_runs=study.dense_runs,
            rows=study.rows,
            artifacts=found,
        )

    def export(self, path: Path) -> list[Path]:
        """Write the study to a folder of small files, in place of an earlier export.

        A search of epsilon is left out if none of its finalists is among the runs of the study, and a search of chains
        if it has another data set.

        Parameters
        ----------
        path : Path
            The folder, or an archive with the same files if the name ends in `.zip`.

        Returns
        -------
        list of Path
            The files written, relative to the folder or to the archive.

        Raises
        ------
        StudyError
            If `exports.write` or `study_archives.packed` raises it.
        """
        if path.suffix != study_archives.SUFFIX:
            return self._write(path)
        with study_archives.packed(path) as folder:
            return self._write(folder)

    def counted(self) -> str:
        """Count the runs of each kind in words, such as `4 pruned, 4 control and 4 dense`."""
        kinds = frames.kinds(self.runs).mask(self.runs[schema.PRUNER] == schema.CONTROL, "control")
        numbers = {kind: int((kinds == kind).sum()) for kind in (schema.PRUNED, "control", schema.QUANTIZED)}
        counts = [f"{number:,} {kind}" for kind, number in numbers.items() if number]
        return f"{', '.join(counts)} and {len(self.dense_runs):,} {schema.DENSE}"

    def _write(self, folder: Path) -> list[Path]:
        predictions = self.predictions or (lambda _: {})
        return exports.write(frames.Study(self.runs, self.dense_runs, self.rows), predictions, self._own, folder)

    @property
    def _own(self) -> Artifacts:
        """The artifacts without those of searches on other data sets."""
        others = set()
        for run_id, content in self.artifacts.get(schema.CHAINS, {}).items():
            if chain_searches.parsed(content, run_id).dataset not in ("", *self.datasets):
                others.add(run_id)
        for run_id, search in zip(self.artifacts.get(schema.TUNING_SUMMARY, {}), self.tunings, strict=False):
            if not search.finalists[frames.RUN_ID].isin(self.runs[frames.RUN_ID]).any():
                others.add(run_id)
        return {
            name: {run_id: content for run_id, content in contents.items() if run_id not in others}
            for name, contents in self.artifacts.items()
        }

    @cached_property
    def with_ratios(self) -> "StudyData":
        """The study without networks whose pruning ratio the user did not choose.

        Those are unpruned networks in another number format, and levels of iterative pruning, whose ratios follow from
        the iteration.
        """
        others = in_number_format(self.runs) | is_iterated(self.runs)
        return replace(self, runs=frames.rows(self.runs, ~others)) if others.any() else self

    @cached_property
    def arrays(self) -> RunArrays:
        """The runs as arrays."""
        return run_arrays(self.runs)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in the order of the runs."""
        return list(dict.fromkeys(self.runs[schema.DATASET]))

    @cached_property
    def shown(self) -> list[str]:
        """Columns of the settings that tables and labels show, as `settings.shown_settings` returns them."""
        return shown_settings(self.runs)

    @property
    def cell_key(self) -> list[str]:
        """The columns that identify a cell in tables, as in `arrays`."""
        return [*CELL, *self.shown]

    @cached_property
    def letters(self) -> Letters:
        """The letters that stand for settings, as `labels.setting_letters` returns them."""
        return setting_letters(self.runs, self.shown)

    @cached_property
    def has_several_teachers(self) -> bool:
        """Whether labels must give the weight of a teacher."""
        return has_several_teachers(self.runs)

    def method(self, params: Mapping[str, Any]) -> str:
        """Return a method's name in tables and pictures: its pruner, with its setting or the setting's letter."""
        return in_words(method_label(params, self.shown, self.letters), with_weight=self.has_several_teachers)

    def explained_method(self, params: Mapping[str, Any]) -> str:
        """Return a method's name in sentences, in which a setting's letter is followed by what it stands for."""
        name = self.method(params)
        if self.setting(params) not in self.letters.values():
            return name
        how, others = setting_labels(params, self.shown, exact=self.arrays.exact)
        how = [in_words(label, with_weight=self.has_several_teachers) for label in how]
        return f"{name} ({', '.join([*how, *others])})"

    def setting(self, params: Mapping[str, Any]) -> str:
        """Return a setting's name in tables and pictures, or an empty string for the papers' setting."""
        return in_words(setting_label(params, self.shown, self.letters), with_weight=self.has_several_teachers)

    def share_dense_networks(self, rows: pd.DataFrame) -> bool:
        """Return whether every two of the given cells have a dense network in common."""
        key = self.cell_key
        return share_dense_networks(join(self.runs, rows[key], key), key)

    @cached_property
    def names(self) -> dict[str, str]:
        """Name of each method in tables and pictures, by its label without letters."""
        rows = self.runs[[schema.PRUNER, *self.shown]].drop_duplicates().to_dict("records")
        return {method_label(row, self.shown, exact=self.arrays.exact): self.method(row) for row in rows}

    @cached_property
    def _checked(self) -> CheckedPredictions | None:
        return CheckedPredictions(self.runs, self.predictions) if self.predictions else None

    @cached_property
    def predicted(self) -> StudyPredictions | None:
        """Predictions of the networks, without those that contradict their runs."""
        return StudyPredictions.shared(self._checked)

    @cached_property
    def alphas(self) -> pd.DataFrame:
        """One row per run, as `cells.alphas` returns it."""
        return cells.alphas(self.arrays)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell, as `cells.cells` returns it."""
        frame = cells.cells(self.arrays, self.predicted, confidence=self.options.confidence)
        frame.attrs["notes"] += self._checked.notes if self._checked else []
        return frame

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per cell and class, as `classes.classes` returns it."""
        return classes.classes(self.arrays, self.predicted)

    @cached_property
    def on_validation(self) -> ValidationRecalls:
        """Recalls of the networks on validation images."""
        return ValidationRecalls(self.validation)

    @cached_property
    def image_groups(self) -> dict[str, ImageGroups]:
        """The groups of test images, by data set."""
        files = groups.files_of_datasets(self.options.groups, self.datasets)
        return groups.read_groups(files, self.runs, self.predicted)

    @cached_property
    def groups(self) -> groups.Grouped:
        """Effects of pruning on groups of test images, as `groups.groups` returns them."""
        return groups.groups(self.arrays, self.predicted, self.image_groups)


def notes(*frames: pd.DataFrame) -> list[str]:
    """Collect the notes in the frames' attributes on what was left out or is missing, in the order of the frames."""
    return [note for frame in frames for kind in ("left_out", "notes") for note in frame.attrs.get(kind, [])]
