"""Sweeps: runs carried out by an engine, and how far they are."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyro_vae.sweeps.engines import Engine, Job
from pyro_vae.sweeps.runs import FAILED, write_last

__all__: list[str] = []

Progress = Callable[["Tally", "str | None"], object]
"""Told the tally whenever it changes, and in words which run has just finished or failed."""


@dataclass
class Tally:
    """How far a sweep is.

    Attributes:
        total: Runs in all.
        found: Runs that were finished, or had failed, before.
        done: Runs finished now.
        failed: Runs failed now.
        running: Names of those under way.
        seconds_left: Until the end at the pace so far; None before the first has ended.
    """

    total: int
    found: int = 0
    done: int = 0
    failed: int = 0
    running: list[str] = field(default_factory=list)
    seconds_left: float | None = None
    began: float = field(default_factory=time.monotonic, repr=False)

    def end(self, name: str, failed: bool) -> None:
        """A run is over.

        Args:
            name: The run's.
            failed: Whether it failed.
        """
        self.running.remove(name)
        self.failed += failed
        self.done += not failed
        ended = self.done + self.failed
        pace = (time.monotonic() - self.began) / ended
        self.seconds_left = pace * (self.total - self.found - ended)


def sweep(
    jobs: Sequence[Job], tally: Tally, engine: Engine, progress: Progress | None = None
) -> None:
    """Carry out runs; each leaves its result or its fault in its folder.

    Args:
        jobs: What to carry out.
        tally: How far the sweep is, kept up to date.
        engine: Who carries them out.
        progress: Who is told.
    """
    tell = progress or (lambda tally, run: None)
    waiting = deque(jobs)
    while waiting or tally.running:
        while waiting and engine.has_room(waiting[0]):
            job = waiting.popleft()
            tally.running.append(job.run.name)
            tell(tally, None)
            engine.start(job)
        for job, last in engine.over():
            if last is None:
                _died(job)
            failed = last is None or last.name == FAILED
            tally.end(job.run.name, failed)
            tell(tally, f"{job.run.name}: failed" if failed else job.run.name)


def _died(job: Job) -> None:
    fault = "its process died again and again: killed, or out of memory"
    own = {"fingerprint": job.fingerprint, "cell": job.run.cell, "seed": job.run.seed}
    write_last(job.run.folder, FAILED, {**own, "fault": fault})
