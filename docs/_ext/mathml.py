"""Formulas as MathML, which browsers draw themselves: no script, no network.

TeX that docutils does not know is a warning, and so breaks the build.
"""

from __future__ import annotations

import itertools
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOG = logging.getLogger(__name__)


SIZED = re.compile(r"\\[bB]igg?[lr]?([\[\]()|])")


def _stretched(tex: str) -> str:
    r"""Docutils has no ``\Big``; its ``\left`` and ``\right`` stretch by themselves."""
    bars = itertools.cycle(("left", "right"))

    def side(match: re.Match[str]) -> str:
        sides = {"(": "left", "[": "left", ")": "right", "]": "right"}
        return f"\\{sides.get(match[1]) or next(bars)}{match[1]}"

    return SIZED.sub(side, tex)


def _drawn(node: nodes.Element, display: bool) -> str:
    try:
        tex = _stretched(node.astext()).replace(r"\dots", r"\ldots")
        return str(tex2mathml(tex, as_block=display))
    except MathError as error:
        LOG.warning("formula: %s: %s", error, node.astext(), location=node)
        return node.astext()


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_drawn(node, False))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_drawn(node, True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
