"""Drawing: which figures a report has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pyro_vae.metrics.pictures import draw_calibration
from pyro_vae.reports import figures
from pyro_vae.reports.differences import Settings
from pyro_vae.reports.figures import Drawn, drawn
from pyro_vae.reports.panels import Panel, Slides, panel_of, slides_of
from pyro_vae.reports.run_views import Looks
from pyro_vae.reports.runs import Found, number
from pyro_vae.reports.scores import images_of, unit_of

__all__: list[str] = []

_DETAILED = 3
"""Runs whose calibration is drawn in detail: it takes a second for each."""
Seen = Mapping[str, Looks | None]


def draw_pictures(
    runs: Sequence[Found], looks: Seen, place: Path
) -> tuple[list[Panel], list[Slides]]:
    """Reconstructions and traversals of every run; arguments as for the others.

    Args:
        runs: The runs.
        looks: What was seen of each, by its name.
        place: Folder for the files.
    """
    panels: list[Panel] = []
    slides: list[Slides] = []
    for i, run in enumerate(runs, 1):
        own = looks[run.name]
        if own is None:
            continue
        name = f"{i:02d}-{_slug(run.name)}"
        panel = panel_of(run.name, own, place / f"reconstructions-{name}")
        panels += [panel] if panel else []
        if own.traversal is not None:
            slides.append(slides_of(run.name, own.traversal, place / f"traversal-{name}"))
    return panels, slides


def _slug(name: str) -> str:
    """A part of a file's name that every system takes."""
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.")[:60] or "run"


def draw_rates(runs: Sequence[Found], settings: Settings, place: Path) -> Iterator[Drawn]:
    """Rate against distortion, a figure for each set of images that runs were scored on."""
    by_images: dict[str, list[Found]] = {}
    for run in runs:
        if number(run.scores, "mse") is not None:
            by_images.setdefault(images_of(run), []).append(run)
    for i, (images, own) in enumerate(by_images.items(), 1):
        of = f"{len(own)} runs, {images}"
        yield drawn(
            partial(figures.draw_rate_distortion, own, settings),
            place,
            f"rate-distortion-{i}",
            f"Rate against distortion of {of}; the numbers are in the table of runs",
            f"{of}: a small dot is a run, a large one a mean over seeds, and a line joins what "
            "differs in β alone. Lower and further left is better.",
        )


def draw_trainings(
    runs: Sequence[Found], looks: Seen, settings: Settings, place: Path
) -> Iterator[Drawn]:
    """KL of all runs, and what is in nats of one unit in a figure for each unit."""
    known = [run for run in runs if run.history.epochs() or run.history.epochs("held-out")]
    units: dict[str, list[Found]] = {}
    for run in known:
        units.setdefault(unit_of(run, looks[run.name]), []).append(run)
    wanted: list[tuple[str, str, str, list[Found]]] = []
    if known:
        wanted.append(("kl", "KL", "all runs", known))
    for unit, own in units.items():
        name = own[0].history.objective
        wanted.append((name, "ELBO" if name == "elbo" else name, unit, own))
        wanted.append(("reconstruction", "reconstruction", unit, own))
    for i, (key, label, unit, own) in enumerate(wanted, 1):
        each = "row" if all("parts" in run.scores for run in own) else "image"
        axis = f"{label}, nats per {each}"
        yield drawn(
            partial(figures.draw_courses, own, key, axis, settings),
            place,
            f"training-{i}-{key}",
            f"{axis}, against the step; {len(own)} runs, {unit}",
            f"{label[0].upper()}{label[1:]}, {unit}; {len(own)} runs. After every epoch: held-out "
            f"{each}s strong, training {each}s faint.",
        )


def draw_calibrations(looks: Seen, settings: Settings, place: Path) -> Iterator[Drawn]:
    """Integrals of all runs in one figure, and a few runs in detail."""
    known = {
        name: own.calibration
        for name, own in looks.items()
        if own is not None and own.calibration is not None
    }
    if not known:
        return
    counts = sorted({number(calibration, "images") or 0 for calibration in known.values()})
    of = " or ".join(f"{count:g}" for count in counts)
    yield drawn(
        partial(figures.draw_coverage, known, settings),
        place,
        "calibration",
        f"Cumulative distribution of the integrals of {len(known)} runs, {of} images each",
        f"Where pixels fall in their predicted distributions, {len(known)} runs, {of} images each: "
        "on the diagonal if calibrated. A loss predicts no distribution.",
    )
    firsts: dict[str, str] = {}  # of each observation: runs of one differ less
    for name in known:
        own = looks[name]
        firsts.setdefault(own.title if own else "", name)
    for i, name in enumerate(list(firsts.values())[:_DETAILED], 1):
        count = number(known[name], "images") or 0
        yield drawn(
            partial(draw_calibration, known[name]),
            place,
            f"calibration-{i}-{_slug(name)}",
            f"Calibration of {name}: integrals, coverage, error against σ, residuals",
            f"{name} in detail, {count:g} images.",
            wide=True,
        )
