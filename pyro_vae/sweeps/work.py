"""Work: what of a spec is left to do, and the doing of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from pyro_vae import ours
from pyro_vae.errors import InputError, positive
from pyro_vae.files import expanded
from pyro_vae.metrics.classifier import classifier_for
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.cluster import Cluster
from pyro_vae.sweeps.engines import Engine, Here, Job, Processes
from pyro_vae.sweeps.pictures import names_of
from pyro_vae.sweeps.results import TABLES, Row, row_of
from pyro_vae.sweeps.runs import (
    FAILED,
    RESULT,
    Run,
    check_folder,
    claim,
    find_results,
    plan,
    read_json,
)
from pyro_vae.sweeps.spec import Spec
from pyro_vae.sweeps.sweep import Progress, Tally, sweep

__all__: list[str] = []

_WRITTEN = (*TABLES, "claims.json", "search.json")
"""What a comparison may write into its folder, beside pictures and runs."""


class Work:
    """Carries specs out into one folder; as a context it keeps its engine from one to the next.

    The caller's generators are left alone.

    Args:
        out: Folder of the comparison.
        runs: How many there will be.
        workers: Runs at a time; None for one, or with Ray for as many as there is room for.
        threads: Of each run.
        ray: None, ``auto`` or an address.
        overwrite: Whether runs of other options may be overwritten.
        retry: Whether runs that failed before are tried again.
        progress: Who is told.

    Raises:
        InputError: If a number is out of range, the folder holds other files than a comparison's,
            or Ray is not to be had.
    """

    def __init__(
        self,
        out: str | Path,
        runs: int,
        workers: int | None,
        threads: int,
        ray: str | None,
        overwrite: bool,
        retry: bool,
        progress: Progress | None,
    ) -> None:
        positive(threads=threads, **({} if workers is None else {"workers": workers}))
        self.folder = expanded(out)
        ours.check(self.folder, ours.COMPARISON, _WRITTEN)
        self.overwrite, self.retry, self.progress = overwrite, retry, progress
        self.tally = Tally(runs)
        self.engine: Engine
        if ray is not None:
            self.engine = Cluster(ray, workers, threads, self.folder)
        elif workers in (None, 1):
            self.engine = Here(threads)
        else:
            self.engine = Processes(workers, threads)

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        self.stack.enter_context(fixed_noise(noise("comparison"), torch.device("cpu")))
        self.begun = self.claimed = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.__exit__(kind, error, trace)

    def rows(self, spec: Spec) -> tuple[Row, ...]:
        """Carry out what is left of a spec.

        Args:
            spec: The spec.

        Returns:
            What became of each of its runs.

        Raises:
            InputError: If a folder holds a finished run of other options, data are not at hand, or
                the engine is not to be had.
        """
        ours.check(self.folder, ours.COMPARISON, names_of(spec.cells))
        runs = list(plan(spec, self.folder))
        jobs, _ = self._jobs(runs)  # so that all is refused before anything is written
        load_all(spec.cells, spec.evaluation.samples)
        self._begin(bool(jobs))
        jobs, places = self._jobs(runs)
        self.tally.found += len(runs) - len(jobs)
        sweep(jobs, self.tally, self.engine, self.progress)
        return tuple(row_of(cell, run, places[run.folder]) for cell, run in runs)

    def _begin(self, needed: bool) -> None:
        """Start the engine if it is needed, and claim the folder, which is freed after it."""
        with ExitStack() as new:
            if needed and not self.begun:
                new.enter_context(self.engine)
                self.begun = True
            if not self.claimed:
                self.stack.enter_context(claim(self.folder))
                ours.claim(self.folder, ours.COMPARISON, ())
                self.claimed = True
            self.stack.push(new.pop_all())

    def _jobs(self, runs: Sequence[tuple[Cell, Run]]) -> tuple[list[Job], dict[Path, Path]]:
        """What is left to do, and where each run's result lies or will."""
        there = find_results(self.folder)
        jobs: list[Job] = []
        places: dict[Path, Path] = {}
        doing: dict[str, Path] = {}
        for _, run in runs:
            mark = run.config.fingerprint
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
            again = failed is None or failed.get("fingerprint") != mark or self.retry
            if again:
                _check_free(run, mark, self.overwrite)
                check_folder(run)
                jobs.append(Job(run, mark))
        return jobs, places


def _at(run: Run, folder: Path) -> Run:
    return Run(run.cell, run.seed, run.config, folder, run.evaluation)


def _check_free(run: Run, mark: str, overwrite: bool) -> None:
    before = read_json(run.folder / RESULT)
    if before is None or overwrite:
        return
    ours, theirs = run.config.options, before.get("options", {})
    differ = [name for name in ours if ours[name] != theirs.get(name)]
    said = ", ".join(f"{name} {theirs.get(name)!r}, now {ours[name]!r}" for name in differ[:3])
    if not said and run.config.fit.chooses and "validation" not in theirs:
        said = f"{run.config.fit.chooses} chose by the test part then"
    raise InputError(
        f"{run.folder} holds a run of other options ({said or 'its data file has changed'}): "
        "give another folder, or --overwrite"
    )


def load_all(cells: Sequence[Cell], samples: bool) -> None:
    """Make sure that all data are at hand, and what samples are scored by.

    Args:
        cells: Of which the data are.
        samples: Whether samples will be scored.

    Raises:
        InputError: If they are not.
    """
    seen = set()
    for cell in cells:
        config = cell.config
        where = (config.data, config.data_root, config.images, config.validation)
        if where not in seen:
            seen.add(where)
            data = config.load()
            if samples:
                classifier_for(data)
