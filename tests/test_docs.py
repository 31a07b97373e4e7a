"""Blocks of the documentation run, commands can be typed, and links and former addresses lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import click.testing
import mlflow
import pytest
import yaml

from analysis.__main__ import cli as analysis
from pruning_study.__main__ import cli
from tests.stored_runs import empty_store

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "audit.md"
TOOLS, GATE = PAGE.with_name("audit-other-tools.md"), PAGE.with_name("gate-a-release.md")
ROOT = PAGE.parents[2]


def test_what_moved_leads_to_a_section_that_is_there():
    moved = yaml.safe_load((ROOT / "docs" / "redirects.yml").read_text())
    targets = [target.partition("#")[::2] for targets in moved.values() for target in targets.values()]
    assert [(path, name) for path, name in targets if name and name not in sections(ROOT / path)] == []
    assert [path for path, _ in targets if not (ROOT / path).is_file()] == []
    assert [former for former in moved if (ROOT / "docs" / former).exists()] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def run(page: Path, language: str) -> dict:
    """Run the blocks of a page one after the other, and return the names that they leave."""
    names: dict = {}
    for block in re.findall(f"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


def sections(path: Path) -> set[str]:
    """Return the names by which links reach the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    texts = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"[-\s]+", "-", text) for text in texts}


def test_the_page_on_audits_runs():
    names = run(PAGE, "python")
    assert names["result"].damaged == ["shoe"]


@pytest.mark.slow
def test_the_page_on_other_tools_prunes_and_audits():
    result = run(TOOLS, "python")["result"]
    assert len(result.table) == 10
    assert result.comparison.has_control


@pytest.mark.slow
def test_the_evaluator_of_the_page_on_gates_logs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    run(GATE, "python")
    (logged,) = mlflow.search_runs(output_format="list")
    assert logged.data.metrics["damaged_classes"] == 1


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param("A model pruned by torch-pruning", marks=pytest.mark.structured),
        pytest.param("A network of timm pruned by torch-pruning", marks=pytest.mark.structured),
        pytest.param("A model quantized by onnxruntime", marks=pytest.mark.onnx),
        pytest.param("A model quantized by torchao", marks=pytest.mark.onnx),
    ],
)
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # PyTorch's exporter calls what PyTorch deprecates
def test_the_block_on_a_tool_runs(tool, tmp_path, monkeypatch):
    importlib.import_module("pruning_study.data.torchvision_import")  # timm cannot import it beside a CPU-only torch
    monkeypatch.chdir(tmp_path)
    names = run(TOOLS, "python")
    section = TOOLS.read_text().split(f"## {tool}")[1].split("\n## ")[0]
    exec(compile(re.search("```py\n(.*?)```", section, re.DOTALL)[1], str(TOOLS), "exec"), names)
    assert len(names["result"].table) == 10
    assert names["result"].accuracy_after > 0.3


def test_the_workflow_of_the_page_on_gates_keeps_the_report():
    (block,) = re.findall("```yaml\n(.*?)```", GATE.read_text(), re.DOTALL)
    *_, gate, report = yaml.safe_load(block)["jobs"]["audit"]["steps"]
    program, name, *arguments = shlex.split(gate["run"])
    context = analysis.commands[name].make_context(name, arguments, parent=analysis.make_context(program, [name]))
    assert context.params["max_class_loss"] == 5
    assert (report["if"], report["with"]["path"]) == ("always()", str(context.params["output"]))


@pytest.mark.slow
def test_the_gates_end_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    section = GATE.read_text().split("## Three gates")[1].split("\n## ")[0]
    exec(compile(re.search("```py\n(.*?)```", section, re.DOTALL)[1], str(GATE), "exec"), {})
    codes = []
    for command, last in re.findall("```console\npruning-analysis ([^\n]*)\n(.*?)```", section, re.DOTALL):
        result = click.testing.CliRunner().invoke(analysis, shlex.split(command))
        assert f"\n{last}" in result.output
        codes.append(result.exit_code)
    assert codes == [0, 4, 3]


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("compress.md", 3),
        ("forgotten-images.md", 3),
        ("groups.md", 2),
        ("iterate.md", 5),
        ("choose-a-pruner.md", 7),
        ("quantize-and-export.md", 8),
        ("run-studies.md", 3),
        ("spare-classes.md", 7),
        ("train-and-prune.md", 1),
        ("tune-epsilon.md", 3),
        ("../tutorials/first-study.md", 2),
    ],
)
def test_the_commands_of_a_page_can_be_typed(page, count):
    lines = re.findall(r"^pruning-study (.*)$", (PAGE.parent / page).read_text(), re.MULTILINE)
    assert len(lines) == count
    for line in lines:
        name, *arguments = shlex.split(line)
        cli.commands[name].make_context(name, arguments, parent=cli.make_context("pruning-study", [name]))


@pytest.mark.parametrize(
    ("page", "count"),
    [("fairness.md", 2), ("groups.md", 3), ("spare-classes.md", 1), ("../research/regression.md", 1)],
)
def test_the_analyses_of_a_page_can_be_typed(page, count):
    lines = re.findall(r"^pruning-analysis (.*)$", (PAGE.parent / page).read_text(), re.MULTILINE)
    assert len(lines) == count
    for line in lines:
        name, *arguments = shlex.split(line)
        analysis.commands[name].make_context(name, arguments, parent=analysis.make_context("pruning-analysis", [name]))


def test_the_audit_of_the_readme_runs_as_it_stands(capsys):
    (block,) = re.findall("```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out == "['shoe']\n"
