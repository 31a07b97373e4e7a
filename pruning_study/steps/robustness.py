"""Count the correct predictions of finished runs on corrupted test images, or on a folder of further images."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from mlflow.entities import Run
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from analysis.common.command_line import as_typed
from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.common.terminal import folded
from analysis.runs import robustness as counts
from analysis.runs import schema
from analysis.runs.names import CORRUPTIONS
from pruning_study import models
from pruning_study.data import corruptions, datasets, folders
from pruning_study.data.datasets import Dataset
from pruning_study.models import checkpoints, onnx_export
from pruning_study.options.config import RobustnessConfig, checked
from pruning_study.steps.alike_networks import newest_runs, row_names
from pruning_study.steps.followed import check_finished
from pruning_study.steps.loaded import resolved_device
from pruning_study.steps.text_tables import text_table
from pruning_study.tracking import scratch, sending
from pruning_study.tracking.connect import connect, connect_to_runs
from pruning_study.tracking.store import Store
from pruning_study.training.predicted import most_probable

# Number of networks in memory at once. Their counts are stored before the next networks are loaded.
AT_ONCE = 16
# Number of images for which a network computes logits at once.
BATCH_SIZE = 256
TOP = 5
_KEY = ["corruption", "severity"]

log = logging.getLogger(__name__)


class ConditionImages(NamedTuple):
    """Images on which networks are measured, under one condition.

    Parameters
    ----------
    corruption : str
        Name of the corruption, `none` for test images as they are, or the name of a folder.
    severity : int
        0 if nothing is corrupted.
    measured : str
        Digest that identifies the images before corruption, 16 hexadecimal digits.
    labels : int64 [n]
    pixels : callable
        Returns the images, uint8 [n, C, H, W], in memory or memory-mapped.
    """

    corruption: str
    severity: int
    measured: str
    labels: np.ndarray
    pixels: Callable[[], np.ndarray]

    @property
    def key(self) -> tuple[str, int]:
        return self.corruption, self.severity


class NetworkLogits(NamedTuple):
    """The network of a run, as a function from images to logits.

    Parameters
    ----------
    run_id : str
    classes : tuple of str
    logits : callable
        Takes images, uint8 [n, C, H, W], and returns a Tensor [n, classes] on the CPU.
    """

    run_id: str
    classes: tuple[str, ...]
    logits: Callable[[np.ndarray], Tensor]


def measure(config: RobustnessConfig, run_ids: Sequence[str], options: Mapping[str, str]) -> str:
    """Measure networks in a job, and return the lines to print.

    Counts that a run already has for the same images are kept, unless `--force` is given.

    Parameters
    ----------
    config : RobustnessConfig
    run_ids : sequence of str
        Dense, pruned or quantized runs; if empty, all such finished runs of the experiment.
    options : mapping of str
        The options as typed, for the job's params.

    Raises
    ------
    StudyError
        If a run, its data set or its network cannot be used, if the images cannot be corrupted, or if counts on another
        sample of test images would be lost.
    """
    if not config.folder:
        corruptions.check_installed()
    store = (connect if run_ids else connect_to_runs)(config.experiment)
    sending.send_kept(store.uri)
    runs = _runs(store, config, run_ids)
    tables: dict[str, pd.DataFrame] = {}
    number_reused = 0
    with store.job(f"robustness: {len(runs):,} runs", options) as job:
        for group in (list(group) for _, group in groupby(runs, _data_set)):
            tests = _folder_images(store, group[0], config) if config.folder else _corrupted_images(group[0], config)
            counts_of_runs = {run.info.run_id: _read_counts(store, run, config, tests) for run in group}
            to_measure = [run for run in group if _missing(counts_of_runs[run.info.run_id], tests)]
            number_reused += len(group) - len(to_measure)
            for run_id, table in measure_in_turn(store, config, to_measure, tests, counts_of_runs):
                counts_of_runs[run_id] = table
            tables |= counts_of_runs
        counted = newest_runs(runs)
        rows, left_out = _shared_conditions(counted, tables)
        job.note(f"{len(runs):,} networks were measured on corrupted test images or on further images.")
    return "\n".join(
        [
            "",
            _table(rows),
            "",
            *([folded(_left_out(left_out), "")] if len(left_out) else []),
            *([folded(_not_counted(runs, counted), "")] if len(counted) < len(runs) else []),
            _how_found(len(runs), number_reused),
            "The report compares the runs: pruning-analysis report",
        ]
    )


def _how_found(count: int, number_reused: int) -> str:
    again = (
        f", {number_reused:,} of them by an earlier command ({as_typed('force')} measures again)"
        if number_reused
        else ""
    )
    return (
        f"{count:,} {'run' if count == 1 else 'runs'} measured{again}; {schema.CORRUPTIONS} of each run has the numbers"
    )


# Which runs.


def _runs(store: Store, config: RobustnessConfig, run_ids: Sequence[str]) -> list[Run]:
    """Return the runs to measure, sorted by data set."""
    runs = [store.get(run_id) for run_id in dict.fromkeys(run_ids)] if run_ids else store.of_kinds(schema.KINDS)
    for run in runs:
        check_finished(run, schema.KINDS)
        for param in (schema.DATASET, schema.DATASET_DIGEST, schema.MODEL):
            if param not in run.data.params:
                raise StudyError(f"run {run.info.run_id} has no param {param}: it was not made by this project")
    if config.dataset:
        name = datasets.dataset_name(config.dataset)
        runs = [run for run in runs if run.data.params[schema.DATASET] == name]
    if not runs:
        of = f" of {config.dataset}" if config.dataset else ""
        raise StudyError(
            f"the experiment has no finished dense, pruned or quantized run{of}: train networks, or name runs"
        )
    return sorted(runs, key=_data_set)


def _data_set(run: Run) -> tuple[str, str]:
    return run.data.params[schema.DATASET], run.data.params[schema.DATASET_DIGEST]


# Which images.


def _corrupted_images(run: Run, config: RobustnessConfig) -> list[ConditionImages]:
    """Return a sample of the test images of a run's data set, as they are and corrupted."""
    data = _data(run, config)
    corruptions.check_images(data.source, data.test_images)
    indices = corruptions.chosen(data.test_labels, config.images)
    sample = corruptions.Sample(data.name, data.digest, data.test_images, indices)
    labels = data.test_labels[indices]
    conditions = [
        (corruption, severity) for corruption in config.corruptions or CORRUPTIONS for severity in config.severities
    ]
    files = [corruptions.cached_file(sample, *condition, config.data_dir) for condition in conditions]
    if missing := sum(not file.is_file() for file in files):
        log.warning(
            "%s images are corrupted in %s ways and stored in %s; delete that folder when you are done",
            f"{len(indices):,}",
            missing,
            files[0].parent,
        )
    clean = ConditionImages(counts.CLEAN, 0, sample.identity, labels, lambda: data.test_images[indices])
    return [clean] + [
        ConditionImages(
            *condition, sample.identity, labels, partial(corruptions.corrupted, sample, *condition, config.data_dir)
        )
        for condition in conditions
    ]


