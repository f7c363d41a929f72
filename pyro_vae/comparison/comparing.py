"""Comparisons: from a spec to runs, tables, pictures and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyro_vae import measures
from pyro_vae.comparison.cells import Cell
from pyro_vae.comparison.pictures import draw_comparison
from pyro_vae.comparison.results import Row, row_of, write_tables
from pyro_vae.comparison.runs import (
    FAILED,
    RESULT,
    Run,
    claim,
    find_results,
    plan,
    read_json,
    write_json,
)
from pyro_vae.comparison.spec import Spec, read_spec
from pyro_vae.comparison.sweep import Job, Progress, Tally, sweep
from pyro_vae.comparison.verdicts import Verdict, judge
from pyro_vae.data import looked_at
from pyro_vae.diagnosis import forecast
from pyro_vae.errors import InputError
from pyro_vae.evaluation.classifier import classifier_for
from pyro_vae.measures import Forecast

__all__ = ["Comparison", "compare", "forecast_cells"]


@dataclass(frozen=True)
class Comparison:
    """A comparison that is over.

    Attributes:
        spec: What was compared.
        rows: What became of each run.
        verdicts: On each claim; none where the spec was limited.
        files: Tables and pictures that were written.
    """

    spec: Spec
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    files: tuple[Path, ...]


def compare(
    spec: str | Path | Mapping[str, Any] | Spec,
    out: str | Path,
    *,
    setting: str | None = None,
    workers: int = 1,
    threads: int = 1,
    overwrite: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train and score every cell of a spec, and compare.

    Each run is an ordinary run folder, ``OUT/CELL/seed-N``, and depends on its options and seed
    alone. Runs that are finished are found again, by a fingerprint of their options, and not
    repeated; those that fail are recorded and do not stop the others. The caller's generators are
    left alone. With more than one worker a
    script needs its ``if __name__ == "__main__":``, as always with processes.

    Args:
        spec: A TOML file, what is in one (see :mod:`pyro_vae.comparison.spec`), or one that
            :func:`~pyro_vae.comparison.spec.read_spec` has read.
        out: Folder of the comparison; made if it is not there.
        setting: Which of the spec's settings to take; by default its first.
        workers: Runs at a time, each in a process of its own if more than one.
        threads: Of each run; the weights' last bits may depend on it.
        overwrite: Whether runs of other options may be overwritten where a cell's name is theirs.
        retry: Whether runs that failed before are tried again.
        progress: Who is told how far it is.

    Returns:
        What came of it; ``results.csv``, ``results.jsonl``, ``summary.csv``, ``differences.csv``,
        ``rate_distortion.csv``, ``claims.json`` and pictures lie in ``out``.

    Raises:
        InputError: If the spec is wrong, data are not at hand, a folder holds another run, or
            another process is comparing in ``out``; nothing is written then.

    Example:
        >>> import tempfile
        >>> base = {"images": 64, "epochs": 1, "hidden": 8, "latent-dim": 2}
        >>> spec = {"base": base, "grid": {"obs": ["normal", "bernoulli"]}}
        >>> found = compare(spec, tempfile.mkdtemp())
        >>> [(row.cell, row.scores["images"]) for row in found.rows]
        [('obs=normal', 64), ('obs=bernoulli', 64)]
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value < 1:
            raise InputError(f"{name} must be a positive integer, got {value}")
    known = spec if isinstance(spec, Spec) else read_spec(spec, setting)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder for a comparison")
    runs = list(plan(known, folder))
    _jobs(runs, overwrite, retry)  # so that all is refused before anything is written
    _load_all(known)
    with claim(folder), measures.fixed_noise(0, torch.device("cpu")):
        jobs, places, found = _jobs(runs, overwrite, retry)
        sweep(jobs, Tally(len(runs), found), workers, threads, progress)
        rows = tuple(row_of(cell, run, places[run.folder]) for cell, run in runs)
        files = write_tables(rows, known, folder)
        files += draw_comparison(rows, known, folder)
        verdicts = () if known.limited else tuple(judge(one, rows) for one in known.claims)
        files.append(write_json(folder / "claims.json", [one.to_dict() for one in verdicts]))
    return Comparison(known, rows, verdicts, tuple(files))


def _jobs(
    runs: Sequence[tuple[Cell, Run]], overwrite: bool, retry: bool
) -> tuple[list[Job], dict[Path, Path], int]:
    """What is left to do, where each run's result lies or will, and how many are over.

    Raises:
        InputError: If a folder holds a finished run of other options.
    """
    there = find_results(runs[0][1].folder.parents[1])
    jobs: list[Job] = []
    places: dict[Path, Path] = {}
    doing: dict[str, Path] = {}
    for _, run in runs:
        mark = run.recipe.fingerprint
        place = doing.get(mark) or there.get(mark)
        places[run.folder] = place or run.folder
        if mark in doing:
            continue  # another cell's run is the same one
        doing[mark] = places[run.folder]
        if place is not None:
            result = read_json(place / RESULT) or {}
            if result.get("evaluation") != run.evaluation.to_dict():
                jobs.append(Job(_at(run, place), mark, trained=True))
            continue
        failed = read_json(run.folder / FAILED)
        if failed is not None and failed.get("fingerprint") == mark and not retry:
            continue
        _check_free(run, mark, overwrite)
        jobs.append(Job(run, mark))
    return jobs, places, len(runs) - len(jobs)


def _at(run: Run, folder: Path) -> Run:
    return Run(run.cell, run.seed, run.recipe, folder, run.evaluation)


def _check_free(run: Run, mark: str, overwrite: bool) -> None:
    before = read_json(run.folder / RESULT)
    if before is None or overwrite:
        return
    ours, theirs = run.recipe.options, before.get("options", {})
    differ = [name for name in ours if ours[name] != theirs.get(name)]
    said = ", ".join(f"{name} {theirs.get(name)!r}, now {ours[name]!r}" for name in differ[:3])
    raise InputError(
        f"{run.folder} holds a run of other options ({said or 'its data file has changed'}): "
        "give another folder, or --overwrite"
    )


def _load_all(spec: Spec) -> None:
    """Make sure that all data are at hand, and what they are scored by, before anything runs."""
    seen = set()
    for cell in spec.cells:
        recipe = cell.recipe
        where = (recipe.data, recipe.data_root, recipe.images)
        if where not in seen:
            seen.add(where)
            data = recipe.load()
            if spec.evaluation.samples:
                classifier_for(data)


def forecast_cells(spec: Spec) -> list[tuple[Cell, Forecast | None]]:
    """How many latents should survive in each cell; None where β is found during training.

    Args:
        spec: The spec.

    Raises:
        InputError: If data are not at hand, or do not suit an observation.
    """
    known: dict[Any, Forecast] = {}
    found: list[tuple[Cell, Forecast | None]] = []
    for cell in spec.cells:
        recipe, settings = cell.recipe, cell.recipe.settings
        if settings.controller() is not None or settings.elbo not in ("trace", "mean-field"):
            found.append((cell, None))
            continue
        data, beta = recipe.load(), settings.schedule().end
        key = (recipe.data, recipe.data_root, recipe.images, recipe.words, beta, recipe.latent_dim)
        if key not in known:
            some = looked_at(data.train)
            head = recipe.words.head(some)
            known[key] = forecast(some[:5000], head, beta, recipe.latent_dim)
        found.append((cell, known[key]))
    return found
