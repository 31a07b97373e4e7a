"""Hook of mkdocs: each former address has a page that redirects to the page, or to the section, that took its place."""

import json
import posixpath
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

MOVED = yaml.safe_load(Path(__file__).with_name("redirects.yml").read_text(encoding="utf-8"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the redirecting pages to the files of the site."""
    for former in MOVED:
        files.append(File.generated(config, _address(f"docs/{former}"), content=page(former, MOVED[former])))
    return files


def page(former: str, targets: dict[str, str]) -> str:
    """Make the page at a former address: it leads to the new page, or from a section to its target in `targets`."""
    links = {section: _link(former, target) for section, target in targets.items()}
    page_link = links.pop("page")
    sections = json.dumps({f"#{section}": link for section, link in links.items()})
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Moved</title>'
        f'<link rel="canonical" href="{page_link}">'
        f'<script>const here = location.hash; location.replace({sections}[here] || "{page_link}" + here)</script>'
        f'<noscript><meta http-equiv="refresh" content="0; url={page_link}"></noscript></head>'
        f'<body>This page has moved to <a href="{page_link}">{page_link}</a>.</body></html>\n'
    )


def _link(former: str, target: str) -> str:
    path, _, section = target.partition("#")
    address = posixpath.relpath(_address(path), posixpath.dirname(f"docs/{former}"))
    return f"{address}#{section}" if section else address


def _address(path: str) -> str:
    return path.removesuffix(".md") + ".html"
