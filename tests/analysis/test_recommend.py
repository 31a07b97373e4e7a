"""Recommend: bounds by hand, a store whose best ratio is known, and what cannot be recommended."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from scipy import stats

from analysis import recommend
from analysis.recommend import Limits, ValidationRecalls
from analysis.runs.errors import StudyError

IMAGES = 40
LABEL = np.repeat([0, 1, 2], IMAGES)
WRONG_BEFORE = (2, 6, 12)
SEEDS = 4


def predicted(wrong: tuple[int, ...]) -> np.ndarray:
    """Predictions of LABEL that are wrong about the first images of each class, as many as `wrong` says."""
    place = np.arange(len(LABEL)) % IMAGES
    return np.where(place < np.array(wrong)[LABEL], (LABEL + 1) % 3, LABEL)


def dense_wrong(seed: int) -> tuple[int, ...]:
    return WRONG_BEFORE[0], WRONG_BEFORE[1], WRONG_BEFORE[2] + seed


def logged(wrong: tuple[int, ...], before: tuple[int, ...]) -> dict[str, float]:
    """Metrics of a network on test images that are like the validation images."""
    metrics = {"test_accuracy": 1 - sum(wrong) / len(LABEL)}
    for index, (now, then) in enumerate(zip(wrong, before, strict=True)):
        metrics |= {f"recall/{index}": 1 - now / IMAGES, f"support/{index}": IMAGES}
        metrics[f"both_right/{index}"] = 1 - max(now, then) / IMAGES
    return metrics


class Writer:
    """Logs dense and pruned runs with their validation predictions."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/store.db"
        self.folder = folder
        self.client = MlflowClient(self.uri)

    def experiment(self, name: str) -> str:
        return self.client.create_experiment(name, artifact_location=(self.folder / name).as_uri())

    def log(self, experiment: str, params: dict, metrics: dict, wrong: tuple[int, ...] | None, **tags: str) -> str:
        run_id = self.client.create_run(experiment, tags=tags).info.run_id
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        if wrong is not None:
            path = self.folder / "val_predictions.npz"
            np.savez(path, label=LABEL, predicted=predicted(wrong))
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id)
        return run_id

    def dense(self, experiment: str, seed: int, *, artifact: bool = True) -> str:
        wrong = dense_wrong(seed)
        params = {"dataset": "pets", "model": "net", "seed": seed}
        return self.log(experiment, params, logged(wrong, wrong), wrong if artifact else None, kind="dense")

    def pruned(self, experiment, dense, seed, pruner, ratio, more, *, on_test=None, artifact=True, **params) -> None:
        """Log a run that is wrong about `more` further images of each class than its dense run."""
        before = dense_wrong(seed)
        on_val, of_test = (
            tuple(base + extra for base, extra in zip(before, extras, strict=True))
            for extras in (more, on_test or more)
        )
        params = {"dataset": "pets", "model": "net", "seed": seed, "pruner": pruner, "ratio": ratio, **params}
        metrics = logged(of_test, before)
        self.log(experiment, params, metrics, on_val if artifact else None, kind="pruned", dense_run_id=dense)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """In `known`, up at 10 is best; mp passes at 2 and again, behind its failure at 10, at 50."""
    writer = Writer(tmp_path_factory.mktemp("store"))
    known = writer.experiment("known")
    for seed in range(SEEDS):
        dense = writer.dense(known, seed)
        writer.pruned(known, dense, seed, "none", 1.0, (0, 0, 0), on_test=(0, 0, -1))
        writer.pruned(known, dense, seed, "mp", 2.0, (0, 0, 0))
        writer.pruned(known, dense, seed, "mp", 10.0, (0, 0, 10))
        writer.pruned(known, dense, seed, "mp", 50.0, (0, 0, 0))
        writer.pruned(known, dense, seed, "up", 2.0, (0, 0, 0), epsilon="0.0005")
        writer.pruned(known, dense, seed, "up", 10.0, (1, 0, 0), on_test=(1, 1, 0), epsilon="0.0005")
        writer.pruned(known, dense, seed, "up", 50.0, (0, 6, 6 + seed), epsilon="0.0005")

    writer.pruned(known, "gone", SEEDS, "mp", 2.0, (0, 0, 0))

    single, bare, control = (writer.experiment(name) for name in ("single", "bare", "control"))
    dense = writer.dense(single, 0)
    writer.pruned(single, dense, 0, "mp", 2.0, (0, 0, 0))
    dense = writer.dense(bare, 0, artifact=False)
    writer.pruned(bare, dense, 0, "mp", 2.0, (0, 0, 0), artifact=False)
    dense = writer.dense(control, 0)
    writer.pruned(control, dense, 0, "none", 1.0, (0, 0, 0))

    mixed = writer.experiment("mixed")
    for seed in range(SEEDS):
        dense = writer.dense(mixed, seed)
        for epsilon, lost in (("0.0005", 0), ("0.1", 12)):
            writer.pruned(mixed, dense, seed, "up", 2.0, (0, 0, lost), artifact=seed > 0, epsilon=epsilon)
    return writer


