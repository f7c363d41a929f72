"""Sweeps: runs carried out by worker processes, and how far they are."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from pyro_vae.comparison.runs import FAILED, Run, carry_out, write_json

__all__ = ["Job", "Progress", "Tally", "sweep"]

Progress = Callable[["Tally", "str | None"], object]
"""Told the tally whenever it changes, and in words which run has just finished or failed."""


@dataclass(frozen=True)
class Job:
    """A run to carry out: arguments of :func:`~pyro_vae.comparison.runs.carry_out`."""

    run: Run
    fingerprint: str
    trained: bool = False


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


def sweep(
    jobs: Sequence[Job],
    tally: Tally,
    workers: int = 1,
    threads: int = 1,
    progress: Progress | None = None,
) -> None:
    """Carry out runs; each leaves its result or its fault in its folder.

    One worker is this process; more are processes of their own, which end with this one.

    Args:
        jobs: What to carry out.
        tally: How far the sweep is, kept up to date.
        workers: Runs at a time.
        threads: Of each.
        progress: Who is told.
    """
    tell = progress or (lambda tally, run: None)
    waiting, running = deque(jobs), dict[Future[Path], Job]()
    died: dict[str, int] = {}
    began, ended = time.monotonic(), 0
    with _Here(threads) if workers == 1 else _Workers(workers, threads) as pool:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                tally.running.append(job.run.name)
                tell(tally, None)
                running[pool.submit(job)] = job
            over = wait(running, return_when=FIRST_COMPLETED).done
            if any(map(_broken, over)):
                over = wait(running).done  # none of the others will be carried out either
            broken = set(filter(_broken, over))
            for future in over:
                job = running.pop(future)
                tally.running.remove(job.run.name)
                died[job.run.name] = died.get(job.run.name, 0) + (future in broken)
                if future in broken and died[job.run.name] < 2:
                    # Any of those under way may have killed the pool: each gets another try.
                    waiting.append(job)
                    continue
                failed = future in broken or future.result().name == FAILED
                if future in broken:
                    _died(job)
                tally.failed += failed
                tally.done += not failed
                ended += 1
                pace = (time.monotonic() - began) / ended
                tally.seconds_left = pace * (len(waiting) + len(running))
                tell(tally, f"{job.run.name}: failed" if failed else job.run.name)
            if broken:
                pool.restart()


def _broken(future: Future[Path]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _died(job: Job) -> None:
    fault = "its process died twice: killed, or out of memory"
    own = {"fingerprint": job.fingerprint, "cell": job.run.cell, "seed": job.run.seed}
    write_json(job.run.folder / FAILED, {**own, "fault": fault})


class _Here:
    """This process as the only worker."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> _Here:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self.before)

    def submit(self, job: Job) -> Future[Path]:
        """Carry a job out."""
        future: Future[Path] = Future()
        future.set_result(carry_out(job.run, job.fingerprint, job.trained))
        return future

    def restart(self) -> None:
        """Nothing breaks here."""


class _Workers:
    """Processes, spawned, which end when this one does, however it does."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads
        self.context = get_context("spawn")

    def __enter__(self) -> _Workers:
        self._start()
        return self

    def _start(self) -> None:
        # Only this process holds the writing end: however it ends, workers read the end of file.
        reader, self.leash = self.context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(
            self.workers, self.context, initializer=_begin, initargs=(self.threads, reader)
        )

    def submit(self, job: Job) -> Future[Path]:
        """Hand a job to a worker."""
        try:
            return self.pool.submit(carry_out, job.run, job.fingerprint, job.trained)
        except BrokenProcessPool as error:
            future: Future[Path] = Future()
            future.set_exception(error)
            return future

    def restart(self) -> None:
        """New processes in the place of dead ones."""
        self._stop()
        self._start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.pool.shutdown()
        self._stop()

    def _stop(self) -> None:
        self.leash.close()
        self.pool.shutdown(cancel_futures=True)


def _begin(threads: int, leash: Connection[Any, Any]) -> None:
    """A worker's beginning: the terminal's interrupt is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_follow, args=(leash,), daemon=True).start()


def _follow(leash: Connection[Any, Any]) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)
