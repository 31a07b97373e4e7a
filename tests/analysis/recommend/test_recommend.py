"""Recommend: a store whose best ratio is known, a report's verdict beside it, and what cannot be recommended."""

from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from analysis.audit.audit import audit_predictions
from analysis.common import files
from analysis.common.errors import StudyError
from analysis.recommend import recommend
from analysis.recommend.result import Recommendation, summary
from analysis.report.verdict import verdict
from analysis.runs import schema
from analysis.statistics.limits import LIMITS
from analysis.study.decision import decisions
from analysis.study.study import StudyData
from tests.stored_runs import empty_store

IMAGES = 400
LABEL = np.repeat([0, 1, 2], IMAGES)
NAMES = ("cat", "dog", "owl")
WRONG_BEFORE = (20, 60, 120)
SEEDS = 4


def predicted(wrong: tuple[int, ...]) -> np.ndarray:
    """Predictions of LABEL that are wrong about the first images of each class, as many as `wrong` says."""
    place = np.arange(len(LABEL)) % IMAGES
    return np.where(place < np.array(wrong)[LABEL], (LABEL + 1) % 3, LABEL)


def dense_wrong(seed: int) -> tuple[int, ...]:
    return WRONG_BEFORE[0], WRONG_BEFORE[1], WRONG_BEFORE[2] + 10 * seed


def logged(wrong: tuple[int, ...], before: tuple[int, ...]) -> dict[str, float]:
    """Metrics of a network on test images that are like the validation images."""
    metrics = {"test_accuracy": 1 - sum(wrong) / len(LABEL)}
    for name, now, then in zip(NAMES, wrong, before, strict=True):
        metrics |= {f"recall/{name}": 1 - now / IMAGES, f"support/{name}": IMAGES}
        metrics[f"both_right/{name}"] = 1 - max(now, then) / IMAGES
    return metrics