@pytest.fixture(scope="module")
def known(store) -> recommend.Recommendation:
    (found,) = recommend.recommend("known", max_alpha=1.05, tracking_uri=store.uri)
    return found


def test_the_command_fine_tunes_as_the_runs_were():
    run = {"pruner": "rp", "ratio": 4.0, "params.fine_tune_epochs": "5", "params.fine_tune_learning_rate": "0.01"}
    assert recommend.command(run) == "prune --pruner rp --ratio 4 --fine-tune-epochs 5 --fine-tune-learning-rate 0.01"
    as_pruned = run | {"params.fine_tune_epochs": "0", "params.fine_tune_learning_rate": np.nan}
    assert recommend.command(as_pruned) == "prune --pruner rp --ratio 4 --fine-tune-epochs 0"


def test_the_largest_ratio_that_is_reached_without_a_failure(known):
    assert re.match(r"net on pets: .*\(prune --pruner up --ratio 10 --epsilon 0\.0005\).* 4 seeds", known.verdict)
    # One image of 120 more is wrong in every seed.
    assert "0.008 (at most 0.008)" in known.verdict
    tried = [tuple(row) for row in known.tried[["pruner", "ratio"]].itertuples(index=False)]
    assert tried == [("mp", 2), ("mp", 10), ("up", 2), ("up", 10), ("up", 50)]
    assert list(known.tried["fails"] == "") == [True, False, True, True, False]


def test_the_choice_is_reported_on_test_images_beside_the_control(known):
    # Two images of 120 more are wrong than before, three more than with `none`.
    on_test = known.verdict.partition("On test images")[2]
    assert re.search(r"0\.017 \(0\.017 to 0\.017\), 0\.025 \(0\.025 to 0\.025\) .*none", on_test)


def test_one_sided_bounds_are_corrected_for_pruners_and_criteria(known):
    row = known.tried.iloc[-1]
    losses = np.array([12, 13, 14, 15]) / 120
    # Two pruners and two criteria: .05 / 4 in one tail.
    bound = losses.mean() + stats.t.isf(0.05 / 4, 3) * losses.std(ddof=1) / 2
    assert [row["loss"], row["loss_high"]] == pytest.approx([losses.mean(), bound])
    assert re.search(rf"accuracy .*{bound:.3f}, {bound - 0.01:.3f} above 0\.01", row["fails"])


def test_what_pull_left_out_is_said(known):
    (note,) = known.notes
    assert note.startswith("1 pruned run left out")