def _data(run: Run, config: RobustnessConfig) -> Dataset:
    """Read the data set of a run."""
    params, run_id = run.data.params, run.info.run_id
    source = config.dataset or params[schema.DATASET]
    if not config.dataset and datasets.is_path(source):
        raise StudyError(
            f"run {run_id} names the path {shortened(source)} as its data set: give this data set", option="dataset"
        )
    try:
        fraction = checked(schema.TEST_FRACTION, params.get(schema.TEST_FRACTION))
    except StudyError as error:
        raise StudyError(f"run {run_id}: its param {schema.TEST_FRACTION}: {error}") from None
    data = datasets.load(
        source,
        data_dir=config.data_dir,
        image_size=_image_size(run),
        test_fraction=fraction,
    )
    if data.digest != params[schema.DATASET_DIGEST]:
        raise StudyError(f"{data.source} does not hold the images of run {run_id}: give its data set", option="dataset")
    return data


def _image_size(run: Run) -> int | None:
    """Return the side of a run's square images; None if they are not square or no param gives their shape."""
    if schema.IMAGE_SHAPE not in run.data.params:
        return None
    _, height, width = checkpoints.image_shape(run.data.params[schema.IMAGE_SHAPE], f"run {run.info.run_id}")
    return height if height == width else None


def _folder_images(store: Store, run: Run, config: RobustnessConfig) -> list[ConditionImages]:
    """Return the images of a folder, in the shape of the images of a run's data set."""
    assert config.folder
    if schema.IMAGE_SHAPE not in run.data.params:
        raise StudyError(f"run {run.info.run_id} has no param {schema.IMAGE_SHAPE}", option=folders.OPTION)
    size = _image_size(run)
    if size is None:
        raise StudyError(f"run {run.info.run_id} has images that are not square", option=folders.OPTION)
    channels, _, _ = checkpoints.image_shape(run.data.params[schema.IMAGE_SHAPE], f"run {run.info.run_id}")
    if channels not in (1, 3):
        raise StudyError(
            f"run {run.info.run_id} has images of {channels} channels, but pictures have one or three: name runs "
            "on grey or coloured images",
            option=folders.OPTION,
        )
    name = datasets.dataset_name(str(config.folder))
    if name in (counts.CLEAN, counts.ALL, *CORRUPTIONS):
        raise StudyError(
            f"{config.folder}: {name} is a name used for corruptions: rename the folder", option=folders.OPTION
        )
    images, labels = folders.read_labelled(
        config.folder,
        load_network(store, run, config).classes,
        size,
        decoded=config.data_dir / "decoded" / name,
    )
    images = _with_channels(images, channels)
    content = hashlib.sha256(np.ascontiguousarray(labels).data)
    for image in images:
        content.update(np.ascontiguousarray(image).data)
    return [ConditionImages(name, 0, content.hexdigest()[:16], labels, lambda: images)]


