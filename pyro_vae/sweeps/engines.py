"""Engines: where the runs of a sweep are carried out, and what every engine can do."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import torch

from pyro_vae.sweeps.runs import Run, carry_out

__all__: list[str] = []

_TRIES = 2


@dataclass(frozen=True)
class Job:
    """A run to carry out: arguments of ``carry_out``."""

    run: Run
    fingerprint: str
    trained: bool = False

    def carry_out(self) -> Path:
        """Carry it out here and now."""
        return carry_out(self.run, self.fingerprint, self.trained)


class Engine(Protocol):
    """Carries out runs, several at a time; as a context it frees what it took."""

    def __enter__(self) -> Self:
        """Get ready."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free what was taken; runs that are under way are given up."""

    def has_room(self, job: Job) -> bool:
        """Whether the job could begin at once."""

    def start(self, job: Job) -> None:
        """Begin a job."""

    def over(self) -> list[tuple[Job, Path | None]]:
        """Wait for jobs to end.

        Returns:
            Those that have, with the file that each wrote last; None where its process died again
            and again. It may be empty where a process died and the job was begun once more.
        """


class Here:
    """This process as the only worker."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.jobs: list[Job] = []

    def __enter__(self) -> Self:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self.before)

    def has_room(self, job: Job) -> bool:
        """Whether there is no job."""
        return not self.jobs

    def start(self, job: Job) -> None:
        """Take a job."""
        self.jobs.append(job)

    def over(self) -> list[tuple[Job, Path | None]]:
        """Carry it out."""
        jobs, self.jobs = self.jobs, []
        return [(job, job.carry_out()) for job in jobs]


class Processes:
    """Processes, spawned, which end when this one does, however it does."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads
        self.context = get_context("spawn")
        self.running: dict[Future[Path], Job] = {}
        self.died: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._open()
        return self

    def _open(self) -> None:
        # Only this process holds the writing end: however it ends, workers read the end of file.
        reader, self.leash = self.context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(
            self.workers, self.context, initializer=_begin, initargs=(self.threads, reader)
        )

    def has_room(self, job: Job) -> bool:
        """Whether a worker is idle."""
        return len(self.running) < self.workers

    def start(self, job: Job) -> None:
        """Hand a job to a worker."""
        try:
            future = self.pool.submit(job.carry_out)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self.running[future] = job

    def over(self) -> list[tuple[Job, Path | None]]:
        """Wait for workers."""
        done = wait(self.running, return_when=FIRST_COMPLETED).done
        broken = any(map(_broken, done))
        if broken:
            done = wait(self.running).done  # none of the others will be carried out either
        ended: list[tuple[Job, Path | None]] = []
        again = []
        for future in done:
            job = self.running.pop(future)
            if not _broken(future):
                ended.append((job, future.result()))
                continue
            # Any of those under way may have killed the pool: each gets another try.
            self.died[job.run.name] += 1
            if self.died[job.run.name] < _TRIES:
                again.append(job)
            else:
                ended.append((job, None))
        if broken:
            self._close()
            self._open()
        for job in again:
            self.start(job)
        return ended

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            self.pool.shutdown()
        self._close()

    def _close(self) -> None:
        self.leash.close()
        self.pool.shutdown(cancel_futures=True)


def _broken(future: Future[Path]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _begin(threads: int, leash: Connection[object, object]) -> None:
    """A worker's beginning: the terminal's interrupt is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_follow, args=(leash,), daemon=True).start()


def _follow(leash: Connection[object, object]) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)
