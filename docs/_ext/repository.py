"""Pages are read in the repository too: what is a link there is made one on the site."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx


def _links(app: Sphinx, name: str, source: list[str]) -> None:
    """HTML anchors become targets of Sphinx, which checks links to them; folders, their names.

    Links to files of the repository stay: the site offers them for download.
    """
    page = Path(app.env.doc2path(name)).parent

    def link(match: re.Match[str]) -> str:
        return match[1] if (page / match[2]).is_dir() else match[0]

    text = re.sub(r'<a id="([\w-]+)"></a>', r"(\1)=", source[0])
    source[0] = re.sub(r"\[([^]\n]+)\]\((\.\./[\w./-]+)\)", link, text)


def _stars(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """A star before a name, as in ``(N, *data_shape)``, begins no emphasis unless one ends it."""
    lines[:] = [re.sub(r"(?<=[ (])\*(?=\w+[,)])", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both."""
    app.connect("source-read", _links)
    app.connect("autodoc-process-docstring", _stars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