def _with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with the wanted number of channels, one or three; Pillow converts coloured images to grey."""
    count, there, height, width = images.shape
    if there < channels:
        return np.broadcast_to(images, (count, channels, height, width))
    if there > channels:
        grey = (Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L") for image in images)
        return np.stack([np.asarray(picture)[None] for picture in grey])
    return images


# What is measured.


def _read_counts(store: Store, run: Run, config: RobustnessConfig, tests: Sequence[ConditionImages]) -> pd.DataFrame:
    """Return a run's stored counts, without those to be measured again and those on another sample of test images.

    Raise a StudyError if counts on another sample would be lost, because their conditions are not measured again.
    """
    run_id = run.info.run_id
    if schema.CORRUPTED not in run.data.tags or store.missing(run_id, [schema.CORRUPTIONS]):
        return counts.TABLE.nothing().drop(columns="run_id")
    try:
        with store.artifact(run_id, schema.CORRUPTIONS) as path:
            table = counts.TABLE.parse(path.read_bytes(), f"run {run_id}: {schema.CORRUPTIONS}")
    except StudyError as error:
        log.warning("%s; the run is measured again", error)
        return counts.TABLE.nothing().drop(columns="run_id")
    of_test_images = table["corruption"].isin([counts.CLEAN, *CORRUPTIONS])
    if not config.folder:  # counts on a different sample of test images cannot be compared with the new counts
        of_other_sample = of_test_images & table["measured"].ne(tests[0].measured)
        if not config.force:
            _check_all_measured_again(run_id, table[of_other_sample], tests)
        table = table[~of_other_sample]
    keys = pd.MultiIndex.from_frame(table[_KEY])
    replaced = keys.isin([test.key for test in tests])
    is_other = ~table["measured"].isin([test.measured for test in tests]) | config.force
    return table[~(replaced & is_other)].reset_index(drop=True)


def _check_all_measured_again(run_id: str, other_sample: pd.DataFrame, tests: Sequence[ConditionImages]) -> None:
    lost = other_sample[~pd.MultiIndex.from_frame(other_sample[_KEY]).isin([test.key for test in tests])]
    if lost.empty:
        return
    number = lost.groupby(_KEY)["support"].sum().iloc[0]
    raise StudyError(
        f"run {run_id} was measured on {number:,} test images under {_condition_names(lost)}, which cannot be compared "
        f"with {len(tests[0].labels):,} images: give {as_typed('images', str(number))}, or {as_typed('force')} to "
        "delete these numbers",
        option="images",
    )


def _missing(table: pd.DataFrame, tests: Sequence[ConditionImages]) -> list[ConditionImages]:
    there = set(zip(table["corruption"], table["severity"], strict=True))
    return [test for test in tests if test.key not in there]


def measure_in_turn(
    store: Store,
    config: RobustnessConfig,
    runs: Sequence[Run],
    tests: Sequence[ConditionImages],
    earlier_counts: Mapping[str, pd.DataFrame],
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Measure runs, store the counts of each, and yield each run's id and counts."""
    with tqdm(desc="robustness", total=len(runs) * len(tests), unit=" tests", leave=False, disable=None) as progress:
        for start in range(0, len(runs), AT_ONCE):
            networks = [load_network(store, run, config) for run in runs[start : start + AT_ONCE]]
            wanted = {network.run_id: _missing(earlier_counts[network.run_id], tests) for network in networks}
            # These arrays are allocated before any network computes. Otherwise memory would grow: an array allocated
            # between two networks may lie in the middle of memory that activations have freed, so that malloc cannot
            # reuse this memory for larger activations.
            right = {
                network.run_id: np.empty((len(wanted[network.run_id]), 2, len(network.classes)), np.int64)
                for network in networks
            }
            for test in tests:
                taking = [network for network in networks if test in wanted[network.run_id]]
                pixels = test.pixels() if taking else None
                for network in taking:
                    assert pixels is not None
                    right[network.run_id][wanted[network.run_id].index(test)] = count_right(network, test, pixels)
                progress.update(len(networks))
            for network in networks:
                run_id = network.run_id
                tables = map(partial(_rows, network.classes), wanted[run_id], right[run_id])
                yield run_id, send(store, config, run_id, pd.concat(tables, ignore_index=True), tests)


