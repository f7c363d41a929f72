"""The table of a comparison: a line for each cell, as text, CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_vae.sweeps import Comparison
    from pyro_vae.sweeps.results import Row
    from pyro_vae.sweeps.statistics import Estimate

__all__ = ["FORMATS", "Table", "table_of", "text_of"]

WIDTH = 80
WORSE = "worse than a constant"
_HEALTHY = ("healthy", "not-collapsed")


@dataclass(frozen=True)
class Table:
    """What a comparison came to.

    Attributes:
        title: Of the spec, and what its figures are.
        scores: Names of the columns.
        units: Of each, empty where it has none.
        cells: Their names.
        figures: Of each cell a mean for each score, None where it was not scored.
        runs: How many each cell has.
        marks: What is wrong with runs of each, empty where nothing is.
    """

    title: str
    scores: tuple[str, ...]
    units: tuple[str, ...]
    cells: tuple[str, ...]
    figures: tuple[tuple[Estimate | None, ...], ...]
    runs: tuple[int, ...]
    marks: tuple[str, ...]

    @property
    def named(self) -> list[str]:
        """Each score with its unit, where its name does not end in that."""
        pairs = zip(self.scores, self.units, strict=True)
        return [name if name.endswith(unit) else f"{name} ({unit})" for name, unit in pairs]


def table_of(found: Comparison) -> Table:
    """The table of a comparison that is over, with the verdicts that its runs' folders keep."""
    from pyro_vae.metrics.score_table import score_of
    from pyro_vae.sweeps.results import by_cell
    from pyro_vae.sweeps.statistics import estimate

    scores, cells = found.spec.scores, by_cell(found.rows)

    def means(rows: Sequence[Row]) -> Iterator[Estimate | None]:
        for score in scores:
            yield estimate([row.scores[score] for row in rows if score in row.scores])

    known = [score_of(score) for score in scores]
    seeds = len(found.spec.seeds)
    error = " ± standard error" if seeds > 1 else ""
    over = f"{seeds} seeds" if seeds > 1 else "1 seed"
    return Table(
        f"{found.spec.title}: mean{error} over {over}",
        tuple(scores),
        tuple("" if score is None else score.unit for score in known),
        tuple(cells),
        tuple(tuple(means(rows)) for rows in cells.values()),
        tuple(map(len, cells.values())),
        tuple(map(_marks, cells.values())),
    )


def _marks(rows: Sequence[Row]) -> str:
    """How many of a cell's runs are worse than a constant, and what is wrong with the others."""
    counted = Counter(mark for mark in map(_mark, rows) if mark is not None)
    first = sorted(counted.items(), key=lambda pair: pair[0] != WORSE)
    return ", ".join(f"{number} of {len(rows)} {what}" for what, number in first)


def _mark(row: Row) -> str | None:
    """What is wrong with a run: by its scores, or by what ``diagnose`` left in its folder."""
    from pyro_vae.diagnostics.kept import kept_verdict

    # The ELBO, or the objective of a loss.
    score = row.scores.get("elbo", row.scores.get("objective", math.inf))
    if score < row.scores.get("collapsed", -math.inf):
        return WORSE
    verdict = None if row.fault is not None else kept_verdict(row.folder)
    if verdict is not None:
        return None if verdict in _HEALTHY else verdict
    return "collapsed" if row.scores.get("active_units") == 0 else None


def text_of(table: Table) -> list[str]:
    """Its title, and a line for each cell, or one for each score where that is too wide."""
    rows = [["cell", *table.scores, ""], *_rows(table)]
    lines = _columns(rows)
    return [table.title, *(lines if max(map(len, lines)) <= WIDTH else _blocks(rows))]


def _rows(table: Table, nothing: str = "-") -> list[list[str]]:
    """Of each cell its name, its figures and its mark."""
    return [
        [cell, *(nothing if mean is None else str(mean) for mean in figures), mark]
        for cell, figures, mark in zip(table.cells, table.figures, table.marks, strict=True)
    ]


def _blocks(rows: Sequence[Sequence[str]]) -> list[str]:
    """The same in lines of one score each, for what is too wide."""
    head, *cells = rows
    width = max(map(len, head))
    lines = []
    for cell, *figures, mark in cells:
        lines.append(f"  {cell}" + (f"   {mark}" if mark else ""))
        named = zip(head[1:-1], figures, strict=True)
        lines += [f"    {name:<{width}}  {figure}" for name, figure in named]
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    *figures, last = widths[1:]
    lines = (
        "  "
        + row[0].ljust(widths[0])
        + "".join(f"  {text:>{width}}" for text, width in zip(row[1:-1], figures, strict=True))
        + f"  {row[-1]:<{last}}"
        for row in rows
    )
    return [line.rstrip() for line in lines]


def _csv(table: Table) -> str:
    """Numbers with all their digits; empty where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    named = zip(table.named, table.scores, strict=True)
    columns = [name for mean, score in named for name in (mean, f"{score} standard error")]
    writer.writerow(["cell", "runs", *columns, "mark"])
    for cell, runs, figures, mark in zip(
        table.cells, table.runs, table.figures, table.marks, strict=True
    ):
        numbers = [
            number
            for mean in figures
            for number in ((None, None) if mean is None else (mean.mean, mean.standard_error))
        ]
        writer.writerow([cell, runs, *numbers, mark])
    return stream.getvalue().rstrip("\n")


def _markdown(table: Table) -> str:
    head = ["cell", *table.named, "mark"]
    rows = [head, ["---", *["---:"] * len(table.scores), "---"], *_rows(table, "")]
    escaped = ([text.replace("\\", "\\\\").replace("|", "\\|") for text in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"}, "<": "$<$", ">": "$>$", "|": "$|$",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "²": "$^2$", "β": r"$\beta$", "σ": r"$\sigma$",
    "k̂": r"$\hat k$", "½": r"$\frac{1}{2}$",
}  # fmt: skip
_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))


def _latex(table: Table) -> str:
    """A plain ``tabular``, which needs no package."""
    head = [_escaped(text) for text in ("cell", *table.named, "mark")]
    rows = [
        [_escaped(cell), *(_math(text) for text in figures), _escaped(mark)]
        for cell, *figures, mark in _rows(table, "")
    ]
    lines = [f"{' & '.join(row)} \\\\" for row in (head, *rows)]
    columns = f"l{'r' * len(table.scores)}l"
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{columns}}}",
            *("\\hline", lines[0], "\\hline", *lines[1:], "\\hline"),
            "\\end{tabular}",
        ]
    )


def _escaped(text: str) -> str:
    """Text in which nothing is a command of LaTeX's, and no letter one that it lacks."""
    return _SPECIAL.sub(lambda found: _LATEX[found[0]], text)


def _math(figure: str) -> str:
    """A figure in math mode, powers of ten as such."""
    figure = figure.replace("±", r"\pm")
    powers = re.sub(r"e([+-])0*(\d+)", lambda e: f" \\times 10^{{{e[1].strip('+')}{e[2]}}}", figure)
    return f"${powers}$" if figure else ""


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "latex": _latex,
    "markdown": _markdown,
    "csv": _csv,
}
"""What ``--table`` prints, by name."""