@pytest.mark.parametrize(
    ("params", "keyword"),
    [({"pruner": "up-signed"}, "`up-signed`"), ({"pruner": "mp", "protocol": "released"}, "`released`")],
)
def test_what_one_should_know_of_these_runs(store, params, keyword):
    experiment = store.experiment(params["pruner"])
    for seed in range(2):
        store.pruned(experiment, store.dense(experiment, seed), seed, ratio=2.0, more=(0, 0, 0), **params)
    (found,) = recommend.recommend(params["pruner"], max_alpha=1.05, tracking_uri=store.uri)
    assert [keyword in note for note in found.notes] == [True]


def test_where_nothing_passes_each_pruners_failure_is_said(store):
    (found,) = recommend.recommend("known", max_accuracy_loss=0.01, max_alpha=0.5, tracking_uri=store.uri)
    assert found.verdict.startswith("net on pets: no ratio")
    assert re.search(r"mp at ratio 2: alpha .*; up at ratio 2: alpha .*1\.000, 0\.500 above 0\.5\.", found.verdict)
    assert "accuracy" not in found.verdict
    assert list(found.tried["ratio"]) == [2, 2]


def test_one_seed_recommends_nothing(store):
    (found,) = recommend.recommend("single", max_alpha=2, tracking_uri=store.uri)
    assert "mp at ratio 2: one seed" in found.verdict


def test_settings_are_told_apart_and_runs_without_predictions_counted(store):
    (found,) = recommend.recommend("mixed", max_alpha=1.05, tracking_uri=store.uri)
    assert "up (epsilon 0.0005) at ratio 2 (prune --pruner up --ratio 2 --epsilon 0.0005)" in found.verdict
    assert "3 seeds" in found.verdict
    assert "no control none" in found.verdict
    assert ["1 of 4 runs of up at ratio 2 left out" in note for note in found.notes] == [True, True]


ONE_SHOT = {"schedule": "one-shot", "distill": "0.0", "gradient_objective": "none"}
CUBIC = ONE_SHOT | {"schedule": "cubic", "ramp": "0.5", "ramp_steps": "1", "regrow": "false"}
DISTILLED = {"distill": "0.5", "temperature": "2.0"}


def test_schedules_and_distillations_are_methods_of_their_own(store):
    """One shot passes at 2, gradually with a teacher at 10, the control with it loses three images more."""
    gradual = store.experiment("gradual")
    for seed in range(SEEDS):
        dense = store.dense(gradual, seed)
        store.pruned(gradual, dense, seed, "none", 1.0, (0, 0, 0), **ONE_SHOT)
        store.pruned(gradual, dense, seed, "none", 1.0, (0, 0, 0), on_test=(1, 1, 1), **ONE_SHOT | DISTILLED)
        store.pruned(gradual, dense, seed, "mp", 2.0, (0, 0, 0), **ONE_SHOT)
        store.pruned(gradual, dense, seed, "mp", 10.0, (0, 0, 10), **ONE_SHOT)
        store.pruned(gradual, dense, seed, "mp", 10.0, (0, 0, 8), **CUBIC)
        store.pruned(gradual, dense, seed, "mp", 10.0, (1, 0, 0), **CUBIC | DISTILLED)
    (found,) = recommend.recommend("gradual", max_alpha=1.05, tracking_uri=store.uri)
    assert (
        "mp cubic distill 0.5 at ratio 10 (prune --pruner mp --ratio 10 --schedule cubic --ramp 0.5 --ramp-steps 1 "
        "--regrow false --distill 0.5 --temperature 2.0)"
    ) in found.verdict
    # One image of 120 is wrong that was right, two fewer than with the control that had the same teacher.
    on_test = found.verdict.partition("On test images")[2]
    assert re.search(r"0\.008 \(0\.008 to 0\.008\), -0\.017 \(-0\.017 to -0\.017\) .*none", on_test)
    tried = found.tried[["params.schedule", "params.distill", "ratio"]].itertuples(index=False, name=None)
    assert sorted(tried) == [
        ("cubic", "0.0", 10),
        ("cubic", "0.5", 10),
        ("one-shot", "0.0", 2),
        ("one-shot", "0.0", 10),
    ]


