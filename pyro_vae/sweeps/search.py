"""Search: points of a spec's grid and ranges, proposed by Optuna one after the other."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

from pyro_vae import ours
from pyro_vae.errors import InputError, positive, unknown
from pyro_vae.sweeps.cells import Cell, Point, Range, Space
from pyro_vae.sweeps.comparing import Comparison, conclude
from pyro_vae.sweeps.names import check_scores
from pyro_vae.sweeps.objectives import Objective, read_objective
from pyro_vae.sweeps.results import Row, by_cell
from pyro_vae.sweeps.runs import write_json
from pyro_vae.sweeps.spec import Spec, read_spec
from pyro_vae.sweeps.sweep import Progress
from pyro_vae.sweeps.work import Work, load_all
from pyro_vae.types import JSON

__all__ = ["Search", "Trial", "search"]

_RANDOM = 10
"""Trials before any is learned from, all proposed at once."""


@dataclass(frozen=True)
class Trial:
    """One cell that was tried.

    Attributes:
        number: From 0.
        cell: The cell's name.
        point: Where it stands on each axis.
        value: The objective's mean over seeds, on the validation part, or None if the trial failed.
        test: The same on the test part, by which nothing is chosen; None where it has none.
        fault: Why it did, or None.
    """

    number: int
    cell: str
    point: dict[str, Any]
    value: float | None
    fault: str | None
    test: float | None = None


@dataclass(frozen=True)
class Search:
    """A search that is over.

    Attributes:
        objective: What it was after.
        trials: In the order in which they were proposed.
        best: The best of them, or None if all failed.
        comparison: Of all cells that were tried.
    """

    objective: Objective
    trials: tuple[Trial, ...]
    best: Trial | None
    comparison: Comparison

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON: objective, trials and the best one's number."""
        return _record(self.objective, self.trials)


