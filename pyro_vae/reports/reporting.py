"""Reports: from folders of runs to one file of HTML, with its figures beside it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyro_vae import ours
from pyro_vae.errors import InputError
from pyro_vae.files import expanded, write_text
from pyro_vae.reports.claims import Told, read_claims
from pyro_vae.reports.differences import settings_of, short
from pyro_vae.reports.drawing import (
    draw_calibrations,
    draw_pictures,
    draw_rates,
    draw_trainings,
)
from pyro_vae.reports.page import render
from pyro_vae.reports.run_views import Looks, Shelf, look
from pyro_vae.reports.runs import Found, find_runs, printable, read_run
from pyro_vae.reports.scores import has_scores, tables_of

__all__ = ["report"]

_FIGURE = re.compile(
    r"(rate-distortion|training|calibration|reconstructions|traversal)\b.*\.(png|svg)"
)
"""Names of a report's own figures."""
_LONGEST = 220
"""Bytes of a file's name that every system takes, less those that a temporary folder adds."""


def report(
    *runs: str | Path,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str], object] | None = None,
) -> Path:
    """One page on runs: scores, curves, pictures, diagnoses and what they differ in.

    The page is a single file that opens from disk and asks nothing of the network. Scores are
    those of each run's ``evaluation.json``, or made anew where there is none that is the model's.

    Args:
        *runs: Run folders, or folders that hold some, as that of a comparison.
        out: File to write, ending in .html; by default ``report.html`` in the one folder that was
            given, or here if there are several.
        overwrite: Whether the file, and the figures of an earlier report, may be overwritten; other
            files beside these stay.
        progress: Told what is looked at.

    Returns:
        The file. Beside it, in a folder of its name and ``-figures``, lie all figures as PNG and
        SVG.

    Raises:
        InputError: If a folder does not exist or holds no run, ``out`` has another ending, exists
            already or cannot be written; nothing is written then.

    Example:
        >>> import tempfile, pyro_vae as pv
        >>> folder = Path(tempfile.mkdtemp())
        >>> options = {"images": 64, "epochs": 1, "hidden": 8, "latent_dim": 2}
        >>> trained = pv.training.RunConfig.of(**options).run(folder / "first")
        >>> report(folder).relative_to(folder).as_posix()
        'report.html'
    """
    paths = [expanded(run) for run in runs]
    if not paths:
        raise InputError("give at least one folder of a run, or one with runs in it")
    named = find_runs(paths)
    file = _checked(out, paths, overwrite)
    tell = progress or (lambda name: None)
    shelf, found = Shelf(), []
    looks: dict[str, Looks | None] = {}
    with _place_for(file) as place:  # before the runs, which take long to look at
        for name, folder in named:
            tell(name)
            run = read_run(name, folder)
            looks[name] = look(run, shelf)
            found.append(run)
        page = _page(paths, found, looks, place, f"{_beside(file).name}/")
        _put(place, file)
        write_text(file, page)
    return file


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.stem}-figures")


def _checked(out: str | Path | None, paths: Sequence[Path], overwrite: bool) -> Path:
    file = expanded(out) if out else (paths[0] if len(paths) == 1 else Path()) / "report.html"
    if len(_beside(file).name.encode()) > _LONGEST:
        raise InputError(f"the report's name is too long: {_LONGEST - 20} bytes at most")
    if file.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"the report must end in .html, got {str(file)!r}")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {str(file.parent)!r} for the report")
    if file.is_dir() or (_beside(file).exists() and not _beside(file).is_dir()):
        raise InputError(f"{file} and {_beside(file).name} must be a file and a folder")
    for there in (file, _beside(file)):
        if there.exists() and not overwrite:
            raise InputError(f"{there} exists already: give another --out, or --overwrite")
        if there.exists() and not os.access(there, os.W_OK):
            raise InputError(f"{there} cannot be written: give another --out")
    if not _former(file):
        ours.check(_beside(file), ours.FIGURES)
    return file


def _former(file: Path) -> set[str]:
    """Figures of a report that an earlier version made, which kept no list: those it speaks of."""
    place = _beside(file)
    if ours.kind(place) is not None or not (place.is_dir() and file.is_file()):
        return set()
    text = file.read_text(encoding="utf-8", errors="replace")
    names = {path.name for path in place.iterdir() if path.is_file() and not path.is_symlink()}
    return {name for name in names if _FIGURE.fullmatch(name) and f"{place.name}/{name}" in text}


@contextmanager
def _place_for(file: Path) -> Iterator[Path]:
    """A folder for figures beside the file, which is gone in the end.

    Raises:
        InputError: If there can be none.
    """
    try:
        temporary = tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.stem}-")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the report {file} cannot be written: {reason}") from None
    with temporary as name:
        place = Path(name) / "figures"
        place.mkdir()
        yield place


def _put(source: Path, file: Path) -> None:
    """Move figures to their place; those of an earlier report that are no more are removed."""
    target, new = _beside(file), sorted(path.name for path in source.iterdir())
    ours.record(target, ours.FIGURES, _former(file))
    ours.check(target, ours.FIGURES, new)
    ours.discard(target, ours.files(target) - set(new))
    ours.record(target, ours.FIGURES, new)
    for name in new:
        os.replace(source / name, target / name)


def _page(
    paths: Sequence[Path],
    runs: Sequence[Found],
    looks: Mapping[str, Looks | None],
    place: Path,
    beside: str,
) -> str:
    settings = settings_of(runs)
    claims, scored = _claims(paths), [run for run in runs if has_scores(run)]
    panels, slides = draw_pictures(runs, looks, place)
    return render(
        title=", ".join(printable(path.resolve().name) for path in paths[:3])
        + ("…" if paths[3:] else ""),
        runs=runs,
        looks=looks,
        beside=beside,
        claims=claims[0],
        claim_faults=claims[1],
        tables=tables_of(scored, looks),
        sections=(
            ("rate-distortion", "Rate and distortion", list(draw_rates(scored, settings, place))),
            ("training", "Training", list(draw_trainings(runs, looks, settings, place))),
            ("calibration", "Calibration", list(draw_calibrations(looks, settings, place))),
        ),
        panels=panels,
        slides=slides,
        settings=settings,
        short=short,
    )


def _claims(paths: Sequence[Path]) -> tuple[list[Told], list[str]]:
    claims: list[Told] = []
    faults = []
    for path in paths:
        told, fault = read_claims(path)
        claims += told
        if fault is not None:
            faults.append(fault)
    return claims, faults
