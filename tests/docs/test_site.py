"""The site is built with warnings as errors, its links lead somewhere, and no name is left out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .pages import ROOT
from .test_words import COMMANDS

sys.path.insert(0, str(ROOT / "docs/_ext"))
import reference

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    words = ["-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-d", str(out / "trees")]
    done = subprocess.run(
        [sys.executable, *words, str(ROOT / "docs"), str(out / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


class Links(HTMLParser):
    """What a page links to, and what it can be linked at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id" and value:
                self.anchors.add(value)
            if (tag, key) in {("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")}:
                self.targets.append(value or "")


def broken(site: Path) -> list[str]:
    """Links within the site that lead nowhere."""
    pages = {page: Links(page) for page in site.rglob("*.html")}
    found = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            to = to / "index.html" if to.is_dir() else to
            known = to in pages and unquote(parts.fragment) in pages[to].anchors
            if not to.exists() or (to.suffix == ".html" and not known):
                found.append(f"{page.relative_to(site)}: {target}")
    return found


def test_links_lead_somewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 30
    assert broken(site) == []


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in (site / "api").rglob("*.html"))
    names = [f"{room}.{name}" for room in reference.rooms() for name in reference.names_of(room)]
    assert len(names) > 100
    assert [name for name in names if name not in text] == []


def test_every_command_and_option_is_on_the_page_of_commands(site: Path) -> None:
    text = (site / "command-line.html").read_text(encoding="utf-8")
    assert {"fit", "evaluate", "data make"} <= set(COMMANDS)
    for name, command in COMMANDS.items():
        assert name.split()[-1] in text
        for parameter in command.params:
            assert parameter.opts[-1] in text, f"{name} {parameter.opts}"


def test_formulas_need_no_script(site: Path) -> None:
    text = (site / "api/pyro_vae.html").read_text(encoding="utf-8")
    assert "<math" in text
    assert "mathjax" not in text.lower()


def test_every_page_is_in_the_contents(site: Path) -> None:
    listed = set(Links(site / "index.html").targets)
    pages = list((ROOT / "docs").glob("*.md"))
    assert len(pages) > 5
    for page in pages:
        assert page.stem == "index" or f"{page.stem}.html" in listed


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a id="x"></a><a href="#x">1</a><a href="#y">2</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#x">1</a><a href="c.html">2</a>')
    assert sorted(broken(tmp_path)) == ["a.html: #y", "b.html: c.html"]


def test_rooms_are_found() -> None:
    rooms = reference.rooms()
    assert {"pyro_vae", "pyro_vae.heads", "pyro_vae.vae"} <= set(rooms)
    assert all(hasattr(importlib.import_module(room), "__all__") for room in rooms)