class Writer:
    """Logs dense and pruned runs with their predictions of validation images, and those of test images if asked."""

    def __init__(self, folder: Path) -> None:
        self.uri = empty_store(folder / "store.db")
        self.folder = folder
        self.client = MlflowClient(self.uri)
        self.controls: dict[tuple[str, str | None], str] = {}

    def experiment(self, name: str) -> str:
        return self.client.create_experiment(name, artifact_location=(self.folder / name).as_uri())

    def log(
        self, experiment: str, params: dict, metrics: dict, artifacts: dict[str, tuple[int, ...]], **tags: str
    ) -> str:
        run = self.client.create_run(experiment, tags=tags).info
        self.client.log_batch(
            run.run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        folder = Path(url2pathname(urlparse(run.artifact_uri).path))
        folder.mkdir(parents=True)
        for name, wrong in artifacts.items():
            np.savez(folder / f"{name}.npz", label=LABEL, predicted=predicted(wrong))
        self.client.set_terminated(run.run_id)
        return run.run_id

    def dense(self, experiment: str, seed: int, *, artifact: bool = True, test_artifact: bool = True) -> str:
        wrong = dense_wrong(seed)
        params = {"dataset": "pets", "model": "net", "seed": seed}
        artifacts = {"val_predictions": wrong} if artifact else {}
        if test_artifact:
            artifacts["predictions"] = wrong
        return self.log(experiment, params, logged(wrong, wrong), artifacts, kind="dense")

    def pruned(
        self,
        experiment,
        dense,
        seed,
        pruner,
        ratio,
        more,
        *,
        on_test=None,
        artifact=True,
        test_artifact=True,
        **params,
    ) -> None:
        """Log a run that is wrong about `more` further images of each class than its dense run."""
        before = dense_wrong(seed)
        on_val, of_test = (
            tuple(base + extra for base, extra in zip(before, extras, strict=True))
            for extras in (more, on_test or more)
        )
        params = {"dataset": "pets", "model": "net", "seed": seed, "pruner": pruner, "ratio": ratio, **params}
        artifacts = {"val_predictions": on_val} if artifact else {}
        if test_artifact:
            artifacts["predictions"] = of_test
        how = "iterate" if "keep" in params else "prune"
        options = {name: f"{value:g}" if name == "ratio" else value for name, value in params.items() if name != "seed"}
        words = [f"--{name.replace('_', '-')} {value}" for name, value in [*options.items(), ("seed", seed)]]
        command = " ".join([f"pruning-study {how}", *words])
        cell = schema.cell({name: str(value) for name, value in params.items()})
        tags = {"kind": "pruned", "dense_run_id": dense, "command": command, "cell": cell}
        key = dense, params.get("distill")
        tags |= {"control_run_id": self.controls[key]} if key in self.controls else {}
        run_id = self.log(experiment, params, logged(of_test, before), artifacts, **tags)
        if pruner == "none":
            self.controls[key] = run_id

    def quantized(self, experiment, dense, seed, **params) -> None:
        wrong = dense_wrong(seed)
        params = {"dataset": "pets", "model": "net", "seed": seed, "number_format": "fixed-int8", **params}
        artifacts = {"val_predictions": wrong, "predictions": wrong}
        self.log(experiment, params, logged(wrong, wrong), artifacts, kind="quantized", dense_run_id=dense)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """In `known`, up at 10 is best; mp passes at 2 and again, behind its failure at 10, at 50."""
    writer = Writer(tmp_path_factory.mktemp("store"))
    known = writer.experiment("known")
    for seed in range(SEEDS):
        dense = writer.dense(known, seed)
        writer.pruned(known, dense, seed, "none", 1.0, (0, 0, 0))
        writer.pruned(known, dense, seed, "mp", 2.0, (0, 0, 0))
        writer.pruned(known, dense, seed, "mp", 10.0, (0, 0, 100))
        writer.pruned(known, dense, seed, "mp", 50.0, (0, 0, 0))
        writer.pruned(known, dense, seed, "up", 2.0, (0, 0, 0), epsilon="0.0005")
        writer.pruned(known, dense, seed, "up", 10.0, (2, 1, 1), epsilon="0.0005")
        writer.pruned(known, dense, seed, "up", 50.0, (0, 60, 60 + 10 * seed), epsilon="0.0005")

    writer.pruned(known, "gone", SEEDS, "mp", 2.0, (0, 0, 0))

    single, bare, control = (writer.experiment(name) for name in ("single", "bare", "control"))
    dense = writer.dense(single, 0)
    writer.pruned(single, dense, 0, "mp", 2.0, (0, 0, 0))
    dense = writer.dense(bare, 0, artifact=False)
    writer.pruned(bare, dense, 0, "mp", 2.0, (0, 0, 0), artifact=False)
    dense = writer.dense(control, 0)
    writer.pruned(control, dense, 0, "none", 1.0, (0, 0, 0))

    formats, beside = (writer.experiment(name) for name in ("formats", "beside formats"))
    for experiment in (formats, beside):
        for seed in range(SEEDS):
            dense = writer.dense(experiment, seed)
            writer.quantized(experiment, dense, seed)
            if experiment == beside:
                writer.pruned(experiment, dense, seed, "mp", 2.0, (0, 0, 0))
                writer.quantized(experiment, dense, seed, pruner="mp", ratio=2.0)

    apart = writer.experiment("moved apart")
    for seed in range(SEEDS):
        dense = writer.dense(apart, seed)
        writer.pruned(apart, dense, seed, "none", 1.0, (0, 0, 0))
        writer.pruned(apart, dense, seed, "mp", 4.0, (-2, 0, 8))

    mixed = writer.experiment("mixed")
    for seed in range(SEEDS):
        dense = writer.dense(mixed, seed)
        for epsilon, lost in (("0.0005", 0), ("0.1", 120)):
            writer.pruned(mixed, dense, seed, "up", 2.0, (0, 0, lost), artifact=seed > 0, epsilon=epsilon)
    return writer


@pytest.fixture(scope="module")
def known(store) -> Recommendation:
    (found,) = recommend.recommend_ratio("known", tracking_uri=store.uri)
    return found


def verdict_of(store, name):
    return verdict(StudyData.from_store(name, tracking_uri=store.uri))[0]


def test_the_largest_ratio_that_is_reached_without_a_failure(known):
    tried = [tuple(row) for row in known.tried[["pruner", "ratio"]].itertuples(index=False)]
    assert tried == [("mp", 2), ("mp", 10), ("up", 2), ("up", 10), ("up", 50)]
    assert list(known.tried["fails"] == "") == [True, False, True, True, False]
    row = known.tried.iloc[3]
    # Of 1,200 images 4 are lost, and of 400 of each class 2, 1 and 1.
    assert row[["loss", "largest_excess", "worst_class_loss"]].tolist() == pytest.approx([4 / 1200, 2 / 1200, 2 / 400])
    assert row[["largest_excess_class", "worst_class"]].tolist() == ["cat", "cat"]


def test_the_limits_are_said_first_and_then_what_the_verdict_of_a_report_says(known, store):
    limits = "Limits to check: no class may lose more than 5 points of recall, the accuracy no more than 1."
    assert known.verdict == f"{limits} {verdict_of(store, 'known')}"
    assert "On pets with net (4 networks), use up at ratio 10." in known.verdict


def test_a_choice_among_several_methods_says_that_each_may_pass_falsely(known):
    assert any(note.startswith("2 methods were tested on the same test images, each with") for note in known.notes)


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({}, ("up", 10)),
        ({"max_accuracy_loss": 0.5}, ("mp", 2)),
        ({"max_accuracy_loss": 12, "max_class_loss": 35}, ("mp", 50)),
        ({"max_accuracy_loss": 12, "max_class_loss": None}, ("mp", 50)),
    ],
)
def test_limits_are_points(store, limits, chosen):
    """At ratio 10 up loses .33 points, at most .8; mp loses 8.3 there, and 25 of owls, and nothing at 50."""
    (found,) = recommend.recommend_ratio("known", **limits, tracking_uri=store.uri)
    passing = found.tried[found.tried["fails"] == ""]
    assert chosen in list(passing[["pruner", "ratio"]].itertuples(index=False, name=None))
    assert f"--pruner {chosen[0]} --ratio {chosen[1]}" in found.command


