"""Panels: rows of pictures of each run as data URIs, with words for those who see none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pyro_vae.reports.run_views import Looks, Traversal
from pyro_vae.reports.strips import data_uri, strip, write_sheet

__all__: list[str] = []

SAID = {
    "mean": "mean of p(x|z)",
    "sample": "sample of p(x|z)",
    "parameter": "parameter of p(x|z)",
}


@dataclass(frozen=True)
class Picture:
    """A row of pictures.

    Attributes:
        label: Beside it.
        uri: The row as a data URI.
        alt: What it shows.
    """

    label: str
    uri: str
    alt: str


@dataclass(frozen=True)
class Panel:
    """Rows of pictures of a run.

    Attributes:
        run: Its name.
        rows: From top to bottom.
        vector: Whether they are of vectors, a pixel high.
    """

    run: str
    rows: tuple[Picture, ...]
    vector: bool


@dataclass(frozen=True)
class Slides:
    """A traversal: a row of units for each place of the slider.

    Attributes:
        run: Its name.
        units: Their names with their KL.
        frames: One for each value of z.
        vector: Whether they are of vectors.
    """

    run: str
    units: tuple[str, ...]
    frames: tuple[Picture, ...]
    vector: bool


def panel_of(run: str, looks: Looks, file: Path) -> Panel | None:
    """A run's inputs and reconstructions; None where there are none.

    Args:
        run: Its name.
        looks: What was seen of it.
        file: Where to write the same as PNG and SVG, without suffix.
    """
    if looks.inputs is None or not looks.pictures:
        return None
    rows = [("input", looks.inputs), *looks.pictures.items()]
    write_sheet(rows, run, file)
    count = len(looks.inputs)
    named = f" of {', '.join(looks.names)}" if looks.names else ""
    pictures = tuple(
        _picture(
            kind,
            shown,
            f"{SAID.get(kind, f'{looks.split} inputs{named}')}, {count} pictures, {run}",
        )
        for kind, shown in rows
    )
    return Panel(run, pictures, looks.inputs.dim() == 2)


def slides_of(run: str, traversal: Traversal, file: Path) -> Slides:
    """A run's traversal; arguments as for :func:`panel_of`."""
    units = tuple(
        f"{unit}: {kl:.2f} nats" for unit, kl in zip(traversal.units, traversal.kl, strict=True)
    )
    rows = [
        (f"unit {unit}", traversal.frames[:, place]) for place, unit in enumerate(traversal.units)
    ]
    write_sheet(rows, f"{run}: each unit from z = -3 to 3", file)
    names = ", ".join(map(str, traversal.units))
    frames = tuple(
        _picture(signed(z), frame, f"units {names} one at a time at z = {signed(z)}, {run}")
        for z, frame in zip(traversal.along, traversal.frames, strict=True)
    )
    return Slides(run, units, frames, traversal.frames.dim() == 3)


def signed(z: float) -> str:
    """A value of z with a minus that is one."""
    return f"{z:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _picture(label: str, shown: Tensor, alt: str) -> Picture:
    return Picture(label, data_uri(strip(shown)), alt)