def send(
    store: Store, config: RobustnessConfig, run_id: str, table: pd.DataFrame, tests: Sequence[ConditionImages]
) -> pd.DataFrame:
    """Add new counts to those that a run has by now, and store and return all of its counts."""
    # Another process may have stored counts of other corruptions since this one began.
    with store.making(run_id), scratch.folder() as folder:
        there = _read_counts(store, store.get(run_id), config, tests)
        own = pd.MultiIndex.from_frame(table[_KEY])
        table = pd.concat([there[~pd.MultiIndex.from_frame(there[_KEY]).isin(own)], table], ignore_index=True)
        file = folder / schema.CORRUPTIONS
        file.write_bytes(counts.TABLE.as_csv(table))
        store.add(run_id, file, {schema.CORRUPTED: tests[0].measured})
    return table


def count_right(network: NetworkLogits, test: ConditionImages, pixels: np.ndarray) -> np.ndarray:
    """Count each class's images whose own class is the most probable one, or is in the top 5: [2, classes]."""
    logits = network.logits(pixels)
    top = most_probable(logits, TOP).numpy()
    right = top == test.labels[:, None]
    answers = (right[:, 0], right.any(1))
    return np.stack([np.bincount(test.labels[chosen], minlength=len(network.classes)) for chosen in answers])


def _rows(classes: tuple[str, ...], test: ConditionImages, right: np.ndarray) -> pd.DataFrame:
    """Return a row for each class that has images, with the number of images that a network predicts right."""
    support = np.bincount(test.labels, minlength=len(classes))
    there = support > 0
    return pd.DataFrame(
        {
            "corruption": test.corruption,
            "severity": test.severity,
            "class": np.array(classes, dtype=object)[there],
            "support": support[there],
            "right": right[0][there],
            "right_top5": right[1][there],
            "measured": test.measured,
        }
    )


def load_network(store: Store, run: Run, config: RobustnessConfig) -> NetworkLogits:
    """Load the network of a run."""
    models.set_threads(run.data.params[schema.MODEL])
    load = _quantized if run.data.tags[schema.KIND] == schema.QUANTIZED else _torch_network
    return load(store, run, config)


