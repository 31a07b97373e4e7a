"""A page of known blocks: what is shown, what is escaped, what is written beside it."""

import base64
import html as markup
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis.rendering import page
from analysis.rendering.page import Caption, Items, Picture, Report, Section
from tests.analysis.rendering.test_markdown_text import parsed

TABLE = pd.DataFrame({"class": ["a", "<i>b</i>"], "alpha": [1.5, 2.25]})


def figure(title="A title"):
    drawn = Figure((2, 2), layout="constrained")
    drawn.subplots().plot([0, 1], [1, 0])
    drawn.suptitle(title)
    return drawn


def report(*sections, title="Title", verdict=("Verdict.",), to_know=()):
    return Report(title, list(verdict), list(to_know), list(sections))


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
    section = Section(
        bad, [bad, Caption(bad, bad), Items([bad]), pd.DataFrame({bad: [bad]}), Picture("name", figure(bad))]
    )
    html = written(report(section, title=bad, verdict=[bad], to_know=[bad]), tmp_path)[1]
    assert "<script" not in html
    # Title and heading of the page, verdict, what to know, contents and heading of the section; its five blocks, of
    # which the caption and the table have two each.
    assert html.count("&lt;script&gt;alert(") == 13


def test_captions_and_lists(tmp_path):
    blocks = [Caption("Table 1.", "It & more"), Items(["one", "**two**"])]
    markdown, html = written(report(Section("s", blocks)), tmp_path)
    assert "\n\n**Table 1.** It & more\n\n- one\n- \\*\\*two\\*\\*\n" in markdown
    assert "<p><strong>Table 1.</strong> It &amp; more</p>" in html
    assert re.findall("<li>(.*)</li>", body(html)) == ["one", "**two**"]


def test_an_option_is_in_one_piece_on_a_line(tmp_path):
    html = written(report(Section("s", ["Try --fine-tune-decay <cosine>."]), verdict=["--decay"]), tmp_path)[1]
    assert '<p>Try <span class="option">--fine-tune-decay</span> &lt;cosine&gt;.</p>' in html
    assert '<p><span class="option">--decay</span></p>' in html
    assert ".option { white-space: nowrap }" in html


def test_a_table(tmp_path):
    markdown, html = written(report(Section("s", [TABLE])), tmp_path)
    assert "| class | alpha |\n| --- | --- |\n| a | 1.5 |\n| &lt;i>b&lt;/i> | 2.25 |" in markdown
    assert re.findall(r"<th>(.*?)</th>", html) == ["class", "alpha"]
    cells = ["<div>a</div>", "1.5", "<div>&lt;i&gt;b&lt;/i&gt;</div>", "2.25"]
    assert re.findall(r"<td>(.*?)</td>", html) == cells
    assert '<div class="table" tabindex="0"><table>' in html


PLACES = pd.DataFrame(
    {"dataset": ["mnist", "mnist", "cifar10"], "model": ["net"] * 3, "method": ["mp", "gp", "mp"], "n": [30, 30, 5]}
)


def test_data_set_and_model_are_headings_above_their_rows(tmp_path):
    markdown, html = written(report(Section("s", [PLACES])), tmp_path)
    rows = ["| method | n |", "| --- | --- |", "| mnist, net |  |", "| mp | 30 |", "| gp | 30 |"]
    assert "\n".join([*rows, "| cifar10, net |  |", "| mp | 5 |"]) in markdown
    headings = '<tr><th colspan="2"><span>mnist, net</span></th></tr>|<tr><th colspan="2"><span>cifar10, net</span>'
    assert [html.count(heading) for heading in headings.split("|")] == [1, 1]
    assert re.findall(r"<thead><tr>(.*)</tr></thead>", html) == ["<th>method</th><th>n</th>"]


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