def search(
    spec: str | Path | Mapping[str, object] | Spec,
    out: str | Path,
    trials: int,
    objective: str,
    *,
    setting: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    ray: str | None = None,
    overwrite: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
) -> Search:
    r"""Look for the best cell of a spec's grid and ranges without trying all.

    Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) proposes cells, which become
    the same run folders as in :func:`~pyro_vae.sweeps.compare`. Its noise comes from the spec's
    first seed, and what it proposes depends on finished trials in their order alone: the same
    search gives the same trials with any number of workers. So a search that was interrupted, or
    is asked for more trials, finds its finished runs again. What it is after is scored on the
    validation part: that of the data or of ``validation`` in the spec, else a tenth of the training
    images; figures of the test part stand beside it. The first ten trials are random; then
    a quarter of the number known so far is proposed at a time, and trained side by side.

    Args:
        spec: As for :func:`~pyro_vae.sweeps.compare`, with one ``[grid]``; its axes may be
            ranges. Claims are not judged.
        out: As for :func:`~pyro_vae.sweeps.compare`, like all arguments not named here.
        trials: How many cells to try.
        objective: A score, as ``elbo``, ``bits_per_dim`` or ``samples.classifier_fid``, averaged
            over seeds; ``min:SCORE`` or ``max:SCORE`` where no way is known to be better.
        setting: As there.
        workers: As there.
        threads: As there.
        ray: As there.
        overwrite: As there.
        retry: As there.
        progress: As there.

    Returns:
        The trials, the best one, and the comparison of all of them; ``search.json`` in ``out``
        tells them, too.

    Raises:
        InputError: As there; also if Optuna is not installed, or no run has the score.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError:
        raise InputError("--search needs Optuna: pip install 'pyro_vae[search]'") from None
    positive(**{"--search": trials})
    aim = read_objective(objective)
    known = spec if isinstance(spec, Spec) else read_spec(spec, setting, search=True)
    if known.space is None:
        raise InputError("the spec was read for a sweep: read_spec(..., search=True)")
    check_scores(known, aim.score)
    load_all([_choosing(cell) for cell in known.space.ends], known.evaluation.samples)
    told: list[Trial] = []
    rows: dict[str, list[Row]] = {}
    cells: dict[str, Cell] = {}
    with (
        _quiet(optuna),
        Work(
            out, trials * len(known.seeds), workers, threads, ray, overwrite, retry, progress
        ) as work,
    ):
        study = _study(optuna, aim, known.seeds[0])
        while len(told) < trials:
            count = min(_together(len(told)), trials - len(told))
            asked = [study.ask() for _ in range(count)]
            proposed = [_choosing(known.space.cell(_points(one, known.space))) for one in asked]
            new = {cell.name: cell for cell in proposed}
            work.tally.total -= (len(proposed) - len(new)) * len(known.seeds)
            cells |= new
            rows |= by_cell(work.rows(replace(known, cells=tuple(new.values()))))
            _check(aim.score, rows)
            for one, cell in zip(asked, proposed, strict=True):
                told.append(_trial(len(told), cell, aim.score, rows[cell.name]))
                _tell(optuna, study, one, told[-1].value)
            ours.claim(work.folder, ours.COMPARISON, ["search.json"])
            write_json(work.folder / "search.json", _record(aim, told))
        best = _best(aim, told)
        reference = told[0].cell if best is None else best.cell
        tried = replace(known, cells=tuple(cells.values()), reference=reference)
        found = conclude(tried, tuple(row for own in rows.values() for row in own), work.folder)
    return Search(aim, tuple(told), best, found)


def _choosing(cell: Cell) -> Cell:
    """A cell whose run has a validation part."""
    return replace(cell, config=cell.config.choosing())


def _together(known: int) -> int:
    """How many trials are proposed at a time; it depends on nothing but how many are known."""
    return max(1, known // 4) if known else _RANDOM


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Optuna tells of every trial on stderr; the sweep's progress does so already."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _study(optuna: ModuleType, aim: Objective, seed: int) -> Any:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM, constant_liar=True)
    direction = "maximize" if aim.maximise else "minimize"
    return optuna.create_study(sampler=sampler, direction=direction)


def _points(asked: Any, space: Space) -> list[Point]:
    return [_point(asked, name, axis) for name, axis in space.axes.items()]


def _point(asked: Any, name: str, axis: list[Point] | Range) -> Point:
    if not isinstance(axis, Range):
        chosen: int = asked.suggest_categorical(name, range(len(axis)))
        return axis[chosen]
    suggest = asked.suggest_int if axis.whole else asked.suggest_float
    return axis.point(suggest(name, axis.low, axis.high, log=axis.log))


def _tell(optuna: ModuleType, study: Any, asked: Any, value: float | None) -> None:
    if value is None:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(asked, value)


def _check(score: str, rows: Mapping[str, Sequence[Row]]) -> None:
    """Stop where nothing could be learned: runs are there, and none has the score."""
    done = [row for own in rows.values() for row in own if row.fault is None]
    names = {name for row in done for name in row.scores}
    if done and _chosen(score) not in names:
        raise unknown("score in --objective", score, names)


def _chosen(score: str) -> str:
    """The name under which a run has a score that choices are made by: of the validation part.

    What is no score of held-out images, as seconds, has no part.
    """
    of_none = score in ("seconds", "steps", "failed") or score.startswith("training.")
    return score if of_none else f"validation.{score}"


def _trial(number: int, cell: Cell, score: str, rows: Sequence[Row]) -> Trial:
    faults = [row.fault for row in rows if row.fault is not None]
    test = [row.scores[score] for row in rows if score in row.scores]
    values = [row.scores[_chosen(score)] for row in rows if _chosen(score) in row.scores]
    fault = None
    if faults:
        fault = faults[0]
    elif len(values) < len(rows):
        fault = f"it has no {score}"
    if fault is not None:
        return Trial(number, cell.name, cell.labels, None, fault)
    reported = fmean(test) if len(test) == len(rows) else None
    return Trial(number, cell.name, cell.labels, fmean(values), None, reported)


def _best(aim: Objective, trials: Sequence[Trial]) -> Trial | None:
    there = [trial for trial in trials if trial.value is not None]
    sign = 1 if aim.maximise else -1
    return max(there, key=lambda trial: sign * (trial.value or 0.0), default=None)


def _record(aim: Objective, trials: Sequence[Trial]) -> JSON:
    best = _best(aim, trials)
    return {
        "objective": asdict(aim),
        "trials": [asdict(trial) for trial in trials],
        "best": None if best is None else best.number,
    }
