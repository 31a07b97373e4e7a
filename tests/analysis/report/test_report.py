import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from analysis.__main__ import cli
from analysis.rendering import page
from analysis.report import report
from analysis.report.first_screen import section as first_screen
from analysis.report.methods import section as compared_methods
from analysis.report.papers.recall_distortion.comparisons import TEST_COLUMNS
from analysis.runs import exports
from analysis.study.settings import ALPHA_COLUMNS, CELL_COLUMNS
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_runs, made_up_tuning
from tests.analysis.rendering.test_markdown_text import parsed
from tests.analysis.rendering.test_page import Elements, measured
from tests.blank_figures import leave_undrawn
from tests.stored_runs import empty_store

SPREAD = np.linspace(-0.1, 0.1, 8)
PUBLISHED = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def made():
    """Eight networks: mp intensifies at 10 (alpha 1.5) and de-intensifies at 2 (alpha .5), up does neither."""
    cells = [("mp", 2, 0.5), ("mp", 10, 1.5), ("up", 2, 1.0), ("up", 10, 1.0), ("none", 1, 1.0)]
    runs = [made_up_runs.runs("mnist", "lenet5", pruner, t, alpha + SPREAD) for pruner, t, alpha in cells]
    study = made_up_runs.study(*runs)
    study.attrs["left_out"] = ["3 pruned runs left out, failed: x, y, z"]
    return report.report(StudyData(study), ReportOptions(paper=True))


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, page.write(made, folder)


def test_the_tables_have_the_names_and_columns_that_others_rely_on(made):
    assert {f"table_{number:02}.csv" for number in range(1, 12)} <= made.tables.keys()
    assert list(made.tables["alpha.csv"].columns) == ALPHA_COLUMNS
    assert list(made.tables["cells.csv"].columns)[: len(CELL_COLUMNS)] == CELL_COLUMNS
    assert list(made.tables["tests.csv"].columns) == TEST_COLUMNS
    cells = made.tables["cells.csv"].set_index(["pruner", "ratio"])
    assert cells.loc[("mp", 10.0), "alpha_mean"] == pytest.approx(1.5)
    assert cells.loc[("mp", 10.0), "mark"] == ">"
    assert cells.loc[("mp", 2.0), "mark"] == "<"


FIRST_SCREEN = [
    *("What pruning costs", "What each class loses"),
    *("Differences between classes", "Methods compared", "Every number"),
]


def test_it_reads_top_down(made):
    titles = [section.title for section in made.sections]
    assert titles[:6] == [*FIRST_SCREEN[:4], "Images that are forgotten", *FIRST_SCREEN[4:]]
    assert titles[-1] == "What was left out, and what to know"
    assert "3 pruned runs left out" in made.sections[-1].blocks[0].sentences[0]


def test_the_first_screen_leads_and_the_paper_comes_on_request(made, written):
    _, files = written
    plain, text = reported(("mp", 2, 1 + SPREAD), ("up", 2, 1 - SPREAD), ("none", 1, 1 - SPREAD))
    assert [section.title for section in plain.shown][:-1] == FIRST_SCREEN
    places = [text.index(f"]({name}") for name in ("figures/accuracy", "figures/class_losses", "figures/slopes")]
    assert places == sorted(places)
    assert text.index("On mnist with lenet5") < places[0]
    assert {"alpha.csv", "cells.csv", "classes.csv", "methods.csv"} == plain.tables.keys()
    assert "figures/figure_13.png" in map(str, files)
    assert "The paper's sentences, tested on this study" in [section.title for section in made.shown]


def words(*args):
    return len(page.markdown(report.report(StudyData(*args), ReportOptions())).split())


@pytest.mark.slow
def test_one_data_set_and_model_take_few_words():
    read, predictions = exports.read([PUBLISHED / "lenet5" / "frames.zip"])
    # 250 of them are in the table of the ten classes.
    assert words(exports.select_dataset(read, "fashion-mnist").runs, predictions) <= 2_200