def test_alpha_has_no_limit_unless_one_is_given(store):
    (free,) = recommend.recommend_ratio("moved apart", tracking_uri=store.uri)
    assert "use mp at ratio 4." in free.verdict
    (bound,) = recommend.recommend_ratio("moved apart", max_alpha=1.05, tracking_uri=store.uri)
    assert "alpha on new images may be at most 1.05." in bound.verdict.partition(" On ")[0]
    assert "nothing is shown to be safe." in bound.verdict
    assert "not safe: alpha on new images is between" in bound.tried["fails"].item()


def test_nothing_passes_if_the_dense_networks_are_at_chance(store):
    """A third of the images of three classes is right before and after."""
    experiment, wrong = store.experiment("chance"), (267, 267, 266)
    for seed in range(2):
        params, metrics = {"dataset": "pets", "model": "net", "seed": seed}, logged(wrong, wrong)
        dense = store.log(experiment, params, metrics, {"predictions": wrong}, kind="dense")
        params |= {"pruner": "mp", "ratio": 2.0}
        store.log(experiment, params, metrics, {"predictions": wrong}, kind="pruned", dense_run_id=dense)
    (found,) = recommend.recommend_ratio("chance", tracking_uri=store.uri)
    assert found.tried["fails"].tolist() == ["All 2 dense networks are at chance."]
    assert not any(note.startswith("A loss of 1 point") for note in found.notes)


def test_what_pull_left_out_is_said(known):
    assert any(note.startswith("1 pruned run left out") for note in known.notes)


def test_the_limit_of_the_accuracy_says_what_the_weakest_class_may_lose(known, store):
    """Owls have 135 of 400 images wrong, the others 40: -r log r is .273 and .095, so owls lose 1.77 times the mean."""
    said = "A loss of 1 point of accuracy is likely to cost owl, the class with most errors, about 1.8 points."
    assert said in known.notes
    (free,) = recommend.recommend_ratio("known", max_accuracy_loss=None, tracking_uri=store.uri)
    assert not any(note.startswith("A loss of 1 point") for note in free.notes)


def test_one_seed_recommends_nothing(store):
    (found,) = recommend.recommend_ratio("single", tracking_uri=store.uri)
    assert (found.command, found.tried["fails"].item() != "") == ("", True)
    assert "nothing is shown to be safe." in found.verdict