def _torch_network(store: Store, run: Run, config: RobustnessConfig) -> NetworkLogits:
    run_id, name = run.info.run_id, run.data.params[schema.MODEL]
    own = None if models.is_built_in(name) else name
    if own and config.model != own:
        raise StudyError(f"run {run_id} has a network of your own, {shortened(own)[1:-1]}: name it", option="model")
    device = resolved_device(config.device)
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        classifier = checkpoints.classifier(path, run_id, own, run.data.params).to(device)

    def logits(images: np.ndarray) -> Tensor:
        # All batches' logits share one tensor, because tensors allocated between activations would fragment the memory.
        scores = torch.empty(len(images), len(classifier.classes))
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_SIZE):
                part = np.array(images[start : start + BATCH_SIZE])
                scores[start : start + BATCH_SIZE] = classifier(torch.from_numpy(part).to(device))
        return scores

    return NetworkLogits(run_id, classifier.classes, logits)


def _quantized(store: Store, run: Run, config: RobustnessConfig) -> NetworkLogits:
    run_id, where = run.info.run_id, f"run {run.info.run_id}: {schema.ONNX_MODEL}"
    onnx_export.check_installed()
    with store.artifact(run_id, schema.ONNX_MODEL) as path:
        model = onnx_export.load(path, where)
    properties = {each.key: each.value for each in model.metadata_props}
    classes = checkpoints.class_names({"classes": "", **properties}, where)
    return NetworkLogits(run_id, classes, lambda images: torch.from_numpy(onnx_export.logits(model, images)))


# What is printed.


def _shared_conditions(runs: Sequence[Run], tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the counts under conditions that all runs have on the same images of a data set, and the other counts."""
    names = row_names(runs)
    tables_of_runs = [
        tables[run.info.run_id].assign(
            run_id=run.info.run_id,
            network=names[run.info.run_id],
            data_set=run.data.params[schema.DATASET_DIGEST],
        )
        for run in runs
    ]
    rows = pd.concat(tables_of_runs, ignore_index=True)
    number_of_runs = rows.groupby(_KEY)["run_id"].transform("nunique")
    number_of_samples = rows.groupby([*_KEY, "data_set"])["measured"].transform("nunique")
    is_comparable = number_of_runs.eq(len(runs)) & number_of_samples.eq(1)
    is_shared = is_comparable.groupby([rows[name] for name in _KEY]).transform("all")
    return rows[is_shared], rows[~is_shared]


def _table(rows: pd.DataFrame) -> str:
    """Return a text table of accuracies, averaged over severities and over networks made in the same way."""
    sums = rows.groupby(["network", "run_id", *_KEY], sort=False)[["support", "right"]].sum()
    means = (sums["right"] / sums["support"]).groupby(["network", "corruption"], sort=False).mean().unstack()
    sizes = rows.groupby("network")["run_id"].nunique()
    names = [name for name in CORRUPTIONS if name in means]
    shown = [counts.CLEAN, *(name for name in means if name not in (counts.CLEAN, *names))]
    header = ["network", "runs", *(name for name in shown if name in means)]
    lines = []
    for network, row in means.iterrows():
        line = [str(network), f"{sizes[network]:,}", *(f"{row[name]:.3f}" for name in header[2:])]
        if names:
            worst = row[names].idxmin()
            line += [f"{row[names].mean():.3f}", f"{row[worst]:.3f} ({worst})"]
        lines.append(line)
    return text_table(header + (["mean of corruptions", "worst corruption"] if names else []), lines)


def _left_out(rows: pd.DataFrame) -> str:
    return (
        f"The table leaves out {_condition_names(rows)}, because not all of its networks were measured under these "
        "conditions on the same images."
    )


def _condition_names(rows: pd.DataFrame) -> str:
    """Name the conditions of some counts: `none, fog (severity 1, 5) and contrast (severity 3)`."""
    severities = rows.groupby("corruption", sort=False)["severity"].unique()
    *names, last = (
        corruption if max(each) == 0 else f"{corruption} (severity {', '.join(map(str, sorted(each)))})"
        for corruption, each in severities.items()
    )
    return f"{', '.join(names)} and {last}" if names else last


def _not_counted(runs: Sequence[Run], counted: Sequence[Run]) -> str:
    """Name the runs that the table does not count."""
    counted_ids = {run.info.run_id for run in counted}
    older_ids = [run.info.run_id for run in runs if run.info.run_id not in counted_ids]
    number = "1 run" if len(older_ids) == 1 else f"{len(older_ids):,} runs"
    return f"The table does not count {number} with the settings and seed of a newer run: {', '.join(older_ids)}."