@pytest.mark.slow
def test_many_cells_of_several_data_sets_take_few_words():
    how = [
        {"schedule": schedule, "distill": distill} for schedule in ("one-shot", "cubic") for distill in ("0.0", "0.5")
    ]
    cells = [
        made_up_runs.with_images(made_up_runs.runs(name, "lenet5", pruner, ratio, 1 + SPREAD * place, **params))
        for place, name in enumerate(("mnist", "cifar10"))
        for ratio in (10, 20)
        for pruner in ("mp", "gp", "up")
        for params in how
    ]
    cells += [
        made_up_runs.with_images(made_up_runs.runs(name, "lenet5", "none", 1, 1 - SPREAD, **params))
        for name in ("mnist", "cifar10")
        for params in how
    ]
    assert words(made_up_runs.study(*cells)) <= 6_000


def test_files(written):
    folder, files = written
    names = {str(path) for path in files}
    assert {"report.html", "report.md", "alpha.csv", "cells.csv", "tests.csv", "comparison.csv"} <= names
    assert {"figures/figure_13.svg", "figures/figure_13.png", "figures/figure_01.svg"} <= names
    assert names == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert pd.read_csv(folder / "alpha.csv")["alpha"].notna().all()


def test_the_page_needs_no_network(written):
    html = (written[0] / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert any(source.startswith("data:image/svg+xml") for source in sources)


@pytest.mark.slow
def test_the_same_study_gives_the_same_files(made, written, tmp_path):
    again = page.write(made, tmp_path)
    assert again == written[1]
    assert all((tmp_path / path).read_bytes() == (written[0] / path).read_bytes() for path in again)


def test_markup_in_names_is_shown_and_not_obeyed(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    runs = made_up_runs.study(
        *(made_up_runs.runs("<b>set|$x$</b>", "lenet5", "mp", t, 1 + SPREAD, classes="$|") for t in (2, 4))
    )
    page.write(report.report(StudyData(runs), ReportOptions()), tmp_path)
    assert "<b>" not in (tmp_path / "report.html").read_text()


def reported(*cells, **params):
    """Return the report of cells of one model, (pruner, ratio, alphas), and its page as text."""
    runs = [made_up_runs.runs("mnist", "lenet5", pruner, t, alphas, **params) for pruner, t, alphas in cells]
    made = report.report(StudyData(made_up_runs.study(*runs)), ReportOptions())
    return made, page.markdown(made)


def test_one_network_has_no_interval_and_no_test(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    made, text = reported(("mp", 2, [1.2]), ("mp", 4, [1.3]))
    page.write(made, tmp_path)
    cells = pd.read_csv(tmp_path / "cells.csv", keep_default_na=False)
    assert cells["ci_low"].tolist() == ["n/a", "n/a"]
    assert "nan" not in text.lower()


@pytest.mark.slow
def test_a_search_of_epsilon_has_a_section_with_its_table_and_pictures(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    runs = made_up_runs.study(*(made_up_runs.runs("mnist", "lenet5", "up", t, 1 + SPREAD) for t in (2, 4)))
    made = report.report(StudyData(runs, tunings=[made_up_tuning.tuning()]), ReportOptions())
    files = {str(path) for path in page.write(made, tmp_path)}
    assert {"figures/tuning_1_epsilon.png", "figures/tuning_1_epsilon.svg"} <= files
    markdown = (tmp_path / "report.md").read_text()
    section = markdown.split("## Tuning: epsilon of undecayed pruning, made up")[1]
    assert "epsilon 0.1, ratio 10" in section
    assert "| winner | 0.1 | 0.8550 |" in section
    assert "![tuning_1_epsilon](figures/tuning_1_epsilon.png)" in section


def test_several_schedules_have_a_section_of_methods_compared(made):
    one_shot, cubic = {"schedule": "one-shot"}, {"schedule": "cubic", "ramp": "0.5"}
    runs = [
        made_up_runs.runs("mnist", "lenet5", "mp", t, alpha + SPREAD * t / 20, **params)
        for t in (10, 20)
        for alpha, params in ((1.5, one_shot), (1.2, cubic))
    ]
    report_of_both = report.report(StudyData(made_up_runs.study(*runs)), ReportOptions(paper=True))
    assert "methods.csv" in report_of_both.tables
    assert "methods_1_schedule" in report_of_both.figures
    section = page.markdown(report_of_both).split("## Methods compared")[1]
    assert "mp cubic − mp" in section
    assert "![methods_1_schedule](figures/methods_1_schedule.png)" in section
    # The paper's tables are of one shot alone: alpha 1.5.
    tests = report_of_both.tables["tests.csv"]
    assert set(tests["n"]) == {8}
    assert set(made.tables["methods.csv"]["comparison"]) == {"pruner", "control"}
    apart = made_up_runs.study(*(run.assign(**{"params.epochs": str(place)}) for place, run in enumerate(runs)))
    assert compared_methods.section(StudyData(apart)) is None


def test_the_released_protocol_is_marked_before_any_number():
    _, text = reported(("up-signed", 2, 1 + SPREAD), ("mp", 2, 1 + SPREAD), protocol="released")
    before = text[: text.index("## What pruning costs")]
    assert "`released`" in before
    assert "`up-signed`" in before


def test_unbalanced_classes_have_the_weighted_alpha_beside_alpha():
    runs = made_up_runs.study(*(made_up_runs.runs("mnist", "lenet5", "mp", t, 1.5 + SPREAD) for t in (2, 4)))
    runs = runs.assign(**{"support/a": 600.0, "support/b": 400.0})
    balanced = runs.assign(**{"support/a": 500.0, "support/b": 500.0})
    of_unbalanced, of_balanced = (first_screen.slopes(StudyData(each)).blocks[-1] for each in (runs, balanced))
    assert "weighted alpha" in of_unbalanced
    assert "alpha" in of_balanced
    assert "weighted alpha" not in of_balanced
    other = made_up_runs.runs("other", "lenet5", "mp", 2, 1.5 + SPREAD, classes="xy")
    other = other.assign(**{"support/x": 500.0, "support/y": 500.0})
    assert "weighted alpha" in first_screen.slopes(StudyData(made_up_runs.study(runs, other))).blocks[-1]


def test_a_setting_that_tells_cells_apart_has_a_column():
    runs = [made_up_runs.runs("mnist", "lenet5", "up", 2, 1 + SPREAD, epsilon=epsilon) for epsilon in ("0.1", "0.2")]
    made = report.report(StudyData(made_up_runs.study(*runs)), ReportOptions())
    assert made.tables["cells.csv"]["params.epsilon"].tolist() == ["0.1", "0.2"]
    assert "| up (epsilon 0.2) |" in page.markdown(made)


def two_recipes(*, apart):
    """mp at two ratios and its control after two trainings, with dense networks of their own if `apart`."""
    cells = []
    for place, (epochs, rate, batch) in enumerate((("30", "0.01", "128"), ("5", "0.005", "64"))):
        for pruner, ratio in (("mp", 2), ("mp", 10), ("none", 1)):
            params = {"epochs": epochs, "learning_rate": rate, "batch_size": batch, "phases": f"{epochs}x{rate}"}
            made = made_up_runs.runs("mnist", "lenet5", pruner, ratio, 1 + SPREAD / ratio, **params)
            own = f" {epochs}" if apart else ""
            cells.append(
                made.assign(accuracy_before=0.8 - 0.2 * place * apart, dense_run_id=made["dense_run_id"] + own)
            )
    return made_up_runs.study(*cells)


@pytest.mark.slow
def test_settings_have_letters_and_one_key_before_any_number():
    made = report.report(StudyData(two_recipes(apart=True)), ReportOptions())
    key = made.shown[0]
    assert key.title == "Settings"
    assert key.blocks[1].to_dict("records") == [
        # Batch sizes, first by name, set the order.
        {"letter": "A", "epochs": "5", "learning_rate": "0.005", "batch_size": "64"},
        {"letter": "B", "epochs": "30", "learning_rate": "0.01", "batch_size": "128"},
    ]
    text = page.markdown(made)
    assert "mp A" in text
    assert "mp B" in text
    assert [text.count(name) for name in ("| learning_rate |", "phases", "0.005")] == [1, 0, 1]
    assert {"params.epochs", "params.learning_rate", "params.batch_size"} <= set(made.tables["cells.csv"].columns)
    assert set(made.tables["methods.csv"]["method"]) == {
        "mp (epochs 30, learning_rate 0.01, batch_size 128)",
        "mp (epochs 5, learning_rate 0.005, batch_size 64)",
    }
    one = StudyData(two_recipes(apart=True)[:16])
    assert report.report(one, ReportOptions()).shown[0].title == "What pruning costs"


class TestCommand:
    def test_an_empty_experiment_names_the_others(self, store_uri):
        MlflowClient().search_experiments()
        result = CliRunner().invoke(cli, ["report", "--experiment", "nothing"])
        assert result.exit_code == 1
        assert "'nothing'" in result.output
        assert "'Default'" in result.output


@pytest.mark.chromium
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_opens_in_a_browser(written, tmp_path, width):
    """Every picture is drawn, and nothing is wider than the window."""
    script = (
        "const images = [...page.images];"
        "const drawn = images.filter(image => image.naturalWidth > 0);"
        "return [images.length, drawn.length, page.scrollingElement.scrollWidth]"
    )
    images, drawn, wide = measured((written[0] / "report.html").read_text(), width, script, tmp_path)
    assert images == drawn >= 5
    assert wide == width


def of_names(dataset, model, pruner, classes, setting, value):
    """The report of two networks of a pruner in two settings and of its control, all with these names."""
    cells = [
        made_up_runs.runs(dataset, model, name, t, [1.1, 1.2], classes=classes, **{setting: chosen})
        for name, t, chosen in ((pruner, 2, value), (pruner, 2, "plain"), ("none", 1, value))
    ]
    study = made_up_runs.study(*cells)
    study.attrs["left_out"] = [f"class {classes[0]} left out of 1 pruned run, no test image"]
    return report.report(StudyData(study), ReportOptions(paper=True))


@pytest.mark.slow
@pytest.mark.attack
def test_markup_in_every_name_of_a_study__adds_nothing_to_its_report_but_words(tmp_path):
    plain = of_names("set", "net", "mine", ["a", "b"], "note", "@x and a letter")  # both have a long setting
    classes = ["=<img src=x onerror=y>\x1b", "$\\frac{ ![](http://a.b/c.png) *b*"]
    made = of_names("../a|<b>", "`net`</title><script>", "_mine:[x](javascript:y)", classes, "<i>n|o</i>", "@*x*\n# y")
    assert (made.figures.keys(), made.tables.keys()) == (plain.figures.keys(), plain.tables.keys())
    page.write(made, tmp_path)
    no_pictures = dict.fromkeys(plain.figures, b"")
    assert Elements((tmp_path / "report.html").read_text()).found == Elements(page.html_page(plain, no_pictures)).found
    assert parsed((tmp_path / "report.md").read_text())[0] == parsed(page.markdown(plain))[0]
    assert all(ET.parse(path) for path in tmp_path.rglob("*.svg"))
    legend = made.figures["figure_13"].legends[0].get_texts()
    assert any(text.get_text().startswith(" _mine:[x](javascript:y)") for text in legend)
    with (tmp_path / "cells.csv").open(newline="") as file:
        assert {row["params.<i>n|o</i>"] for row in csv.DictReader(file)} == {"'@*x*\n# y", "plain"}


def test_the_verdict_becomes_the_note_of_the_study_that_is_reported(tmp_path, monkeypatch):
    """The run of `mlflow run` belongs to the experiment Default, which has a study of its own."""
    client = MlflowClient(uri := empty_store(tmp_path / "mlflow.db"))
    experiment = client.create_experiment("mine", artifact_location=(tmp_path / "mine").as_uri())
    ids = {}
    for time, (place, study) in enumerate([("0", "other"), (experiment, "older"), (experiment, "newer")], start=1):
        ids[study] = client.create_run(place, start_time=time, tags={"kind": "study", "study": study}).info.run_id
    ids["job"] = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", ids["job"])

    def notes():
        return {name: client.get_run(run_id).data.tags.get("mlflow.note.content") for name, run_id in ids.items()}

    assert report.log([], tmp_path, "mine", uri, verdict=["first"], study="studies/older.yaml") == ids["job"]
    assert notes() == {"other": None, "older": "- first", "newer": None, "job": "- first"}
    report.log([], tmp_path, "mine", uri, verdict=["second"])
    assert notes() == {"other": None, "older": "- first", "newer": "- second", "job": "- second"}