def test_settings_are_told_apart(store):
    (found,) = recommend.recommend_ratio("mixed", tracking_uri=store.uri)
    assert "use up (epsilon 0.0005) at ratio 2." in found.verdict
    assert "Without runs of the pruner none" in found.verdict


@pytest.mark.slow
def test_the_choice_is_reported_on_groups_that_have_no_part_in_it(store, tmp_path):
    """The first half of each class is of the day: it has all errors, 30 of its 600 images more after pruning."""
    experiment = store.experiment("grouped")
    for seed in range(SEEDS):
        dense = store.dense(experiment, seed, test_artifact=True)
        store.pruned(experiment, dense, seed, "mp", 2.0, (0, 0, 0), on_test=(10, 10, 10), test_artifact=True)
    path = tmp_path / "light.csv"
    path.write_text("light\n" + 3 * (IMAGES // 2 * "day\n" + IMAGES // 2 * "night\n"))
    limits = {"max_accuracy_loss": 5, "max_class_loss": 9, "tracking_uri": store.uri}
    recommended = recommend.recommend_ratio("grouped", **limits, groups=path)
    (found,) = recommended
    recommended.write(tmp_path)
    written = pd.read_csv(tmp_path / "groups.csv").set_index("group")
    assert written.loc[["day", "night"], "loss"].tolist() == pytest.approx([0.05, 0])
    assert found.groups["cost"].tolist() == pytest.approx([0.025, -0.025])
    (without,) = recommend.recommend_ratio("grouped", **limits)
    assert found.tried.equals(without.tried)
    said = found.verdict.removeprefix(without.verdict)
    assert said.startswith(" By light, 2 groups of 600 to 600 images: alpha is")
    assert "loses 2.5 (2.5 to 2.5) points more than the accuracy" in said
    assert "day costs most: on average it loses 2.5 points (" in said
    path.write_text("light\nday\n")
    with pytest.raises(StudyError, match=r"light\.csv: 1 rows for 1,200 test images"):
        recommend.recommend_ratio("grouped", tracking_uri=store.uri, groups=path)


def test_the_control_alone_is_nothing_to_recommend(store):
    with pytest.raises(StudyError, match=r"only pruner .* none"):
        recommend.recommend_ratio("control", tracking_uri=store.uri)


def test_number_formats_are_left_out_with_a_note(store):
    (found,) = recommend.recommend_ratio("beside formats", tracking_uri=store.uri)
    assert found.tried[["pruner", "ratio"]].to_numpy().tolist() == [["mp", 2.0]]
    assert "number_format" not in found.command
    assert found.notes[0].startswith(f"{2 * SEEDS} quantized runs left out")


def test_quantized_networks_alone_are_nothing_to_recommend(store):
    with pytest.raises(StudyError, match="quantized and not pruned"):
        recommend.recommend_ratio("formats", tracking_uri=store.uri)


def test_the_command_names_an_experiment_that_only_this_process_knows(store, monkeypatch):
    """`mlflow run --experiment-name known` gives it to its own process alone."""
    client = MlflowClient(store.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.get_experiment_by_name("known").experiment_id)
    (found,) = recommend.recommend_ratio(tracking_uri=store.uri)
    assert found.command.endswith(" --experiment known")


def test_the_summary_holds_verdict_and_table(known):
    verdict, command, table, *_ = summary(known).split("\n\n")
    assert verdict.replace("\n", " ") == known.verdict
    call = "pruning-study prune --dataset pets --model net --pruner up --ratio 10 --epsilon 0.0005 --seed 0-3"
    assert command == known.command == f"{call} --experiment known"
    heading, columns, first, *others = table.splitlines()
    assert heading == "Losses in points, on test images (in brackets: at most, with 95 % confidence):"
    assert columns.split() == [
        "method",
        "ratio",
        "seeds",
        "accuracy",
        "loss",
        "class",
        "loss",
        "class",
        "passes",
    ]
    assert first.split()[:3] == ["mp", "2", "4"]
    assert first.split()[-1] == "yes"
    assert "against the control (limit 5), the loss of owl is above 20.1 points" in " ".join(others)


def test_a_summary_has_at_most_80_columns_and_is_what_print_shows(known, levels):
    tried = known.tried.assign(pruner="a pruner with a name of many letters", largest_excess_class=30 * "W")
    long = known._replace(command="", tried=tried, notes=[60 * "note "])
    for found in (known._replace(command=""), long, levels._replace(command="")):
        assert max(map(len, summary(found).splitlines())) <= 80
    assert str(known) == summary(known)


def cells(store, name, ratios):
    """Log cells of four networks, by ratio: more wrong images of each class."""
    experiment = store.experiment(name)
    for seed in range(SEEDS):
        dense = store.dense(experiment, seed)
        store.pruned(experiment, dense, seed, "none", 1.0, (0, 0, 0))
        for ratio, more in ratios:
            store.pruned(experiment, dense, seed, "mp", ratio, more)


@pytest.mark.parametrize(
    ("more", "state"),
    [((0, 2, 4), "within"), ((40, 0, -40), "beyond"), ((20, 0, -20), "undecided"), ((0, 0, 0), "within")],
)
def test_report_recommend_and_audit_decide_alike_from_the_same_predictions(store, more, state):
    """By 5 points of a class and 1 of the accuracy; of 400 images 20 are just 5 points."""
    name = f"audited {more}"
    cells(store, name, [(4.0, more)])
    study = StudyData.from_store(name, tracking_uri=store.uri)
    (decided,) = decisions(study).values()
    dense, pruned = (
        [
            predicted(tuple(wrong + extra for wrong, extra in zip(dense_wrong(seed), extras, strict=True)))
            for seed in range(SEEDS)
        ]
        for extras in ((0, 0, 0), more)
    )
    (recommended,) = recommend.recommend_ratio(name, tracking_uri=store.uri)
    is_safe = state == "within"
    assert [decided.tried[0].gate.state, decided.is_safe] == [state, is_safe]
    assert ("use mp at ratio 4" in verdict_of(store, name)) == is_safe
    assert (recommended.tried["fails"] == "").tolist() == [is_safe]
    assert audit_predictions(LABEL, dense, pruned, dense, class_names=NAMES).gate(LIMITS).state == state


@pytest.mark.attack
def test_terminal_escapes_in_a_recommendation__are_shown(known):
    tried = known.tried.assign(pruner="\x1b[2J\n")
    shown = summary(known._replace(verdict="a\x1b[2J\nb", tried=tried, notes=["c\u202e"]))
    assert shown.replace("\n", "").isprintable()
    assert shown.splitlines()[0] == "a\\x1b[2J\\nb"


LEVEL_LIMITS = {"max_accuracy_loss": 7, "max_class_loss": 20}


@pytest.fixture(scope="module")
def levels(store) -> Recommendation:
    """Two levels of two weight treatments; validation images say that rewinding is fairer, and test images not."""
    experiment = store.experiment("levels")
    for seed in range(SEEDS):
        dense = store.dense(experiment, seed)
        for treatment, more in (("finetune", 8), ("rewind", 4)):
            for level in (1, 2):
                store.pruned(
                    experiment,
                    dense,
                    seed,
                    "l1-structured",
                    [1.2, 1.5][level - 1],
                    (0, 0, level * more),
                    on_test=(0, 0, 41 if treatment == "rewind" else 42),
                    iteration=level,
                    keep=0.8,
                    weight_treatment=treatment,
                    sparsity=[0.2, 0.36][level - 1],
                )
    (found,) = recommend.recommend_ratio(
        "levels", **LEVEL_LIMITS, fairness_value=1, min_accuracy=0.8, tracking_uri=store.uri
    )
    return found


def test_a_method_of_iterative_pruning_is_tried_level_by_level(levels):
    columns = ["params.weight_treatment", "params.iteration", "ratio"]
    tried = [tuple(row) for row in levels.tried[columns].itertuples(index=False)]
    assert tried == [(how, level, ratio) for how in ("finetune", "rewind") for level, ratio in (("1", 1.2), ("2", 1.5))]
    assert "use l1-structured rewind at ratio 1.5. " in levels.verdict
    assert levels.command.startswith("pruning-study iterate ")
    assert "--weight-treatment rewind" in levels.command
    assert "--iteration 2" in levels.command


def test_the_trade_off_is_chosen_on_validation_images_and_reported_on_test_images(levels):
    # .36 - 8 / 400 more than the dense networks' is greater than .2 - 4 / 400; 115 of 400 lie between classes.
    front = levels.pareto[levels.pareto["on_front_2d"]]
    assert front["weight_treatment"].tolist() == ["rewind", "rewind"]
    assert front["unfairness"].tolist() == pytest.approx([(115 + 4) / 400, (115 + 8) / 400])
    assert levels.choice.startswith(
        "The trade-off was chosen on validation images. With an accuracy of at least 80.0 %, and if fairness is worth "
        "1 times as much as sparsity, choose l1-structured rewind at ratio 1.5. With it, 36.0 % of the weights are "
        "pruned"
    )
    assert "On test images, 36.0 % of the weights are pruned, the accuracy is 78.7 " in levels.choice
    assert "and the highest recall of a class is 39.0 " in levels.choice


@pytest.mark.slow
def test_what_was_tried_the_trade_off_and_the_regression_are_written(levels, store, monkeypatch, tmp_path):
    limits = {**LEVEL_LIMITS, "fairness_value": 1, "min_accuracy": 0.8}
    with files.one_aside(tmp_path / "made" / "groups.csv") as groups:
        groups.write_text("dataset,model,grouping,group\nof,a,choice,before\n")
    found = recommend.recommend_ratio("levels", **limits, tracking_uri=store.uri)
    for name in ("predictions", "artifacts_of"):
        monkeypatch.delattr(recommend.pull, name)  # to write needs no store
    assert "regression: no row has a value of imbalance, which is left out" in found.write(str(tmp_path / "made"))
    made = {path.name: pd.read_csv(path) for path in (tmp_path / "made").glob("*.csv")}
    assert set(made) == {"tried.csv", "pareto.csv", "regression.csv"}
    assert made["tried.csv"]["loss"].tolist() == pytest.approx(levels.tried["loss"].tolist())
    assert made["tried.csv"].columns[:3].tolist() == ["dataset", "model", "pruner"]
    assert all({"weight_treatment", "iteration"} <= set(made[name]) for name in ("tried.csv", "pareto.csv"))
    assert made["pareto.csv"]["unfairness"].tolist() == pytest.approx(levels.pareto["unfairness"].tolist())
    assert list(made["regression.csv"])[:8] == [
        *("term", "coefficient", "se", "t", "p", "ci_low", "ci_high", "se_clustered")
    ]
    with files.one_aside(tmp_path / "made" / "groups.csv") as groups:
        groups.write_text("writer\nanna\n")  # of another command
    found.write(tmp_path / "made")
    assert (tmp_path / "made" / "groups.csv").read_text() == "writer\nanna\n"


def test_the_front_is_printed_below_the_choice(levels):
    printed = summary(levels)
    front = printed.partition("On the Pareto front:\n")[2].splitlines()
    assert front[0].split()[:4] == ["pruner", "weight_treatment", "keep", "iteration"]
    assert [row.split()[:4] for row in front[1:3]] == [["l1-structured", "rewind", "0.8", level] for level in "12"]
    assert "trade-off" in levels._repr_html_()


def test_without_validation_predictions_of_every_run_test_images_choose_and_the_choice_says_so(store):
    (found,) = recommend.recommend_ratio("mixed", fairness_value=1, min_accuracy=0.5, tracking_uri=store.uri)
    assert found.choice.startswith("The trade-off was chosen on test images, because not every run has")


def test_one_shot_pruning_has_no_trade_off_unless_asked(known):
    assert (known.choice, len(known.pareto)) == ("", 0)


@pytest.mark.attack
@pytest.mark.parametrize(
    "command",
    ["pruning-study prune --dataset $(reboot) --seed 0", "pruning-study prune; reboot", "reboot", "pruning-study '"],
)
def test_a_logged_command_that_does_more_than_to_prune__is_not_printed(command):
    cell = pd.DataFrame({"seed": [0, 1], "command": command})
    assert recommend._command(cell, None) == ""
    cell["command"] = "pruning-study prune --dataset 'my pets' --seed 1"
    assert recommend._command(cell, "a b") == "pruning-study prune --dataset 'my pets' --seed 0,1 --experiment 'a b'"
