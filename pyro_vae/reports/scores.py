"""Scores of runs as a table in common units, which says what may not stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyro_vae.metrics.score_table import SCORES
from pyro_vae.reports.run_views import Looks
from pyro_vae.reports.runs import Found, number, table
from pyro_vae.types import JSON

__all__: list[str] = []

COLUMNS = (
    ("run", "Run"),
    ("observation", "Observation"),
    *(
        (key, SCORES[name].title)
        for key, name in (
            ("elbo", "elbo"),
            ("reconstruction", "reconstruction"),
            ("kl", "kl"),
            ("active", "active_units"),
            ("bits", "bits_per_dim"),
            ("mse", "mse"),
            ("pit", "pit_distance"),
        )
    ),
    ("diagnosis", "Diagnosis"),
)
NOT_BEATEN = "not beaten"


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        text: What stands in it.
        value: What it is sorted by; None sorts last.
        unit: Cells of different units are not sorted among each other.
        below: Baselines, in small print.
        note: Number of the note that says why nothing stands here, or None.
    """

    text: str
    value: float | str | None = None
    unit: str = ""
    below: tuple[str, ...] = ()
    note: int | None = None


@dataclass(frozen=True)
class Row:
    """A run's cells, the first of which is its name."""

    cells: tuple[Cell, ...]


@dataclass
class Table:
    """Runs that were scored on the same images.

    Attributes:
        title: Which images these are.
        rows: A run each.
        notes: Why cells are empty.
        units: The different units of the ELBO.
        columns: Keys and headings.
    """

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    columns: tuple[tuple[str, str], ...] = COLUMNS

    def without_empty(self) -> Table:
        """The same without columns that say nothing of any row."""
        kept = [
            i
            for i in range(len(self.columns))
            if any(row.cells[i].text != "–" or row.cells[i].note for row in self.rows)
        ]
        rows = [Row(tuple(row.cells[i] for i in kept)) for row in self.rows]
        return replace(self, rows=rows, columns=tuple(self.columns[i] for i in kept))


def has_scores(run: Found) -> bool:
    """Whether there is anything to stand in a table."""
    return number(run.scores, "kl") is not None


def images_of(run: Found) -> str:
    """Which images a run was scored on, in words: only scores of the same ones are comparable."""
    data = Path(str(run.scores.get("data") or "data from a script")).name
    unit = "rows" if "parts" in run.scores else "images"
    return f"{data}, {number(run.scores, 'images') or 0:g} {unit}"


def unit_of(run: Found, looks: Looks | None) -> str:
    """What nats of a run are nats of: only those of one unit stand beside each other."""
    kind = str(run.scores.get("kind", run.config.get("kind", "density")))
    spec = _observation(run)
    title = looks.title if looks else str(spec.get("name", "an observation of the user's own"))
    levels = looks.levels if looks else str(spec.get("levels", "dequantised"))
    interval = looks.interval if looks else spec.get("interval", (0, 1))
    if kind == "loss":
        return f"{title}, a loss and no likelihood"
    if kind == "mass":
        names = {"levels": "256 levels", "counts": "counts"}
        return f"masses of {names.get(levels, f'{levels} pixels')}"
    if "parts" in run.scores:
        return "several columns, each in its own unit"
    if levels == "dequantised":
        return f"densities on {interval[0]:g} to {interval[1]:g}"
    return "densities of real numbers"


def tables_of(runs: Sequence[Found], looks: Mapping[str, Looks | None]) -> list[Table]:
    """A table for each set of images that runs were scored on, then one of each run's columns.

    Args:
        runs: Those with scores.
        looks: What was seen of each, by its name.
    """
    tables: dict[str, Table] = {}
    for run in runs:
        title = images_of(run)
        unit = "row" if "parts" in run.scores else "image"
        headings = tuple((key, name.replace("per image", f"per {unit}")) for key, name in COLUMNS)
        found = tables.setdefault(title, Table(title, columns=headings))
        own = looks.get(run.name)
        unit = unit_of(run, own)
        if unit not in found.units:
            found.units.append(unit)
        found.rows.append(Row(tuple(_cells(run, own, unit, found.notes))))
    parts = [_of_parts(run) for run in runs if "parts" in run.scores]
    return [*(found.without_empty() for found in tables.values()), *parts]


_OF_PARTS = (
    ("column", "Column"),
    ("nats", "Reconstruction, nats per row"),
    ("error", "Error of the reconstruction"),
)


def _of_parts(run: Found) -> Table:
    """A run's columns, a row each."""
    found = Table(f"columns of {images_of(run)}: {run.name}", columns=_OF_PARTS)
    for name, part in table(run.scores.get("parts")).items():
        site = table(table(run.scores.get("sites")).get(f"obs.{name}"))
        kind = "rmse" if "rmse" in part else "wrong"
        nats = [number(site, key) for key in ("reconstruction", "collapsed")]
        errors = [number(part, kind), number(part, "constant", kind)]
        two = (_beside(nats, ".2f", ""), _beside(errors, ".3g", f" {kind}", name))
        found.rows.append(Row((Cell(name, name), *two)))
    return found


