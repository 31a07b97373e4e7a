"""A page of known blocks: what is shown, what is escaped, what is written beside it."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import page
from analysis.page import Picture, Report, Section
from analysis.runs.errors import StudyError

TABLE = pd.DataFrame({"class": ["a", "<i>b</i>"], "alpha": [1.5, 2.25]})


def figure(title="A title"):
    drawn = Figure((2, 2), layout="constrained")
    drawn.subplots().plot([0, 1], [1, 0])
    drawn.suptitle(title)
    return drawn


def report(*sections, title="Title", verdict="Verdict.", to_know=()):
    return Report(title, verdict, list(to_know), list(sections))


def written(made, folder):
    """Write a report; its pages as Markdown and HTML."""
    page.write(made, folder)
    return [(folder / f"report.{ending}").read_text(encoding="utf-8") for ending in ("md", "html")]


def body(html):
    return html.partition("</nav>")[2]


def test_a_page_reads_top_down(tmp_path):
    made = report(Section("First", ["Words."]), Section("Second", ["More."]), to_know=["Know this.", "And this."])
    markdown, html = written(made, tmp_path)
    assert markdown == (
        "# Title\n\n**Verdict.**\n\nKnow this.\n\nAnd this.\n\n## First\n\nWords.\n\n## Second\n\nMore.\n"
    )
    assert re.findall(r'<a href="#(s\d)">(\w+)</a>', html) == [("s0", "First"), ("s1", "Second")]
    assert re.findall(r'<h2 id="(s\d)">(\w+)</h2>', html) == [("s0", "First"), ("s1", "Second")]
    assert re.findall(r"<p[^>]*>(.*?)</p>", html) == ["Verdict.", "Know this.", "And this.", "Words.", "More."]


def test_markup_is_shown_and_not_obeyed(tmp_path):
    bad = "<script>alert('&')</script>"
    section = Section(bad, [bad, f"**{bad}**", f"- {bad}", pd.DataFrame({bad: [bad]}), Picture("name", figure(bad))])
    html = written(report(section, title=bad, verdict=bad, to_know=[bad]), tmp_path)[1]
    assert "<script" not in html
    # Title and heading of the page, verdict, what to know, contents and heading of the section; its five blocks, of
    # which the table has two.
    assert html.count("&lt;script&gt;alert(") == 12


def test_strong_words_and_lists(tmp_path):
    _, html = written(report(Section("s", ["**Table 1.** It & more", "- one\n- **two**"])), tmp_path)
    assert "<p><strong>Table 1.</strong> It &amp; more</p>" in html
    assert re.findall("<li>(.*)</li>", body(html)) == ["one", "**two**"]


def test_a_table(tmp_path):
    markdown, html = written(report(Section("s", [TABLE])), tmp_path)
    assert "| class | alpha |\n| --- | --- |\n| a | 1.5 |\n| <i>b</i> | 2.25 |" in markdown
    assert re.findall(r"<th>(.*)</th>", html) == ["class", "alpha"]
    assert re.findall(r"<td>(.*)</td>", html) == ["a", "1.50", "&lt;i&gt;b&lt;/i&gt;", "2.25"]
    assert '<div class="table">' in html


@pytest.mark.parametrize(("letters", "name"), [(60, "table"), (61, "table prose")])
def test_cells_with_sentences_wrap(tmp_path, letters, name):
    assert f'<div class="{name}">' in written(report(Section("s", [pd.DataFrame({"a": ["x" * letters]})])), tmp_path)[1]


def test_a_picture_is_in_the_page_and_beside_it(tmp_path):
    made = report(Section("s", page.pictures({"one": figure('Its "title"'), "none": None})))
    markdown, html = written(made, tmp_path)
    assert "![one](figures/one.png)" in markdown
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["one.png", "one.svg"]
    ((alt, data),) = re.findall(r'<img alt="(.*)" src="data:image/svg\+xml;base64,(.*)">', html)
    assert alt == "Its &#34;title&#34;"
    assert base64.b64decode(data) == (tmp_path / "figures" / "one.svg").read_bytes()


def test_a_section_without_blocks_is_not_shown_but_its_tables_are_written(tmp_path):
    made = report(Section("Empty", [], tables={"empty.csv": TABLE.replace(2.25, np.nan)}), Section("Full", ["Words."]))
    for text in written(made, tmp_path):
        assert "Empty" not in text
        assert "Full" in text
    assert (tmp_path / "empty.csv").read_text() == "class,alpha\na,1.5\n<i>b</i>,n/a\n"


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        written(
            report(Section("s", [TABLE, *page.pictures({"f": figure()})], tables={"t.csv": TABLE})), tmp_path / name
        )
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 5
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="file") as caught:
        page.write(report(), tmp_path / "file")
    assert caught.value.option == "--output"