def test_without_a_control_of_the_same_distillation_there_is_none(store):
    alone = store.experiment("alone")
    for seed in range(SEEDS):
        dense = store.dense(alone, seed)
        store.pruned(alone, dense, seed, "none", 1.0, (0, 0, 0), **ONE_SHOT)
        store.pruned(alone, dense, seed, "mp", 10.0, (1, 0, 0), **ONE_SHOT | DISTILLED)
    (found,) = recommend.recommend("alone", max_alpha=1.05, tracking_uri=store.uri)
    assert "mp distill 0.5 at ratio 10" in found.verdict
    assert "no control none" in found.verdict


def test_test_images_never_choose(store):
    with pytest.raises(StudyError, match=r"val_predictions\.npz"):
        recommend.recommend("bare", tracking_uri=store.uri)


def test_the_control_alone_is_nothing_to_recommend(store):
    with pytest.raises(StudyError, match=r"only pruner .* none"):
        recommend.recommend("control", tracking_uri=store.uri)


def test_the_summary_holds_verdict_and_table(known):
    lines = recommend.summary(known).splitlines()
    assert lines[0] == known.verdict
    assert "validation images" in lines[2]
    assert lines[3].split()[:4] == ["pruner", "ratio", "n", "loss"]
    assert lines[4 + len(known.tried) :] == known.notes


RUNS = pd.DataFrame({"dense_run_id": ["d"], "run_id": ["p"]})


def test_recalls_on_validation_images_by_hand():
    found = {
        "d": {"label": np.array([0, 0, 2, 2]), "predicted": np.array([0, 0, 2, 1])},
        "p": {"label": np.array([0, 0, 2, 2]), "predicted": np.array([0, 1, 1, 2])},
    }
    measured = recommend.validation(RUNS, lambda run_ids: found, [])
    # Class 1 has no image.
    assert measured.before.tolist() == [[1, 0.5]]
    assert measured.after.tolist() == [[0.5, 0.5]]
    assert measured.both_right.tolist() == [[0.5, 0]]
    assert measured.support.tolist() == [2, 2]
    assert [measured.accuracy_before.tolist(), measured.accuracy_after.tolist()] == [[0.75], [0.5]]


def test_other_images_than_the_dense_runs_do_not_count():
    found = {
        "d": {"label": np.array([0, 1]), "predicted": np.array([0, 1])},
        "p": {"label": np.array([1, 0]), "predicted": np.array([0, 1])},
    }
    with pytest.raises(StudyError, match="same images"):
        recommend.validation(RUNS, lambda run_ids: found, [])


def test_alpha_that_is_not_identified_fails():
    recalls = np.array([[0.9, 0.9], [0.88, 0.92], [0.92, 0.88]])
    measured = ValidationRecalls(recalls, recalls, recalls, np.array([20, 20]), recalls.mean(1), recalls.mean(1))
    row = recommend.judged(measured, Limits(0.01, 1.5), 0.025)
    assert "alpha is not known" in row["fails"]


@pytest.mark.attack
def test_a_shell_command_in_the_param_of_a_foreign_run__is_quoted_in_the_command_that_is_recommended():
    run = {"pruner": "mp; rm -rf ~", "ratio": 2.0, "params.epsilon": "$(reboot)"}
    assert recommend.command(run) == "prune --pruner 'mp; rm -rf ~' --ratio 2 --epsilon '$(reboot)'"


@pytest.mark.attack
def test_terminal_escapes_in_a_recommendation__are_shown(known):
    tried = known.tried.assign(pruner="\x1b[2J\n")
    shown = recommend.summary(known._replace(verdict="a\x1b[2J\nb", tried=tried, notes=["c\u202e"]))
    assert shown.replace("\n", "").isprintable()
    assert shown.splitlines()[0] == "a\\x1b[2J\\nb"
