"""Hook of mkdocs: terms of the glossary show their meaning where a reader points at them."""

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

GLOSSARY = "docs/reference/glossary.md"
# Everyday words such as run and level would be marked everywhere, so only abbreviations and terms of several words are.
_MARKED = re.compile(r"\w[\w' ]+ \w+|[A-Z]{2,}")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the glossary to a page of the documentation in the form of Markdown's abbreviations."""
    if page.file.src_uri == GLOSSARY or not page.file.src_uri.startswith("docs/"):
        return markdown
    glossary = files.get_file_from_path(GLOSSARY)
    assert glossary is not None
    return "\n".join([markdown, "", *abbreviations(glossary.content_string)])


def abbreviations(glossary: str) -> list[str]:
    """List the terms of the glossary, and their plurals, with their meanings in plain text."""
    lines = []
    for terms, meaning in re.findall(r"^\| (?!term)([^|-]+) \| (.+) \|$", glossary, re.MULTILINE):
        plain = re.sub(r" ?\(\[[^)]*\)\)|[*`]", "", meaning)
        for term in re.sub(r" \(.*?\)", "", terms).split(", "):
            if _MARKED.fullmatch(term):
                plural = f"{term}es" if term.endswith("s") else f"{term}s"
                lines += [f"*[{form}]: {plain}" for form in (term, plural)]
    return lines
