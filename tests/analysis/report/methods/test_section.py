"""The section on methods: what it says of primary comparisons."""

from analysis.report.methods import section
from analysis.runs.primaries import Primary
from analysis.study.study import StudyData
from tests import made_up_runs

OF_MP = Primary("mp", "none", 10.0, ("accuracy",), ("toy", "other"))


def test_primary_comparisons_that_are_not_tested_or_were_changed_are_named():
    runs = made_up_runs.study(made_up_runs.runs("toy", "net", "mp", 10, [1.0, 1.2]))
    assert section.section(StudyData(runs)) is None
    of_up = OF_MP._replace(method="up", datasets=(), runs_before=1200)
    found = section.section(StudyData(runs, primaries=[OF_MP, OF_MP._replace(outcomes=("alpha",)), of_up]))
    assert found.blocks == [
        "These primary comparisons of the study's file have no pair of networks, so they are not tested: mp against "
        "none at ratio 10 on toy, other; up against none at ratio 10.",
        "These primary comparisons were not fixed in advance, because they were added to the study's file, or changed "
        "there, after some of its runs had finished: up against none at ratio 10 (after 1,200 runs).",
    ]