def measured(html, width, script, folder):
    """What a script returns of a page, its document being `page`, in a frame of this width in a browser."""
    outer = (
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{markup.escape(html)}"></iframe>'
        "<script>addEventListener('load',()=>{const page=document.querySelector('iframe').contentDocument;"
        f"document.title=JSON.stringify((()=>{{{script}}})())}})</script>"
    )
    (folder / "outer.html").write_text(f"<!doctype html><title></title>{outer}", encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Debian's package chromium"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [browser, *flags, profile, "--dump-dom", (folder / "outer.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(markup.unescape(re.search("<title>(.+?)</title>", result.stdout)[1]))


@pytest.mark.chromium
def test_a_page_of_400_pixels_has_all_its_width_in_boxes_that_scroll(tmp_path):
    word = "x" * 90
    wide = figure()
    wide.set_size_inches(16, 3)
    table = pd.DataFrame(
        {"dataset": ["mnist"] * 40, "method": [f"mp {word}"] * 40, **{word[:n]: 1.5 for n in range(9, 25)}}
    )
    items = [
        word,
        Caption("Table 1.", word),
        Items([word]),
        table,
        Picture("wide", wide),
    ]
    html = written(report(Section(word, items), title=word, verdict=[word], to_know=[word]), tmp_path)[1]
    script = """
        const box = page.querySelector('.table'), cell = page.querySelectorAll('td')[0], image = page.images[0];
        box.scrollTo(300, 200);
        const own = box.getBoundingClientRect(), left = cell.getBoundingClientRect();
        const head = page.querySelector('thead th').getBoundingClientRect();
        return {page: page.scrollingElement.scrollWidth, box: own.width, table: box.scrollWidth,
                scrolled: box.scrollLeft, left: left.left - own.left, top: head.top - own.top, frozen: left.width,
                picture: image.closest('.picture').clientWidth, large: image.clientWidth};
    """
    found = measured(html, 400, script, tmp_path)
    assert found["page"] == 400
    assert found["box"] < 400 < found["table"]
    assert (found["scrolled"], found["left"], found["top"]) == (300, 0, 0)
    assert found["frozen"] < 200
    # A picture has its own 16 inches of 96 pixels in its box.
    assert found["picture"] < 400
    assert found["large"] == 16 * 96


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _ in attributes]))

    def handle_comment(self, data):
        self.found.append(("comment", []))

    def handle_pi(self, data):
        self.found.append(("instruction", []))


PIECES = [
    *"ab\"'<>/&;#*_`![]()|\\\n\r\x00\x1b=- \u202e",
    "<script>",
    "</title>",
    "</style>",
    "-->",
    "<!--",
    "<?x",
    "]]>",
]
PIECES += ["{{ 7 * 7 }}", "{% raw %}", "&lt;", "javascript:", "onerror=x", "](http://a.b)", "![", "**", "- "]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)


def named(*names):
    """A page on which names of unknown origin stand in every place."""
    tables = [pd.DataFrame({name: [name, "x"], "alpha": [1.5, 2.5]}) for name in names]
    captions = [Caption("Table 1.", name) for name in names]
    sections = [Section(f"Of {name}", ["Words."]) for name in names]
    blocks = [*(f"Of {name}." for name in names), *captions, Items(names), *tables]
    return report(*sections, Section("s", blocks), title=f"Title {names[0]}", verdict=[f"On {names[0]}."])


def elements(*names):
    made = named(*names)
    return Elements(page.html_page(made, {})).found, parsed(page.markdown(made))[0]


@pytest.mark.slow
@pytest.mark.attack
def test_a_name_with_any_markup_in_a_report__adds_no_element_link_or_picture_to_the_page():
    plain = elements(*["plain"] * 20)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(TEXTS, min_size=20, max_size=20))
    def check(names):
        assert elements(*names) == plain

    check()


@pytest.mark.attack
def test_a_page_that_would_load_a_script_or_a_picture_from_elsewhere__is_forbidden_to_by_its_own_policy(tmp_path):
    _, html = written(report(Section("s", ["Words."])), tmp_path)
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)[1].split("; ")
    assert {"default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"} <= set(policy)
    assert not any("script" in rule or "http" in rule or "*" in rule for rule in policy)
    assert html.index("Content-Security-Policy") < html.index("<title>")


@pytest.mark.attack
def test_a_template_expression_in_a_class_name__is_shown_and_not_evaluated(tmp_path):
    markdown, html = written(named("{{ 7 * 7 }}"), tmp_path)
    assert "49" not in markdown + html
    assert html.count("{{ 7 * 7 }}") == 10


@pytest.mark.attack
def test_a_name_with_a_line_break_in_a_report__begins_no_line_of_its_own(tmp_path):
    markdown, _ = written(report(Section("s", ["of a\n\n# Results\n- [x] good"])), tmp_path)
    assert "\n\nof a\\\\n\\\\n# Results\\\\n- [x] good\n" in markdown