def _beside(values: Sequence[float | None], form: str, what: str, unit: str = "") -> Cell:
    """A figure with that of the best constant prediction below it."""
    own, constant = values
    below = () if constant is None else (f"constant {constant:{form}}",)
    return Cell("–") if own is None else Cell(f"{own:{form}}{what}", own, unit, below)


def _observation(run: Found) -> JSON:
    """The first observed site's head as its configuration describes it."""
    sites = table(run.config.get("vae")).get("sites", ())
    return next((table(site["head"]) for site in sites if "head" in site), {})


def _cells(run: Found, looks: Looks | None, unit: str, notes: list[str]) -> Iterator[Cell]:
    scores = run.scores
    title = looks.title if looks else str(_observation(run).get("name", "–"))
    incomplete = tuple(fault.partition(":")[0] for fault in run.faults[:1])
    yield Cell(run.name, run.name, below=incomplete)
    yield Cell(title, title, below=(str(scores["kind"]),))
    yield _elbo(scores, unit, notes)
    yield _value(scores, "reconstruction", unit)
    yield _value(scores, "kl")
    each = scores.get("kl_per_latent")
    of = f" of {len(each)}" if isinstance(each, list) else ""
    active = number(scores, "active_units")
    yield Cell("–") if active is None else Cell(f"{active:g}{of}", active)
    # A density's bits are those of the 256 levels, too; those of binary pixels are others.
    yield _bits(scores, "" if unit.startswith("dens") or "256" in unit else unit, notes)
    yield _mse(scores)
    yield _pit(scores, looks)
    diagnosis = looks.diagnosis if looks else None
    yield Cell("–") if diagnosis is None else Cell(diagnosis["verdict"], diagnosis["verdict"])


def _noted(notes: list[str], why: str) -> int:
    if why not in notes:
        notes.append(why)
    return notes.index(why) + 1


def _value(scores: Mapping[str, object], key: str, unit: str = "") -> Cell:
    value = number(scores, key)
    return Cell("–") if value is None else Cell(f"{value:.{SCORES[key].digits}f}", value, unit)


def _mark(beaten: bool) -> str:
    return "" if beaten else f", {NOT_BEATEN}"


def _elbo(scores: Mapping[str, object], unit: str, notes: list[str]) -> Cell:
    elbo, constant = number(scores, "elbo"), number(scores, "collapsed")
    if elbo is None:
        objective = number(scores, "objective")
        why = f"{unit}: it has an objective, but no ELBO and no bits"
        below = [] if objective is None else [f"objective {objective:.2f}"]
        if objective is not None and constant is not None:
            below.append(f"constant {constant:.2f}{_mark(objective > constant)}")
        return Cell("none", None, unit, tuple(below), _noted(notes, why))
    error, ppca = number(scores, "elbo_standard_error"), number(scores, "ppca", "log_likelihood")
    below = [] if constant is None else [f"constant {constant:.2f}{_mark(elbo > constant)}"]
    below += [] if ppca is None else [f"PCA {ppca:.2f}{_mark(elbo > ppca)}"]
    text = f"{elbo:.2f}" + ("" if error is None else f" ± {error:.2f}")
    return Cell(text, elbo, unit, tuple(below))


def _bits(scores: Mapping[str, object], unit: str, notes: list[str]) -> Cell:
    bits = number(scores, "bits_per_dim")
    if bits is None:
        why = str(scores.get("no_bits") or "no bits per dimension were scored")
        if "parts" in scores:
            why = "columns of several units have none in common"
        return Cell("none", None, unit, (), _noted(notes, f"no bits: {why}"))
    below = []
    baselines = (
        ("constant", number(scores, "collapsed_bits_per_dim")),
        ("PCA", number(scores, "ppca", "bits_per_dim")),
        ("uniform", number(scores, "uniform_bits_per_dim")),
    )
    for name, value in baselines:
        if value is not None:
            below.append(f"{name} {value:.3f}{_mark(bits < value)}")
    return Cell(f"{bits:.3f}", bits, unit, tuple(below))


def _mse(scores: Mapping[str, object]) -> Cell:
    mse, mean = number(scores, "mse"), number(scores, "mse_mean_image")
    if mse is None:
        return Cell("–")
    below = () if mean is None else (f"mean image {mean:.4f}{_mark(mse < mean)}",)
    return Cell(f"{mse:.4f}", mse, below=below)


def _pit(scores: Mapping[str, object], looks: Looks | None) -> Cell:
    found = looks.calibration if looks else scores.get("calibration")
    distance, images = number(found, "pit_distance"), number(found, "images")
    if distance is None:
        return Cell("–")
    below = () if images is None else (f"{images:g} images",)
    return Cell(f"{distance:.3f}", distance, below=below)
